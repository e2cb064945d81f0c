"""What a panel asks of a world: all of it but how it is judged and what freezing adds."""

from __future__ import annotations

import hashlib
import json

from wmscore.manifest import Panel, PanelMismatchError

__all__ = ["adopt_frozen", "check_same", "is_frozen", "question"]

# Neither what judges rollouts nor what a panel is called changes what a world shows.
_JUDGED = ("axes", "trace_to_save", "chapter", "name", "schema_version")


def question(panel: Panel) -> str:
    """Fingerprint of what a world is asked; it stays when a panel is frozen or judged otherwise.

    Rendered truth carries it, so that one truth serves all panels that ask the same.
    """
    data = json.loads(panel.canonical_json())
    data = {name: value for name, value in data.items() if name not in _JUDGED}
    data["contract"].pop("observation", None)
    for scenario in data["scenarios"]:
        scenario.pop("initial_frame_sha256", None)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"question {text}".encode()).hexdigest()


def is_frozen(panel: Panel) -> bool:
    """Whether the frame size and all initial frames are fixed."""
    return panel.contract.observation is not None and all(
        scenario.initial_frame_sha256 is not None for scenario in panel.scenarios
    )


def check_same(where: object, known: Panel, panel: Panel) -> None:
    """Refuse two panels that differ in more than what one of them leaves to be frozen.

    Raises:
        PanelMismatchError: names the fields.
    """
    if known == panel:
        return
    mine, theirs = known.unfrozen_like(panel), panel.unfrozen_like(known)
    if mine.fingerprint != theirs.fingerprint:
        fields = "\n".join(theirs.differences(mine))
        raise PanelMismatchError(f"{where}: recorded for another panel:\n{fields}")


def adopt_frozen(where: object, panel: Panel, frozen: Panel) -> Panel:
    """`panel` with the frame size and initial frames of `frozen`, which asks the same.

    Raises:
        PanelMismatchError: they ask for something else, or froze other frames.
    """
    if panel == frozen:
        return panel
    if question(panel) != question(frozen):
        fields = "\n".join(panel.differences(frozen.judged_like(panel).unfrozen_like(panel)))
        raise PanelMismatchError(f"truth: {where} was rendered for another panel:\n{fields}")
    hashes = {s.id: str(s.initial_frame_sha256) for s in frozen.scenarios}
    adopted = panel.with_initial_frames(hashes, frozen.contract.observation)
    if adopted.unfrozen_like(panel).fingerprint != panel.fingerprint:
        fields = "\n".join(panel.differences(adopted.unfrozen_like(panel)))
        raise PanelMismatchError(f"truth: {where} has other frames:\n{fields}")
    return adopted
