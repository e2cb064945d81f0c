"""What the GameNGen protocol measured, as a table and as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from wmscore.files import atomic_file
from wmscore.stats import mean_interval

__all__ = ["Average", "Errors", "GameNGenResult", "WindowResult"]


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean over scenarios with its 95 % interval.

    Attributes:
        mean: infinite where one of the values is.
        low: of the interval of Student's t; NaN below two scenarios, or without a finite mean.
        high: of it.
        scenarios: number of scenarios.
    """

    mean: float
    low: float
    high: float
    scenarios: int

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """Of one value for each scenario, `[S]`."""
        if not bool(values.isfinite().all()):
            return cls(
                mean=float(values.mean()), low=math.nan, high=math.nan, scenarios=len(values)
            )
        found = mean_interval(values)
        return cls(
            mean=float(found.mean),
            low=float(found.low),
            high=float(found.high),
            scenarios=len(values),
        )

    def __str__(self) -> str:
        """`29.43 [28.90, 29.96]`."""
        if not math.isfinite(self.low):
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors of some frames against the true ones.

    Attributes:
        psnr: mean over the frames, dB; infinite as soon as one frame is exact.
        psnr_of_mse: of a scenario's mean squared error, dB: one exact frame does not decide it.
        lpips: mean over the frames, or None without a network.
        exact: number of frames without any error.
    """

    psnr: Average
    psnr_of_mse: Average
    lpips: Average | None
    exact: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "psnr": vars(self.psnr),
            "psnr_of_mse": vars(self.psnr_of_mse),
            "lpips": None if self.lpips is None else vars(self.lpips),
            "exact": self.exact,
        }


@dataclass(frozen=True, kw_only=True)
class WindowResult:
    """The first frames of the autoregressive rollouts.

    Attributes:
        frames: in the window.
        seconds: that they last.
        errors: of the model.
        persistence: of showing the last given frame for ever.
        frechet: Fréchet distance of clip features to those of the true clips, or None without an
            encoder; NaN where it is undefined.
        frechet_low: of its 95 % interval; NaN below 4 scenarios.
        frechet_high: of it.
        frechet_bias: what having few clips adds to it, estimated; NaN below 4 scenarios.
        clips: generated clips behind it.
        features: of a clip; with fewer clips a covariance has not full rank.
    """

    frames: int
    seconds: float
    errors: Errors
    persistence: Errors
    frechet: float | None = None
    frechet_low: float = math.nan
    frechet_high: float = math.nan
    frechet_bias: float = math.nan
    clips: int = 0
    features: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class GameNGenResult:
    """What `gamengen_protocol` measured.

    Attributes:
        model: its name.
        panel: fingerprint of the panel.
        fps: frames per second.
        frame_size: (height, width).
        start: true frames 0..start come before the first predicted one.
        scenarios: number of scenarios behind every number.
        rows: number of (scenario, seed) rows.
        left_out: rows that are in no number, by reason.
        lpips_network: name of the network, or None.
        clip_encoder: name of the encoder, or None.
        forced: teacher-forced, over the steps of the longest window.
        forced_persistence: the same of showing the true frame before again.
        windows: autoregressive, the shortest first.
        curves: `[T]` means over scenarios of each step after `start`, by name: `forced_psnr`,
            `forced_mse`, `rolled_psnr`, `rolled_mse`, and with a network `forced_lpips` and
            `rolled_lpips`.
        persistence: the same curves of persistence: what a model has to beat.
    """

    model: str
    panel: str
    fps: float
    frame_size: tuple[int, int]
    start: int
    scenarios: int
    rows: int
    left_out: dict[str, int]
    lpips_network: str | None
    clip_encoder: str | None
    forced: Errors
    forced_persistence: Errors
    windows: tuple[WindowResult, ...]
    curves: dict[str, Tensor]
    persistence: dict[str, Tensor]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; what is not finite becomes None, infinite ones "inf"."""
        plain = {
            name: getattr(self, name)
            for name in (
                *("model", "panel", "fps", "start", "scenarios", "rows", "left_out"),
                *("lpips_network", "clip_encoder"),
            )
        }
        plain["frame_size"] = list(self.frame_size)
        plain["forced"] = self.forced.to_dict()
        plain["forced_persistence"] = self.forced_persistence.to_dict()
        plain["windows"] = [
            {
                **vars(window),
                "errors": window.errors.to_dict(),
                "persistence": window.persistence.to_dict(),
            }
            for window in self.windows
        ]
        for name in ("curves", "persistence"):
            plain[name] = {key: curve.tolist() for key, curve in getattr(self, name).items()}
        found: dict[str, Any] = _finite(plain)
        return found

    def save(self, path: str | Path) -> None:
        """Write `to_dict` as JSON, whole or not at all."""
        with atomic_file(path) as draft:
            draft.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    def table(self) -> str:
        """Rows as in the paper, each beside persistence."""
        lines = [("", self.model, "persistence")]
        steps = self.windows[-1].frames
        lines += _errors(f"teacher-forced, {steps} steps", self.forced, self.forced_persistence)
        for window in self.windows:
            said = f"autoregressive, {window.frames} frames ({window.seconds:.2g} s)"
            lines += _errors(said, window.errors, window.persistence)
            if window.frechet is not None:
                lines.append((f"{said}: Fréchet", _frechet(window), ""))
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*text, *self._facts()])

    def _facts(self) -> list[str]:
        height, width = self.frame_size
        size = f"{height} x {width} at {self.fps:g} frames per second"
        known = f"true frames 0..{self.start} before the first predicted one"
        said = [f"{self.scenarios} scenarios, {self.rows} rows, {size}, {known}"]
        said += [f"left out: {count} rows, {reason}" for reason, count in self.left_out.items()]
        if self.forced.exact or self.forced_persistence.exact:
            said.append(
                f"frames without any error, teacher-forced: {self.forced.exact}, of persistence "
                f"{self.forced_persistence.exact}"
            )
        names = [name for name in (self.lpips_network, self.clip_encoder) if name is not None]
        return [*said, *([f"networks: {', '.join(names)}"] if names else [])]


def _errors(said: str, mine: Errors, floor: Errors) -> list[tuple[str, str, str]]:
    lines = [
        (f"{said}: PSNR", f"{mine.psnr} dB", f"{floor.psnr} dB"),
        (f"{said}: PSNR of MSE", f"{mine.psnr_of_mse} dB", f"{floor.psnr_of_mse} dB"),
    ]
    if mine.lpips is not None:
        lines.append((f"{said}: LPIPS", str(mine.lpips), str(floor.lpips)))
    return lines


def _frechet(window: WindowResult) -> str:
    assert window.frechet is not None
    said = f"{window.frechet:.4g}"
    if math.isfinite(window.frechet_low):
        said += f" [{window.frechet_low:.4g}, {window.frechet_high:.4g}]"
    if window.clips <= window.features:
        said += f", {window.clips} clips of {window.features} features: too few"
    return said


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value
