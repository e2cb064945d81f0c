"""The commands put together, and what happens when one ends, well or not."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import cache, wraps
from typing import Annotated, Any

import typer

from wmscore import __version__
from wmscore.cli.answers import Answer, as_text, printable, printing_to_stderr
from wmscore.cli.command import WmscoreCommand, WmscoreGroup

__all__ = ["EXIT_CODES", "build_app", "read_command", "run"]

EXIT_CODES = {
    0: "done; every promise kept, every row recorded, gate passed, evidence sound",
    1: "the answer is no: a gate failed, a promise is broken, rows are faults, evidence is not "
    "sound",
    2: "wrong usage: an option, a file or a panel that does not fit; says which",
    3: "undecided: not enough data for a yes or a no",
    70: "an error inside a model or inside wmscore; its traceback is kept in a file",
    130: "interrupted (Ctrl-C)",
    141: "whoever was to read the output has gone",
    143: "terminated",
}
"""Exit codes of all commands, and what they mean."""

_MISTAKES = (ValueError, TypeError, ImportError, OSError)
_command: ContextVar[str] = ContextVar("command", default="")


@cache
def build_app() -> typer.Typer:
    """All commands, none of which has been imported further than its options."""
    from wmscore.cli import commands

    app = typer.Typer(
        name="wmscore",
        cls=WmscoreGroup,
        help="How far a generative world model can be trusted, and why it breaks.",
        epilog="\n".join(["Exit codes", *(f"{code}\t{text}" for code, text in EXIT_CODES.items())]),
        no_args_is_help=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    groups: dict[str, typer.Typer] = {}
    for panel, names in commands.COMMANDS.items():
        for name, function in names.items():
            head, _, last = name.rpartition(" ")
            if head and head not in groups:
                groups[head] = typer.Typer(cls=WmscoreGroup, help=commands.GROUPS[head])
                app.add_typer(groups[head], name=head, rich_help_panel=panel)
            place = groups[head] if head else app
            place.command(
                last,
                cls=WmscoreCommand,
                help=_paragraphs(function.__doc__ or ""),
                rich_help_panel=None if head else panel,
            )(_answering(name, function))
    return app


@cache
def _group() -> Any:
    return typer.main.get_command(build_app())


def _paragraphs(text: str) -> str:
    """Each paragraph on one line, since typer keeps the line breaks of all but the first."""
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in parts)


def read_command(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The command of a line and its options, without running it.

    Example:
        >>> read_command(["score", "rollouts", "--out", "evidence"])[1]["out"]
        'evidence'

    Raises:
        ValueError: it is no command line of wmscore; says what is wrong.
    """
    command, name = _group(), ""
    rest = list(words)
    context: Any = None
    try:
        while True:
            context = command.make_context(command.name or "wmscore", rest, parent=context)
            if not hasattr(command, "resolve_command"):
                return name, context.params
            # click keeps the name of the subcommand apart from the rest.
            rest = [*context._protected_args, *context.args]
            if not rest:
                raise ValueError("Missing command.")
            last, command, rest = command.resolve_command(context, rest)
            name = f"{name} {last}".strip()
    except typer.Exit:
        return name, {}
    except Exception as error:
        if not _is_usage(error):
            raise
        raise ValueError(error.format_message()) from None  # type: ignore[attr-defined]


def run(argv: Sequence[str]) -> int:
    """Run a command, and turn how it ends into an exit code."""
    words, debug = _without_debug(argv)
    group = _group()
    if os.environ.get("_WMSCORE_COMPLETE"):
        group.main(words, prog_name="wmscore")
        return 0
    _command.set("")
    # A polite kill unwinds, so that drafts of folders are removed.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if not words:
            group.main(["--help"], prog_name="wmscore", standalone_mode=False)
            return 2
        try:
            with group.make_context("wmscore", words) as context:
                code = int(group.invoke(context) or 0)
        except typer.Exit as end:
            code = int(end.exit_code)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever was to read it has gone, such as `head`
        _give_up_stdout()
        return 141
    except (KeyboardInterrupt, typer.Abort):
        if "--json" in words:
            error = {"kind": "KeyboardInterrupt", "message": "Interrupted."}
            print(as_text({"error": {"command": _command.get(), **error}}), end="")
        _say("Interrupted.")
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        if "--json" in words:
            print(as_text({"error": {"command": _command.get(), **_about(error)}}), end="")
        return _explain(error, debug)
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(error: Exception, debug: bool) -> int:
    """Say what went wrong, without a traceback; the exit code."""
    about = _about(error)
    if _is_usage(error):
        context = getattr(error, "ctx", None)
        place = getattr(context, "command_path", "wmscore")
        print(printable(f"{place}: {about['message']} Try '{place} --help'."), file=sys.stderr)
        return 2
    if isinstance(error, _MISTAKES):
        _say(about["message"])
        return 2
    where = "above"
    if not debug:
        with tempfile.NamedTemporaryFile(
            "w", prefix="wmscore-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            traceback.print_exception(error, file=file)
        where = file.name
    _say(f"unexpected {about['kind']}: {about['message']}\nTraceback: {where}")
    return 70


def _about(error: Exception) -> dict[str, str]:
    message = str(error)
    if _is_usage(error):
        message = error.format_message().replace("Value error, ", "")  # type: ignore[attr-defined]
    return {"kind": type(error).__name__, "message": message or type(error).__name__}


def _say(text: str) -> None:
    print(printable(f"{f'wmscore {_command.get()}'.strip()}: {text}"), file=sys.stderr)


def _is_usage(error: BaseException) -> bool:
    """A mistake that click found; typer brings its own copy of click, or takes the one there is."""
    return isinstance(error, typer.BadParameter.__mro__[2])


def _give_up_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass


def _without_debug(argv: Sequence[str]) -> tuple[list[str], bool]:
    """`--debug` may stand anywhere."""
    words = list(argv)
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"]
    return kept + words[end:], len(kept) < end


def _answering(name: str, function: Callable[..., Answer]) -> Callable[..., int]:
    """The command as typer calls it: runs, prints what is asked for, gives the exit code."""

    @wraps(function)
    def answering(**options: Any) -> int:
        _command.set(name)
        wants_json = bool(options.get("as_json"))
        with printing_to_stderr(wants_json):
            answer = function(**options)
        if wants_json:
            print(as_text(answer.document), end="")
        else:
            answer.show()
        return answer.code

    return answering


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wmscore {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", callback=_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="show tracebacks; may stand anywhere")
    ] = False,
) -> None:
    """How far a generative world model can be trusted, and why it breaks."""
