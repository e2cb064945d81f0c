"""Plots: of anything that scores hold, the same bytes for the same data."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.made_scores import made_panel, made_scores
from tests.panels import sprite_panel
from wmscore import plots
from wmscore.functional import Reason
from wmscore.functional.identity_state import IdentityState
from wmscore.ladder import RungScores, summarise_ladder
from wmscore.plots.events import _LOOKS as LOOKS
from wmscore.plots.lines import line_styles
from wmscore.replay import freeze_panel, render_truth, replay, replay_rows
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED
from wmscore.scorer import Scorer
from wmscore.scores import Curve, Scores
from wmscore.testing import DelayedActions, Faulty, IdentitySwap
from wmscore.worlds import Frozen, SpriteWorld

ROLES = {"truth": "truth", "frozen": "floor"}
WORLD = SpriteWorld(48, 48)


def some(**changes: object) -> list[Scores]:
    panel = made_panel(scenarios=2, seeds=2, horizon=6)
    return [
        made_scores(panel, torch.full((2, 2), end), model=name, by=i % 3, **changes)  # type: ignore[arg-type]
        for i, (name, end) in enumerate(
            [("truth", 6), ("good", 5), ("bad", 1), ("bad" + TEACHER_FORCED, 4), ("frozen", 0)]
        )
    ]


def lines(figure: object) -> dict[str, object]:
    """Lines of the first plot by name."""
    return {line.get_label(): line for line in figure.axes[0].lines}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def scored() -> list[Scores]:
    """Real scores, with actions, objects and measures."""
    panel = sprite_panel(scenarios=6, seeds=1, horizon=8)
    panel, truth = freeze_panel(panel, render_truth(panel, WORLD), fps=10)
    results = []
    for model in (
        WORLD,
        Faulty(WORLD, IdentitySwap()),
        Faulty(WORLD, DelayedActions(2)),
        Frozen(),
    ):
        scorer = Scorer(panel)
        for rollouts in replay(panel, model, truth):
            scorer.update(rollouts)
        results.append(scorer.compute())
    return results


def test_a_plot_is_written_by_its_ending_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a.svg", "b.svg"):
        plots.save_plot(plots.drift_plot(some(), ROLES), tmp_path / name)
    for ending in ("png", "svg"):
        first, second = (tmp_path / f"{name}.{ending}" for name in "ab")
        assert first.read_bytes() == second.read_bytes()
    # Together or alone, in whatever order.
    figure = plots.drift_plot(some(), ROLES)
    plots.save_plot(figure, tmp_path / "c.svg", tmp_path / "c.png")
    for name in ("c.svg", "c.png"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"a{name[1:]}").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 900
    text = (tmp_path / "a.svg").read_text()
    assert "<dc:date>" not in text
    with pytest.raises(ValueError, match=r"ending in \.png or \.svg, got 'a\.pdf'"):
        plots.save_plot(figure, tmp_path / "a.pdf")
    assert figure._repr_png_().startswith(b"\x89PNG")  # notebooks


def test_models_are_coloured_anchors_dashed_and_companions_like_their_model() -> None:
    names = ["truth", "a", "a" + TEACHER_FORCED, "b", "b" + RECONSTRUCTION, "frozen", "blind"]
    roles = {"truth": "truth", "frozen": "floor", "blind": "floor"}
    styles = line_styles(names, roles)
    assert list(styles) == names
    assert styles["a"]["linestyle"] == styles["b"]["linestyle"] == "-"
    assert len({str(styles[name]["color"]) for name in ("truth", "a", "b", "frozen")}) == 4
    for name in roles:
        assert styles[name]["linestyle"] != "-"
        float(styles[name]["color"])  # a grey
    assert styles["frozen"]["linestyle"] != styles["blind"]["linestyle"]
    for name in ("a", "b"):
        (other,) = (n for n in names if n.startswith(name + " "))
        assert styles[other]["color"] == styles[name]["color"]
        assert styles[other]["linestyle"] != styles[name]["linestyle"]
    both = line_styles(["a", "a" + TEACHER_FORCED, "a" + RECONSTRUCTION])
    assert len({str(style["linestyle"]) for style in both.values()}) == 3
    many = line_styles([f"m{i}" for i in range(20)])
    looks = {(style["color"], style["marker"]) for style in many.values()}
    assert len(looks) == 20
    # A companion before its model, and one whose model is not there.
    assert line_styles(["a" + TEACHER_FORCED, "a"])["a"]["color"] == styles["a"]["color"]
    assert line_styles(["a" + TEACHER_FORCED])


def test_drift_is_the_median_and_gaps_stay_gaps() -> None:
    results = some()
    values = results[1].axes["perceptual_drift"].values.clone()
    values[:, 2] = torch.nan
    values[:3, 3] = torch.tensor([0.2, 0.4, 0.6])
    values[3, 3] = torch.nan
    values[:, 4] = torch.nan
    reason = values.isnan().to(torch.uint8) * int(Reason.NO_FRAME)
    axes = {**results[1].axes, "perceptual_drift": Curve(values=values, reason=reason)}
    results[1] = replace(results[1], axes=axes)
    figure = plots.drift_plot(results, ROLES)
    drawn = lines(figure)["good"].get_ydata()  # type: ignore[attr-defined]
    assert drawn[3] == pytest.approx(0.4)
    assert drawn[2] != drawn[2]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[4, 6]]  # steps alone between gaps
    assert lines(figure)["threshold"].get_ydata()[0] == 0.6  # type: ignore[attr-defined]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "truth"
    assert labels[-1] == "threshold"
    judged = {scores.model for scores in results} - {"frozen"}
    assert set(labels) == judged | {"frozen (floor)", "threshold"}
    assert "median" in figure.get_suptitle()
    assert "4 rows (2 scenarios x 2 seeds)" in figure.get_suptitle()


def test_survival_is_the_share_still_usable() -> None:
    figure = plots.survival_plot(some(), ROLES)
    drawn = lines(figure)
    assert list(drawn["bad"].get_ydata()) == [1, 1, 0, 0, 0, 0, 0]  # type: ignore[attr-defined]
    assert list(drawn["truth"].get_ydata()) == [1] * 7  # type: ignore[attr-defined]
    # Step t takes up the place from t - 1 to t, so that a curve drops at the horizon.
    assert {line.get_drawstyle() for line in drawn.values()} == {"steps-pre"}  # type: ignore[attr-defined]
    names = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert names[0] == "truth"
    assert "bad" + TEACHER_FORCED not in names  # no rollout, no horizon
    assert {*drawn} == {"truth", "good", "bad", "frozen (floor)"}
    assert "95 %" in figure.get_suptitle()
    widths = {bar.get_width() for bar in figure.axes[1].patches}
    assert widths == {0.0, 1.0}


def test_companions_have_no_horizon_to_show() -> None:
    results = some()
    (companion,) = (s for s in results if s.model.endswith(TEACHER_FORCED))
    for given, shown in (
        (results, {scores.model for scores in results} - {companion.model}),
        ([companion], {companion.model}),
    ):
        plot, bars = plots.survival_plot(given, ROLES).axes
        assert {text.get_text() for text in bars.get_yticklabels()} == shown
        named = plot.get_legend_handles_labels()[1]
        assert {name.removesuffix(" (floor)") for name in named} == shown


@pytest.mark.parametrize("kind", ["one row", "one model", "all NaN", "faults", "twenty models"])
def test_plots_of_little_and_of_much(kind: str, tmp_path: Path) -> None:
    results = some()
    if kind == "one row":
        panel = made_panel(scenarios=1, seeds=1, horizon=1)
        results = [made_scores(panel, [[0]], model="m")]
    elif kind == "one model":
        results = results[:1]
    elif kind == "all NaN":
        results = some(stops=torch.zeros(2, 2, dtype=torch.int64))
    elif kind == "faults":
        results = some(fault=torch.full((2, 2), int(Reason.MISSING), dtype=torch.uint8))
    else:
        results = [replace(results[1], model=f"$m_{i}$ <b>&" + "x" * i) for i in range(20)]
    for figure in (plots.drift_plot(results), plots.survival_plot(results)):
        plots.save_plot(figure, tmp_path / "a.png")
    assert plots.measures_plot(results) is None
    assert plots.response_matrix_plot(results) is None
    assert plots.events_plot(results) is None


def test_real_scores_have_measures_a_matrix_and_events(scored, tmp_path: Path) -> None:
    roles = {"sprites": "truth", "frozen": "floor"}
    figure = plots.measures_plot(scored, roles)
    titles = [plot.get_title() for plot in figure.axes]
    assert titles[:2] == ["psnr moving", "brightness ratio"]
    assert len(plots.measures_plot(scored, roles, ["ssim"]).axes) == 1
    with pytest.raises(ValueError, match=r"names: expected measures of all models .*\['no'\]"):
        plots.measures_plot(scored, roles, ["no"])

    figure = plots.response_matrix_plot(scored, roles)
    matrices = {plot.get_title().split("\n")[0]: plot for plot in figure.axes if plot.images}
    for scores in scored:
        report = scores.actions
        drawn = torch.as_tensor(matrices[scores.model].images[0].get_array().filled(torch.nan))
        if report.effects.confusion.isfinite().any():
            torch.testing.assert_close(drawn, report.effects.confusion, equal_nan=True)
        else:
            assert matrices[scores.model].get_title().endswith("(recovered, floor)")
            torch.testing.assert_close(drawn.nansum(1), (~drawn.isnan()).any(1).double())
    truth = torch.as_tensor(matrices["sprites"].images[0].get_array().filled(0)).diagonal()
    assert float(truth.max()) == pytest.approx(1.0, abs=0.05)

    figure = plots.events_plot(scored, roles)
    swap = next(plot for plot in figure.axes if plot.get_title() == "identity-swap")
    expected = [
        event["first_step"]
        for event in next(s for s in scored if s.model == "identity-swap").events()
        if event["event"] == "swap"
    ]
    assert figure.axes[0].get_ylabel() == "scenario, seed"
    drawn = next(line for line in swap.lines if line.get_label() == "swap")
    assert sorted(drawn.get_xdata()) == sorted(expected)
    assert expected
    plots.save_plot(figure, tmp_path / "a.png")


def test_a_ladder_is_drawn_from_its_result_and_from_its_json(tmp_path: Path) -> None:
    results = some()
    excluded = [RungScores(stressor="blur", severity=1.0, unit="px", excluded="no reason")]
    ladder = summarise_ladder(results, excluded, roles=ROLES)
    assert plots.ladder_plot(ladder) is None
    data = ladder.to_json()
    for model in data["models"].values():
        model["rungs"] = [
            {
                **model["rungs"][0],
                "stressor": "actuator-delay",
                "unit": "steps",
                "severity": float(2**i),
                "usable_share": 0.5 / 2**i,
                "low": None if i else 0.2,
                "high": None if i else 0.8,
                "broken": i == 1,
                "excluded": None,
            }
            for i in range(3)
        ]
    figure = plots.ladder_plot(data)
    (plot,) = figure.axes
    assert [t.get_text() for t in plot.get_xticklabels()] == ["clean", "1", "2", "4"]
    assert list(lines(figure)["bad"].get_ydata()[1:]) == [0.5, 0.25, 0.125]  # type: ignore[attr-defined]
    at = lines(figure)["bad"].get_xdata()  # type: ignore[attr-defined]
    assert [round(x) for x in at] == [0, 1, 2, 3]  # rungs, not severities
    # Whiskers where both ends are known: of the clean panel and of the first rung.
    assert {len(sticks.get_segments()) for sticks in plot.collections} == {2}
    rings = [
        line for line in plot.lines if line.get_fillstyle() == "none" and len(line.get_xdata())
    ]
    assert len(rings) == len(results)
    for ring in rings:  # at the rung that breaks, and nowhere else
        assert list(ring.get_ydata()) == [0.25]
        assert [round(x) for x in ring.get_xdata()] == [2]
    plots.save_plot(figure, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"expected a Ladder or stress\.json"):
        plots.ladder_plot({"models": 3})


def test_a_filmstrip_shows_both_sides(tmp_path: Path) -> None:
    panel = sprite_panel(scenarios=1, seeds=1, horizon=6)
    truth = render_truth(panel, WORLD)
    rollouts = replay_rows(panel, Faulty(WORLD, IdentitySwap()), truth, [(0, 0)])
    figure = plots.filmstrip(rollouts, 2, before=1, after=2)
    assert len(figure.axes) == 12
    assert [plot.get_title() for plot in figure.axes[:4]] == [f"step {t}" for t in range(1, 5)]
    red = [plot for plot in figure.axes if plot.spines["top"].get_visible()]
    assert len(red) == 3
    bare = replace(rollouts, labels=None, reference_labels=None)
    figure = plots.filmstrip(bare, 0, before=3)
    for plot, t in zip(figure.axes[5:10], range(5), strict=True):
        assert (plot.images[0].get_array() == bare.frames[0, t].permute(1, 2, 0).numpy()).all()
    floats = replace(bare, frames=bare.frames / 255, reference=bare.reference / 255)
    plots.save_plot(plots.filmstrip(floats, 6, row=-1), tmp_path / "a.png")
    for arguments, message in (
        ({"step": 7}, "step: expected 0..6, got 7"),
        ({"step": 1, "row": 3}, "row: expected one of 3 rollouts, got 3"),
        ({"step": 1, "before": -1}, "before, after: expected 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.filmstrip(rollouts, **arguments)
    with pytest.raises(ValueError, match="expected a reference"):
        plots.filmstrip(rollouts.without_reference(), 1)


def test_every_way_to_lose_an_identity_looks_its_own() -> None:
    kinds = [state.name.lower() for state in IdentityState if state.is_break]
    kinds.append(IdentityState.SPAWN.name.lower())
    assert set(LOOKS) == set(kinds)
    assert len({mark for mark, _ in LOOKS.values()}) == len({c for _, c in LOOKS.values()}) == 8
