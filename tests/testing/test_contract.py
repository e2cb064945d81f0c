"""`check_world_model` catches broken promises, and fails nobody for what was never promised."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wmscore.rollouts import Rollouts
from wmscore.testing import (
    ContractError,
    ContractReport,
    DelayedActions,
    Faulty,
    NanFrame,
    ResetMismatch,
    check_world_model,
    sprite_items,
)
from wmscore.worlds import ActionBlind, Frozen, Item, OtherSeed, SpriteWorld, WorldModel

HORIZON = 6
WORLD = SpriteWorld(32, 32)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return sprite_items(2, HORIZON, world=WORLD)


class Edited:
    """The sprite world with something done to its answers, and promises of its own."""

    name = "edited"

    def __init__(self, **promises: object) -> None:
        self.capabilities = replace(WORLD.capabilities, **promises)  # type: ignore[arg-type]

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        rollouts = replace(WORLD.rollout(items, horizon), model=self.name)
        return self.edit(rollouts, items)

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        return rollouts


def later(rollouts: Rollouts, change: Tensor) -> Rollouts:
    """Change all but frame 0 by a few levels."""
    frames = rollouts.frames.clone()
    frames[:, 1:] = frames[:, 1:] // 2 + change.to(torch.uint8)
    return replace(rollouts, frames=frames)


class Random(Edited):
    """Draws noise without a seed."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        return later(rollouts, torch.randint(9, rollouts.frames[:, 1:].shape))


class Seeded(Edited):
    """Draws noise from each row's seed."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        shape = rollouts.frames[0, 1:].shape
        noise = [
            torch.randint(9, shape, generator=torch.Generator().manual_seed(item.seed))
            for item in items
        ]
        return later(rollouts, torch.stack(noise))


class BatchDependent(Edited):
    """Pixels depend on the number of rows."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        return later(rollouts, torch.tensor(len(items)))


class OrderDependent(Edited):
    """Pixels depend on the place of a row in its batch, single rows aside."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        place = torch.arange(len(items)) if items[0].branch else torch.zeros(len(items))
        return later(rollouts, place.view(-1, 1, 1, 1, 1))


class Foreseeing(Edited):
    """Early frames depend on the last action."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        return later(rollouts, rollouts.actions[:, -1].view(-1, 1, 1, 1, 1))


class HorizonDependent(Edited):
    """Early frames depend on the horizon."""

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        return later(rollouts, torch.tensor(rollouts.horizon))


class Recording(Edited):
    """Knows its own scripts only."""

    def __init__(self, known: Sequence[Item], **promises: object) -> None:
        super().__init__(**promises)
        self.known = known

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        for item in items:
            if not any(torch.equal(item.actions, known.actions) for known in self.known):
                raise ValueError("no clip of this script")
        return rollouts


def rows_of(report: ContractReport) -> dict[str, bool]:
    return {row.property: row.ok for row in report.rows}


def broken(model: WorldModel, items: Sequence[Item]) -> list[str]:
    report = check_world_model(model, items, HORIZON)
    return [name for name, ok in rows_of(report).items() if not ok]


# ---- models that keep their promises -----------------------------------------------------


@pytest.mark.parametrize(
    "model", [WORLD, Frozen(WORLD), ActionBlind(WORLD), OtherSeed(WORLD), Seeded(seedable=True)]
)
def test_honest_models_pass(model: WorldModel, items: list[Item]) -> None:
    report = check_world_model(model, items, HORIZON)
    report.raise_on_failure()
    assert report.ok
    assert report.model == model.name
    assert [row.property for row in report.rows if "teacher-forced" not in row.property] == [
        "shape",
        "keys",
        "frame 0",
        "pixel range",
        "valid",
        "labels",
        "deterministic",
        "seedable",
        "batch invariant",
        "prefix causal",
        "action effect",
        "capabilities",
    ]


def test_action_effect_is_measured(items: list[Item]) -> None:
    assert check_world_model(WORLD, items, HORIZON).action_effect > 1
    assert check_world_model(ActionBlind(WORLD), items, HORIZON).action_effect == 0
    moved = [item for item in items if item.branch == 0]
    # The other script is no-op, so the effect is the difference to the no-op rollout.
    still = [replace(item, actions=torch.zeros_like(item.actions)) for item in moved]
    gap = (
        WORLD.rollout(moved, HORIZON).frames.double() - WORLD.rollout(still, HORIZON).frames
    ).abs()[:, 1:]
    effect = check_world_model(WORLD, moved, HORIZON).action_effect
    assert effect == pytest.approx(float(gap.mean()))


# ---- models that do not ------------------------------------------------------------------


def test_no_determinism(items: list[Item]) -> None:
    found = broken(Random(), items)
    assert "deterministic" in found
    honest = Random(deterministic=False, seedable=False, batch_invariant=False, prefix_causal=False)
    report = check_world_model(honest, items, HORIZON)
    report.raise_on_failure()
    row = next(row for row in report.rows if row.property == "deterministic")
    assert not row.promised
    assert row.observed.startswith("up to")


