"""A/A of a recording: what its seeds are good for, and what tests make of nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.comparison.cells import RESOLUTION, matched_cells
from wmscore.comparison.gate import GATE_SCENARIOS
from wmscore.comparison.null_checks import DRAWS, NullCheck, Rejections, null_check, null_check_pair
from wmscore.comparison.phrases import count, readable
from wmscore.comparison.same import check_comparable
from wmscore.comparison.seed_checks import (
    RecordingsTest,
    SharedLuckTest,
    recordings_test,
    shared_luck_test,
)
from wmscore.scores import Scores

__all__ = ["SelfCheck", "horizon_cells", "self_check"]

_DOUBT = 0.01  # p-value from which on something is called wrong
_MOST = 0.5  # share of repeated rows from which a seed is the one of the first recording

Outcome = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What `self_check` returns.

    Attributes:
        model: whose recording.
        panel: its name.
        fingerprint: of the panel.
        scenarios: of the panel.
        seeds: of the recording, or of both recordings together, without seeds of the second that
            mostly repeat the first.
        undefined: rows without a usable horizon, which are left out.
        faults: how many of these have an evaluation fault, by kind; the others have no axis to
            judge by.
        splits: the model against itself: seeds dealt out to two halves.
        luck: whether a seed is lucky in many scenarios at once.
        repeated: rows of a seed that both recordings have with the same scores, but for rounding;
            None without a second one.
        repeated_seeds: seeds of which most rows are repeated. Where there are any, the outcome is
            undecided.
        recordings: whether two recordings differ more than seeds do; None without a second one.
        against: name of the other model of `flips`.
        flips: what tests say of two models that differ as these do by scenario, but are alike on
            average; None without another model.
    """

    model: str
    panel: str
    fingerprint: str
    scenarios: int
    seeds: int
    undefined: int
    splits: NullCheck
    luck: SharedLuckTest
    repeated: int | None = None
    repeated_seeds: int | None = None
    recordings: RecordingsTest | None = None
    against: str | None = None
    flips: NullCheck | None = None
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Whether comparisons with this model can be trusted, as far as one recording tells."""
        doubts = [self.luck.p_value]
        if self.recordings is not None:
            doubts += [self.recordings.p_value, self.recordings.interaction_p]
        if self.splits.chosen.valid is False or min(_known(doubts), default=1.0) < _DOUBT:
            return "fail"
        few = self.splits.scenarios - self.splits.tied < GATE_SCENARIOS
        few |= bool(self.repeated_seeds)  # what repeats the first recording says nothing of it
        open_questions = any(math.isnan(p) for p in doubts)
        return "undecided" if few or open_questions or self.splits.chosen.valid is None else "pass"

    def sentences(self) -> list[str]:
        """What was found, in words, the most important first."""
        said = [_of_splits(self.splits), *_of_luck(self.luck)]
        if self.undefined:
            kinds = [f"{n} x {readable(kind)}" for kind, n in self.faults.items()]
            if silent := self.undefined - sum(self.faults.values()):
                kinds.append(f"{silent} x no axis to judge by")
            said.append(
                f"{count(self.undefined, 'row')} without a usable horizon ({', '.join(kinds)}) "
                "tell nothing here."
            )
        if self.recordings is not None:
            said += _of_recordings(self.recordings, self.repeated or 0)
        if self.flips is not None:
            said += _of_flips(self.flips, self.model, str(self.against))
        return said

    def tests(self) -> list[tuple[str, Rejections]]:
        """(what was compared, what a test said), the lines of a table."""
        made = [("the model with itself", self.splits)]
        if self.flips is not None:
            made.append((f"as {self.against}, alike on average", self.flips))
        return [(n, r) for n, c in made for r in (c.chosen, c.pairs, c.unpaired)]

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is undefined is None."""
        data = asdict(self) | {
            "luck": self.luck._asdict(),
            "recordings": None if self.recordings is None else self.recordings._asdict(),
            "outcome": self.outcome,
            "verdict": self.sentences(),
        }
        plain: dict[str, Any] = _plain(data)
        return plain


def self_check(
    scores: Scores,
    second: Scores | None = None,
    *,
    against: Scores | None = None,
    worlds: int = DRAWS,
    level: float = 0.05,
    seed: int = 0,
) -> SelfCheck:
    """Check on a model's own recording what `compare` takes for granted.

    Usable horizons are what is looked at. Three questions:

    * Dealt out to two halves, do the model's seeds pass for one model (`null_check`)?
    * Are seeds draws of their own, or is one lucky everywhere (`shared_luck_test`)?
    * With a second recording: is it alike but for its seeds (`recordings_test`)?

    Args:
        scores: of the model.
        second: of another recording of the same checkpoint, best with other seeds.
        against: of another model, to show what tests make of two models that only differ in which
            scenarios suit them.
        worlds: how often seeds are dealt.
        level: of rejection.
        seed: of all that is drawn.

    Returns:
        A `SelfCheck`.

    Raises:
        PanelMismatchError: the panels differ, in more than the seeds of a second recording.
        ValueError: a panel with a single seed, or scores by different networks or rules.
    """
    cells = horizon_cells(scores)
    undefined, faults = int(cells.isnan().sum()), Counter(scores.faults())
    recordings = flips = repeats = None
    if second is not None:
        # Seeds are all that may differ.
        aligned = second.panel.model_copy(update={"seeds": scores.panel.seeds})
        check_comparable([scores, replace(second, panel=aligned)])
        other = horizon_cells(second)
        undefined += int(other.isnan().sum())
        faults.update(second.faults())
        recordings = recordings_test(cells, other, seed=seed)
        repeats = _repeats(scores, second)
    if against is not None:
        pair = matched_cells([scores, against]).horizon
        flips = null_check_pair(pair[0], pair[1], worlds=worlds, level=level, seed=seed)
    if repeats is not None:
        # What is repeated would look like luck that the scenarios share.
        fresh = repeats.double().mean(0) <= _MOST
        cells = torch.cat([cells, other[:, fresh.to(other.device)]], 1)
    if cells.shape[1] < 2:
        raise ValueError("scores: expected two seeds or more of the model, got 1")
    return SelfCheck(
        model=scores.model,
        panel=scores.panel.name,
        fingerprint=scores.panel.fingerprint,
        scenarios=len(scores.panel.scenarios),
        seeds=cells.shape[1],
        undefined=undefined,
        splits=null_check(cells, worlds=worlds, level=level, seed=seed),
        luck=shared_luck_test(cells, seed=seed),
        repeated=None if repeats is None else int(repeats.sum()),
        repeated_seeds=None if repeats is None else int((~fresh).sum()),
        recordings=recordings,
        against=None if against is None else against.model,
        flips=flips,
        faults=dict(faults),
    )


