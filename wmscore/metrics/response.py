"""Action response and its latency as `torchmetrics.Metric`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wmscore import functional as F
from wmscore.metrics._scenarios import OWN_SCENARIO, scenario_numbers

__all__ = ["ActionLatency", "ActionResponse"]

_PER_GROUP = ("agreement", "cosine", "gain", "leak", "script_match")
_STILL = 2 / 255  # of the data range: what rounding and compression alone may differ by


class ActionResponse(Metric):
    """Whether generated frames follow the action script as the reference's do, per group.

    A group is one initial state under `K` action scripts, the commanded one first. See
    `wmscore.functional.script_response`, `script_match` and `script_test`. State is 2.4 kB a group.

    Args:
        still: largest difference of a pixel between scripts of the reference, in data ranges, at
            which `leak` takes it for not reacting.
        data_range: of a value; ``None`` means 255 for ``uint8`` and 1.0 for floats.
        draws: ways to deal the scripts out, for the p-value.
        seed: of the draws.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> shape = (2, 3, 5, 3, 16, 16)  # two groups of three scripts
        >>> target = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        >>> preds = target.clone()
        >>> preds[1] = target[1, :1]  # blind to the script in the second group
        >>> metric = ActionResponse()
        >>> metric.update(preds, target)
        >>> found = metric.compute()
        >>> found["agreement"].tolist(), found["gain"].tolist()
        ([1.0, 0.0], [1.0, 0.0])
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    agreement: list[Tensor]
    cosine: list[Tensor]
    gain: list[Tensor]
    leak: list[Tensor]
    script_match: list[Tensor]
    table: list[Tensor]
    steps: list[Tensor]
    has: list[Tensor]
    scenario: list[Tensor]

    def __init__(
        self,
        *,
        still: float = _STILL,
        data_range: float | None = None,
        draws: int = 10_000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.still = still
        self.data_range = data_range
        self.draws = draws
        self.seed = seed
        for name in (*_PER_GROUP, "table", "steps", "has", "scenario"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        scenario: Tensor | None = None,
        *,
        preds_rows: Tensor | None = None,
        target_rows: Tensor | None = None,
        present: Tensor | None = None,
    ) -> None:
        """Add groups: frames `[G, K, T, C, H, W]`, or rows of frames as in `script_products`.

        Args:
            preds: generated frames of steps 1..T.
            target: reference frames under the same scripts.
            scenario: int64 `[G]`, 0 or more; groups of one scenario (its seeds) share a number, in
                all updates and on all ranks, and are one piece of evidence. ``None``: each group is
                a scenario by itself.
            preds_rows: int64 `[G, K]`, row of `preds` for each script; -1 where a group has fewer.
            target_rows: int64 `[G, K]`, row of `target`.
            present: bool `[G, K, T]`, steps at which both frames exist.

        Raises:
            ValueError: shapes do not fit, or a scenario is negative.
            TypeError: not tensors, or of the wrong dtype.
        """
        products = F.script_products(
            preds,
            target,
            preds_rows=preds_rows,
            target_rows=target_rows,
            present=present,
            still=self.still,
            data_range=self.data_range,
        )
        cross = F.script_cross(products)
        groups, scripts = cross.has.shape
        own = scenario_numbers(scenario, groups, cross.table.device)
        found = F.script_response(products)
        for name in ("agreement", "cosine", "gain", "leak"):
            getattr(self, name).append(getattr(found, name).nanmean(-1))
        self.script_match.append(F.script_match(products).match.nanmean(-1))
        # Of one size on all ranks, however many scripts the groups have.
        more = F.MOST_SCRIPTS - scripts
        self.table.append(pad(cross.table, (0, more, 0, more)))
        self.steps.append(cross.steps)
        self.has.append(pad(cross.has, (0, more)))
        self.scenario.append(own)

    def compute(self) -> dict[str, Tensor]:
        """Of each group `[N]`, in the order of the updates, and of all together.

        `agreement`, `cosine`, `gain`, `leak` and `script_match`: means over the steps at which each
        is defined, NaN where it never is. `p_value`, 0-dim: of the null hypothesis that it does not
        matter which script a rollout was told; `smallest_p_value`, 0-dim: what these scripts could
        give at best. NaN without a defined step.
        """
        if isinstance(self.table, list) and not self.table:  # a tensor once ranks are joined
            empty = torch.zeros(0, dtype=torch.float64)
            nothing = torch.full((), torch.nan, dtype=torch.float64)
            values = dict.fromkeys(_PER_GROUP, empty)
            return values | {"p_value": nothing, "smallest_p_value": nothing}
        has, scenario = dim_zero_cat(self.has), dim_zero_cat(self.scenario)
        scripts = 1 + int((has.any(0) * torch.arange(has.shape[1], device=has.device)).max())
        number = -1 - torch.arange(len(scenario), device=scenario.device)
        test = F.script_test(
            F.ScriptCross(
                table=dim_zero_cat(self.table)[:, :scripts, :scripts],
                steps=dim_zero_cat(self.steps),
                has=has[:, :scripts],
            ),
            scenario=torch.where(scenario == OWN_SCENARIO, number, scenario),
            draws=self.draws,
            seed=self.seed,
        )
        values = {name: dim_zero_cat(getattr(self, name)) for name in _PER_GROUP}
        return values | {"p_value": test.p_value, "smallest_p_value": test.smallest}


class ActionLatency(Metric):
    """How many steps generated motion lags behind the reference's under the same commands.

    See `wmscore.functional.response_latency`; all rollouts must have one number of steps. State is
    `8 T (2 D + 1) + 8` bytes a rollout, of discrete actions.

    Args:
        num_actions: of discrete commands; ``None`` for continuous ones.
        options: of `response_latency`: `max_lag`, `draws`, `seed`, `prewhiten`, `level`,
            `min_response`.
        kwargs: passed to `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> commands = torch.randint(0, 3, (32, 24), generator=generator)
        >>> target = torch.tensor([0.0, -4.0, 4.0])[commands][..., None]  # nothing, left, right
        >>> preds = torch.cat([torch.zeros(32, 2, 1), target[:, :-2]], 1)
        >>> metric = ActionLatency(num_actions=3)
        >>> metric.update(commands[:16], preds[:16], target[:16])
        >>> metric.update(commands[16:], preds[16:], target[16:])
        >>> metric.compute().excess.pooled.lag.item()
        2.0
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    commands: list[Tensor]
    preds: list[Tensor]
    target: list[Tensor]
    valid: list[Tensor]
    scenario: list[Tensor]

    def __init__(
        self,
        *,
        num_actions: int | None = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_actions = num_actions
        self.options = dict(options or {})
        self._last: dict[str, torch.Size] | None = None
        for name in ("commands", "preds", "target", "valid", "scenario"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        commands: Tensor,
        preds_motion: Tensor,
        target_motion: Tensor,
        scenario: Tensor | None = None,
        *,
        valid: Tensor | None = None,
    ) -> None:
        """Add rollouts: what was commanded, and how the picture moved.

        Args:
            commands: int64 ids `[B, T]`, or `[B, T, A]` of any real dtype.
            preds_motion: generated `[B, T, D]`, floating point, such as the `response` of
                `motion_features`; NaN where undefined.
            target_motion: the reference's, likewise.
            scenario: int64 `[B]`, 0 or more; for the p-value scripts are exchanged among rollouts
                of one scenario only, so that what a scenario shows under any script is no evidence.
                In all updates or in none. ``None``: among all rollouts.
            valid: bool, broadcasts to `[B, T]`, steps that count.

        Raises:
            ValueError: steps or dims differ from those of earlier updates, `commands` are ids and
                there is no `num_actions`, or shapes do not fit.
            TypeError: `scenario` is not an int64 tensor.
        """
        shapes = {
            "commands": commands,
            "preds_motion": preds_motion,
            "target_motion": target_motion,
        }
        now = {name: value.shape[1:] for name, value in shapes.items()}
        if self._last is not None and now != self._last:
            raise ValueError(
                f"update: expected steps and dims {_sizes(self._last)} as before, got {_sizes(now)}"
            )
        if commands.ndim == 2 and self.num_actions is None:
            raise ValueError("num_actions must be given for discrete commands [B, T]")
        mask = torch.ones(preds_motion.shape[:2], dtype=torch.bool, device=preds_motion.device)
        own = scenario_numbers(scenario, len(preds_motion), preds_motion.device)
        self.commands.append(commands)
        self.preds.append(preds_motion.double())
        self.target.append(target_motion.double())
        self.valid.append(mask if valid is None else mask & valid)
        self.scenario.append(own)
        self._last = now

    def reset(self) -> None:
        """Forget all rollouts."""
        super().reset()
        self._last = None

    def compute(self) -> F.ResponseLatency:
        """The lags of all rollouts together, and of each `[N]` in the order of the updates.

        Raises:
            ValueError: there is no rollout, some have a scenario and others not, or what came does
                not fit.
        """
        if isinstance(self.preds, list) and not self.preds:  # a tensor once ranks are joined
            raise ValueError("compute: expected at least one rollout, got none")
        scenario = dim_zero_cat(self.scenario)
        alone = int((scenario == OWN_SCENARIO).sum())
        if 0 < alone < len(scenario):
            raise ValueError(
                f"scenario: expected it in all updates or in none, got {len(scenario) - alone} "
                f"rollouts with and {alone} without"
            )
        return F.response_latency(
            dim_zero_cat(self.commands),
            dim_zero_cat(self.preds),
            dim_zero_cat(self.target),
            valid=dim_zero_cat(self.valid),
            groups=None if alone else scenario,
            num_actions=self.num_actions,
            **self.options,
        )


def _sizes(shapes: dict[str, torch.Size]) -> dict[str, list[int]]:
    return {name: list(shape) for name, shape in shapes.items()}
