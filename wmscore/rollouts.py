"""`Rollouts`: a batch of generated videos with their reference, actions, labels and keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wmscore.manifest import Panel, PanelMismatchError
from wmscore.tensorfile import load_tensors, save_tensors

__all__ = ["RECONSTRUCTION", "TEACHER_FORCED", "Rollouts"]

TEACHER_FORCED = " (teacher-forced)"
RECONSTRUCTION = " (reconstruction)"
"""Ends the name under which a model's one-step predictions from the true history go."""

# Which row a tensor belongs to: B = one per rollout, S = one per reference video.
_PER_ROW = ("frames", "actions", "valid", "labels", "latents")
_PER_REFERENCE = ("reference", "reference_valid", "reference_labels", "reference_latents")
_KEYS = ("scenario", "seed", "branch", "reference_index")
_INFO = "info."
# What can be computed with.
_PIXELS = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollouts:
    """`B` rollouts of one model on one panel.

    Keys stay in host memory wherever the frames are, so that matching rows never waits for the
    device. Many rollouts may share one reference video: `reference_index` says which.

    Attributes:
        frames: `[B, T+1, C, H, W]` uint8 in 0..255, or floating point in [0, 1]; RGB. Frame 0 is
            the given initial observation and is never scored.
        actions: `[B, T]` int64 or `[B, T, A]` floating point; `actions[:, t]` acts between frame
            `t` and `t + 1`.
        scenario: `[B]` int64, index into the panel's scenarios.
        seed: `[B]` int64.
        branch: `[B]` int64, which script of the counterfactual group; 0 = commanded.
        model: name of the model.
        panel: fingerprint of the panel.
        valid: `[B, T+1]` bool, frames that exist. Defaults to all.
        labels: `[B, T+1, H, W]` integer maps, 0 = background, ids stable over time and shared
            with the reference, or None.
        latents: `[B, T+1, D]` floating point, the model's own state of each frame, or None.
        reference: `[S, T+1, C, H, W]` what the true world shows, of the frames' dtype, or None.
        reference_labels: `[S, T+1, H, W]` or None.
        reference_latents: `[S, T+1, D]`, the reference frames in the model's latent space (as its
            own encoder sees them), or None.
        reference_valid: `[S, T+1]` bool; defaults to all where there is a reference.
        reference_index: `[B]` int64, row of `reference` for each rollout.
        info: further per-row tensors `[B, ...]`, for example the step of an injected fault.

    Raises:
        TypeError: a tensor has the wrong dtype or is no tensor.
        ValueError: a tensor has the wrong shape, or an index is out of range.
    """

    frames: Tensor
    actions: Tensor
    scenario: Tensor
    seed: Tensor
    branch: Tensor
    model: str
    panel: str
    valid: Tensor = None  # type: ignore[assignment]  # filled in by __post_init__
    labels: Tensor | None = None
    latents: Tensor | None = None
    reference: Tensor | None = None
    reference_labels: Tensor | None = None
    reference_valid: Tensor | None = None
    reference_latents: Tensor | None = None
    reference_index: Tensor | None = None
    info: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in the masks and check shapes, dtypes and keys."""
        self._check_tensor("frames", self.frames, ("B", "T+1", "C", "H", "W"))
        size: dict[str, int] = dict(
            zip(("B", "T+1", "C", "H", "W"), self.frames.shape, strict=True)
        )
        if size["T+1"] < 2:
            raise ValueError(
                "frames: expected the initial frame and at least one step, "
                f"got {tuple(self.frames.shape)} for [B, T+1, C, H, W]"
            )
        size["T"] = size["T+1"] - 1
        self._check_pixels("frames", self.frames)
        given: Tensor | None = self.valid
        if given is None:
            shape, device = self.frames.shape[:2], self.frames.device
            object.__setattr__(self, "valid", torch.ones(shape, dtype=torch.bool, device=device))
        self._check_tensor("valid", self.valid, ("B", "T+1"), size, torch.bool)
        if isinstance(self.actions, Tensor) and self.actions.dim() == 3:
            self._check_tensor("actions", self.actions, ("B", "T", "A"), size)
            if not self.actions.is_floating_point():
                raise TypeError(f"actions: expected floating point, got {self.actions.dtype}")
        else:
            self._check_tensor("actions", self.actions, ("B", "T"), size, torch.int64)
        self._check_labels("labels", self.labels, ("B", "T+1", "H", "W"), size)
        self._check_latents("latents", self.latents, ("B", "T+1", "D"), size)
        if self.latents is not None:
            size["D"] = self.latents.shape[2]
        for name in ("scenario", "seed", "branch"):
            key = getattr(self, name)
            self._check_tensor(name, key, ("B",), size, torch.int64)
            object.__setattr__(self, name, key.cpu())
        for name, value in self.info.items():
            if not isinstance(value, Tensor) or value.shape[:1] != self.frames.shape[:1]:
                raise ValueError(f"info[{name!r}]: expected a tensor [B={size['B']}, ...]")
        self._check_reference(size)

    def _check_reference(self, size: dict[str, int]) -> None:
        if self.reference is None:
            for name in (*_PER_REFERENCE, "reference_index"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: given without a reference")
            return
        self._check_tensor("reference", self.reference, ("S", "T+1", "C", "H", "W"), size)
        if self.reference.dtype != self.frames.dtype:
            raise TypeError(
                f"reference: expected the frames' dtype {self.frames.dtype}, "
                f"got {self.reference.dtype}"
            )
        size["S"] = self.reference.shape[0]
        if self.reference_valid is None:
            ones = torch.ones(
                self.reference.shape[:2], dtype=torch.bool, device=self.reference.device
            )
            object.__setattr__(self, "reference_valid", ones)
        self._check_tensor("reference_valid", self.reference_valid, ("S", "T+1"), size, torch.bool)
        self._check_labels("reference_labels", self.reference_labels, ("S", "T+1", "H", "W"), size)
        self._check_latents("reference_latents", self.reference_latents, ("S", "T+1", "D"), size)
        if self.reference_index is None:
            raise ValueError("reference_index: expected [B] int64 beside a reference, got None")
        self._check_tensor("reference_index", self.reference_index, ("B",), size, torch.int64)
        index = self.reference_index.cpu()
        object.__setattr__(self, "reference_index", index)
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size["S"]:
            raise ValueError(
                f"reference_index: expected 0..{size['S'] - 1}, "
                f"got {int(index.min())}..{int(index.max())}"
            )

    @staticmethod
    def _check_tensor(
        name: str,
        value: Any,
        dims: tuple[str, ...],
        size: dict[str, int] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        sizes = size or {}
        if value.dim() != len(dims) or any(
            d in sizes and sizes[d] != n for d, n in zip(dims, value.shape, strict=True)
        ):
            wanted = ", ".join(f"{d}={sizes[d]}" if d in sizes else d for d in dims)
            raise ValueError(f"{name}: expected [{wanted}], got {list(value.shape)}")
        if dtype is not None and value.dtype != dtype:
            raise TypeError(f"{name}: expected {dtype}, got {value.dtype}")

    @staticmethod
    def _check_pixels(name: str, value: Tensor) -> None:
        if value.dtype not in _PIXELS:
            raise TypeError(
                f"{name}: expected uint8 or floating point of 16 to 64 bits, got {value.dtype}"
            )

    @classmethod
    def _check_labels(
        cls, name: str, value: Tensor | None, dims: tuple[str, ...], size: dict[str, int]
    ) -> None:
        if value is None:
            return
        cls._check_tensor(name, value, dims, size)
        if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
            raise TypeError(f"{name}: expected an integer dtype, got {value.dtype}")

    @classmethod
    def _check_latents(
        cls, name: str, value: Tensor | None, dims: tuple[str, ...], size: dict[str, int]
    ) -> None:
        if value is None:
            return
        cls._check_tensor(name, value, dims, size)
        if not value.is_floating_point():
            raise TypeError(f"{name}: expected floating point, got {value.dtype}")

    # ---- size and place ------------------------------------------------------------------

    def __len__(self) -> int:
        """Number of rollouts `B`."""
        return self.frames.shape[0]

    @property
    def horizon(self) -> int:
        """Number of predicted steps `T`."""
        return self.frames.shape[1] - 1

    @property
    def device(self) -> torch.device:
        """Where frames, labels, latents and references are; keys are always on the host."""
        return self.frames.device

    def __repr__(self) -> str:
        """Model and shapes, no pixels."""
        parts = [f"model={self.model!r}"]
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                kind = str(value.dtype).removeprefix("torch.")
                parts.append(f"{f.name}={kind}{list(value.shape)}")
        return f"Rollouts({', '.join(parts)})"

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Rollouts:
        """The same rollouts with pixels, labels, actions and latents on `device`."""
        moved = {
            name: value.to(device, non_blocking=non_blocking)
            for name in (*_PER_ROW, *_PER_REFERENCE)
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)

    # ---- rows ----------------------------------------------------------------------------

    def __getitem__(self, rows: int | slice | Sequence[int] | Tensor) -> Rollouts:
        """The chosen rollouts, with only the references that they use."""
        if isinstance(rows, int):
            rows = [rows]
        index = torch.arange(len(self))[torch.as_tensor(rows) if isinstance(rows, list) else rows]
        here = index.to(self.device, non_blocking=True)
        changed: dict[str, Any] = {
            name: value[here] for name in _PER_ROW if (value := getattr(self, name)) is not None
        }
        changed |= {name: getattr(self, name)[index] for name in ("scenario", "seed", "branch")}
        changed["info"] = {k: v[index.to(v.device)] for k, v in self.info.items()}
        if self.reference_index is not None:
            used, where = torch.unique(self.reference_index[index], return_inverse=True)
            changed["reference_index"] = where
            for name in _PER_REFERENCE:
                value = getattr(self, name)
                if value is not None and len(used) < value.shape[0]:
                    changed[name] = value[used.to(value.device)]
        return replace(self, **changed)

    def split(self, size: int) -> Iterator[Rollouts]:
        """Consecutive batches of at most `size` rollouts."""
        if size < 1:
            raise ValueError(f"size: expected at least 1, got {size}")
        for start in range(0, len(self), size):
            yield self[start : start + size]

    @staticmethod
    def concat(parts: Sequence[Rollouts]) -> Rollouts:
        """All rows of `parts` in order; they must share panel, model, shapes and optional fields.

        References are appended, not merged.
        """
        if not parts:
            raise ValueError("parts: expected at least one Rollouts, got none")
        first = parts[0]
        for name in ("panel", "model"):
            found = sorted({getattr(part, name) for part in parts})
            if len(found) > 1:
                raise ValueError(f"{name}: expected one for all parts, got {found}")
        dtypes = sorted({str(part.frames.dtype) for part in parts})
        if len(dtypes) > 1:  # torch would turn 0..255 into floats
            raise ValueError(f"frames: expected one dtype for all parts, got {dtypes}")
        joined: dict[str, Any] = {}
        for name in (*_PER_ROW, *_PER_REFERENCE, "scenario", "seed", "branch"):
            values = [getattr(part, name) for part in parts]
            missing = [value is None for value in values]
            if any(missing) and not all(missing):
                raise ValueError(f"{name}: given in some parts and missing in others")
            if not any(missing):
                joined[name] = torch.cat(values)
        if first.reference is not None:
            index, offset = [], 0
            for part in parts:
                if part.reference is not None and part.reference_index is not None:
                    index.append(part.reference_index + offset)
                    offset += part.reference.shape[0]
            joined["reference_index"] = torch.cat(index)
        if any(part.info.keys() != first.info.keys() for part in parts):
            raise ValueError("info: expected the same keys in all parts")
        joined["info"] = {k: torch.cat([part.info[k] for part in parts]) for k in first.info}
        return replace(first, **joined)

    def with_reference(self, truth: Rollouts) -> Rollouts:
        """These rollouts beside `truth`, matched by (scenario, branch).

        Where the rollouts are floating point in [0, 1] and the truth is uint8, the truth is
        divided by 255; nothing else is converted. Latents of the truth count as encoded by the
        model: give the truth those of the model's encoder, or none.

        Raises:
            PanelMismatchError: `truth` belongs to another panel.
            ValueError: a rollout's (scenario, branch) is missing or doubled in `truth`.
        """
        if truth.panel != self.panel:
            raise PanelMismatchError(
                f"truth: expected panel {self.panel[:12]}, got panel {truth.panel[:12]}"
            )
        places: dict[tuple[int, int], int] = {}
        for row, key in enumerate(zip(truth.scenario.tolist(), truth.branch.tolist(), strict=True)):
            if key in places:
                raise ValueError(f"truth: scenario {key[0]}, branch {key[1]} is there twice")
            places[key] = row
        index = []
        for key in zip(self.scenario.tolist(), self.branch.tolist(), strict=True):
            if key not in places:
                raise ValueError(f"truth: scenario {key[0]}, branch {key[1]} is missing")
            index.append(places[key])
        used, where = torch.unique(torch.tensor(index, dtype=torch.int64), return_inverse=True)
        here: slice | Tensor = used.to(truth.device)
        if len(used) and int(used[-1] - used[0]) == len(used) - 1:
            here = slice(int(used[0]), int(used[-1]) + 1)  # neighbours: nothing is copied
        reference = truth.frames[here].to(self.device)
        if reference.dtype == torch.uint8 and self.frames.is_floating_point():
            reference = reference.to(self.frames.dtype) / 255
        return replace(
            self,
            reference=reference,
            reference_valid=truth.valid[here].to(self.device),
            reference_labels=None if truth.labels is None else truth.labels[here].to(self.device),
            reference_latents=(
                None if truth.latents is None else truth.latents[here].to(self.device)
            ),
            reference_index=where,
        )

    def without_reference(self) -> Rollouts:
        """The same rollouts alone, for a file that does not repeat the truth."""
        none: dict[str, Any] = dict.fromkeys((*_PER_REFERENCE, "reference_index"))
        return replace(self, **none)

    # ---- files ---------------------------------------------------------------------------

    def save(self, path: str | Path, *, sync: bool = False) -> None:
        """Write one safetensors file, atomically, with the panel's fingerprint inside.

        With `sync` it is on the disk before it has its name, which takes a moment.
        """
        tensors = {
            name: value
            for name in (*_PER_ROW, *_PER_REFERENCE, *_KEYS)
            if (value := getattr(self, name)) is not None
        }
        tensors |= {_INFO + name: value for name, value in self.info.items()}
        header = {"panel": self.panel, "model": self.model}
        save_tensors(path, "rollouts", tensors, header, sync=sync)

    @classmethod
    def load(cls, path: str | Path, panel: Panel | str, *, device: str = "cpu") -> Rollouts:
        """Read a file that `save` wrote for `panel`, or for the panel with that fingerprint.

        Raises:
            PanelMismatchError: the file was made for another panel.
            ValueError: the file is no rollouts file.
        """
        header, tensors = load_tensors(path, "rollouts", device=device)
        wanted, name = (panel, "") if isinstance(panel, str) else (panel.fingerprint, panel.name)
        if header["panel"] != wanted:
            raise PanelMismatchError(
                f"{path}: made for panel {header['panel'][:12]}, "
                f"but this panel is {wanted[:12]}" + f" ({name})" * bool(name)
            )
        info = {k.removeprefix(_INFO): v for k, v in tensors.items() if k.startswith(_INFO)}
        rest = {k: v for k, v in tensors.items() if not k.startswith(_INFO)}
        return cls(**rest, info=info, model=header["model"], panel=header["panel"])
