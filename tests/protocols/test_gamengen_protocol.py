"""The GameNGen protocol: its numbers by hand, its windows, its floors, and what is left out."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.panels import sprite_panel
from wmscore.cli import main
from wmscore.functional import lpips, mse, psnr
from wmscore.functional.distributions import frechet_distance_from_features
from wmscore.manifest import Panel, PanelMismatchError
from wmscore.networks import ClipEncoder, LpipsNetwork
from wmscore.protocols import gamengen_protocol
from wmscore.replay import freeze_panel, panel_items, render_truth
from wmscore.rollouts import Rollouts
from wmscore.worlds import Capabilities, Frozen, Item, SpriteWorld, WindowModel, WorldModel

SIZE, HORIZON, K = 32, 10, 3
NAMES = ("noop", "left", "right", "up", "down")
MOVES = {0: (0, 0), 1: (0, 1), 2: (0, -1), 3: (1, 0), 4: (-1, 0)}


def pan(context: Tensor, actions: Tensor, generators: object) -> Tensor:
    """The last frame, moved by the last action, one level brighter or darker."""
    moved = [
        frame.roll(MOVES[int(action)], (1, 2))
        for frame, action in zip(context[:, -1], actions[:, -1], strict=True)
    ]
    return torch.stack(moved)


def panning(context_frames: int = K, fps: float = 10.0) -> WindowModel:
    able = Capabilities(
        actions="discrete",
        action_names=NAMES,
        context_frames=context_frames,
        fps=fps,
        frame_size=(SIZE, SIZE),
    )
    return WindowModel(pan, name="panning", capabilities=able)


def make_panning() -> WorldModel:
    return panning()


Scene = tuple[Panel, Rollouts]


@pytest.fixture(scope="module")
def scene() -> Scene:
    world = SpriteWorld(SIZE, SIZE)
    panel = sprite_panel(scenarios=5, seeds=2, horizon=HORIZON, size=SIZE)
    return freeze_panel(panel, render_truth(panel, world), fps=10)


@pytest.fixture(scope="module")
def clips() -> ClipEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Conv3d(3, 4, 3).eval()
    return ClipEncoder(network, name="tiny", axes="cthw", size=16)


def commanded(panel: Panel, truth: Rollouts) -> tuple[list[Item], Tensor]:
    """The rows of branch 0, scenario-major, and their true frames."""
    items = [item for item in panel_items(panel, truth=truth) if item.branch == 0]
    first = {int(s): i for i, s in enumerate(truth.scenario) if truth.branch[i] == 0}
    return items, truth.frames[[first[item.scenario] for item in items]]


def by_scenario(values: Tensor, seeds: int = 2) -> Tensor:
    return values.unflatten(0, (-1, seeds)).mean(1)


def test_numbers_by_hand(scene: Scene, clips: ClipEncoder) -> None:
    panel, truth = scene
    model, network = panning(), LpipsNetwork.random("squeeze", seed=0)
    found = gamengen_protocol(
        panel,
        model,
        truth,
        lpips_network=network,
        clip_encoder=clips,
        windows=(4, 6),
        batch_size=3,
    )
    items, reference = commanded(panel, truth)
    assert (found.start, found.rows, found.scenarios) == (K - 1, 10, 5)
    forced = model.predict_next(items, reference, 8).frames[:, K : K + 6]
    rolled = model.continue_from(items, reference[:, :K], 8).frames[:, K : K + 6]
    true = reference[:, K : K + 6]

    one = by_scenario(psnr(forced, true))
    assert found.forced.psnr.mean == pytest.approx(float(one.mean()))
    of_mse = -10 * by_scenario(mse(forced, true)).mean(1).log10()
    assert found.forced.psnr_of_mse.mean == pytest.approx(float(of_mse.mean()))
    assert found.forced.exact == int((mse(forced, true) == 0).sum())
    spread = float(one.mean(1).std()) / math.sqrt(5) * 2.776445  # t of 4 degrees of freedom
    assert found.forced.psnr.low == pytest.approx(float(one.mean()) - spread, rel=1e-5)
    assert found.curves["forced_psnr"].tolist() == pytest.approx(one.mean(0).tolist())
    assert found.forced.lpips is not None
    seen = by_scenario(lpips(forced, true, network))
    assert found.forced.lpips.mean == pytest.approx(float(seen.mean()), rel=1e-4)

    own = by_scenario(psnr(rolled, true))
    assert found.curves["rolled_psnr"].tolist() == pytest.approx(own.mean(0).tolist())
    short, long = found.windows
    assert (short.frames, long.frames, short.seconds) == (4, 6, 0.4)
    assert short.errors.psnr.mean == pytest.approx(float(own[:, :4].mean()))
    assert long.errors.psnr.mean == pytest.approx(float(own.mean()))
    assert long.errors.psnr.mean < short.errors.psnr.mean < found.forced.psnr.mean + 3

    for window in (short, long):
        mine = clips.encode_clips(rolled[:, : window.frames]).double()
        theirs = clips.encode_clips(true[::2, : window.frames]).double()
        distance = float(frechet_distance_from_features(mine, theirs).distance)
        assert window.frechet == pytest.approx(distance, rel=1e-4)
        assert window.frechet_low < distance < window.frechet_high
        assert (window.clips, window.features) == (10, 4)

    still = by_scenario(psnr(reference[:, K - 1 : K].expand_as(true), true))
    assert found.persistence["rolled_psnr"].tolist() == pytest.approx(still.mean(0).tolist())
    before = by_scenario(psnr(reference[:, K - 1 : K + 5], true))
    assert found.persistence["forced_psnr"].tolist() == pytest.approx(before.mean(0).tolist())


def test_the_batch_size_changes_nothing(scene: Scene) -> None:
    panel, truth = scene
    calls: list[tuple[int, int]] = []
    one, many = (
        gamengen_protocol(
            panel,
            panning(),
            truth,
            windows=(4,),
            batch_size=size,
            progress=lambda *done: calls.append(done),
        )
        for size in (1, 10)
    )
    assert one.to_dict() == many.to_dict()
    assert calls == [*((i, 10) for i in range(1, 11)), (10, 10)]


def test_the_start(scene: Scene) -> None:
    panel, truth = scene
    zero = gamengen_protocol(panel, panning(), truth, windows=(4,), start=0)
    assert zero.start == 0
    # A model without `continue_from` starts from one frame; the frozen one is persistence.
    frozen = gamengen_protocol(panel, Frozen(SpriteWorld(SIZE, SIZE)), truth, windows=(4,))
    assert frozen.start == 0
    for name, curve in frozen.curves.items():
        assert curve.equal(frozen.persistence[name])
    with pytest.raises(ValueError, match=r"'frozen' cannot go on after true frames .* got 2"):
        gamengen_protocol(panel, Frozen(), truth, windows=(4,), start=2)
    with pytest.raises(ValueError, match="start: expected 0 or more, got -1"):
        gamengen_protocol(panel, panning(), truth, windows=(4,), start=-1)


def test_a_perfect_model_is_infinite_and_says_so(scene: Scene) -> None:
    panel, truth = scene
    _, reference = commanded(panel, truth)

    class Perfect(Frozen):
        """Answers with the truth."""

        name = "perfect"

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            frames = torch.stack([reference[item.scenario * 2] for item in items])
            return replace(answer, frames=frames[:, : horizon + 1])

        def predict_next(
            self, items: Sequence[Item], reference_frames: Tensor, horizon: int
        ) -> Rollouts:
            return self.rollout(items, horizon)

    found = gamengen_protocol(panel, Perfect(), truth, windows=(4,))
    assert found.forced.psnr.mean == found.forced.psnr_of_mse.mean == math.inf
    assert found.forced.exact == 40
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["forced"]["psnr"] == {"mean": "inf", "low": None, "high": None, "scenarios": 5}
    assert "frames without any error, teacher-forced: 40, of persistence" in found.table()


def test_rows_that_cannot_be_measured_are_counted(scene: Scene) -> None:
    panel, truth = scene

    class Failing(Frozen):
        """NaN in one row, an early end in another."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            frames = answer.frames.float() / 255
            valid = answer.valid.clone()
            for i, item in enumerate(items):
                if (item.scenario, item.seed) == (0, 1):
                    frames[i, 2] = torch.nan
                if (item.scenario, item.seed) == (1, 0):
                    valid[i, 3:] = False
                if (item.scenario, item.seed) == (3, 1):
                    frames[i, 2] += 0.5
            return replace(answer, frames=frames, valid=valid)

    valid = truth.valid.clone()
    valid[truth.scenario == 2, 3:] = False
    short = replace(truth, valid=valid)
    found = gamengen_protocol(panel, Failing(), short, windows=(4,))
    assert found.left_out == {
        "whose true episode ends within the windows": 2,
        "that the model answers with missing or not finite frames": 2,
        "that the model answers with values outside 0..1": 1,
    }
    assert (found.rows, found.scenarios) == (5, 4)
    assert math.isfinite(found.forced.psnr.mean)
    assert "left out: 2 rows, whose true episode ends" in found.table()
    nothing = replace(truth, valid=torch.cat([truth.valid[:, :3], valid[:, 3:] & False], 1))
    with pytest.raises(ValueError, match="none of 10 rows of panel 'test-sprites' can be measured"):
        gamengen_protocol(panel, Failing(), nothing, windows=(4,))


