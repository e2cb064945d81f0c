"""Lift a model that predicts the next frame from the last few into a `WorldModel`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.timeline import Converter
from wmscore.worlds.action_intake import ActionIntake
from wmscore.worlds.given import given_frames
from wmscore.worlds.pixels import float_frames
from wmscore.worlds.protocol import Capabilities, Item, WorldModel, item_keys
from wmscore.worlds.randomness import row_generators
from wmscore.worlds.step import stack_actions

__all__ = ["ContinuesFrom", "Padding", "PredictNext", "WindowModel"]

Padding = Literal["repeat", "black", "short"]


class PredictNext(Protocol):
    """Predicts one frame of every row from the last ones, or its latent from their latents."""

    def __call__(
        self, context: Tensor, actions: Tensor, generators: Sequence[torch.Generator], /
    ) -> Tensor:
        """Predict.

        Args:
            context: `[B, K, ...]`, oldest first; `[B, K, 3, H, W]` uint8 where the model has no
                encoder. `K` is less while the history is short and nothing pads it.
            actions: `[B, K]` int64 or `[B, K, A]`, oldest first: `actions[:, k]` acts between
                `context[:, k]` and the frame after it, the last one leads to what is predicted.
            generators: one per row, on the model's device.

        Returns:
            `[B, ...]`, of the kind of one entry of the context.
        """
        ...


@runtime_checkable
class ContinuesFrom(WorldModel, Protocol):
    """A world model that can also go on after several true frames instead of one."""

    def continue_from(self, items: Sequence[Item], history: Tensor, horizon: int) -> Rollouts:
        """Roll out after a true history.

        Args:
            items: the rows.
            history: `[B, S + 1, 3, H, W]` uint8, true frames 0..S; S below the horizon.
            horizon: T, counted from frame 0.

        Returns:
            Frames 0..S as given, and S + 1..T as predicted under `actions[:, S:]`.
        """
        ...


class WindowModel:
    """A `WorldModel` that predicts each frame from the last K frames and actions.

    Latents stay latents while it goes: with `encode` and `decode` the context is what the model
    itself predicted, not a decoded and encoded copy of it, as such models are run. Frame 0 is the
    given one, bit for bit. All rows go together, and each row has a generator of its own.

    Before frame 0 there is no history, so a choice has to be made, and it is part of the result:

    - "repeat": frame 0 stands still, under no-ops;
    - "black": black frames, under no-ops;
    - "short": the context is shorter at first, for models that take any length up to K.

    `continue_from` begins after a true history instead. It is a `TeacherForced` model:
    `predict_next` slides the same window over the true frames. With `encode` and `decode` it is a
    `Reconstructing` one too.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> able = Capabilities(actions="discrete", context_frames=2, fps=10.0, frame_size=(64, 64))
        >>> def mean(context, actions, generators):  # of the last two frames
        ...     return context.float().mean(1).round().to(torch.uint8)
        >>> model = WindowModel(mean, name="mean", capabilities=able)
        >>> model.rollout(sprite_items(1, 4), 4).frames.shape
        torch.Size([2, 5, 3, 64, 64])
    """

    def __init__(
        self,
        predict: PredictNext,
        *,
        name: str,
        capabilities: Capabilities,
        encode: Callable[[Tensor], Tensor] | None = None,
        decode: Callable[[Tensor], Tensor] | None = None,
        converter: Converter[Tensor] | None = None,
        padding: Padding = "repeat",
        pad_action: int | Sequence[float] | None = None,
        past_actions: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Lift a function.

        Args:
            predict: predicts the next frame, or latent.
            name: of the model.
            capabilities: what it can do; `context_frames` is K.
            encode: `[N, 3, H, W]` uint8 frames to latents `[N, ...]`, without chance.
            decode: `[N, ...]` latents to frames, uint8 or floating point in [0, 1].
            converter: takes the panel's actions to the model's; by default they go by name.
            padding: what stands before frame 0.
            pad_action: the model's own action that stands there, as index or vector; by default
                the panel's no-op.
            past_actions: actions before the context's oldest frame that the model takes besides:
                `actions` is then `[B, past_actions + K, ...]`.
            device: where the model lives.

        Raises:
            ValueError: an unknown padding, less than one context frame, negative `past_actions`,
                or past actions of a short context.
        """
        if padding not in ("repeat", "black", "short"):
            raise ValueError(f"padding: expected 'repeat', 'black' or 'short', got {padding!r}")
        if capabilities.context_frames < 1:
            raise ValueError(
                f"context_frames: expected at least 1, got {capabilities.context_frames}"
            )
        if past_actions < 0 or (past_actions and padding == "short"):
            raise ValueError(
                f"past_actions: expected 0 or more, and 0 with padding 'short', got {past_actions}"
            )
        self.name = name
        self.capabilities = replace(capabilities, frames_per_call=1)
        self.padding: Padding = padding
        self.pad_action = pad_action
        self.past_actions = past_actions
        self.device = torch.device(device)
        self._predict, self._encode, self._decode = predict, encode, decode
        if encode is not None and decode is not None:  # `Reconstructing`, and only then
            self.reconstruct = self._reconstructed
        self._intake = ActionIntake(self.capabilities, converter, f"model {name!r}")

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What was lost where the panel's actions were converted, as sentences."""
        return self._intake.losses

    # ---- ways to roll out ----------------------------------------------------------------

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Roll out from frame 0.

        Raises:
            ValueError: an item has no frame or one of another size, an action that the model does
                not have, or the model predicts what is no frame.
        """
        first = given_frames(items, self.capabilities.frame_size, f"model {self.name!r}")
        return self._drive(items, first[:, None], horizon, field="frame")

    def predict_next(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Predict each frame from the true frames before it, all as far back as K.

        Raises:
            ValueError: fewer true frames than steps, besides what `rollout` raises.
        """
        if reference_frames.shape[1] < horizon:
            raise ValueError(
                f"reference_frames: expected at least {horizon} frames for {horizon} steps, "
                f"got {reference_frames.shape[1]}"
            )
        known = reference_frames[:, :horizon]
        return self._drive(items, known, horizon, field="reference_frames", forced=True)

    def continue_from(self, items: Sequence[Item], history: Tensor, horizon: int) -> Rollouts:
        """Roll out after a true history: its frames are given, all after them are predicted.

        Raises:
            ValueError: the history has no frame, or nothing is left to predict.
        """
        if not 1 <= history.shape[1] <= horizon:
            raise ValueError(
                f"history: expected 1..{horizon} frames before the horizon, got {history.shape[1]}"
            )
        return self._drive(items, history, horizon, field="history")

    def _reconstructed(
        self, items: Sequence[Item], reference_frames: Tensor, horizon: int
    ) -> Rollouts:
        """Encode and decode each true frame by itself.

        Raises:
            ValueError: fewer true frames than steps, or of another size, or the model decodes what
                is no frame.
        """
        if reference_frames.shape[1] <= horizon:
            raise ValueError(
                f"reference_frames: expected {horizon + 1} frames for {horizon} steps, got "
                f"{reference_frames.shape[1]}"
            )
        self._check_frames(items, reference_frames, "reference_frames")
        known = reference_frames[:, : horizon + 1].to(self.device)
        frames: Tensor | None = None
        with torch.no_grad():
            for t in range(1, horizon + 1):
                shown = self._shown(self._states(known[:, t]), items, t)
                if frames is None:
                    frames = self._begin(known[:, :1], horizon, shown)
                frames[:, t] = shown
        assert frames is not None
        return self._answer(items, frames)

    def _answer(self, items: Sequence[Item], frames: Tensor) -> Rollouts:
        actions = stack_actions(items, frames.shape[1] - 1).to(frames.device)
        return Rollouts(frames=frames, actions=actions, model=self.name, **item_keys(items))

    def _drive(
        self,
        items: Sequence[Item],
        known: Tensor,
        horizon: int,
        *,
        field: str,
        forced: bool = False,
    ) -> Rollouts:
        """Frames that are known are given; with `forced` they are predicted, all but frame 0."""
        given = self._intake.actions(items, horizon).to(self.device)
        self._check_frames(items, known, field)
        known = known.to(self.device)
        known_steps = known.shape[1] - 1
        window = _Window(self, items, known[:, 0], given)
        frames: Tensor | None = None
        with torch.no_grad():
            for t in range(horizon):
                if t < known_steps and not forced:
                    window.append(self._states(known[:, t + 1]))
                    continue
                seeds = row_generators(items, t, device=self.device)
                state = self._predict(window.context, window.actions(t), seeds)
                shown = self._shown(state, items, t + 1)
                if frames is None:
                    frames = self._begin(known, horizon, shown)
                if shown.dtype != frames.dtype:
                    raise ValueError(
                        f"model {self.name!r}, step {t + 1}: expected {frames.dtype} frames as at "
                        f"the step before, got {shown.dtype}"
                    )
                frames[:, t + 1] = shown
                if not forced:
                    window.append(state)
                elif t < known_steps:
                    window.append(self._states(known[:, t + 1]))
        assert frames is not None
        return self._answer(items, frames)

    # ---- frames --------------------------------------------------------------------------

    def _check_frames(self, items: Sequence[Item], frames: Tensor, field: str) -> None:
        wanted = (3, *self.capabilities.frame_size)
        if frames.dtype != torch.uint8 or frames.shape[0] != len(items):
            raise ValueError(
                f"{field}: expected uint8 [{len(items)}, T, C, H, W], got {frames.dtype} "
                f"{list(frames.shape)}"
            )
        if tuple(frames.shape[2:]) != wanted:
            raise ValueError(
                f"{field}: model {self.name!r} takes frames {list(wanted)}, got "
                f"{list(frames.shape[2:])}; wmscore.worlds.FitSize fits panels of another size"
            )

    def _states(self, frames: Tensor) -> Tensor:
        return frames if self._encode is None else self._encode(frames)

    def _shown(self, state: Tensor, items: Sequence[Item], step: int) -> Tensor:
        """The frame of a state, checked."""
        if self._encode is None and getattr(state, "dtype", None) != torch.uint8:
            found = getattr(state, "dtype", type(state).__name__)
            raise ValueError(
                f"model {self.name!r}, step {step}: expected uint8 frames as those of the context, "
                f"got {found}; uint8_frames rounds them, and encode= and decode= keep a context of "
                "another kind"
            )
        shown = state if self._decode is None else self._decode(state)
        wanted = (len(items), 3, *self.capabilities.frame_size)
        if tuple(shown.shape) != wanted or not (
            shown.dtype == torch.uint8 or shown.is_floating_point()
        ):
            raise ValueError(
                f"model {self.name!r}, step {step}: expected frames {list(wanted)}, uint8 or "
                f"floating point, got {shown.dtype} {list(shown.shape)}"
            )
        return shown

    def _begin(self, known: Tensor, horizon: int, shown: Tensor) -> Tensor:
        """Frames 0..T of the dtype that the model shows, with those that are known."""
        shape = (known.shape[0], horizon + 1, *known.shape[2:])
        frames = torch.empty(shape, dtype=shown.dtype, device=shown.device)
        unit = known if shown.dtype == torch.uint8 else float_frames(known)
        frames[:, : known.shape[1]] = unit.to(shown.dtype)
        return frames


