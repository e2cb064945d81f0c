"""Windows of episodes, and panels whose truth was recorded: replayed and scored."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.episodes.films import film, script, shown
from wmscore.cli import main
from wmscore.episodes import (
    ArrayEpisodes,
    Episode,
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
    EpisodeWindows,
    SourceFacts,
    episode_length,
    panel_from_episodes,
)
from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.scorer import Scorer
from wmscore.worlds import Frozen, RecordedWorld

LENGTHS = (9, 12, 5)


class Films:
    """Episodes in memory; of one action fewer than frames."""

    name = "films"

    def __init__(self, *keys: EpisodeKey, lengths: Any = LENGTHS, **facts: Any) -> None:
        self._keys = keys or tuple(EpisodeKey(id=f"film-{i}") for i in range(len(lengths)))
        self.lengths = lengths
        self.read_frames: list[int | None] = []
        self.facts = SourceFacts(
            **(
                {
                    "fps": 8.0,
                    "frame_size": (16, 24),
                    "actions": "continuous",
                    "action_names": ("t", "episode"),
                }
                | facts
            )
        )

    def keys(self) -> list[EpisodeKey]:
        return list(self._keys)

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        self.read_frames.append(frames)
        i = self._keys.index(key)
        whole = Episode(
            key=key,
            frames=torch.from_numpy(film(i, self.lengths[i])).permute(0, 3, 1, 2),
            fps=8.0,
            actions=None
            if self.facts.actions == "none"
            else torch.from_numpy(script(i, self.lengths[i] - 1)),
            prompt=f"film {i}",
        )
        return whole.window(start, frames)


def test_windows_cover_long_episodes_once() -> None:
    source = Films()
    windows = EpisodeWindows(source, steps=4)
    assert isinstance(windows, EpisodeSource)
    assert [key.id for key in windows.keys()] == [
        "film-0@0",
        "film-0@4",
        "film-1@0",
        "film-1@4",
        "film-2@0",
    ]
    episode = windows.read(windows.keys()[3])
    assert shown(episode.frames) == [(1, t) for t in range(4, 9)]
    assert episode.actions is not None
    assert episode.actions[:, 0].tolist() == [4, 5, 6, 7]
    assert episode.key.id == "film-1@4"
    part = windows.read(windows.keys()[3], start=1, frames=2)
    assert shown(part.frames) == [(1, 5), (1, 6)]
    with pytest.raises(EpisodeTooShortError, match="has 5"):
        windows.read(windows.keys()[3], frames=6)
    with pytest.raises(EpisodeError, match="has no window 'film-0@8'"):
        windows.read(EpisodeKey(id="film-0@8"))
    overlapping = EpisodeWindows(source, steps=4, stride=2, most=2)
    assert [key.id for key in overlapping.keys()][:3] == ["film-0@0", "film-0@2", "film-1@0"]


def test_episodes_too_short_for_a_window_are_told() -> None:
    windows = EpisodeWindows(Films(), steps=6)
    assert windows.short == ("film-2",)
    assert windows.facts.notes == ("1 episodes have fewer than 7 frames: none of them is used",)
    with pytest.raises(ValueError, match="expected episodes of at least 21 frames in films"):
        EpisodeWindows(Films(), steps=20)
    with pytest.raises(ValueError, match="stride: expected at least 1, got 0"):
        EpisodeWindows(Films(), steps=4, stride=0)
    assert episode_length(Films(), EpisodeKey(id="film-1")) == 12


def test_a_panel_holds_what_was_recorded() -> None:
    source = Films()
    panel = panel_from_episodes(
        source, axes=["perceptual_drift"], horizon=4, units=["number", "number"], noop=[0, 0]
    )
    assert source.read_frames == [5, 5, 5]  # no more than is needed
    assert Panel.from_dict(panel.model_dump()).fingerprint == panel.fingerprint
    assert [scenario.id for scenario in panel.scenarios] == ["film-0", "film-1", "film-2"]
    assert panel.actions(1)[:, 0].tolist() == [0, 1, 2, 3]
    assert panel.scenarios[2].prompt == "film 2"
    assert panel.contract.actions.units == ("number", "number")
    assert panel.contract.observation is not None
    assert (panel.contract.observation.width, panel.contract.observation.fps) == (24, 8.0)
    assert panel.axes[0].patience == 3


def test_branches_are_counterfactual_scripts() -> None:
    keys = [EpisodeKey(id=f"{i}", scenario="hall", branch=i) for i in range(2)]

    class Same(Films):
        def read(self, key: EpisodeKey, **part: Any) -> Episode:
            episode = super().read(key, **part)
            episode.frames[0] = 7  # both start here
            return episode

    axes: list[Any] = [{"axis": "action_response", "threshold": 0.5}]
    panel = panel_from_episodes(Same(*keys, lengths=(5, 5)), axes=axes, horizon=4)
    assert len(panel.scenarios[0].scripts) == 2
    assert panel.actions(0, 1)[:, 1].tolist() == [1] * 4
    with pytest.raises(EpisodeError, match="'1': expected the first frame of '0', its branch 0"):
        panel_from_episodes(Films(*keys, lengths=(5, 5)), axes=axes, horizon=4)
    with pytest.raises(ValueError, match="branches: the axis action_response compares branches"):
        panel_from_episodes(Films(), axes=["action_response"], horizon=4)
    gap = [EpisodeKey(id="x", scenario="hall"), EpisodeKey(id="y", scenario="hall", branch=2)]
    with pytest.raises(ValueError, match=r"expected branches 0, 1, \.\.\. .*got \[0, 2\]"):
        panel_from_episodes(Films(*gap, lengths=(5, 5)), axes=axes, horizon=4)
    twice = [EpisodeKey(id="x", scenario="hall"), EpisodeKey(id="y", scenario="hall", seed=3)]
    with pytest.raises(ValueError, match="one true episode for each script, got 'x' and 'y'"):
        panel_from_episodes(Films(*twice, lengths=(5, 5)), axes=axes, horizon=4)


def test_what_makes_no_panel_is_named() -> None:
    with pytest.raises(EpisodeTooShortError, match="film-2"):
        panel_from_episodes(Films(), axes=["perceptual_drift"], horizon=6)
    with pytest.raises(ValueError, match="expected episodes with actions, films has none"):
        panel_from_episodes(Films(actions="none"), axes=["perceptual_drift"], horizon=4)
    with pytest.raises(ValueError, match=r"names: expected 2, .*'episode'\], got \['a'\]"):
        panel_from_episodes(Films(), axes=["perceptual_drift"], horizon=4, names=["a"])


def test_films_without_actions_are_a_panel_for_models_that_take_none() -> None:
    axes = ["perceptual_drift"]
    for source in (Films(actions="none", action_names=()), Films()):
        panel = panel_from_episodes(source, axes=axes, horizon=4, without_actions=True)
        assert panel.contract.actions.names == ("as-recorded",)
        assert panel.actions(2).tolist() == [0] * 4
    with pytest.raises(ValueError, match="units, noop: expected none without actions"):
        panel_from_episodes(Films(), axes=axes, horizon=4, without_actions=True, noop=[0, 0])


def test_the_command_line_finds_recorded_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("runs.npz", frames=film(0, 9, 32, 32), actions=np.array([0, 1] * 4))
    code = """
        from wmscore.episodes import ArrayEpisodes
        from wmscore.worlds import RecordedWorld

        def source():
            return ArrayEpisodes("runs.npz", fps=5, align="transition", action_names=["a", "b"])

        def world():
            return RecordedWorld(source())
    """
    Path("recorded_truth.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(str(tmp_path))
    source = importlib.import_module("recorded_truth").source()
    panel = panel_from_episodes(
        source, axes=["perceptual_drift"], horizon=8, world="recorded_truth:world"
    )
    panel.save("panel.json")
    assert main(["replay", "panel.json", "--model", "frozen", "--out", "rollouts"]) == 0
    (rollouts,) = Recording("rollouts")
    assert rollouts.reference is not None
    assert shown(rollouts.reference[0]) == [(0, t) for t in range(9)]
    assert shown(rollouts.frames[0]) == [(0, 0)] * 9


def test_recorded_truth_is_replayed_and_scored(tmp_path: Path) -> None:
    """From arrays on disk to scores: the truth is perfect, a frozen model is not."""
    films = np.random.default_rng(0).integers(0, 256, (2, 9, 32, 32, 3), dtype=np.uint8)
    films = films.repeat(2, axis=2).repeat(2, axis=3)
    actions = np.array([[0, 1, 1, 0, 1, 0, 0, 1]] * 2)
    np.savez(tmp_path / "runs.npz", frames=films, actions=actions)
    source = ArrayEpisodes(
        tmp_path / "runs.npz", fps=5, align="transition", action_names=["left", "right"]
    )
    windows = EpisodeWindows(source, steps=4)
    panel = panel_from_episodes(windows, axes=["perceptual_drift"], horizon=4)
    assert len(panel.scenarios) == 4
    world = RecordedWorld(windows)
    found = {}
    for name, model in (("truth", world), ("frozen", Frozen(world))):
        frozen = record(tmp_path / name, panel, world, model)
        assert frozen.fingerprint == panel.fingerprint  # the hashes were there
        scorer = Scorer(panel)
        for rollouts in Recording(tmp_path / name, panel):
            scorer.update(rollouts)
        found[name] = scorer.compute()
    assert found["truth"].horizon.censored.all()
    assert not found["frozen"].horizon.censored.any()