def test_the_truth_of_another_panel_is_refused(scene: Scene) -> None:
    panel, truth = scene
    other = replace(truth, panel="0" * 64)
    with pytest.raises(PanelMismatchError, match=r"truth: expected panel .* got 000000000000"):
        gamengen_protocol(panel, panning(), other, windows=(4,))
    with pytest.raises(ValueError, match=r"truth: expected every scenario, 1 are missing, such as"):
        gamengen_protocol(panel, panning(), truth[truth.scenario != 1], windows=(4,))


def test_a_table_and_a_file(scene: Scene, clips: ClipEncoder, tmp_path: Path) -> None:
    panel, truth = scene
    found = gamengen_protocol(panel, panning(), truth, clip_encoder=clips, windows=(4,))
    lines = found.table().splitlines()
    assert lines[0].split() == ["panning", "persistence"]
    assert lines[1].startswith("teacher-forced, 4 steps: PSNR")
    assert lines[2].startswith("teacher-forced, 4 steps: PSNR of MSE")
    assert lines[3].startswith("autoregressive, 4 frames (0.4 s): PSNR")
    assert lines[5].startswith("autoregressive, 4 frames (0.4 s): Fréchet")
    assert lines[6] == (
        "5 scenarios, 10 rows, 32 x 32 at 10 frames per second, true frames 0..2 before the first "
        "predicted one"
    )
    found.save(tmp_path / "found.json")
    read = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert read["curves"]["rolled_psnr"] == found.curves["rolled_psnr"].tolist()
    assert read["windows"][0]["frechet"] == found.windows[0].frechet