class _Window:
    """The last K states and the actions beside them, with what stands before frame 0."""

    def __init__(self, model: WindowModel, items: Sequence[Item], first: Tensor, actions: Tensor):
        self._length = model.capabilities.context_frames
        self._short = model.padding == "short"
        self._reach = self._length + model.past_actions
        now = model._states(first)[:, None]
        before = now[:, :0]
        if not self._short and self._length > 1:
            still = now
            if model.padding == "black":
                still = model._states(torch.zeros_like(first))[:, None]
            before = still.expand(-1, self._length - 1, *now.shape[2:])
        self.context = torch.cat([before, now], 1)
        self._actions = actions
        if not self._short and self._reach > 1:
            self._actions = torch.cat([_pad(model, items, actions, self._reach - 1), actions], 1)

    def append(self, state: Tensor) -> None:
        """Move on by one frame."""
        self.context = torch.cat([self.context, state[:, None]], 1)[:, -self._length :]

    def actions(self, t: int) -> Tensor:
        """Those up to action t, which leads from the last frame of the context to frame t + 1."""
        if self._short:
            return self._actions[:, max(0, t + 1 - self._length) : t + 1]
        return self._actions[:, t : t + self._reach]


def _pad(model: WindowModel, items: Sequence[Item], actions: Tensor, count: int) -> Tensor:
    """`[B, count, ...]` actions before frame 0."""
    if model.pad_action is None:
        one = model._intake.rest(items).to(actions)
    else:
        one = torch.as_tensor(model.pad_action).to(actions).expand(len(items), *actions.shape[2:])
    return one[:, None].expand(-1, count, *actions.shape[2:])
