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

__all__ = ["Average", "GameNGenResult", "WindowResult"]


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean over scenarios with its 95 % interval.

    Attributes:
        mean: infinite where a frame without any error has an infinite PSNR.
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
class WindowResult:
    """The first frames of the autoregressive rollouts.

    Attributes:
        frames: in the window.
        seconds: that they last.
        psnr: mean over the window's frames, dB.
        lpips: likewise, or None without a network.
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
    psnr: Average
    lpips: Average | None
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
        forced_psnr: teacher-forced, mean over the steps of the largest window, dB.
        forced_psnr_of_mse: the PSNR of the mean squared error, finite unless all frames are exact.
        exact_frames: teacher-forced frames without any error, with an infinite PSNR.
        forced_lpips: teacher-forced, or None.
        windows: autoregressive, the shortest first.
        curves: `[T]` means over scenarios of each step after `start`, by name: `forced_psnr`,
            `rolled_psnr`, and with a network `forced_lpips` and `rolled_lpips`.
        persistence: the same of showing the true frame before again (forced), or the last given
            one (rolled): what a model has to beat.
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
    forced_psnr: Average
    forced_psnr_of_mse: float
    exact_frames: int
    forced_lpips: Average | None
    windows: tuple[WindowResult, ...]
    curves: dict[str, Tensor]
    persistence: dict[str, Tensor]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON; what is not finite becomes None, infinite ones "inf"."""
        plain = {
            name: getattr(self, name)
            for name in (
                *("model", "panel", "fps", "start", "scenarios", "rows", "left_out"),
                *("lpips_network", "clip_encoder", "forced_psnr_of_mse", "exact_frames"),
            )
        }
        plain["frame_size"] = list(self.frame_size)
        plain["forced_psnr"] = vars(self.forced_psnr)
        plain["forced_lpips"] = None if self.forced_lpips is None else vars(self.forced_lpips)
        plain["windows"] = [
            {
                **vars(window),
                "psnr": vars(window.psnr),
                "lpips": None if window.lpips is None else vars(window.lpips),
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
        floor = _row_means(self.persistence, steps)
        said = f"teacher-forced, {steps} steps"
        lines.append((f"{said}: PSNR", f"{self.forced_psnr} dB", f"{floor['forced_psnr']:.4g} dB"))
        if self.forced_lpips is not None:
            lines.append((f"{said}: LPIPS", str(self.forced_lpips), f"{floor['forced_lpips']:.4g}"))
        for window in self.windows:
            floor = _row_means(self.persistence, window.frames)
            said = f"autoregressive, {window.frames} frames ({window.seconds:.2g} s)"
            lines.append((f"{said}: PSNR", f"{window.psnr} dB", f"{floor['rolled_psnr']:.4g} dB"))
            if window.lpips is not None:
                lines.append((f"{said}: LPIPS", str(window.lpips), f"{floor['rolled_lpips']:.4g}"))
            if window.frechet is not None:
                lines.append((f"{said}: Fréchet", _frechet(window), ""))
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        text.append(self._facts())
        return "\n".join(text)

    def _facts(self) -> str:
        height, width = self.frame_size
        size = f"{height} x {width} at {self.fps:g} frames per second"
        known = f"{self.start + 1} true frames before the first predicted one"
        said = [f"{self.scenarios} scenarios, {self.rows} rows, {size}, {known}"]
        said += [f"left out: {count} rows, {reason}" for reason, count in self.left_out.items()]
        if self.exact_frames:
            said.append(
                f"{self.exact_frames} teacher-forced frames have no error; PSNR of the mean "
                f"squared error {self.forced_psnr_of_mse:.4g} dB"
            )
        names = [name for name in (self.lpips_network, self.clip_encoder) if name is not None]
        return "\n".join([*said, *([f"networks: {', '.join(names)}"] if names else [])])


def _row_means(curves: dict[str, Tensor], steps: int) -> dict[str, float]:
    return {name: float(curve[:steps].mean()) for name, curve in curves.items()}


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
