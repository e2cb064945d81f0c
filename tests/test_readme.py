"""Python of the README and of the library's document runs as printed; shell commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from tests.document_blocks import blocks
from wmscore.cli.app import read_command

ROOT = Path(__file__).parents[1]
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/library.md")
}
PYTHON = [
    (name, number)
    for name, text in DOCUMENTS.items()
    for number in range(len(blocks(text, "python")))
]


@pytest.mark.parametrize(("name", "number"), PYTHON)
def test_python_examples_run(
    name: str,
    number: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    block = blocks(DOCUMENTS[name], "python")[number]
    exec(compile(block, f"{name} block {number}", "exec"), {})
    if name == "README.md":
        assert "sprites-leave-and-return-right" in capsys.readouterr().out


def test_the_readme_has_one_short_example():
    (example,) = blocks(DOCUMENTS["README.md"], "python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize("name", DOCUMENTS)
def test_shell_commands_parse(name: str):
    lines = [line for block in blocks(DOCUMENTS[name], "sh") for line in block.splitlines()]
    commands = [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("wmscore ")
    ]
    assert len(commands) >= 4
    for command in commands:
        read_command(command)


def test_a_busy_reader_gets_through():
    """What is printed and drawn aside; reference material has its place in docs/."""
    words = re.sub(r"^```.*?^```", "", DOCUMENTS["README.md"], flags=re.MULTILINE | re.DOTALL)
    assert len(words.split()) < 1800
