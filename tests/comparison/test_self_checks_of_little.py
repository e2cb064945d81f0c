"""`self_check` where there is little or nothing to check: it passes nothing, and says so."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import torch
from torch import Tensor

from tests.made_scores import made_panel, made_scores
from wmscore.comparison import SelfCheck, self_check
from wmscore.functional import Reason
from wmscore.scores import Scores

S, K, T = 8, 4, 32


def ends(seed: int = 3, seeds: int = K) -> Tensor:
    return torch.randint(5, 28, (S, seeds), generator=torch.Generator().manual_seed(seed))


def made(last: Tensor, model: str = "made", **options: object) -> Scores:
    return made_scores(made_panel(S, last.shape[1], T), last, model=model, **options)


def said(found: SelfCheck) -> str:
    json.dumps(found.to_json(), allow_nan=False)
    return "\n".join(found.sentences())


def test_a_recording_beside_itself_is_one_recording() -> None:
    # Its doubled seeds would look like luck that all scenarios share.
    one = made(ends(11))
    alone, twice = self_check(one, worlds=200), self_check(one, one, worlds=200)
    assert alone.luck.p_value > 0.01
    assert twice.luck == alone.luck
    assert twice.splits == alone.splits
    assert (twice.seeds, twice.repeated) == (K, S * K)
    assert (alone.outcome, twice.outcome) == ("pass", "undecided")
    assert twice.repeated_seeds == K
    # Rounding, of another device say, makes no new recording.
    near = replace(one, axes={n: replace(c, values=c.values + 1e-8) for n, c in one.axes.items()})
    assert self_check(one, near, worlds=200).repeated_seeds == K
    assert "Record other seeds" in said(twice)


def test_only_what_is_repeated_is_left_out() -> None:
    one = ends(11)
    mixed = ends(12)
    mixed[:, 0] = one[:, 0]
    found = self_check(made(one), made(mixed), worlds=50)
    assert found.seeds == 2 * K - 1
    chance = (one[:, 1:] == mixed[:, 1:]).sum()
    assert found.repeated == S + chance
    assert found.repeated_seeds == 1
    assert found.outcome != "pass"


def test_a_second_recording_without_rows_is_not_passed() -> None:
    fault = torch.full((S, K), int(Reason.SHORT), dtype=torch.uint8)
    found = self_check(made(ends()), made(ends(4), fault=fault), worlds=100)
    assert found.recordings is not None
    assert math.isnan(found.recordings.p_value)
    assert found.outcome == "undecided"
    assert "The two recordings share no scenario with a usable horizon." in said(found)


def test_luck_that_cannot_be_told_is_not_passed() -> None:
    fault = torch.zeros(S, K, dtype=torch.uint8)
    fault[:, 0] = int(Reason.SHORT)
    found = self_check(made(ends(), fault=fault), worlds=100)
    assert math.isnan(found.luck.p_value)
    assert found.splits.chosen.valid
    assert found.outcome == "undecided"
    assert "Whether a seed is lucky in many scenarios at once cannot be told" in said(found)


def test_another_model_that_shows_nothing() -> None:
    one = made(ends())
    assert "made and made do not differ by scenario" in said(
        self_check(one, against=one, worlds=50)
    )
    fault = torch.full((S, K), int(Reason.SHORT), dtype=torch.uint8)
    gone = made(ends(), model="gone", fault=fault)
    text = said(self_check(one, against=gone, worlds=50))
    assert "0 scenarios with a pair of gone are too few to try." in text
    assert "nan" not in text
