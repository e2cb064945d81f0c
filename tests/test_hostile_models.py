"""Recordings of models that misbehave: nothing is lost, mixed up or passed over in silence."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests import test_recordings as small
from tests.test_recordings import PANEL, WORLD, Counting, files, raise_for, scored
from wmscore.functional import Reason
from wmscore.recordings import Recording, record, record_shard
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault, describe_faults
from wmscore.worlds import Item

Change = Callable[[Sequence[Item], Rollouts], Rollouts]


class Changed(Counting):
    """The true world whose answers are changed."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        return self.change(items, super().rollout(items, horizon))


def faulty(folder: Path, model: Counting, **options: object) -> list[tuple[int, int]]:
    recorded = record_shard(folder, PANEL, WORLD, model, **{"batch_size": 3, **options})
    return [(fault.scenario, fault.seed) for fault in recorded.faults]


def same_as_truth(folder: Path) -> bool:
    """Whether all rows show what the true world shows."""
    batches = list(Recording(folder))
    assert batches
    return all(torch.equal(b.frames, b.reference[b.reference_index]) for b in batches)


# ---- exceptions --------------------------------------------------------------------------


class SpeechlessError(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class PanicError(BaseException):
    """As extensions in Rust raise where they panic: no Exception."""


@pytest.mark.parametrize("error", [SpeechlessError(), PanicError("at index 7"), MemoryError()])
def test_any_exception_is_a_fault(tmp_path: Path, error: BaseException) -> None:
    model = Counting(raise_for((1, 0), (1, 1), error=error))  # type: ignore[arg-type]
    assert faulty(tmp_path / "r", model) == [(1, 0), (1, 1)]
    fault = Recording(tmp_path / "r").faults[0]
    assert (fault.error, fault.reason) == (type(error).__name__, Reason.MODEL_ERROR)
    assert fault.message in ("(a message that cannot be read)", "at index 7", "(no message)")


def test_a_huge_message_is_cut_and_says_so(tmp_path: Path) -> None:
    model = Counting(raise_for((1, 0), error=RuntimeError("x" * 1_000_000)))
    assert faulty(tmp_path / "r", model, batch_size=2) == [(1, 0)]
    assert (tmp_path / "r" / "part-00001.json").stat().st_size < 10_000
    assert (tmp_path / "r" / "part-00001.log").stat().st_size > 1_000_000
    message = Recording(tmp_path / "r").faults[0].message
    assert message.endswith("x ... (1000000 characters; all of them are in the log)")
    (sentence,) = Recording(tmp_path / "r").summary()
    assert len(sentence) < 500


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\n\nlost\nmore", "E: lost ..."),
        ("one", "E: one"),
        ("one\n", "E: one"),
        ("bad \udc80 \x1b[31m \x00", r"E: bad \udc80 \x1b[31m \x00"),
        ("a\rb", "E: a ..."),
        ("y" * 400, "E: " + "y" * 300 + " ..."),
    ],
)
def test_a_message_in_one_line(message: str, line: str) -> None:
    fault = RowFault(scenario=0, seed=0, reason=Reason.MODEL_ERROR, error="E", message=message)
    assert str(fault) == line
    assert describe_faults([fault], ["a"])[0].encode().isascii()


# ---- answers -----------------------------------------------------------------------------