def horizon_cells(scores: Scores) -> Tensor:
    """Usable horizon in steps, ``[S, K]`` float64; NaN where undefined."""
    return matched_cells([scores]).horizon[0]


def _repeats(scores: Scores, second: Scores) -> Tensor:
    """Rows `[S, K]` of the second that score at every step as the first does with that seed."""
    shared = [seed for seed in scores.panel.seeds if seed in second.panel.seeds]
    found = torch.ones(len(scores.panel.scenarios), len(shared), dtype=torch.bool)
    for axis, curve in scores.axes.items():
        pair = []
        for part, values in ((scores, curve.values), (second, second.axes[axis].values)):
            columns = [part.panel.seeds.index(seed) for seed in shared]
            cells = values.view(len(part.panel.scenarios), len(part.panel.seeds), -1)
            pair.append(cells[:, columns])
        apart = (pair[0] - pair[1]).abs() > RESOLUTION
        found &= ~(apart | (pair[0].isnan() != pair[1].isnan())).any(-1)
    rows = torch.zeros(len(found), len(second.panel.seeds), dtype=torch.bool)
    rows[:, [second.panel.seeds.index(seed) for seed in shared]] = found
    return rows


def _known(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _of_splits(found: NullCheck) -> str:
    chosen = found.chosen
    if chosen.valid is None:
        return (
            f"{count(found.scenarios, 'scenario')} with two seeds or more, {GATE_SCENARIOS} are "
            "needed: below that no result could be significant at 5 %, and there is nothing to "
            "check."
        )
    if found.tied == found.scenarios:
        return (
            "Seeds make no difference in any scenario: the model ignores its seed, or every "
            "horizon is censored or 0. One seed tells as much as all; only scenarios are evidence."
        )
    rate = f"{chosen.rejected:.1%} of {chosen.worlds} deals [{chosen.low:.1%}, {chosen.high:.1%}]"
    text = f"Compared with itself, the model is called different in {rate} at {found.level:.0%}: "
    if not chosen.valid:
        text += "more often than the level says. Do not trust a comparison on this panel."
    elif chosen.high < found.level:
        text += (
            "less often than the level says, which ties and few patterns of signs do. A difference "
            "that is found can be trusted; some are missed."
        )
    else:
        text += "as the level says."
    if found.tied:
        text += f" In {found.tied} of {found.scenarios} scenarios all seeds have the same horizon."
    return text


def _of_luck(found: SharedLuckTest) -> list[str]:
    if math.isnan(found.p_value):
        text = (
            "Whether a seed is lucky in many scenarios at once cannot be told: it takes two "
            "scenarios in which all seeds, two or more, have a usable horizon."
        )
        return [text]
    numbers = (
        f"spread {found.spread:.2f}, expected {found.expected:.2f} steps; p {found.p_value:.3g}"
    )
    if found.p_value < _DOUBT:
        text = (
            f"Some seeds are lucky in many scenarios at once ({numbers}): rollouts of one seed are "
            "no independent draws. Compare on several seeds, and do not count them as evidence."
        )
        return [text]
    return [f"No seed is lucky in many scenarios at once ({numbers})."]


def _of_recordings(found: RecordingsTest, repeated: int) -> list[str]:
    if math.isnan(found.p_value):
        return ["The two recordings share no scenario with a usable horizon."]
    numbers = (
        f"on average by {found.difference:+.2f} steps, p {found.p_value:.3g}; by scenario "
        f"{found.interaction:.2f}, of seeds alone {found.expected:.2f} steps, "
        f"p {found.interaction_p:.3g}"
    )
    if min(_known([found.p_value, found.interaction_p])) < _DOUBT:
        text = (
            f"The two recordings differ more than seeds do ({numbers}): more has changed than the "
            "seed (weights, precision, batch size, sampler, version of the world)."
        )
    else:
        text = f"The two recordings differ no more than seeds do ({numbers})."
    if repeated:
        text += (
            f" {repeated} rows have the same seed and the same scores in both: a rollout "
            "that is repeated is no further evidence. Record other seeds."
        )
    return [text]


def _of_flips(found: NullCheck, model: str, against: str) -> list[str]:
    if found.chosen.valid is None:
        return [
            f"{count(found.scenarios, 'scenario')} with a pair of {against} are too few to try."
        ]
    if found.pairs.valid is None:
        return [f"{against} and {model} do not differ by scenario: there is nothing to try."]
    text = (
        f"If {against} and {model} were alike on average, and each suited some scenarios as it "
        f"does here: pairs of seeds taken for evidence would call them different in "
        f"{found.pairs.rejected:.1%} of panels, sign flips of scenarios in "
        f"{found.chosen.rejected:.1%}, at {found.level:.0%}."
    )
    return [text]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