def test_few_scenarios_have_no_interval(clips: ClipEncoder) -> None:
    panel = sprite_panel(scenarios=2, seeds=1, horizon=6, size=SIZE)
    panel, truth = freeze_panel(panel, render_truth(panel, SpriteWorld(SIZE, SIZE)), fps=10)
    found = gamengen_protocol(panel, panning(), truth, clip_encoder=clips, windows=(4,))
    (window,) = found.windows
    assert window.frechet is not None
    assert math.isnan(window.frechet_low)
    assert "2 clips of 4 features: too few" in found.table()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": (4, 16)}, r"a horizon of at least 18 \(start 2 \+ window 16\), got 10"),
        ({"windows": ()}, "windows, batch_size: expected at least 1 each"),
        ({"windows": (0,)}, "windows, batch_size: expected at least 1 each"),
        ({"windows": (4,), "batch_size": 0}, "windows, batch_size: expected at least 1 each"),
    ],
)
def test_bad_options(scene: Scene, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gamengen_protocol(scene[0], panning(), scene[1], **options)  # type: ignore[arg-type]


def test_models_that_answer_something_else(scene: Scene) -> None:
    panel, truth = scene
    with pytest.raises(ValueError, match="offers no one-step predictions"):
        gamengen_protocol(panel, SpriteWorld(SIZE, SIZE), truth, windows=(4,))  # type: ignore[arg-type]

    class Other(Frozen):
        """Answers other rows."""

        def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
            answer = super().rollout(items, horizon)
            return replace(answer, seed=answer.seed + 1)

    with pytest.raises(ValueError, match=r"'frozen': expected frames .* of the rows asked for"):
        gamengen_protocol(panel, Other(), truth, windows=(4,))


@pytest.mark.vizdoom
@pytest.mark.skipif(importlib.util.find_spec("vizdoom") is None, reason="vizdoom is not installed")
def test_on_the_packaged_vizdoom_panel(clips: ClipEncoder) -> None:
    """16 and 32 frames on Doom: persistence against a model that does not even see actions."""
    from wmscore.worlds.vizdoom import VizDoomWorld

    packaged = Panel.packaged("vizdoom").model_dump()
    scenarios = [{**s, "branches": []} for s in packaged["scenarios"][:4]]
    packaged["axes"] = [a for a in packaged["axes"] if a["axis"] != "action_response"]
    panel = Panel.from_dict({**packaged, "scenarios": scenarios, "seeds": [0]})
    world = VizDoomWorld(height=120, width=160)
    truth = render_truth(panel, world)

    def mean(context: Tensor, actions: Tensor, generators: object) -> Tensor:
        return context.float().mean(1).round().to(torch.uint8)

    able = replace(world.capabilities, context_frames=2, labels=False)
    blurring = WindowModel(mean, name="blurring", capabilities=able)
    found = gamengen_protocol(panel, blurring, truth, clip_encoder=clips, start=0)
    assert (found.fps, found.frame_size) == (8.75, (120, 160))
    short, long = found.windows
    assert (short.frames, long.frames) == (16, 32)
    assert short.seconds == pytest.approx(1.83, abs=0.01)
    # Frames drift away from the one that is given, one-step predictions do not.
    rolled, forced = found.curves["rolled_mse"], found.curves["forced_mse"]
    assert float(rolled[0]) == pytest.approx(float(forced[0]))
    assert float(rolled[-8:].mean()) > 1.5 * float(forced[-8:].mean())
    frozen = gamengen_protocol(panel, Frozen(world), truth, clip_encoder=clips)
    assert frozen.windows[1].errors == frozen.windows[1].persistence == long.persistence
    # Doom stands still now and then: one exact frame makes the mean PSNR infinite, and it is told.
    assert frozen.forced.exact > 0
    assert frozen.forced.psnr.mean == math.inf
    assert math.isfinite(frozen.forced.psnr_of_mse.mean)


def test_from_the_shell(
    scene: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    scene[0].save("panel.json")
    factory = "tests.protocols.test_gamengen_protocol:make_panning"
    command = ["protocol", "gamengen", "panel.json", "--model", factory, "--windows", "4", "6"]
    assert main([*command, "--out", "found.json"]) == 0
    printed = capsys.readouterr().out
    assert "autoregressive, 6 frames (0.6 s): PSNR" in printed
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["windows"][1]["frames"] == 6
    assert main([*command[:-2], "64"]) == 2
    assert "expected a horizon of at least 66" in capsys.readouterr().err
