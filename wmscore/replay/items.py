"""The questions of a panel: one item per row and script."""

from __future__ import annotations

from collections.abc import Sequence

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.worlds import Item

__all__ = ["fingerprint_of", "panel_items"]

_last: tuple[Panel, str] | None = None


def panel_items(
    panel: Panel,
    rows: Sequence[tuple[int, int]] | None = None,
    *,
    truth: Rollouts | None = None,
) -> list[Item]:
    """The items of a panel, row-major with all branches of a row side by side.

    Args:
        panel: the contract.
        rows: (scenario index, seed) pairs; all of the panel by default.
        truth: the true world's rollouts, from which each item gets its initial observation.
    """
    space = panel.contract.actions
    noop: int | tuple[float, ...] | None = None
    if isinstance(space.noop, str):
        noop = space.names.index(space.noop)
    elif space.noop is not None:
        noop = space.noop
    first: dict[int, int] = {}
    if truth is not None:
        first = {s: i for i, s in enumerate(truth.scenario.tolist()) if truth.branch[i] == 0}
    items, fingerprint = [], fingerprint_of(panel)
    for s, seed in panel.rows() if rows is None else rows:
        scenario = panel.scenarios[s]
        frame = labels = None
        if truth is not None:
            frame = truth.frames[first[s], 0]
            labels = None if truth.labels is None else truth.labels[first[s], 0]
        for branch in range(len(scenario.scripts)):
            items.append(
                Item(
                    panel=fingerprint,
                    scenario=s,
                    scenario_id=scenario.id,
                    initial_state_id=scenario.initial_state_id,
                    reset=dict(scenario.reset),
                    seed=seed,
                    branch=branch,
                    actions=panel.actions(s, branch),
                    action_names=space.names,
                    action_units=space.units or (),
                    fps=None
                    if panel.contract.observation is None
                    else panel.contract.observation.fps,
                    noop=noop,
                    frame=frame,
                    labels=labels,
                    prompt=scenario.prompt,
                )
            )
    return items


def fingerprint_of(panel: Panel) -> str:
    """`panel.fingerprint`, which takes a moment of a large panel, computed once for many calls."""
    global _last
    known = _last  # read once: another thread may write it
    if known is None or known[0] is not panel:
        _last = known = (panel, panel.fingerprint)
    return known[1]
