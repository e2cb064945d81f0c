"""What several commands read: panels, modules of one's own, devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmscore.manifest import Panel

__all__ = ["check_device", "import_from_here", "packaged_panels", "read_numbers", "read_panel"]


def packaged_panels() -> list[str]:
    """Names of the panels that come with wmscore, without importing much.

    Example:
        >>> "sprites" in packaged_panels()
        True
    """
    folder = Path(__file__).parents[1] / "panels"
    return sorted(path.stem for path in folder.glob("*.json"))


def read_panel(name: str) -> Panel:
    """A file, or the name of a packaged panel where no file has it.

    Raises:
        ValueError: it is neither.
    """
    from wmscore.manifest import Panel

    path = Path(name)
    if path.is_file():
        return Panel.load(name)
    if name in packaged_panels():
        return Panel.packaged(name)
    if path.is_dir():
        if (path / "manifest.json").is_file():  # of an evidence folder
            return Panel.load(path / "manifest.json")
        raise ValueError(f"panel: expected a JSON file, got the folder {name}")
    raise FileNotFoundError(
        f"panel: expected a JSON file or one of {packaged_panels()}, got {name!r}: no such file"
    )


def read_numbers(option: str, text: str, form: str) -> Any:
    """Whole numbers of pixels in the form that an option has: "HxW", "T,L,B,R".

    Example:
        >>> read_numbers("--size", "120x160", "HxW")
        (120, 160)

    Raises:
        ValueError: the text has another form.
    """
    mark = form[1]
    try:
        values = tuple(int(part) for part in text.split(mark))
    except ValueError:
        values = ()
    if len(values) != len(form.split(mark)):
        raise ValueError(f"{option}: expected {form} in whole pixels, got {text!r}")
    return values


def check_device(name: str) -> str:
    """The device, if torch has it here.

    Raises:
        ValueError: torch knows no such device, or there is none on this machine.
    """
    import torch

    try:
        torch.empty(1, device=name).cpu()  # what has no memory, such as "meta", fails here
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: expected 'cpu' or a CUDA device that is here, got {name!r}: {reason}"
        ) from None
    return name


def import_from_here() -> None:
    """Find modules in the current folder too, as of a model, world or encoder of one's own."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
