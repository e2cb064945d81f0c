"""One canonical action timeline, converters to what models take, and what each loses."""

from wmscore.timeline.alignment import Alignment, align, unalign
from wmscore.timeline.converter import Converter
from wmscore.timeline.cosmos import (
    MotionToPose9,
    read_action_json,
    read_pose9,
    write_action_json,
)
from wmscore.timeline.doom import (
    DOOM_TABLE,
    GAMENGEN_ACTIONS,
    GAMENGEN_BUTTONS,
    ToGameNGen,
    ToVizDoomButtons,
    read_gamengen,
    read_vizdoom_buttons,
)
from wmscore.timeline.gamecraft import (
    GAMECRAFT_FRAMES,
    GameCraftActions,
    ToGameCraft,
    read_gamecraft,
)
from wmscore.timeline.key_strings import (
    HY_WORLDPLAY,
    SANA_WM,
    KeyGrammar,
    ToKeyString,
    read_key_string,
)
from wmscore.timeline.keys import KeysToMotion, MotionToKeys
from wmscore.timeline.loss import Conversion, Loss, LossKind, gather_losses, loss_sentences
from wmscore.timeline.matrix_game import (
    MATRIX_GAME_KEYS,
    MatrixGameConditions,
    ToMatrixGame,
    read_matrix_game,
)
from wmscore.timeline.oasis import (
    MINECRAFT_BUTTONS,
    OASIS_COLUMNS,
    ToOasis,
    minecraft_space,
    read_oasis,
)
from wmscore.timeline.picking import Chain
from wmscore.timeline.poses import (
    MotionToPoses,
    read_pose_folder,
    read_poses,
    write_pose_folder,
)
from wmscore.timeline.resample import Resample
from wmscore.timeline.spaces import motion_space, vector_space
from wmscore.timeline.tables import ByName, ByTable, NearestAction
from wmscore.timeline.text import TextEvent, ToPrompt, ToTextEvents, read_text_events
from wmscore.timeline.timeline import Timeline
from wmscore.timeline.vectors import SameVector
from wmscore.timeline.vpt import ToVpt, read_vpt, vpt_timeline, write_vpt

__all__ = [
    "DOOM_TABLE",
    "GAMECRAFT_FRAMES",
    "GAMENGEN_ACTIONS",
    "GAMENGEN_BUTTONS",
    "HY_WORLDPLAY",
    "MATRIX_GAME_KEYS",
    "MINECRAFT_BUTTONS",
    "OASIS_COLUMNS",
    "SANA_WM",
    "Alignment",
    "ByName",
    "ByTable",
    "Chain",
    "Conversion",
    "Converter",
    "GameCraftActions",
    "KeyGrammar",
    "KeysToMotion",
    "Loss",
    "LossKind",
    "MatrixGameConditions",
    "MotionToKeys",
    "MotionToPose9",
    "MotionToPoses",
    "NearestAction",
    "Resample",
    "SameVector",
    "TextEvent",
    "Timeline",
    "ToGameCraft",
    "ToGameNGen",
    "ToKeyString",
    "ToMatrixGame",
    "ToOasis",
    "ToPrompt",
    "ToTextEvents",
    "ToVizDoomButtons",
    "ToVpt",
    "align",
    "gather_losses",
    "loss_sentences",
    "minecraft_space",
    "motion_space",
    "read_action_json",
    "read_gamecraft",
    "read_gamengen",
    "read_key_string",
    "read_matrix_game",
    "read_oasis",
    "read_pose9",
    "read_pose_folder",
    "read_poses",
    "read_text_events",
    "read_vizdoom_buttons",
    "read_vpt",
    "unalign",
    "vector_space",
    "vpt_timeline",
    "write_action_json",
    "write_pose_folder",
    "write_vpt",
]
