"""The README's Python runs as printed, and its shell commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from wmscore.cli.app import read_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_examples_run(
    number: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[number], f"README block {number}", "exec"), {})
    if number == 0:
        assert "sprites-leave-and-return-right" in capsys.readouterr().out


def test_the_comparison_is_that_of_the_document():
    """Whose test runs the commands."""
    document = (Path(__file__).parents[1] / "docs" / "comparing.md").read_text(encoding="utf-8")
    (shown,) = blocks("text")
    assert shown in document


def test_the_library_example_is_short():
    code = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(code) <= 20


def test_shell_commands_parse():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("wmscore ")
    ]
    assert len(commands) >= 4
    for command in commands:
        read_command(command)