def test_a_model_may_use_its_buffers_again_for_single_rows(tmp_path: Path) -> None:
    class Reusing(Counting):
        """Fails for more than a row, and answers each with the same frames and keys, refilled."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            if len(items) > 3:
                raise RuntimeError("one row at a time")
            names = ("frames", "actions", "scenario", "seed", "branch")
            if not hasattr(self, "kept"):
                self.kept = {name: getattr(answer, name).clone() for name in names}
            for name in names:
                self.kept[name].copy_(getattr(answer, name))
            return replace(answer, **self.kept)

    assert faulty(tmp_path / "r", Reusing()) == []
    record(tmp_path / "plain", PANEL, WORLD, Counting(), batch_size=3)
    assert files(tmp_path / "r") == files(tmp_path / "plain")


def test_a_model_that_writes_into_its_question(tmp_path: Path) -> None:
    """It harms no truth and no other row, and does not change what was commanded."""

    class Overwriting(Counting):
        """Blackens the given frame after it has answered."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            first = torch.stack([item.frame for item in items if item.frame is not None])
            frames = torch.cat([first[:, None], answer.frames[:, 1:]], 1)
            for item in items:
                item.frame.zero_()  # type: ignore[union-attr]
                item.labels.zero_()  # type: ignore[union-attr]
            return replace(answer, frames=frames)

    assert faulty(tmp_path / "r", Overwriting(), batch_size=1) == []
    assert same_as_truth(tmp_path / "r")

    class Disobedient(Counting):
        """Turns the script into another one, and says that it obeyed."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            for item in items:
                item.actions.zero_()
            return super().rollout(items, horizon)

    assert faulty(tmp_path / "other", Disobedient()) == list(PANEL.rows())
    assert "commanded actions" in Recording(tmp_path / "other").faults[0].message


def test_a_model_that_changes_its_name(tmp_path: Path) -> None:
    class Renamed(Counting):
        """Calls itself otherwise from the second call on."""

        @property
        def name(self) -> str:  # type: ignore[override]
            return "counting" if len(self.asked) < 2 else "renamed"

    assert faulty(tmp_path / "r", Renamed()) == PANEL_ROWS[3:]
    recording = Recording(tmp_path / "r")
    assert "expected 'counting', the name under which it is recorded" in recording.faults[0].message
    assert scored(recording).faults() == {"wrong_answer": 3}


PANEL_ROWS = list(PANEL.rows())


def test_info_of_another_kind_is_told_at_once(tmp_path: Path) -> None:
    """The scorer takes one kind of `info`; a part with another must not make all unscorable."""

    def inform(items: Sequence[Item], answer: Rollouts) -> Rollouts:
        extra = {"speed": torch.zeros(len(items))} if items[0].scenario == 1 else {}
        return replace(answer, info=extra)

    assert faulty(tmp_path / "r", Changed(inform), batch_size=2) == [(1, 0), (1, 1)]
    assert "info: expected {}" in Recording(tmp_path / "r").faults[0].message
    assert scored(Recording(tmp_path / "r")).faults() == {"wrong_answer": 2}
    # Nor may a later run bring another kind.
    folder = tmp_path / "later"
    record_shard(folder, PANEL, WORLD, Counting(), batch_size=2, shard=(0, 3))
    assert faulty(folder, Changed(inform), batch_size=2) == [(1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda i, a: replace(a, frames=a.frames.float() / 255), "frames: expected"),
        (lambda i, a: replace(a, labels=None), "labels: expected"),
        (lambda i, a: replace(a, info={"x": torch.zeros(len(i))}), "info: expected"),
        (lambda i, a: replace(a, latents=torch.zeros(len(i), 5, 3)), "latents: expected"),
    ],
)
def test_a_retried_row_of_another_kind_harms_no_other(
    tmp_path: Path, change: Change, what: str
) -> None:
    folder = tmp_path / "r"
    assert faulty(folder, Counting(raise_for((1, 0))), batch_size=6) == [(1, 0)]
    known = files(folder)
    assert faulty(folder, Changed(change), batch_size=6, retry_faults=True) == [(1, 0)]
    fault = Recording(folder).faults[0]
    assert fault.reason == Reason.WRONG_ANSWER
    assert what in fault.message
    assert files(folder) == known
    assert scored(Recording(folder)).faults() == {"wrong_answer": 1}
    assert faulty(folder, Counting(), batch_size=6, retry_faults=True) == []


def test_rollouts_of_two_dtypes_do_not_join() -> None:
    from wmscore.replay import panel_items

    items = panel_items(PANEL, [(0, 0)])
    answer = WORLD.rollout(items, small.HORIZON)
    floats = replace(answer, frames=answer.frames / 255)
    with pytest.raises(ValueError, match=r"frames: expected one dtype .* got .*float32.*uint8"):
        Rollouts.concat([answer, floats])
    with pytest.raises(TypeError, match=r"expected uint8 or floating point .*float8"):
        replace(answer, frames=floats.frames.to(torch.float8_e4m3fn))


def test_what_a_model_learned_is_kept_by_a_retry(tmp_path: Path) -> None:
    class Learning(Counting):
        """Tells the losses of what it was asked so far."""

        @property
        def conversion_losses(self) -> tuple[str, ...]:
            return tuple(dict.fromkeys(f"dropped in scenario {s}" for s, _ in self.rows))

    folder = tmp_path / "r"
    assert faulty(folder, Learning(raise_for((2, 1))), batch_size=2) == [(2, 1)]
    assert len(Recording(folder).about.facts["conversion_losses"]) == 3
    assert faulty(folder, Learning(), batch_size=2, retry_faults=True) == []
    assert sorted(Recording(folder).about.facts["conversion_losses"]) == [
        f"dropped in scenario {s}" for s in range(3)
    ]


def test_a_report_of_another_form_is_asked_for_again(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    for text in ("", "{}", "[]", '{"faults": [{"row": 1}]}', '{"faults": [{"reason": "else"}]}'):
        faulty(folder, Counting(raise_for((1, 0))), batch_size=6)
        path = folder / "part-00000.json"
        assert json.loads(path.read_text())["faults"]
        path.write_text(text)
        assert len(Recording(folder).missing) == 6
