"""`wmscore calibrate`: thresholds of a panel from scores of the true world against itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.complete import complete_files
from wmscore.cli.options import Device, Estimand, JsonFlag, Places
from wmscore.cli.reading import check_device

if TYPE_CHECKING:
    from wmscore.calibration import Calibration
    from wmscore.scores import Scores

__all__ = ["calibrate"]


def calibrate(
    scores: Places,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="the calibrated panel, JSON")],
    model: Annotated[str, typer.Option("--model", help="the perfect model")] = "other-seed",
    alpha: Annotated[
        float, typer.Option("--alpha", help="share of perfect rollouts whose horizon may end")
    ] = 0.05,
    joint: Annotated[
        bool,
        typer.Option("--joint", help="calibrate the gated axes together, not alpha / m each"),
    ] = False,
    estimand: Estimand = "scenarios",
    tolerance: Annotated[
        str | None,
        typer.Option(
            "--tolerance",
            metavar="ROLLOUTS",
            help="a recording, for axes on which the world repeats itself: its reference, moved "
            "by a pixel, has to pass",
            autocompletion=complete_files,
        ),
    ] = None,
    redraws: Annotated[int, typer.Option("--redraws", help="of one seed per scenario")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="of the redraws")] = 0,
    device: Device = "cpu",
    as_json: JsonFlag = False,
) -> Answer:
    """Set a panel's thresholds so that a perfect model fails as seldom as asked.

    Exit codes: 0 every gate has a threshold from data; 3 one keeps the panel's; 2 wrong usage.
    """
    from wmscore.calibration import calibrate as calibrated
    from wmscore.calibration import tolerance_scores
    from wmscore.recordings import Recording

    check_device(device)
    oracle = _read_scores(Path(scores), model)
    copies: list[Scores] = []
    if tolerance:
        recording = Recording(tolerance, oracle.panel)
        copies = tolerance_scores(recording.panel, recording, device=device)
    found = calibrated(
        oracle,
        alpha=alpha,
        joint=joint,
        estimand=estimand,
        tolerance=copies,
        redraws=redraws,
        seed=seed,
    )
    found.panel.save(out)

    def show() -> None:
        print(found.table())
        print(f"Panel: {out}, fingerprint {found.panel.fingerprint[:12]}")

    return Answer(_document(found, out), show, 0 if found.complete else 3)


def _document(found: Calibration, out: str) -> dict[str, object]:
    return {
        "panel": out,
        "fingerprint": found.panel.fingerprint,
        "oracle": found.oracle,
        "alpha": found.alpha,
        "complete": found.complete,
        "rows": found.rows,
        "faults": found.faults,
        "axes": {
            axis.axis: {
                "gate": axis.gate,
                "before": axis.before,
                "threshold": axis.threshold,
                "calibrated": axis.calibration is not None,
                "why": axis.why,
            }
            for axis in found.axes
        },
    }


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
