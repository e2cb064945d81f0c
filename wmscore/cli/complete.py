"""What the shell completes: names that come with wmscore, and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wmscore.cli.reading import packaged_panels

__all__ = [
    "MODELS",
    "STRESSORS",
    "complete_files",
    "complete_models",
    "complete_panels",
    "complete_stressors",
]

MODELS = ("world", "other-seed", "action-blind", "frozen")
"""What a world gives by itself."""

# Written down, since importing wmscore.stressors takes torch, and completion must not wait for it.
STRESSORS = (
    *("actuator-delay", "dropped-actions", "sticky-actions", "noisy-actions"),
    *("horizon-extension", "over-exposure", "under-exposure", "warm-light", "cool-light"),
    *("shadow", "camera-jitter", "occlusion", "blur", "noise", "compression"),
    *("prompt-paraphrase", "prompt-distractor", "reset-jitter"),
)
"""Names of all stressors, in the order of `wmscore.stressors.all_stressors()`."""


def complete_panels(incomplete: str) -> list[str]:
    """Packaged panels, and JSON files."""
    return [*_starting(packaged_panels(), incomplete), *_files(incomplete, ".json")]


def complete_models(incomplete: str) -> list[str]:
    """Anchors; factories of one's own are not looked for."""
    return _starting(MODELS, incomplete)


def complete_stressors(incomplete: str) -> list[str]:
    """Names of stressors."""
    return _starting(STRESSORS, incomplete)


def complete_files(incomplete: str) -> list[str]:
    """Files and folders."""
    return list(_files(incomplete))


def _starting(names: tuple[str, ...] | list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, suffix: str = "") -> Iterator[str]:
    """Entries of the folder that is being typed; folders end in a slash."""
    head, slash, tail = incomplete.rpartition("/")
    folder = Path(head + slash if slash else ".").expanduser()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail):
            continue
        if entry.is_dir():
            yield f"{head}{slash}{entry.name}/"
        elif entry.name.endswith(suffix):
            yield f"{head}{slash}{entry.name}"
