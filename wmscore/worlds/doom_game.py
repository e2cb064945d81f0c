"""One VizDoom process, made to behave: no litter, no memory of earlier episodes, stable labels."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from wmscore.extras import require
from wmscore.worlds.doom_labels import ObjectLabels

__all__ = ["ACTIONS", "SCENARIOS", "DoomGame", "screen_resolution"]

# Bundled single-player scenarios. Whole Doom maps are left out: their textures are animated by
# the wall clock, so that no two rollouts agree.
SCENARIOS = (
    "basic",
    "deadly_corridor",
    "deathmatch",
    "defend_the_center",
    "defend_the_line",
    "health_gathering",
    "health_gathering_supreme",
    "my_way_home",
    "predict_position",
    "rocket_basic",
    "simpler_basic",
    "take_cover",
)

# Action name -> (VizDoom button, the engine's word for it). They do not depend on the scenario.
_BUTTONS = {
    "left": ("TURN_LEFT", "left"),
    "right": ("TURN_RIGHT", "right"),
    "forward": ("MOVE_FORWARD", "forward"),
    "back": ("MOVE_BACKWARD", "back"),
    "strafe_left": ("MOVE_LEFT", "moveleft"),
    "strafe_right": ("MOVE_RIGHT", "moveright"),
    "attack": ("ATTACK", "attack"),
}
ACTIONS = ("noop", *_BUTTONS)
_PRESSED = {name: [float(name == button) for button in _BUTTONS] for name in ACTIONS}

# What the buttons do in one tic, as amounts of the engine's analogue axes: a turn in degrees, slow
# in its first tics, and thrusts in whole units.
_AXES = ("TURN_LEFT_RIGHT_DELTA", "MOVE_FORWARD_BACKWARD_DELTA", "MOVE_LEFT_RIGHT_DELTA")
_TURNS = {"left": -1, "right": 1}
_SLOW_TURN, _FAST_TURN, _SLOW_TICS = 360 * 320 / 65536, 360 * 640 / 65536, 5
_THRUSTS = {"forward": (25, 0), "back": (-25, 0), "strafe_left": (0, -24), "strafe_right": (0, 24)}

_SAVEGAME = "state.zds"  # relative to the process' own folder: no spaces, no length limit
_BOB = 16  # frames until the weapon hangs still

# The current directory belongs to the whole process: one game starts at a time.
_STARTING = threading.Lock()


class DoomGame:
    """A running game of one scenario at one resolution.

    Three things outlive an episode in the engine and are undone at each reset: the swing of the
    weapon (a static variable that only drawn frames let decay; this, and not the seed, is why an
    episode can look different after another one), how long the turn button has been down (turns
    start slowly), and object ids.
    """

    def __init__(
        self, scenario: str, height: int, width: int, frame_skip: int, *, analogue: bool = False
    ) -> None:
        """Start the process.

        Args:
            scenario: one of `SCENARIOS`.
            height: of the frame.
            width: of the frame.
            frame_skip: tics that one action lasts.
            analogue: whether `play` moves by analogue axes, which know other gains than 1.

        Raises:
            ImportError: vizdoom is not installed.
            ValueError: VizDoom has no such resolution.
        """
        vizdoom = require("vizdoom", "vizdoom")
        self.frame_skip = frame_skip
        self._axes = _AXES if analogue else ()
        self._gain = 1.0
        self._turned = 0  # tics for which the turn button has been down
        self._folder = Path(tempfile.mkdtemp(prefix="wmscore-vizdoom-"))
        self._game = game = vizdoom.DoomGame()
        self._finalizer = weakref.finalize(self, _close, game, self._folder)
        game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
        game.set_doom_config_path(str(self._folder / "vizdoom.ini"))
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_audio_buffer_enabled(False)
        game.set_screen_resolution(screen_resolution(height, width))
        game.set_screen_format(vizdoom.ScreenFormat.CRCGCB)
        game.set_labels_buffer_enabled(True)
        game.set_objects_info_enabled(True)
        game.set_depth_buffer_enabled(False)
        game.set_automap_buffer_enabled(False)
        buttons = (*(button for button, _ in _BUTTONS.values()), *self._axes)
        game.set_available_buttons([getattr(vizdoom.Button, button) for button in buttons])
        game.set_available_game_variables([])
        game.set_render_hud(False)
        game.set_render_minimal_hud(False)
        game.set_render_crosshair(False)
        game.set_render_messages(False)
        game.set_render_screen_flashes(False)
        game.set_render_weapon(True)
        game.set_render_corpses(True)
        game.set_render_effects_sprites(True)
        # Bullet marks and dust are missing in savegames and drawn from a generator of their own.
        game.set_render_decals(False)
        game.set_render_particles(False)
        game.set_seed(0)
        # The process leaves `_vizdoom/` in, and would read `_vizdoom.cfg` from, where it starts.
        with _STARTING, contextlib.chdir(self._folder):
            game.init()

    def close(self) -> None:
        """End the process and delete its folder; safe to call twice."""
        self._finalizer()

    def play(
        self,
        seed: int,
        warmup: Sequence[str],
        script: Sequence[str],
        *,
        frames: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int16],
        rewrite: Callable[[bytes], bytes] | None = None,
        gain: float = 1.0,
    ) -> int:
        """Play one script from an initial state.

        Args:
            seed: of the episode.
            warmup: actions that lead to the initial state.
            script: `T` action names.
            frames: `[T+1, 3, H, W]`, written.
            labels: `[T+1, H, W]`, written.
            rewrite: changes a savegame of the initial state, from which play then goes on.
            gain: how many times as far the script's actions turn and push, 0..2; only in a game
                with analogue axes does it count.

        Returns:
            How many frames exist; the rest repeats the last one.

        Raises:
            ValueError: the episode ends during the warm-up.
        """
        game = self._game
        self._reset(seed, warmup)
        self._gain, self._turned = gain, 0
        state = game.get_state()
        known = ObjectLabels(state.objects)
        self._show(state, known, frames[0], labels[0])
        self._release(rewrite)
        known.remember(state.objects)
        for t, action in enumerate(script, start=1):
            if t == 1:
                state = self._first_step(action, known, load=rewrite is not None)
            else:
                self._act(action, self.frame_skip)
                state = game.get_state()
            if state is None:
                frames[t:], labels[t:] = frames[t - 1], labels[t - 1]
                return t
            known.update(state.objects)
            self._show(state, known, frames[t], labels[t])
        return len(script) + 1

    # ---- parts of a play -----------------------------------------------------------------

    def _reset(self, seed: int, warmup: Sequence[str]) -> None:
        game = self._game
        game.new_episode()
        game.set_action(self._pressed("noop"))
        for _ in range(_BOB):
            game.advance_action(1, True)
        # The seed counts for the next episode only, so both calls come every time.
        game.set_seed(seed)
        game.new_episode()
        for i, action in enumerate(warmup):
            game.make_action(self._pressed(action), self.frame_skip)
            if game.get_state() is None:
                raise ValueError(f"reset.warmup: the episode of seed {seed} ends at action {i}")

    def _release(self, rewrite: Callable[[bytes], bytes] | None) -> None:
        """Let all buttons go, and save and rewrite the game, while an open menu stops time."""
        game = self._game
        game.set_action(self._pressed("noop"))
        game.send_game_command("menu_main")
        if rewrite is None:
            game.advance_action(1, True)  # saving draws one picture, so this does too
        else:
            path = self._folder / _SAVEGAME
            path.unlink(missing_ok=True)
            game.save(_SAVEGAME)
            if not path.exists():
                raise RuntimeError("vizdoom: the game could not be saved")
            path.write_bytes(rewrite(path.read_bytes()))
        game.send_game_command("closemenu")

    def _first_step(self, action: str, known: ObjectLabels, *, load: bool) -> Any:
        """Step once, and go over to the rewritten savegame in the first tic if asked.

        Loading draws the frame after that tic, so the other case does too.
        """
        game = self._game
        game.set_action(self._moved(action) if self._axes else self._pressed(action))
        if load:
            game.load(_SAVEGAME)
        else:
            game.advance_action(1, True)
        state = game.get_state()
        if state is None:
            return None
        if load:
            known.relink(state.objects)
            if action in _BUTTONS and not self._by_axis(
                action
            ):  # the engine has let all buttons go, VizDoom does not know
                game.send_game_command(f"+{_BUTTONS[action][1]}")
        if self.frame_skip == 1:
            return state
        if self._axes:
            self._act(action, self.frame_skip - 1)
        else:
            game.advance_action(self.frame_skip - 1, True)
        return game.get_state()

    def _act(self, action: str, tics: int) -> None:
        """Play an action for some tics, of which the last is drawn."""
        game = self._game
        if not self._axes:
            game.make_action(self._pressed(action), tics)
            return
        for left in reversed(range(tics)):
            game.set_action(self._moved(action))
            game.advance_action(1, left == 0)

    def _pressed(self, action: str) -> list[float]:
        """Buttons for an action; no axis moves."""
        return [*_PRESSED[action], *[0.0] * len(self._axes)]

    def _moved(self, action: str) -> list[float]:
        """Buttons and axes for the next tic of an action, with the gain."""
        self._turned = self._turned + 1 if action in _TURNS else 0
        turn = _SLOW_TURN if self._turned <= _SLOW_TICS else _FAST_TURN
        thrusts = (round(thrust * self._gain) for thrust in _THRUSTS.get(action, (0, 0)))
        button = "noop" if self._by_axis(action) else action
        return [*_PRESSED[button], _TURNS.get(action, 0) * turn * self._gain, *thrusts]

    def _by_axis(self, action: str) -> bool:
        return bool(self._axes) and (action in _TURNS or action in _THRUSTS)

    @staticmethod
    def _show(
        state: Any,
        known: ObjectLabels,
        frame: npt.NDArray[np.uint8],
        label: npt.NDArray[np.int16],
    ) -> None:
        frame[...] = state.screen_buffer
        known.paint(state, label)


def screen_resolution(height: int, width: int) -> Any:
    """VizDoom's constant for a frame size.

    Raises:
        ImportError: vizdoom is not installed.
        ValueError: VizDoom cannot draw that size; the message lists what it can.
    """
    known = require("vizdoom", "vizdoom").ScreenResolution.__members__
    if f"RES_{width}X{height}" not in known:
        sizes = sorted(tuple(map(int, n[4:].split("X"))) for n in known)
        listed = ", ".join(f"{h} x {w}" for w, h in sizes)
        raise ValueError(
            f"height, width: expected one of VizDoom's sizes {listed}; got {height} x {width}"
        )
    return known[f"RES_{width}X{height}"]


def _close(game: Any, folder: Path) -> None:
    game.close()
    shutil.rmtree(folder, ignore_errors=True)
