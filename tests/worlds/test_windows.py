"""The lifter of models of the last K frames: contexts, padding, histories, conversions, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.panels import sprite_panel
from wmscore.replay import freeze_panel, render_truth, replay, replay_teacher_forced
from wmscore.rollouts import Rollouts
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import ByName, ByTable
from wmscore.worlds import (
    Capabilities,
    Item,
    Reconstructing,
    SpriteWorld,
    TeacherForced,
    WindowModel,
)
from wmscore.worlds.pixels import float_frames, rounded_frames

SIZE, K = 32, 3
NAMES = ("noop", "left", "right", "up", "down")
ABLE = Capabilities(
    actions="discrete", action_names=NAMES, context_frames=K, fps=10.0, frame_size=(SIZE, SIZE)
)
MOVES = {0: (0, 0), 1: (0, 2), 2: (0, -2), 3: (2, 0), 4: (-2, 0)}


def pan(context: Tensor, actions: Tensor, generators: object) -> Tensor:
    """The last frame, moved by the last action: the rest of the context is not looked at."""
    return torch.stack(
        [
            frame.roll(MOVES[int(action)], (1, 2))
            for frame, action in zip(context[:, -1], actions[:, -1], strict=True)
        ]
    )


class Recorder:
    """Predicts a frame with a number of its own, and remembers what it was shown."""

    def __init__(self) -> None:
        self.contexts: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.noise: list[list[float]] = []

    def __call__(self, context: Tensor, actions: Tensor, generators) -> Tensor:
        self.contexts.append(context[:, :, 0, 0, 0])
        self.actions.append(actions)
        self.noise.append([float(torch.rand((), generator=g)) for g in generators])
        return torch.full_like(context[:, -1], 100 + len(self.contexts))


def plain_items(actions: list[list[int]], **changes: object) -> list[Item]:
    """Grey frames of level 50 + row."""
    return [
        Item(
            panel="p",
            scenario=i,
            scenario_id=f"s{i}",
            initial_state_id=f"s{i}",
            seed=i,
            branch=0,
            actions=torch.tensor(script),
            action_names=NAMES,
            noop=0,
            frame=torch.full((3, SIZE, SIZE), 50 + i, dtype=torch.uint8),
            **changes,
        )
        for i, script in enumerate(actions)
    ]


def recorded(items: list[Item], horizon: int, **options: object) -> tuple[Recorder, Rollouts]:
    recorder = Recorder()
    model = WindowModel(recorder, name="recorder", capabilities=ABLE, **options)  # type: ignore[arg-type]
    return recorder, model.rollout(items, horizon)


# ---- windows -----------------------------------------------------------------------------


def test_the_window_slides_over_what_was_predicted() -> None:
    recorder, rolled = recorded(plain_items([[1, 2, 3, 4], [4, 3, 2, 1]]), 4)
    assert [c[0].tolist() for c in recorder.contexts] == [
        [50, 50, 50],
        [50, 50, 101],
        [50, 101, 102],
        [101, 102, 103],
    ]
    assert [c[1].tolist() for c in recorder.contexts[:2]] == [[51, 51, 51], [51, 51, 101]]
    # The last action leads to what is predicted; no-ops stand before frame 0.
    assert [a[0].tolist() for a in recorder.actions] == [
        [0, 0, 1],
        [0, 1, 2],
        [1, 2, 3],
        [2, 3, 4],
    ]
    assert rolled.frames[:, :, 0, 0, 0].tolist() == [
        [50, 101, 102, 103, 104],
        [51, 101, 102, 103, 104],
    ]
    assert rolled.frames.dtype == torch.uint8


def test_black_padding_and_an_action_of_ones_own() -> None:
    recorder, _ = recorded(plain_items([[1, 2]]), 2, padding="black", pad_action=4)
    assert [c[0].tolist() for c in recorder.contexts] == [[0, 0, 50], [0, 50, 101]]
    assert [a[0].tolist() for a in recorder.actions] == [[4, 4, 1], [4, 1, 2]]


def test_short_contexts_grow() -> None:
    items = [replace(item, noop=None) for item in plain_items([[1, 2, 3, 4]])]
    recorder, _ = recorded(items, 4, padding="short")
    assert [c[0].tolist() for c in recorder.contexts] == [
        [50],
        [50, 101],
        [50, 101, 102],
        [101, 102, 103],
    ]
    assert [a[0].tolist() for a in recorder.actions] == [[1], [1, 2], [1, 2, 3], [2, 3, 4]]


def test_past_actions_reach_further_back_than_frames() -> None:
    recorder, _ = recorded(plain_items([[1, 2, 3, 4]]), 4, past_actions=1)
    assert [a[0].tolist() for a in recorder.actions] == [
        [0, 0, 0, 1],
        [0, 0, 1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
    ]


def test_teacher_forcing_slides_over_the_true_frames() -> None:
    items = plain_items([[1, 2, 3, 4]])
    truth = torch.arange(5, dtype=torch.uint8)[None, :, None, None, None] + 50
    truth = truth.expand(1, 5, 3, SIZE, SIZE).contiguous()
    recorder = Recorder()
    model = WindowModel(recorder, name="recorder", capabilities=ABLE)
    assert isinstance(model, TeacherForced)
    forced = model.predict_next(items, truth, 4)
    assert [c[0].tolist() for c in recorder.contexts] == [
        [50, 50, 50],
        [50, 50, 51],
        [50, 51, 52],
        [51, 52, 53],
    ]
    assert forced.frames[0, :, 0, 0, 0].tolist() == [50, 101, 102, 103, 104]


def test_it_goes_on_after_a_true_history() -> None:
    items = plain_items([[1, 2, 3, 4]])
    truth = torch.arange(3, dtype=torch.uint8)[None, :, None, None, None] + 50
    truth = truth.expand(1, 3, 3, SIZE, SIZE).contiguous()
    recorder = Recorder()
    model = WindowModel(recorder, name="recorder", capabilities=ABLE)
    rolled = model.continue_from(items, truth, 4)
    assert [c[0].tolist() for c in recorder.contexts] == [[50, 51, 52], [51, 52, 101]]
    assert [a[0].tolist() for a in recorder.actions] == [[1, 2, 3], [2, 3, 4]]
    assert rolled.frames[0, :, 0, 0, 0].tolist() == [50, 51, 52, 101, 102]
    # The noise of a step is that step's, wherever the rollout began.
    whole = Recorder()
    WindowModel(whole, name="recorder", capabilities=ABLE).rollout(items, 4)
    assert recorder.noise == whole.noise[2:]
    for history in (truth[:, :0], truth.repeat(1, 2, 1, 1, 1)):
        with pytest.raises(ValueError, match=r"history: expected 1\.\.4 frames before the horizon"):
            model.continue_from(items, history, 4)


def test_latents_stay_latents() -> None:
    """What is fed back is what was predicted, not what was shown."""
    seen: list[Tensor] = []

    def predict(context: Tensor, actions: Tensor, generators: object) -> Tensor:
        seen.append(context)
        return context[:, -1] + 0.25

    model = WindowModel(
        predict,
        name="latent",
        capabilities=replace(ABLE, context_frames=2),
        encode=lambda frames: frames[:, 0, 0, :2].double(),
        decode=lambda z: z.round().to(torch.uint8)[:, None, None, :1].expand(-1, 3, SIZE, SIZE),
    )
    items = plain_items([[1] * 4, [2] * 4])
    rolled = model.rollout(items, 4)
    assert [c[0, :, 0].tolist() for c in seen] == [
        [50.0, 50.0],
        [50.0, 50.25],
        [50.25, 50.5],
        [50.5, 50.75],
    ]
    assert rolled.frames[0, :, 0, 0, 0].tolist() == [50, 50, 50, 51, 51]
    seen.clear()
    truth = rolled.frames + torch.arange(5, dtype=torch.uint8)[:, None, None, None]
    model.predict_next(items, truth, 4)
    assert [c[0, :, 0].tolist() for c in seen][-1] == [52.0, 54.0]  # encoded true frames


def test_an_encoder_and_a_decoder_show_what_they_make_of_true_frames() -> None:
    half = {
        "encode": lambda frames: frames.double() / 2,
        "decode": lambda z: (z.floor() * 2).to(torch.uint8),  # even levels only
    }
    able = replace(ABLE, context_frames=1)

    def still(context: Tensor, actions: Tensor, generators: object) -> Tensor:
        return context[:, -1]

    model = WindowModel(still, name="even", capabilities=able, **half)
    items = plain_items([[1] * 4, [2] * 4])
    truth = model.rollout(items, 4).frames + torch.arange(5, dtype=torch.uint8)[:, None, None, None]
    assert isinstance(model, Reconstructing)
    shown = model.reconstruct(items, truth, 4)
    assert shown.model == "even"
    assert torch.equal(shown.frames[:, 0], truth[:, 0])  # as given, also where it is odd
    assert torch.equal(shown.frames[:, 1:], truth[:, 1:] // 2 * 2)
    with pytest.raises(ValueError, match="expected 6 frames for 5 steps, got 5"):
        model.reconstruct(items, truth, 5)
    for name in half:
        part = WindowModel(still, name="part", capabilities=able, **{name: half[name]})
        assert not isinstance(part, Reconstructing)


def test_rows_have_noise_of_their_own() -> None:
    items = plain_items([[1, 2]] * 3)
    together, _ = recorded(items, 2)
    alone, _ = recorded(items[1:2], 2)
    assert [step[1] for step in together.noise] == [step[0] for step in alone.noise]
    assert len({value for step in together.noise for value in step}) == 6


# ---- the contract ------------------------------------------------------------------------


def test_an_honest_window_model_passes() -> None:
    world = SpriteWorld(SIZE, SIZE)
    items = sprite_items(2, 6, world=world)
    report = check_world_model(WindowModel(pan, name="pan", capabilities=ABLE), items, 6)
    report.raise_on_failure()
    found = {row.property: row for row in report.rows}
    assert found["batch invariant"].observed == "bitwise equal"
    assert found["teacher-forced: no leak"].ok
    assert report.action_effect > 0


def test_replay_and_one_step_predictions_of_a_panel() -> None:
    panel = sprite_panel(scenarios=2, seeds=2, horizon=5, size=SIZE)
    model = WindowModel(pan, name="pan", capabilities=ABLE)
    panel, truth = freeze_panel(panel, render_truth(panel, SpriteWorld(SIZE, SIZE)), fps=10)
    rolled = Rollouts.concat(list(replay(panel, model, truth)))
    forced = Rollouts.concat(list(replay_teacher_forced(panel, model, truth)))
    assert forced.model == "pan (teacher-forced)"
    assert rolled.frames[:, :2].equal(forced.frames[:, :2])
    assert not rolled.frames[:, 2:].equal(forced.frames[:, 2:])


def test_float_frames_reach_the_scorer_as_they_are() -> None:
    def predict(context: Tensor, actions: Tensor, generators: object) -> Tensor:
        shown = context[:, -1].clone()
        shown[1] = torch.nan
        return shown

    items = plain_items([[1, 2], [1, 2]])
    model = WindowModel(
        predict, name="nan", capabilities=ABLE, encode=float_frames, decode=lambda state: state
    )
    rolled = model.rollout(items, 2)
    assert rolled.frames.dtype == torch.float32
    assert rolled.frames[0].isfinite().all()
    assert rolled.frames[1, 1:].isnan().all()
    assert (
        rolled.frames[:, 0]
        .mul(255)
        .round()
        .to(torch.uint8)
        .equal(
            torch.stack([item.frame for item in items])  # type: ignore[misc]
        )
    )


# ---- actions -----------------------------------------------------------------------------


def test_actions_go_by_name() -> None:
    able = replace(ABLE, action_names=("up", "down", "left", "right", "noop"))
    recorder = Recorder()
    model = WindowModel(recorder, name="m", capabilities=able)
    rolled = model.rollout(plain_items([[1, 2, 3]]), 3)
    assert recorder.actions[-1].tolist() == [[2, 3, 0]]
    assert recorder.actions[0].tolist() == [[4, 4, 2]]  # its no-op, not its action 0
    assert rolled.actions.tolist() == [[1, 2, 3]]  # as commanded
    assert model.conversion_losses == ()


def test_a_converter_and_its_losses() -> None:
    convert = ByName(("go", "rest"), {**dict.fromkeys(NAMES, "go"), "noop": "rest"})
    recorder = Recorder()
    able = replace(ABLE, action_names=("go", "rest"))
    model = WindowModel(recorder, name="m", capabilities=able, converter=convert)
    items = plain_items([[1, 2, 0], [3, 4, 0]])
    model.rollout(items, 3)
    assert recorder.actions[-1].tolist() == [[0, 0, 1], [0, 0, 1]]
    said = model.conversion_losses
    assert said == ("left, right, up, down: merged at 4 steps: the model sees one action",)
    model.rollout(items, 3)
    assert model.conversion_losses == said  # a script counts once


def test_discrete_actions_become_vectors() -> None:
    table = {"noop": {}, "left": {"yaw": -3}, "right": {"yaw": 3}, "up": {"w": 1}, "down": {"s": 1}}
    recorder = Recorder()
    able = replace(ABLE, actions="continuous", action_names=("yaw", "w", "s"), context_frames=2)
    model = WindowModel(recorder, name="m", capabilities=able, converter=ByTable(table))
    rolled = model.rollout(plain_items([[1, 3]]), 2)
    assert recorder.actions[1].tolist() == [[[-3, 0, 0], [0, 1, 0]]]
    assert recorder.actions[0].tolist() == [[[0, 0, 0], [-3, 0, 0]]]
    assert rolled.actions.tolist() == [[1, 3]]


def test_vectors_go_by_name_and_rest_at_zero() -> None:
    able = replace(
        ABLE,
        actions="continuous",
        action_names=("pitch", "yaw"),
        action_units=("degree", "degree"),
        context_frames=2,
    )
    items = [
        replace(
            item,
            actions=torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
            action_names=("yaw", "pitch"),
            action_units=("degree", "degree"),
            noop=None,
        )
        for item in plain_items([[0, 0]])
    ]
    recorder = Recorder()
    WindowModel(recorder, name="m", capabilities=able).rollout(items, 2)
    assert recorder.actions[0].tolist() == [[[0, 0], [2, 1]]]
    assert recorder.actions[1].tolist() == [[[2, 1], [4, 3]]]


# ---- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "mirror"}, "padding: expected 'repeat', 'black' or 'short', got 'mirror'"),
        ({"past_actions": -1}, "past_actions: expected 0 or more"),
        ({"past_actions": 1, "padding": "short"}, "past_actions: .*0 with padding 'short'"),
        ({"capabilities": replace(ABLE, context_frames=0)}, "context_frames: expected at least 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WindowModel(pan, **{"name": "m", "capabilities": ABLE, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": None}, "model 'pan' needs item.frame, 's0' has None"),
        (
            {"frame": torch.zeros(3, 16, SIZE, dtype=torch.uint8)},
            r"takes frames uint8 \[3, 32, 32\], .*\[3, 16, 32\].*FitSize",
        ),
        ({"fps": 20.0}, "'s0' is at 20 frames per second, model 'pan' takes 10"),
        ({"actions": torch.tensor([1])}, "the script of 's0' has 1 actions, expected at least"),
        ({"action_names": ("a", "b", "c", "d", "e")}, "'s0' has others"),
        ({"noop": None}, "'s0' has no noop, .*pad_action"),
        (
            {"actions": torch.ones(2, 1), "action_names": ("yaw",), "noop": None},
            "model 'pan' takes discrete actions, 's0' has continuous ones",
        ),
    ],
)
def test_bad_items_are_refused(change: dict[str, object], message: str) -> None:
    items = [replace(plain_items([[1, 2]])[0], **change)]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        WindowModel(pan, name="pan", capabilities=ABLE).rollout(items, 2)


def test_no_items_and_a_model_without_names() -> None:
    with pytest.raises(ValueError, match="items: expected at least one"):
        WindowModel(pan, name="pan", capabilities=ABLE).rollout([], 2)
    able = replace(ABLE, action_names=(), actions="continuous")
    with pytest.raises(ValueError, match="takes continuous actions, 's0' has discrete ones"):
        WindowModel(pan, name="pan", capabilities=able).rollout(plain_items([[1, 2]]), 2)


@pytest.mark.parametrize(
    "answer",
    [
        torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 3, SIZE, SIZE, dtype=torch.int64),
        torch.zeros(3, SIZE, SIZE, dtype=torch.uint8),
    ],
)
def test_what_is_no_frame_is_refused(answer: Tensor) -> None:
    model = WindowModel(lambda *_: answer, name="m", capabilities=ABLE)
    told = (
        r"frames \[1, 3, 32, 32\]" if answer.dtype == torch.uint8 else r"uint8 .*, got torch\.int64"
    )
    with pytest.raises(ValueError, match=rf"model 'm', step 1: expected {told}"):
        model.rollout(plain_items([[1, 2]]), 2)


def test_frames_of_two_kinds_are_not_mixed() -> None:
    """A context of 8 bits beside floating point numbers in 0..1 would be nearly black."""
    items = plain_items([[1, 2]])
    model = WindowModel(lambda c, *_: c[:, -1] / 255, name="m", capabilities=ABLE)
    message = r"'m', step 1: expected uint8 frames as those of the context, got torch\.float32; "
    with pytest.raises(ValueError, match=message):
        model.rollout(items, 2)
    with pytest.raises(ValueError, match=r"step 1: expected uint8 frames .*, got NoneType"):
        WindowModel(lambda *_: None, name="m", capabilities=ABLE).rollout(items, 2)  # type: ignore[arg-type, return-value]
    kinds = iter([torch.uint8, torch.float32])
    moody = WindowModel(
        lambda c, *_: c[:, -1],
        name="m",
        capabilities=ABLE,
        encode=float_frames,
        decode=lambda state: state.to(next(kinds)),
    )
    with pytest.raises(ValueError, match=r"step 2: expected torch\.uint8 frames as at the step"):
        moody.rollout(items, 2)


def test_true_frames_of_another_kind_are_refused() -> None:
    model = WindowModel(pan, name="pan", capabilities=ABLE)
    items = plain_items([[1, 2]])
    for frames in (torch.zeros(1, 3, 3, SIZE, SIZE), torch.zeros(2, 3, 3, SIZE, SIZE).byte()):
        with pytest.raises(ValueError, match=r"reference_frames: expected uint8 \[1, T, C, H, W\]"):
            model.predict_next(items, frames, 2)
    few = torch.zeros(1, 1, 3, SIZE, SIZE, dtype=torch.uint8)  # the window would stand still
    with pytest.raises(ValueError, match="expected at least 2 frames for 2 steps, got 1"):
        model.predict_next(items, few, 2)


def test_rounding_names_the_rows() -> None:
    frames = torch.zeros(3, 3, 4, 4)
    frames[1, 0, 0, 0] = torch.nan
    frames[2, 0, 0, 0] = 1.5
    message = r"model 'm': frames: expected finite values in -1\.\.1, got .* in rows \[1, 2\] of 3"
    with pytest.raises(ValueError, match=message):
        rounded_frames(frames, "model 'm'", low=-1.0, high=1.0)
    with pytest.raises(ValueError, match=r"in rows \[1\] of 3"):
        rounded_frames(frames, "model 'm'", low=-1.0, high=1.0, clamp=True)
    frames[1] = 1 + 0.9 / 255  # within half a level
    assert rounded_frames(frames[:2], "model 'm'", low=-1.0, high=1.0)[1].unique().tolist() == [255]
