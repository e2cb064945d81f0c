"""One panel after the other: what the true world shows, and how the models do beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from wmscore.files import sha256_tensor
from wmscore.ladder.kept import Found, KeptRungs
from wmscore.ladder.rungs import RungScores
from wmscore.manifest import Panel
from wmscore.replay import render_scenarios, replay_rows
from wmscore.rollouts import Rollouts
from wmscore.scorer import Scorer
from wmscore.scores import Scores
from wmscore.stressors import Stressor
from wmscore.worlds import WorldModel, stressed_world
from wmscore.worlds.stressed import StressedWorld

__all__ = ["Climb", "Models", "Progress"]

Models = Sequence[WorldModel] | Callable[[WorldModel], Sequence[WorldModel]]
Progress = Callable[[str, int, int], None]

UNCHANGED = "changes nothing here: the true world shows the same, and so do prompts and scripts"

DEAF = "reads no prompt (Capabilities.reads_prompt), so that other words change nothing for it"

_REFUSALS = (ValueError, NotImplementedError)


class Climb:
    """Scores models on the clean panel, and on rungs that change something in it.

    Args:
        models: as `run_ladder` takes them.
        world: the true world, without a stress.
        scorer: makes the scorer of a panel.
        batch_size: panel rows per call of a model.
        progress: called with (what is running, scenarios done, scenarios in all).
        roles: of anchors; filled when the models are made.
        keep: makes the folder of finished rungs, given the models' names; None keeps none.
    """

    def __init__(
        self,
        models: Models,
        world: WorldModel,
        *,
        scorer: Callable[[Panel], Scorer],
        batch_size: int,
        progress: Progress | None,
        roles: Mapping[str, str],
        keep: Callable[[list[str]], KeptRungs] | None = None,
    ) -> None:
        """Take what `run_ladder` is given."""
        self._models, self._world, self._scorer = models, world, scorer
        self._batch_size, self._progress, self._keep = batch_size, progress, keep
        self._roles = roles
        self._kept: KeptRungs | None = None
        self._names: list[str] = []
        self._shown: list[str] = []

    def clean(self, panel: Panel) -> list[Scores]:
        """Scores of all models on the clean panel.

        Raises:
            ValueError: a model, or the world, refuses it; a model's name comes twice.
        """
        models = self._made(self._world)
        self._names = [model.name for model in models]
        if not models or len(set(self._names)) < len(self._names):
            raise ValueError(f"models: expected each name once, got {self._names}")
        if self._keep is not None:
            self._kept = self._keep(self._names)
        found = self._known("clean panel", panel)
        if found is None:
            found = self._score("clean panel", panel, models, _Truth(panel, self._world))
            for name, error in found.refused.items():
                raise ValueError(f"models: {name!r} refuses the clean panel: {error}")
            self._store(panel, found)
        self._shown = found.shown
        return found.scores

    def stressed(self, clean: Panel, stressor: Stressor, rung: RungScores, seed: int) -> RungScores:
        """The rung with scores of all models, or with the reason why it says nothing."""
        try:
            panel = stressor.suited(self._world).apply(clean, rung.severity, seed=seed)
        except _REFUSALS as error:
            return replace(rung, excluded=str(error))
        what = f"{stressor.name} {rung.severity:g}"
        found = self._known(what, panel)
        if found is None:
            found = self._climbed(what, panel, stressor)
            self._store(panel, found)
        pairs = zip(found.shown, self._shown, strict=True) if found.shown else ()
        return replace(
            rung,
            scores=found.scores,
            excluded=found.excluded,
            refused=found.refused,
            changed=sum(a != b for a, b in pairs) if found.shown else None,
        )

    def _climbed(self, what: str, panel: Panel, stressor: Stressor) -> Found:
        """What is found on a stressed panel."""
        world = None
        try:
            try:
                world = stressed_world(self._world, panel)
                models = self._made(world)
                truth = _Truth(panel, world)
                # Most rungs show in their first scenarios that they change something.
                if not any(self._changes(truth, some) for some in self._chunks(panel)):
                    return Found(excluded=UNCHANGED, shown=self._shown)
            except _REFUSALS as error:
                return Found(excluded=str(error))
            names = [model.name for model in models]
            if names != self._names:
                raise ValueError(f"models: expected {self._names} under {what} too, got {names}")
            deaf = self._deaf(models) if stressor.only_words else {}
            try:
                return self._score(what, panel, models, truth, deaf)
            except _WorldRefusesError as error:
                return Found(excluded=str(error))
        finally:
            if isinstance(world, StressedWorld) and world is not self._world:
                world.close_own()

    def _deaf(self, models: Sequence[WorldModel]) -> dict[str, str]:
        """Judged models that no prompt reaches; anchors have none by nature."""
        judged = (m for m in models if self._roles.get(m.name, "model") == "model")
        return {m.name: DEAF for m in judged if not m.capabilities.reads_prompt}

    def _known(self, what: str, panel: Panel) -> Found | None:
        """What an earlier run has kept of a panel."""
        found = None if self._kept is None else self._kept.find(panel)
        if found is not None and self._progress is not None:
            self._progress(what, len(panel.scenarios), len(panel.scenarios))
        return found

    def _store(self, panel: Panel, found: Found) -> None:
        if self._kept is not None:
            self._kept.keep(panel, found)

    def _made(self, world: WorldModel) -> list[WorldModel]:
        return list(self._models(world) if callable(self._models) else self._models)

    def _chunks(self, panel: Panel) -> Iterable[range]:
        """Scenarios that are rendered at a time, by index."""
        at_once = max(1, self._batch_size // len(panel.seeds))
        total = len(panel.scenarios)
        return (range(s, min(s + at_once, total)) for s in range(0, total, at_once))

    def _changes(self, truth: _Truth, some: range) -> bool:
        return truth.digests(some) != self._shown[some.start : some.stop]

    def _score(
        self,
        what: str,
        panel: Panel,
        models: Sequence[WorldModel],
        truth: _Truth,
        deaf: Mapping[str, str] | None = None,
    ) -> Found:
        """Scores of the models, but for `deaf` ones; who refuses and why; digests of scenarios."""
        scorers = {model.name: self._scorer(panel) for model in models}
        refused = dict(deaf or {})
        digests: list[str] = []
        for some in self._chunks(panel):
            digests += truth.digests(some)
            shown = truth.rendered(some)
            rows = [(s, seed) for s in some for seed in panel.seeds]
            for model in models:
                for first in range(0, len(rows), self._batch_size):
                    if model.name in refused:
                        break
                    part = rows[first : first + self._batch_size]
                    try:
                        rollouts = replay_rows(panel, model, shown, part)
                    except _REFUSALS as error:
                        refused[model.name] = str(error)
                    else:
                        scorers[model.name].update(rollouts)
            if self._progress is not None:
                self._progress(what, some.stop, len(panel.scenarios))
        scores = [s.compute() for name, s in scorers.items() if name not in refused]
        return Found(scores=scores, refused=refused, shown=digests)


class _WorldRefusesError(ValueError):
    """The true world cannot show a panel."""


class _Truth:
    """What a world shows of a panel's scenarios; the last ones that were asked for are kept."""

    def __init__(self, panel: Panel, world: WorldModel) -> None:
        self._panel, self._world = panel, world
        self._kept: tuple[range, Rollouts] | None = None

    def rendered(self, some: range) -> Rollouts:
        """Of some scenarios, by index.

        Raises:
            _WorldRefusesError: the world cannot show them.
        """
        if self._kept is None or self._kept[0] != some:
            self._kept = None  # not both in memory
            try:
                self._kept = some, render_scenarios(self._panel, self._world, some)
            except _REFUSALS as error:
                raise _WorldRefusesError(str(error)) from error
        return self._kept[1]

    def digests(self, some: range) -> list[str]:
        """SHA-256 of what each scenario asks of a model and what the true world shows."""
        truth = self.rendered(some)
        found = []
        for s in some:
            mine = truth[truth.scenario == s]
            text = [sha256_tensor(mine.frames), sha256_tensor(mine.actions)]
            text.append(str(self._panel.scenarios[s].prompt))
            found.append(hashlib.sha256("/".join(text).encode()).hexdigest())
        return found