def test_unseeded_noise_that_promises_a_seed(items: list[Item]) -> None:
    model = Random(deterministic=False, batch_invariant=False, prefix_causal=False, seedable=True)
    assert broken(model, items) == ["seedable"]


@pytest.mark.parametrize(
    ("model", "promise", "name"),
    [
        (BatchDependent, "batch_invariant", "batch invariant"),
        (OrderDependent, "batch_invariant", "batch invariant"),
        (Foreseeing, "prefix_causal", "prefix causal"),
        (HorizonDependent, "prefix_causal", "prefix causal"),
    ],
)
def test_one_broken_promise(
    model: type[Edited], promise: str, name: str, items: list[Item]
) -> None:
    assert broken(model(), items) == [name]
    honest = check_world_model(model(**{promise: False}), items, HORIZON)
    honest.raise_on_failure()
    row = next(row for row in honest.rows if row.property == name)
    assert row.observed.startswith("up to")  # measured all the same


def test_action_promises(items: list[Item]) -> None:
    assert broken(Edited(actions="none"), items) == ["action effect"]

    class Deaf(Edited):
        """Promises actions, and shows the no-op rollout."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            return replace(ActionBlind(WORLD).rollout(items, horizon), model=self.name)

    assert broken(Deaf(), items) == ["action effect"]


def test_recordings_may_refuse_what_they_do_not_promise(items: list[Item]) -> None:
    report = check_world_model(
        Recording(items, actions="none", prefix_causal=False), items, HORIZON
    )
    report.raise_on_failure()
    assert [row.property for row in report.rows if row.observed == "refused"] == [
        "prefix causal",
        "action effect",
    ]
    assert broken(Recording(items, prefix_causal=False), items) == ["action effect"]


def test_frame_0_range_and_valid(items: list[Item]) -> None:
    late = Faulty(WORLD, ResetMismatch(2))
    assert broken(late, items) == ["frame 0"]
    assert broken(Faulty(WORLD, NanFrame(step=2)), items) == ["pixel range"]
    assert broken(Faulty(WORLD, DelayedActions(1)), items) == []

    class Bright(Edited):
        """Floating point frames in 0..255."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            return replace(rollouts, frames=rollouts.frames.float())

    assert "pixel range" in broken(Bright(), items)

    class Reviving(Edited):
        """Has a hole in its frames."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            valid = rollouts.valid.clone()
            valid[:, 2] = False
            return replace(rollouts, valid=valid)

    assert broken(Reviving(), items) == ["valid"]


def test_shape_keys_and_labels(items: list[Item]) -> None:
    assert broken(Edited(frame_size=(64, 64)), items) == ["shape"]

    class Mislabelled(Edited):
        """Answers under another name, seed and script."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            return replace(
                rollouts,
                model="other",
                seed=rollouts.seed + 1,
                actions=torch.zeros_like(rollouts.actions),
            )

    report = check_world_model(Mislabelled(), items, HORIZON)
    assert rows_of(report) == {"shape": True, "keys": False}
    assert report.rows[1].observed == "wrong: seed, model, actions"
    with pytest.raises(ContractError, match=r"edited breaks \['keys'\]"):
        report.raise_on_failure()

    class Unlabelled(Edited):
        """Has no labels."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            return replace(rollouts, labels=None)

    assert broken(Unlabelled(), items) == ["labels"]
    assert broken(Unlabelled(labels=False), items) == []


def test_the_table_names_every_property(items: list[Item]) -> None:
    text = check_world_model(WORLD, items, HORIZON).table()
    assert len(text.splitlines()) == 13
    assert "bitwise equal" in text
    assert "action effect" in text


def test_too_little_to_look_at(items: list[Item]) -> None:
    with pytest.raises(ValueError, match="at least 2 of each, got 1 and 6"):
        check_world_model(WORLD, items[:1], HORIZON)
    with pytest.raises(ValueError, match="at least 2 of each, got 4 and 1"):
        check_world_model(WORLD, items, 1)


# ---- models that fail, and what they declare ---------------------------------------------


class Failing(Edited):
    """Raises in its `n`-th call."""

    def __init__(self, call: int, error: Exception) -> None:
        super().__init__()
        self.left, self.error = call, error

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return rollouts


@pytest.mark.parametrize(
    ("call", "property"),
    [(1, "answers"), (2, "deterministic"), (3, "seedable"), (4, "batch invariant")],
)
def test_an_exception_is_a_row(call: int, property: str, items: list[Item]) -> None:
    report = check_world_model(Failing(call, RuntimeError("out of luck\nat all")), items, HORIZON)
    (row,) = [row for row in report.rows if not row.ok]
    assert (row.property, row.observed) == (property, "raised")
    assert row.detail == "RuntimeError: out of luck ..."  # the first line


def test_a_model_without_rollouts_does_not_answer(items: list[Item]) -> None:
    class Silent(Edited):
        """Answers with nothing."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            return None  # type: ignore[return-value]

    assert broken(Silent(), items) == ["answers"]


