"""The page that `--help` shows.

typer's own takes a quarter of a second to import what draws its boxes, which is half of the time
that `wmscore --help` has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from wmscore.cli.output import console

__all__ = ["print_help"]

_WIDEST = 100
_INDENT = 2
_OPTIONS = "Options"


def print_help(command: Any, context: Any) -> None:
    """Print usage, text, arguments, options or commands, and exit codes."""
    screen = console()
    screen.width = min(screen.width, _WIDEST)
    arguments = [p for p in command.get_params(context) if p.param_type_name == "argument"]
    takes = [_record(param)[0] for param in arguments]
    if hasattr(command, "commands"):
        takes.append("COMMAND ...")
    _text(screen, " ".join(["Usage:", context.command_path, *takes, "[OPTIONS]"]))
    for paragraph in (command.help or "").split("\n\n"):
        screen.print()
        _text(screen, paragraph)
    kinds: dict[str, list[Any]] = {"Arguments": [], _OPTIONS: []}
    for param in command.get_params(context):
        kinds["Arguments" if param.param_type_name == "argument" else _OPTIONS].append(param)
    for title, params in kinds.items():
        _section(screen, title, (_record(param) for param in params if not _hidden(param)))
    panels: dict[str, list[tuple[str, str]]] = {}
    for name, sub in getattr(command, "commands", {}).items():
        panel = getattr(sub, "rich_help_panel", None)
        line = (sub.help or "").partition("\n\n")[0]
        panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append((name, line))
    for title, rows in panels.items():
        _section(screen, title, rows)
    if command.epilog:
        title, *lines = command.epilog.split("\n")
        _section(screen, title, [tuple(line.split("\t")) for line in lines])


def _record(param: Any) -> tuple[str, str]:
    """Names with what stands for the value, and the help with the default."""
    flag = getattr(param, "is_flag", False)
    kind = getattr(param, "type_descriptor", None) or getattr(param, "type", None)
    choices = getattr(kind, "choices", None)
    if param.param_type_name == "argument":
        names = param.metavar or param.name.upper()
        optional = not param.required and param.nargs != -1
        return (f"[{names}]" if optional else names), param.help or ""
    names = ", ".join(sorted(param.opts, key=len))
    if not flag:
        value = param.metavar or ("|".join(map(str, choices)) if choices else "N")
        names = f"{names} {value}"
    said = param.help or ""
    default = param.default
    if param.required:
        said += " (required)"
    elif not flag and isinstance(default, str | int | float) and default != "":
        said += f" (default: {default})"
    return names, said


def _hidden(param: Any) -> bool:
    return bool(getattr(param, "hidden", False))


def _section(screen: Any, title: str, rows: Iterable[Sequence[str]]) -> None:
    """A heading, and two columns below it."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        return
    screen.print()
    screen.print(Text(f"{title}:", style="bold"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, said in rows:
        grid.add_row(Text(name, style="cyan"), Text(said))
    screen.print(Padding(grid, (0, 0, 0, _INDENT), expand=False))


def _text(screen: Any, text: str) -> None:
    from rich.text import Text

    screen.print(Text(text))
