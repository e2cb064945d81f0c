"""What fools other tools: their numbers for models with a known fault, beside those of wmscore.

    python tools/response_peers.py docs/action-response.md    # writes the table

The others' definitions are given on SpriteWorld all that a network would have to estimate: actions
are recognised as well as they can be, and a trajectory is the sum of the picture's motion.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from document_tables import Rows, with_table
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Reason
from wmscore.testing import (
    Faulty,
    HalfSpeed,
    MirroredActions,
    PermutedActions,
    ScaledActions,
    ShuffledScripts,
    TimeReversed,
    sprite_items,
)
from wmscore.worlds import ActionBlind, Frozen, Item, OtherSeed, SpriteWorld, WorldModel

__all__ = ["HEAD", "peer_rows"]

HEAD = (
    "",
    "accuracy",
    "similarity",
    "Hausdorff",
    "diversity",
    "recovered",
    "agreement",
    "motion",
    "delay",
    "gain",
)
_SCENARIOS, _SCRIPTS, _STEPS, _IDLE = 8, 4, 32, 0.6


def peer_rows() -> Rows:
    """The table: four numbers of other tools, then five of ours, for each model."""
    world = SpriteWorld(64, 64, pan=4)
    items = idle_items(world)
    truth = world.rollout(items, _STEPS)
    features = F.motion_features(truth.frames)
    scenario = torch.arange(_SCENARIOS).repeat_interleave(_SCRIPTS)
    probe = F.fit_probe(features.values, truth.actions, scenario, 5, folds=4)
    rows = torch.arange(len(items)).view(_SCENARIOS, _SCRIPTS)
    played = torch.tensor([item.branch != 1 for item in items])  # no-op has no trajectory

    def row(model: WorldModel) -> list[str]:
        frames = model.rollout(items, _STEPS).frames
        found = F.motion_features(frames)
        recovery = F.action_recovery(probe.predict(found.values, scenario), truth.actions, 5)
        paths = path(found.shift)[played], path(features.shift)[played]
        products = F.script_products(
            frames[:, 1:], truth.frames[:, 1:], preds_rows=rows, target_rows=rows
        )
        motion = F.motion_agreement(found.shift, features.shift).agreement[rows[:, 0]]
        lag = F.response_latency(
            truth.actions, found.shift, features.shift, num_actions=5, groups=scenario
        ).excess.pooled
        known = int(lag.reason) == Reason.DEFINED
        return [
            f"{recovery.accuracy:.2f}",
            f"{after_similarity(*paths).mean():.1f} px",
            f"{hausdorff(*paths).mean():.1f} px",
            _number(diversity(frames), 2),
            _number(recovery.score, 2),
            _number(F.script_response(products).agreement.nanmean(), 2),
            _number(motion.nanmean(), 2),
            f"{int(lag.lag)}" if known else "none",
            f"{lag.gain:.2f}" if known else "none",
        ]

    models = {
        "the world itself": world,
        "its chance drawn anew": OtherSeed(world),
        "frozen": Frozen(),
        "action-blind": ActionBlind(world),
        "another script of its group": Faulty(world, ShuffledScripts()),
        "half the motion": Faulty(world, ScaledActions(0.5)),
        "half speed": Faulty(world, HalfSpeed()),
        "time reversed": Faulty(world, TimeReversed()),
        "mirrored controls": Faulty(world, MirroredActions()),
        "permuted controls": Faulty(world, PermutedActions()),
    }
    return {name: row(model) for name, model in models.items()}


def idle_items(world: SpriteWorld) -> list[Item]:
    """Scripts that command no-op most of the time, as recorded play does."""
    generator = torch.Generator().manual_seed(1)
    return [
        replace(
            item,
            actions=item.actions.masked_fill(torch.rand(_STEPS, generator=generator) < _IDLE, 0),
        )
        for item in sprite_items(_SCENARIOS, _STEPS, branches=_SCRIPTS, world=world)
    ]


def path(shift: Tensor) -> Tensor:
    """Where the view is after each step, ``[B, T + 1, 2]``, from motion ``[B, T, 2]``."""
    steps = shift.nan_to_num(0.0).cumsum(1)
    return torch.cat([torch.zeros_like(steps[:, :1]), steps], 1)


def after_similarity(path: Tensor, target: Tensor) -> Tensor:
    """Root mean square distance after the best rotation, scale and translation, ``[B]``."""
    own, other = (torch.view_as_complex(p - p.mean(1, keepdim=True)) for p in (path, target))
    size = own.abs().square().sum(1).clamp_min(1e-300)
    turn = (own.conj() * other).sum(1) / size
    return (turn[:, None] * own - other).abs().square().mean(1).sqrt()


def hausdorff(path: Tensor, target: Tensor) -> Tensor:
    """Distance of two paths as sets of places, ``[B]``."""
    distance = torch.cdist(path, target)
    return torch.maximum(distance.amin(1).amax(1), distance.amin(2).amax(1))


def diversity(frames: Tensor) -> Tensor:
    """Mean of 1 - cosine over pairs of scripts, of mean frames less their mean: ``[]``."""
    mean = frames[:, 1:].double().flatten(2).mean(1)
    mean = torch.nn.functional.normalize(mean - mean.mean(1, keepdim=True), dim=1)
    groups = mean.view(_SCENARIOS, _SCRIPTS, -1)
    apart = 1 - groups @ groups.mT
    return apart.sum() / (_SCENARIOS * _SCRIPTS * (_SCRIPTS - 1))


def _number(value: Tensor, digits: int) -> str:
    return f"{float(value) + 0.0:.{digits}f}".replace("-0.00", "0.00")


def main() -> None:
    """Print the table, and write it into the documents named."""
    lines = [HEAD, ["---"] * len(HEAD), *([name, *cells] for name, cells in peer_rows().items())]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    print(table)
    for name in sys.argv[1:]:
        document = Path(name)
        text = with_table(document.read_text(encoding="utf-8"), "peers", table)
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
