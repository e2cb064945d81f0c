"""The measurements of the GameNGen protocol, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wmscore.functional import LpipsEncoder, frechet_distance_from_features, lpips, mse
from wmscore.functional.distributions import frechet_interval
from wmscore.networks import ClipEncoder
from wmscore.protocols.gamengen_result import Average, Errors, GameNGenResult, WindowResult
from wmscore.rollouts import Rollouts
from wmscore.scorer.faults import is_out_of_range

__all__ = ["Measured"]

_LEAST_SCENARIOS = 4  # of an interval of a Fréchet distance


class Measured:
    """Per-step errors of all rows so far, and the features of their clips."""

    def __init__(
        self,
        windows: Sequence[int],
        start: int,
        lpips_network: LpipsEncoder | None,
        clip_encoder: ClipEncoder | None,
    ) -> None:
        """For windows, the shortest first, after true frames 0..`start`."""
        self.windows, self.start = tuple(windows), start
        self.lpips_network, self.clip_encoder = lpips_network, clip_encoder
        self.left_out: dict[str, int] = {}
        self.scenario: list[int] = []
        self._errors: dict[str, list[Tensor]] = {}  # [n, T] of each batch
        self._clips: dict[int, list[Tensor]] = {w: [] for w in self.windows}
        self._true_clips: dict[int, dict[int, Tensor]] = {w: {} for w in self.windows}

    def add(
        self, forced: Rollouts, rolled: Rollouts, reference: Tensor, reference_valid: Tensor
    ) -> None:
        """Measure a batch.

        Args:
            forced: one-step predictions, frames 0..T.
            rolled: autoregressive ones.
            reference: `[n, T + 1, C, H, W]` uint8.
            reference_valid: `[n]` bool, rows whose true frames all exist.
        """
        fine = torch.ones(len(forced), dtype=torch.bool)
        inside = torch.ones(len(forced), dtype=torch.bool)
        for rollouts in (forced, rolled):
            finite = rollouts.frames.flatten(1).isfinite().all(1)
            fine &= (finite & rollouts.valid.all(1)).cpu()
            inside &= ~is_out_of_range(rollouts.frames).cpu()
        there = reference_valid.cpu()
        self._leave_out("whose true episode ends within the windows", ~there)
        self._leave_out("that the model answers with missing or not finite frames", there & ~fine)
        self._leave_out("that the model answers with values outside 0..1", there & fine & ~inside)
        kept = (there & fine & inside).nonzero()[:, 0]
        if not len(kept):
            return
        self.scenario += forced.scenario[kept].tolist()
        first, last = self.start + 1, self.start + self.windows[-1]
        true = reference[kept, self.start : last + 1]
        one, own = (r.frames[kept.to(r.device), first : last + 1] for r in (forced, rolled))
        before, given = true[:, :-1], true[:, :1].expand_as(true[:, 1:])
        for name, frames in (
            ("forced", one),
            ("rolled", own),
            ("forced_floor", before),
            ("rolled_floor", given),
        ):
            self._measure(name, frames, true[:, 1:])
        if self.clip_encoder is not None:
            self._encode(own, true[:, 1:], forced.scenario[kept].tolist())

    def _leave_out(self, reason: str, rows: Tensor) -> None:
        if count := int(rows.sum()):
            self.left_out[reason] = self.left_out.get(reason, 0) + count

    def _measure(self, name: str, frames: Tensor, true: Tensor) -> None:
        true = _alike(true, frames)
        self._errors.setdefault(f"{name}_mse", []).append(mse(frames, true).cpu())
        if self.lpips_network is not None:
            found = lpips(frames.contiguous(), true.contiguous(), self.lpips_network)
            self._errors.setdefault(f"{name}_lpips", []).append(found.cpu())

    def _encode(self, own: Tensor, true: Tensor, scenario: Sequence[int]) -> None:
        for window in self.windows:
            self._clips[window].append(self._features(own[:, :window]))
            known = self._true_clips[window]
            fresh = {s: i for i, s in enumerate(scenario) if s not in known}
            if fresh:
                clips = true[list(fresh.values()), :window]
                known.update(zip(fresh, self._features(_alike(clips, own)), strict=True))

    def _features(self, clips: Tensor) -> Tensor:
        assert self.clip_encoder is not None
        size = self.clip_encoder.chunk_clips(clips)
        parts = torch.split(clips, size)
        found = [self.clip_encoder.encode_clips(part) for part in parts]
        return torch.cat(found).double().cpu()

    # ---- results -------------------------------------------------------------------------

    def result(
        self, *, model: str, panel: str, fps: float, frame_size: tuple[int, int]
    ) -> GameNGenResult:
        """Averages over scenarios."""
        steps = self.windows[-1]
        measures = ("mse", "psnr", *(["lpips"] if self.lpips_network is not None else []))
        curves, persistence = (
            {
                f"{name}_{measure}": self._curve(f"{name}{which}", measure).mean(0)
                for name in ("forced", "rolled")
                for measure in measures
            }
            for which in ("", "_floor")
        )
        return GameNGenResult(
            model=model,
            panel=panel,
            fps=fps,
            frame_size=frame_size,
            start=self.start,
            scenarios=len(set(self.scenario)),
            rows=len(self.scenario),
            left_out=dict(self.left_out),
            lpips_network=None if self.lpips_network is None else self.lpips_network.name,
            clip_encoder=None if self.clip_encoder is None else self.clip_encoder.name,
            forced=self._averages("forced", steps),
            forced_persistence=self._averages("forced_floor", steps),
            windows=tuple(self._window(frames, fps) for frames in self.windows),
            curves=curves,
            persistence=persistence,
        )

    def _window(self, frames: int, fps: float) -> WindowResult:
        plain = WindowResult(
            frames=frames,
            seconds=frames / fps,
            errors=self._averages("rolled", frames),
            persistence=self._averages("rolled_floor", frames),
        )
        if self.clip_encoder is None:
            return plain
        clips = torch.cat(self._clips[frames])
        known = self._true_clips[frames]
        true = torch.stack(list(known.values()))
        distance = float(frechet_distance_from_features(clips, true).distance)
        low = high = bias = math.nan
        if len(known) >= _LEAST_SCENARIOS:
            found = frechet_interval(
                clips,
                true,
                preds_clusters=torch.tensor(self.scenario),
                target_clusters=torch.tensor(list(known)),
            )
            low, high, bias = float(found.low), float(found.high), float(found.bias)
        return replace(
            plain,
            frechet=distance,
            frechet_low=low,
            frechet_high=high,
            frechet_bias=bias,
            clips=len(clips),
            features=clips.shape[1],
        )

    def _averages(self, name: str, steps: int) -> Errors:
        squares = self._curve(name, "mse")[:, :steps]
        seen = None
        if self.lpips_network is not None:
            seen = Average.of(self._curve(name, "lpips")[:, :steps].mean(1))
        return Errors(
            psnr=Average.of(self._curve(name, "psnr")[:, :steps].mean(1)),
            psnr_of_mse=Average.of(-10 * squares.mean(1).log10()),
            lpips=seen,
            exact=int((torch.cat(self._errors[f"{name}_mse"])[:, :steps] == 0).sum()),
        )

    def _curve(self, name: str, measure: str) -> Tensor:
        """`[S, T]`, means over the rows of each scenario."""
        if measure == "psnr":
            return self._by_scenario(-10 * torch.cat(self._errors[f"{name}_mse"]).log10())
        return self._by_scenario(torch.cat(self._errors[f"{name}_{measure}"]))

    def _by_scenario(self, values: Tensor) -> Tensor:
        scenario = torch.tensor(self.scenario)
        known = sorted(set(self.scenario))
        return torch.stack([values[scenario == s].mean(0) for s in known])


def _alike(true: Tensor, frames: Tensor) -> Tensor:
    """True frames in the dtype and on the device of the model's."""
    true = true.to(frames.device)
    return true if frames.dtype == torch.uint8 else (true.float() / 255).to(frames.dtype)
