"""`Scorer`: stream batches of rollouts in, get every axis' curve and the usable horizon out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import (
    ActionReport,
    Encoder,
    InverseDynamics,
    ObjectIdentity,
    Reason,
    ScriptCross,
    ScriptTest,
)
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault, describe_faults
from wmscore.scorer.axes import Curves
from wmscore.scorer.distances import check_measure
from wmscore.scorer.ending import panel_horizon
from wmscore.scorer.faults import Asked, evaluation_faults
from wmscore.scorer.groups import Groups, shown_steps
from wmscore.scorer.identity import identity_persistence, join_identity
from wmscore.scorer.ignore import cover_ignored
from wmscore.scorer.latent import latent_drift
from wmscore.scorer.learned import Learned
from wmscore.scorer.measures import measure_of
from wmscore.scorer.motion import PanelMotion
from wmscore.scorer.parts import Parts
from wmscore.scorer.perceptual import perceptual_drift
from wmscore.scorer.quality import frame_quality
from wmscore.scorer.response import Scripts, action_response
from wmscore.scorer.returns import reset_consistency
from wmscore.scorer.skill import Oracle, check_oracle
from wmscore.scorer.telling import (
    describe_networks,
    describe_starts,
    provenance,
    warn_of_labels,
)
from wmscore.scores import Curve, Scores

if TYPE_CHECKING:
    from wmscore.networks import LpipsNetwork

__all__ = ["Scorer"]


class Scorer:
    """Score rollouts of one model on one panel, batch by batch.

    Memory is bounded by the batch: of each batch only `[rows, T]` curves are kept, and with the
    axis action_response 40 numbers of each script and step that tell of its motion (`PanelMotion`)
    and what the test against chance needs. Rollouts that wait for the other branches of their
    counterfactual group are held until those arrive, so batches that keep groups together hold
    nothing. The result does not depend on batch size or order.

    Args:
        panel: the contract; every batch must carry its fingerprint.
        device: where to compute; batches elsewhere are copied there as they are (`uint8`).
        lpips: adds LPIPS to the raw measures. A panel whose measure is `lpips_<net>` needs it; by
            default its weights are looked for (`wmscore.networks.LpipsNetwork.load`).
        encoder: adds the cosine distance of its features to the raw measures; a panel whose measure
            is `feature_cosine` or `feature_l2` needs the one that it names, and so does one whose
            identity is told with an encoder.
        latent_encoder: encodes reference frames for the axis latent_drift, where the rollouts
            bring no `reference_latents`.
        inverse_dynamics: recognises actions in frames, for the recovery of discrete actions or of
            the values of continuous ones, in place of a linear probe on motion features.
        oracle: scores of a re-run of the true world on the same panel, which a skill score takes
            for 1; by default a re-run shows the reference itself.
        takes_actions: the model is told the scripts. Of one that takes no actions only commanded
            scripts are judged: its action_response is undefined (`Reason.NO_ACTIONS`), neither 0
            nor a fault, and where that axis gates so is its usable horizon, which a model must not
            win by what it cannot be asked for. The horizons of the other axes stand.

    Raises:
        FileNotFoundError: the panel's measure is LPIPS and its weights are not here.
        PanelMismatchError: the oracle was scored on another panel.
        ValueError: the device cannot be used, or a network is not the one that the panel names.

    Example:
        >>> scorer = Scorer(panel)                                        # doctest: +SKIP
        >>> for rollouts in replay(panel, model, truth):                  # doctest: +SKIP
        ...     scorer.update(rollouts)
        >>> scorer.compute().horizon.steps                                # doctest: +SKIP
    """

    def __init__(
        self,
        panel: Panel,
        *,
        device: torch.device | str = "cpu",
        lpips: LpipsNetwork | None = None,
        encoder: Encoder | None = None,
        latent_encoder: Encoder | None = None,
        inverse_dynamics: InverseDynamics | None = None,
        oracle: Scores | None = None,
        takes_actions: bool = True,
    ) -> None:
        """Start with no rows."""
        self.panel = panel
        self._takes_actions = takes_actions
        if inverse_dynamics is not None and not isinstance(inverse_dynamics, InverseDynamics):
            raise TypeError(
                "inverse_dynamics: expected a name and recognise(frames) (see "
                f"functional.InverseDynamics), got {type(inverse_dynamics).__name__}"
            )
        self._inverse_dynamics = inverse_dynamics
        self.device = torch.device(device)
        try:
            torch.empty(0, device=self.device)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f"device: {device} cannot be used here: {error}") from None
        if oracle is not None and oracle.panel.fingerprint != panel.fingerprint:
            fields = "\n".join(panel.differences(oracle.panel))
            raise PanelMismatchError(f"oracle: scored on another panel:\n{fields}")
        self._learned = Learned.of(panel, self.device, lpips, encoder)
        self._latent_encoder = latent_encoder
        self._oracle = Oracle.of(oracle)
        skills = [
            spec.measure if spec.axis == "perceptual_drift" else f"latent_{spec.measure}"
            for spec in panel.axes
            if spec.score == "skill"
        ]
        self._networks = describe_networks(self._learned, latent_encoder, inverse_dynamics)
        check_oracle(self._oracle, self._networks, skills)
        branches = [len(scenario.scripts) for scenario in panel.scenarios]
        self._respond = any(spec.axis == "action_response" for spec in panel.axes)
        every = self._respond and takes_actions
        self._needs = torch.tensor(branches if every else [1] * len(branches))
        self._branches = torch.tensor(branches)
        self._scripts = Scripts.of(panel)
        self._seeds = torch.tensor(panel.seeds)
        self._asked = Asked(panel, self.device)
        self.reset()

    def reset(self) -> None:
        """Forget all rows."""
        rows = len(self.panel.scenarios) * len(self.panel.seeds)
        self._arrived = torch.zeros(rows, int(self._branches.max()), dtype=torch.bool)
        self._repeated = torch.zeros(rows, dtype=torch.bool)
        self._waiting: Rollouts | None = None
        self._motion = PanelMotion(self.panel, self.device, self._inverse_dynamics)
        self._parts = Parts(rows)
        self._identity: list[tuple[Tensor, ObjectIdentity]] = []
        self._truth: list[tuple[Tensor, ObjectIdentity]] = []
        self._model: str | None = None
        self._info: dict[str, torch.Size] | None = None
        self._size: torch.Size | None = None
        self._recorded: dict[int, RowFault] = {}

    # ---- streaming -----------------------------------------------------------------------

    def update(self, rollouts: Rollouts) -> None:
        """Score a batch; rows whose group is incomplete wait for the rest of it.

        Raises:
            PanelMismatchError: the rollouts were made for another panel.
            ValueError: another model, no reference, a horizon or a key that is not the panel's.
        """
        self._check(rollouts)
        slot = self._slots(rollouts)
        if self._refused_for_size(rollouts):
            return
        code = slot * self._arrived.shape[1] + rollouts.branch
        order = torch.argsort(code, stable=True)
        first = torch.ones(len(code), dtype=torch.bool)
        first[order[1:]] = code[order[1:]] != code[order[:-1]]
        fresh = first & ~self._arrived.view(-1)[code]
        arrived = self._arrived.view(-1).index_fill(0, code, True).view_as(self._arrived)

        wanted = fresh & (rollouts.branch < self._needs[rollouts.scenario])
        batch = rollouts if bool(wanted.all()) else rollouts[wanted]
        if self._waiting is not None:
            batch = Rollouts.concat([self._waiting, batch])
        place = self._slots(batch)
        complete = (arrived.sum(1)[place] >= self._needs[batch.scenario]) & arrived[place, 0]
        waiting = None if bool(complete.all()) else batch[~complete]
        if bool(complete.any()):
            self._score(batch if waiting is None else batch[complete])
        # Only now: a batch that was refused leaves no trace and may come again, corrected.
        self._arrived, self._waiting, self._model = arrived, waiting, rollouts.model
        self._info = {name: value.shape[1:] for name, value in rollouts.info.items()}
        self._size = rollouts.frames.shape[2:]
        self._repeated[slot[~fresh]] = True

    def _check(self, rollouts: Rollouts) -> None:
        if rollouts.panel != self.panel.fingerprint:
            raise PanelMismatchError(
                f"rollouts: made for panel {rollouts.panel[:12]}, but this scorer's panel is "
                f"{self.panel.fingerprint[:12]} ({self.panel.name})"
            )
        if self._model is not None and rollouts.model != self._model:
            raise ValueError(
                f"rollouts: expected model {self._model!r}, got {rollouts.model!r}; "
                "use one Scorer per model"
            )
        info = {name: value.shape[1:] for name, value in rollouts.info.items()}
        if self._info is not None and info != self._info:
            raise ValueError(
                f"rollouts.info: expected {sorted(self._info)} with the shapes of earlier "
                f"batches, got {sorted(info)}"
            )
        # Measures of another size are other measures (`haarpsi_full`, `ms_ssim_3`).
        observed = self.panel.contract.observation is not None
        if not observed and self._size is not None and rollouts.frames.shape[2:] != self._size:
            raise ValueError(
                f"rollouts.frames: expected [C, H, W] = {list(self._size)} as in earlier batches, "
                f"got {list(rollouts.frames.shape[2:])}"
            )
        channels = rollouts.frames.shape[2]
        for spec in self.panel.axes:
            if spec.axis == "perceptual_drift":
                check_measure(spec.measure, channels)
        if self._learned.lpips is not None and channels != 3:
            raise ValueError(f"rollouts.frames: LPIPS needs 3 channels, got {channels}")
        if rollouts.reference is None:
            raise ValueError("rollouts: expected a reference; add one with `with_reference(truth)`")
        if rollouts.horizon != self.panel.contract.horizon:
            raise ValueError(
                f"rollouts: expected horizon {self.panel.contract.horizon}, got {rollouts.horizon}"
            )

    def _refused_for_size(self, rollouts: Rollouts) -> bool:
        """Whether frames have another size than the panel's; then their rows are faults."""
        size = self.panel.contract.observation
        frame = tuple(rollouts.frames.shape[2:])
        if size is None or frame == (size.channels, size.height, size.width):
            return False
        text = (
            f"expected [{size.channels}, {size.height}, {size.width}] by contract.observation, "
            f"got {list(frame)}"
        )
        rows = set(zip(rollouts.scenario.tolist(), rollouts.seed.tolist(), strict=True))
        self.add_faults(
            [
                RowFault(
                    scenario=scenario,
                    seed=seed,
                    reason=Reason.WRONG_SIZE,
                    error="rollouts.frames",
                    message=text,
                )
                for scenario, seed in sorted(rows)
            ],
            model=rollouts.model,
        )
        return True

    def _slots(self, rollouts: Rollouts) -> Tensor:
        """Row of the panel for each rollout, `[B]`; on the host, like all keys."""
        scenario, branch = rollouts.scenario, rollouts.branch
        if bool(((scenario < 0) | (scenario >= len(self._branches))).any()):
            raise ValueError(
                f"rollouts.scenario: expected 0..{len(self._branches) - 1}, "
                f"got {sorted(set(scenario.tolist()))}"
            )
        if bool(((branch < 0) | (branch >= self._branches[scenario])).any()):
            raise ValueError("rollouts.branch: a branch is not in the panel's scenario")
        match = rollouts.seed[:, None] == self._seeds
        if not bool(match.any(1).all()):
            strange = sorted(set(rollouts.seed[~match.any(1)].tolist()))
            raise ValueError(f"rollouts.seed: {strange} not in the panel's seeds")
        return scenario * len(self._seeds) + match.int().argmax(1)

    def add_faults(self, faults: Iterable[RowFault], *, model: str | None = None) -> None:
        """Take note of rows that the model failed to answer: why they will be missing.

        A row that arrives all the same is judged by what arrived.

        Args:
            faults: of `wmscore.recordings.Recording.faults`, say.
            model: name of the model, which is needed where no row arrives at all.

        Raises:
            ValueError: a fault is of no row of the panel, or of another model.
        """
        if model is not None and self._model not in (None, model):
            raise ValueError(
                f"faults: expected model {self._model!r}, got {model!r}; use one Scorer per model"
            )
        rows = {row: i for i, row in enumerate(self.panel.rows())}
        found = list(faults)
        strange = [(f.scenario, f.seed) for f in found if (f.scenario, f.seed) not in rows]
        if strange:
            raise ValueError(f"faults: expected (scenario, seed) rows of the panel, got {strange}")
        self._recorded |= {rows[fault.scenario, fault.seed]: fault for fault in found}
        self._model = model if self._model is None else self._model

    # ---- one batch of complete groups ----------------------------------------------------

    @torch.no_grad()
    def _score(self, batch: Rollouts) -> None:
        observation = self.panel.contract.observation
        batch = cover_ignored(batch.to(self.device, non_blocking=True), observation)
        groups = Groups.arrange(batch, self._slots(batch), self._arrived.shape[1])
        part = {
            "slot": groups.slot.to(self.device, non_blocking=True),
            **evaluation_faults(groups, self._asked),
            "shown": groups.shown,
        }
        for name, value in groups.commanded.info.items():
            part[f"info.{name}"] = value.to(self.device)
        for spec in self.panel.axes:
            curves: Curves = {}
            if spec.axis == "perceptual_drift":
                score, reason, curves = perceptual_drift(groups, spec, self._learned, self._oracle)
            elif spec.axis == "latent_drift":
                score, reason, curves = latent_drift(
                    groups, spec, self._latent_encoder, self._oracle
                )
            elif spec.axis == "identity_persistence":
                found = identity_persistence(groups, spec, self._learned.encoder)
                score, reason, curves = found.score, found.reason, found.curves
                part |= {f"summary.{name}": value for name, value in found.summary.items()}
                part["warnings"] = found.warnings
                if found.objects is not None:
                    self._identity.append((part["slot"], found.objects))
                if found.truth is not None:
                    self._truth.append((part["slot"], found.truth))
            elif spec.axis == "reset_consistency":
                score, reason, curves = reset_consistency(groups)
            elif spec.axis != "action_response":
                assert_never(spec.axis)
            elif not self._takes_actions:
                score = torch.full_like(groups.shown, torch.nan, dtype=torch.float64)
                reason = torch.full_like(groups.reason, int(Reason.NO_ACTIONS))
            else:
                motion = self._motion.of_groups(groups)
                response = action_response(
                    groups, spec, self._scripts, self._learned.encoder, motion
                )
                part["motion"] = motion[0]
                if self._inverse_dynamics is not None:
                    part["recognised"] = self._motion.recognised(groups)
                part["motion_shown"] = groups.of_scripts(shown_steps(groups.batch), 0)
                score, reason, curves = response.score, response.reason, response.curves
                part |= {f"cross.{k}": v for k, v in response.cross._asdict().items()}
            part |= {f"axes.{spec.axis}.values": score, f"axes.{spec.axis}.reason": reason}
            part |= _named("measures", curves)
        part |= _named("measures", frame_quality(groups))
        part |= _named("measures", self._learned.similarities(groups))
        self._parts.add(part)

    # ---- result --------------------------------------------------------------------------

    def compute(self) -> Scores:
        """All rows of the panel in its order; rows that never came whole are faults."""
        rows, steps = len(self._arrived), self.panel.contract.horizon
        parts = self._parts
        why = torch.full((rows,), int(Reason.MISSING), dtype=torch.uint8)
        for row, recorded in self._recorded.items():
            why[row] = int(recorded.reason)
        fault = parts.gather("fault", why)
        fault[self._repeated & (fault == 0)] = int(Reason.DUPLICATE_ROW)
        missing = why[:, None].repeat(1, steps)
        absent = parts.gather("slot", torch.full((rows,), -1)) < 0
        refused = {row: error for row, error in self._recorded.items() if bool(absent[row])}
        nan = torch.full((rows, steps), torch.nan, dtype=torch.float64)

        def curve(key: str, **about: object) -> Curve:
            return Curve(
                values=parts.gather(f"{key}.values", nan),
                reason=parts.gather(f"{key}.reason", missing),
                **about,  # type: ignore[arg-type]
            )

        axes: dict[str, Curve] = {spec.axis: curve(f"axes.{spec.axis}") for spec in self.panel.axes}
        measures = [
            name.removesuffix(".values")
            for name in parts.names("measures")
            if name.endswith(".values")
        ]
        shown = parts.gather("shown", torch.zeros(rows, steps, dtype=torch.bool))
        fault, horizon = panel_horizon(
            self.panel, axes, shown, fault, takes_actions=self._takes_actions
        )
        report, test = self._of_actions(fault) if "motion" in parts else (None, None)
        ids = [scenario.id for scenario in self.panel.scenarios]
        lines = describe_faults(list(refused.values()), ids)
        said = {f"warning fault {i}": line for i, line in enumerate(lines)}
        if "start_difference" in parts:
            apart, script = (parts.filled(f"start_{k}", 0) for k in ("difference", "script"))
            said |= describe_starts(self.panel, fault, apart, script)
        if "warnings" in parts:
            said |= warn_of_labels(self.panel, parts.filled("warnings", 0))
        return Scores(
            panel=self.panel,
            model=self._model or "",
            axes=axes,
            measures={n: curve(f"measures.{n}", **measure_of(n)._asdict()) for n in measures},
            horizon=horizon,
            fault=fault,
            identity=join_identity(self._identity, rows),
            identity_truth=join_identity(self._truth, rows),
            actions=report,
            chance=test,
            summary={n: parts.filled(f"summary.{n}", torch.nan) for n in parts.names("summary")},
            info={n: parts.filled(f"info.{n}", 0) for n in parts.names("info")},
            provenance=provenance(self.panel, self.device, self._networks, self._oracle) | said,
            messages={row: str(error) for row, error in refused.items()},
        )

    def _of_actions(self, fault: Tensor) -> tuple[ActionReport | None, ScriptTest]:
        """What all rows say about actions, and whether the response is more than chance.

        But for those with an evaluation fault, which say nothing about the model.
        """
        sound, filled = fault == 0, self._parts.filled
        report = self._motion.report(
            filled("motion", torch.nan),
            filled("motion_shown", 0) & sound[:, None, None],
            filled("recognised", self._motion.unrecognised)
            if "recognised" in self._parts
            else None,
        )
        cross = ScriptCross(
            table=filled("cross.table", 0) * sound[:, None, None],
            steps=filled("cross.steps", 0) * sound,
            has=filled("cross.has", 0) & sound[:, None],
        )
        scenario = torch.arange(len(self.panel.scenarios)).repeat_interleave(len(self.panel.seeds))
        return report, F.script_test(cross, scenario=scenario)


def _named(group: str, curves: Curves) -> dict[str, Tensor]:
    """Curves as the tensors of a part."""
    part: dict[str, Tensor] = {}
    for name, (values, reason) in curves.items():
        part |= {f"{group}.{name}.values": values, f"{group}.{name}.reason": reason}
    return part