def test_wrong_pixels_are_told_by_row(items: list[Item]) -> None:
    class Wrong(Edited):
        """Shows NaN in one row and bright pixels in another."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            frames = rollouts.frames / 255
            frames[1 % len(items), 3, 0, 0, :2] = float("nan")
            frames[2 % len(items), 3] += 1
            return replace(rollouts, frames=frames)

    report = check_world_model(Wrong(batch_invariant=False), items, HORIZON)
    row = next(row for row in report.rows if row.property == "pixel range")
    assert not row.ok
    assert "row 1: 2 values are not finite" in row.detail
    assert "row 2: 0" in row.detail
    assert "row 0" not in row.detail


def test_chunks_do_not_see_later_commands(items: list[Item]) -> None:
    class Chunked(Edited):
        """Three frames per call, of which the first depend on the last action of `reach`."""

        reach = 3

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            return later(rollouts, rollouts.actions[:, self.reach - 1].view(-1, 1, 1, 1, 1))

    def row(model: WorldModel) -> bool:
        report = check_world_model(model, items, HORIZON)
        return rows_of(report)["chunk causal"]

    honest = Chunked(prefix_causal=False, frames_per_call=3)
    assert row(honest)
    honest.reach = 4
    assert not row(honest)
    assert row(Edited(frames_per_call=1))
    assert row(Edited(frames_per_call=HORIZON))  # one call makes all


@pytest.mark.parametrize(
    ("promises", "wrong"),
    [
        ({"frames_per_call": 0}, "frames_per_call = 0"),
        ({"context_frames": 0}, "context_frames = 0"),
        ({"fps": 0.0}, "fps = 0.0"),
        ({"action_units": ("button",)}, "1 action_units for 5 action_names"),
    ],
)
def test_capabilities_make_sense(
    promises: dict[str, object], wrong: str, items: list[Item]
) -> None:
    report = check_world_model(Edited(**promises), items, HORIZON)
    row = next(row for row in report.rows if row.property == "capabilities")
    assert not row.ok
    assert wrong in row.observed


def test_foreign_actions_are_named(items: list[Item]) -> None:
    model = Edited(action_names=("noop", "left"), actions_exact=False)
    report = check_world_model(model, items, HORIZON)
    row = next(row for row in report.rows if row.property == "capabilities")
    assert row.ok
    assert "converts, or does not know: right, up, down" in row.detail
    assert "known only roughly" in row.observed


# ---- models that misbehave ---------------------------------------------------------------


class Hostile(Edited):
    """Does something else from the second call on."""

    name = "hostile"

    def __init__(self, change: Callable[[Rollouts], object]) -> None:
        super().__init__()
        self.change, self.calls = change, 0

    def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
        self.calls += 1
        return rollouts if self.calls == 1 else self.change(rollouts)  # type: ignore[return-value]


class SpeechlessError(Exception):
    """Cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class PanicError(BaseException):
    """As extensions in Rust raise it: no Exception."""


def raising(error: BaseException) -> Callable[[Rollouts], object]:
    def change(rollouts: Rollouts) -> object:
        raise error

    return change


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (raising(SpeechlessError()), "SpeechlessError: (a message that cannot be read)"),
        (raising(PanicError("at 7")), "PanicError: at 7"),
        (raising(RuntimeError("x" * 100_000)), "RuntimeError: " + "x" * 300 + " ..."),
        (lambda r: None, "TypeError: expected Rollouts, got NoneType"),
        (lambda r: r[:-1], "expected frames [4, 7, 3, 32, 32], got [3, 7, 3, 32, 32]"),
        (lambda r: replace(r, frames=r.frames[..., :8], labels=None), "got [4, 7, 3, 32, 8]"),
    ],
)
def test_whatever_a_later_call_does_is_a_row(
    items: list[Item], change: Callable[[Rollouts], object], detail: str
) -> None:
    report = check_world_model(Hostile(change), items, HORIZON)
    row = next(row for row in report.rows if row.property == "deterministic")
    assert not row.ok
    assert row.detail.endswith(detail)


def test_a_model_that_fills_one_buffer_is_not_compared_with_itself(items: list[Item]) -> None:
    class Reusing(Random):
        """Noise without a seed, always in the same memory."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            answer = super().edit(rollouts, items)
            if not hasattr(self, "buffer"):
                self.buffer = answer.frames.clone()
            view = self.buffer[: len(items), : answer.horizon + 1]
            return replace(answer, frames=view.copy_(answer.frames))

    report = check_world_model(Reusing(), items, HORIZON)
    assert not next(row for row in report.rows if row.property == "deterministic").ok


def test_a_model_that_writes_into_its_question_harms_no_later_check(items: list[Item]) -> None:
    class Overwriting(Edited):
        """Answers well, then blackens what it was given."""

        def edit(self, rollouts: Rollouts, items: Sequence[Item]) -> Rollouts:
            for item in items:
                item.frame.zero_()  # type: ignore[union-attr]
                item.actions.zero_()
            return rollouts

    assert check_world_model(Overwriting(), items, HORIZON).ok
