"""What typer's commands are given in addition: options with several values, a page of help."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from wmscore.cli.help import print_help

__all__ = ["WmscoreCommand", "WmscoreGroup", "spread"]


def spread(words: list[str], options: set[str]) -> list[str]:
    """Repeat an option before each of its values, which is how click reads several.

    Example:
        >>> spread(["--truth", "a", "b", "--out", "c"], {"--truth"})
        ['--truth', 'a', '--truth', 'b', '--out', 'c']
    """
    spreading, found = "", list[str]()
    for place, word in enumerate(words):
        if word == "--":
            return [*found, *words[place:]]
        if word.startswith("-"):
            name, sign, _ = word.partition("=")
            spreading = name if name in options else ""
            first = not sign
        elif spreading and not first:
            found.append(spreading)
        elif spreading:
            first = False
        found.append(word)
    return found


class WmscoreCommand(TyperCommand):
    """A command whose options with a metavar that ends in `...` take several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, after spreading out what has several values."""
        many = {
            name
            for param in self.params
            if param.param_type_name == "option" and str(param.metavar or "").endswith("...")
            for name in param.opts
        }
        return super().parse_args(ctx, spread(args, many))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page; nothing is left for the formatter."""
        print_help(self, ctx)


class WmscoreGroup(TyperGroup):
    """A group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the page; nothing is left for the formatter."""
        print_help(self, ctx)
