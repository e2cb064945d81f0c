"""Before a model is asked: the truth of a shard's rows, and one frozen panel for all shards."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from wmscore.files import create_file, sha256_tensor
from wmscore.manifest import Observation, Panel, PanelMismatchError
from wmscore.recordings.layout import Layout, Shard
from wmscore.recordings.question import check_same, is_frozen, question
from wmscore.recordings.reading import Recording
from wmscore.recordings.truth import TruthParts
from wmscore.recordings.writer import Writer
from wmscore.replay import Progress, panel_items, render_scenarios
from wmscore.worlds import WorldModel, stressed_world

__all__ = ["freeze", "prepare_truth"]


def prepare_truth(
    folder: Path,
    panel: Panel,
    world: WorldModel | None,
    layout: Layout,
    shard: Shard,
    given: Recording | None,
    progress: Progress | None,
) -> TruthParts:
    """The truth of all rows of a shard, in files: found, taken from `given`, or rendered.

    `given` answers the same question.

    Raises:
        ValueError: there is no world to render what is missing.
        OSError: it cannot be written.
    """
    wanted = sorted({s for part in layout.parts_of(shard) for s, _ in layout.rows_of(part)})
    asked = question(panel) if given is None else given.question
    if given is not None:
        source = TruthParts(given.folders, asked)
        lost = set(source.missing(wanted))
        source.link_to(folder, [s for s in wanted if s not in lost])
    truths = TruthParts([folder], asked)
    missing = truths.missing(wanted)
    if not missing:
        return truths
    if (folder / "panel.json").exists():
        panel = Panel.load(folder / "panel.json")  # whose frames are to be shown
    if world is None:
        raise ValueError(
            f"truth: expected the scenarios of this shard, but {len(missing)} of {len(wanted)} are "
            f"missing, the first of them {panel.scenarios[missing[0]].id!r}, and there is no world "
            "to render them"
        )
    done = len(wanted) - len(missing)
    if progress is not None:
        progress(done, len(wanted))
    with Writer() as writer:
        for start in range(0, len(missing), layout.batch_size):
            batch = missing[start : start + layout.batch_size]
            rendered = render_scenarios(panel, world, batch)
            for group in _groups(batch, layout):
                match = sum(rendered.scenario == s for s in group)
                truth = rendered if len(group) == len(batch) else rendered[match > 0]
                writer.submit(partial(_write, truths, folder, truth), _raise)
            if progress is not None:
                progress(done + min(start + layout.batch_size, len(missing)), len(wanted))
    return TruthParts([folder], asked)


def freeze(
    folder: Path,
    panel: Panel,
    world: WorldModel | None,
    layout: Layout,
    truths: TruthParts,
) -> Panel:
    """The frozen panel of the folder: written by the first shard that has it, read by the others.

    Initial frames come from the truth that is here. Those of other shards'
    scenarios are looked at in the world, one step long: they are checked again where these are
    rendered.

    Raises:
        PanelMismatchError: another shard froze other frames: the world does not repeat itself.
        ValueError: there is no world to look at.
    """
    path = folder / "panel.json"
    known = None
    if not path.exists():
        frozen = panel if is_frozen(panel) else _frozen(panel, world, layout, truths)
        if create_file(path, frozen.canonical_json() + "\n"):
            known = frozen
    if known is None:
        known = Panel.load(path)
        check_same(folder, known, panel)
    frames = truths.first_frames()
    for s, found in frames.items():
        if known.scenarios[s].initial_frame_sha256 != found:
            raise PanelMismatchError(
                f"{folder}: the truth of scenario {known.scenarios[s].id!r} starts from another "
                "frame than panel.json froze (scenarios[].initial_frame_sha256); does the world "
                "repeat itself?"
            )
    return known


def _frozen(panel: Panel, world: WorldModel | None, layout: Layout, truths: TruthParts) -> Panel:
    frames = truths.first_frames()
    others = [s for s in range(len(panel.scenarios)) if s not in frames]
    if world is None:
        raise ValueError("world: expected one to freeze the panel, got None")
    size = truths.frame_size() if truths.files else world.capabilities.frame_size
    steps = 1 if world.capabilities.prefix_causal else panel.contract.horizon
    for start in range(0, len(others), layout.batch_size):
        batch = others[start : start + layout.batch_size]
        items = [
            i for i in panel_items(panel, [(s, panel.seeds[0]) for s in batch]) if not i.branch
        ]
        shown = stressed_world(world, panel).rollout(items, steps)
        for row, s in enumerate(batch):
            frames[s] = sha256_tensor(shown.frames[row, 0])
        size = (int(shown.frames.shape[-2]), int(shown.frames.shape[-1]))
    observation = panel.contract.observation or Observation(
        height=size[0], width=size[1], fps=world.capabilities.fps
    )
    return panel.with_initial_frames(
        {panel.scenarios[s].id: digest for s, digest in frames.items()}, observation
    )


def _groups(scenarios: Sequence[int], layout: Layout) -> list[list[int]]:
    """Scenarios by the first part that needs them."""
    groups: dict[int, list[int]] = {}
    for s in scenarios:
        groups.setdefault(layout.first_part(s), []).append(s)
    return list(groups.values())


def _write(truths: TruthParts, folder: Path, truth: object) -> None:
    truths.write(folder, truth)  # type: ignore[arg-type]


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
