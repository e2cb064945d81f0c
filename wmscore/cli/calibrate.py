"""`wmscore calibrate`: thresholds of a panel from scores of the true world against itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from wmscore.cli.parsing import Command

if TYPE_CHECKING:
    from wmscore.scores import Scores

__all__ = ["add"]


def add(command: Command) -> None:
    """Add it to the parser."""
    text = "set a panel's thresholds so that a perfect model fails as seldom as asked"
    calibrate = command("calibrate", _calibrate, text)
    calibrate.add_argument("scores", help="evidence folder, or a scores file within one")
    calibrate.add_argument(
        "--model", default="other-seed", help="the perfect model (default: other-seed)"
    )
    calibrate.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        help="share of perfect rollouts whose horizon may end (default: 0.05)",
    )
    calibrate.add_argument(
        "--joint", action="store_true", help="calibrate the gated axes together, not alpha / m each"
    )
    calibrate.add_argument(
        "--estimand",
        choices=["scenarios", "seeds"],
        default="scenarios",
        help="promise for new scenarios (default), or for new seeds on those of this panel",
    )
    calibrate.add_argument(
        "--tolerance",
        metavar="ROLLOUTS",
        help="a recording, for axes on which the world repeats itself: its reference, moved by a "
        "pixel, has to pass",
    )
    calibrate.add_argument("--redraws", type=int, default=200, help="of one seed per scenario")
    calibrate.add_argument("--seed", type=int, default=0, help="of the redraws")
    calibrate.add_argument("--device", default="cpu", help="where --tolerance is scored")
    calibrate.add_argument("--out", required=True, help="the calibrated panel, JSON")


def _calibrate(args: argparse.Namespace) -> int:
    """0 where every gate has a threshold from data, 3 where one keeps the panel's."""
    from wmscore.calibration import calibrate, tolerance_scores
    from wmscore.recordings import Recording

    oracle = _read_scores(Path(args.scores), args.model)
    copies: list[Scores] = []
    if args.tolerance:
        recording = Recording(args.tolerance, oracle.panel)
        copies = tolerance_scores(recording.panel, recording, device=args.device)
    found = calibrate(
        oracle,
        alpha=args.alpha,
        joint=args.joint,
        estimand=args.estimand,
        tolerance=copies,
        redraws=args.redraws,
        seed=args.seed,
    )
    print(found.table())
    found.panel.save(args.out)
    print(f"Panel: {args.out}, fingerprint {found.panel.fingerprint[:12]}")
    return 0 if found.complete else 3


def _read_scores(path: Path, model: str) -> Scores:
    """A scores file, or the file of a model in an evidence folder."""
    from wmscore.files import safe_name
    from wmscore.scores import Scores

    if path.is_dir():
        folder = path / "scores"
        known = sorted(file.stem for file in folder.glob("*.safetensors"))
        if safe_name(model) not in known:
            raise ValueError(f"--model: expected one of {known} in {folder}, got {model!r}")
        path = folder / f"{safe_name(model)}.safetensors"
    scores = Scores.load(path)
    if scores.model != model:
        raise ValueError(f"--model: expected {scores.model!r} as in {path}, got {model!r}")
    return scores
