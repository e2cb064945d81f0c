"""docs/systems.md: what is shown runs, section by section, and its table is what is found."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from document_tables import rows_of

from tests.document_blocks import blocks, run_block
from tests.tiny_systems import SYSTEMS, System
from tools.systems_table import HEAD, cells, check, missing
from wmscore.cli.app import read_command

# Of Diffusers with NumPy 2, not ours.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DOCUMENT = (Path(__file__).parents[1] / "docs" / "systems.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE)
NEEDS = {
    "Diffusers": ["diffusers", "transformers"],
    "NVIDIA Cosmos": ["diffusers", "transformers"],
    "Genie 3 and Project Genie": ["av"],
    "GameNGen": ["diffusers"],
    "Oasis": ["decart_oasis", "av"],
    "Sora-like clips": ["av", "openai", "PIL"],
    "Recordings and data sets": ["av", "pyarrow", "h5py"],
    "Simulators": ["gymnasium", "mujoco"],
}
# Of these sections later ones use names.
BEFORE = {
    "NVIDIA Cosmos": "Diffusers",
    "GameNGen": "Genie's architecture",
    "DIAMOND": "Genie's architecture",
    "Sora-like clips": "Genie 3 and Project Genie",
    "Recordings and data sets": "Genie 3 and Project Genie",
    "Your own": "DIAMOND",
}
MODULES = ("", ".oasis", ".servers", ".gymnasium", ".mujoco", ".vizdoom", ".fit", ".reencoded")


def section(heading: str) -> str:
    start = DOCUMENT.index(f"\n## {heading}\n")
    end = DOCUMENT.find("\n## ", start + 1)
    return DOCUMENT[start : end if end > 0 else None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("systems")


@pytest.fixture(scope="module")
def ran() -> dict[str, int]:
    """Sections whose code ran, with how many values were held against the real ones."""
    return {}


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return {}


@pytest.fixture(autouse=True)
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TINY_KEY", "key-123")  # put back after an example sets it


def run(heading: str, names: dict[str, Any], ran: dict[str, int]) -> None:
    """Run a section once, and those first that it builds on."""
    for module in NEEDS.get(heading, []):
        if importlib.util.find_spec(module) is None:  # MuJoCo must not be imported before its world
            pytest.skip(f"not installed: {module}")
    if heading in ran:
        return
    start = "" if heading == "" else BEFORE.get(heading, "")
    if heading != "":
        run(start, names, ran)
    text = DOCUMENT[: DOCUMENT.index("\n## ")] if heading == "" else section(heading)
    ran[heading] = sum(
        run_block(block, names, f"docs/systems.md, {heading or 'beginning'}, block {number}")
        for number, block in enumerate(blocks(text, "python"))
    )


@pytest.mark.parametrize("heading", [h for h in HEADINGS if "```python" in section(h)])
def test_a_section_runs(heading: str, names: dict[str, Any], ran: dict[str, int]) -> None:
    try:
        run(heading, names, ran)
    except RuntimeError as error:
        if "cannot draw here" not in str(error):
            raise
        pytest.skip(str(error))
    assert ran[heading] >= 1


def test_every_system_says_what_is_proven_and_when() -> None:
    systems = re.findall(r"^\| \[([^\]]+)\]", DOCUMENT, re.MULTILINE)
    assert len(systems) == 9
    head = "| what is proven here | what a user adds | checked |"
    wanted = [
        h for h in HEADINGS if h not in ("Your own", "What each double keeps of its promises")
    ]
    assert len(wanted) == 10
    for heading in wanted:
        lines = section(heading).splitlines()
        row = lines[lines.index(head) + 2]
        assert re.search(r"20\d\d-\d\d-\d\d \|$", row), heading
    links = re.findall(r"\]\(#([^)]+)\)", DOCUMENT)
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in HEADINGS}
    assert set(links) <= anchors


def test_commands_are_commands() -> None:
    lines = [line for block in blocks(DOCUMENT, "sh") for line in
             block.replace("\\\n", " ").splitlines()]  # fmt: skip
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "wmscore"
        assert read_command(words[1:])[0]


# ---- the table ---------------------------------------------------------------------------


# What drives nobody's system: a world under a stress, and models that come with wmscore.
OWN = {"StressedWorld", "FlowNetModel", "LinearLatentModel"}


def adapters() -> set[str]:
    """Every class of `wmscore.worlds`, and the modules of it, that rolls out."""
    found = set()
    for name in MODULES:
        try:
            module = importlib.import_module(f"wmscore.worlds{name}")
        except ImportError:  # an extra that is not installed
            continue
        for public in module.__all__:
            kind = getattr(module, public)
            if inspect.isclass(kind) and hasattr(kind, "rollout"):
                if not getattr(kind, "_is_protocol", False):
                    found.add(public)
    return found - OWN


def test_every_adapter_has_a_row() -> None:
    shown = rows_of(DOCUMENT, "contract")
    assert list(shown) == [system.name for system in SYSTEMS]
    listed = {system.adapter for system in SYSTEMS}
    assert adapters() <= listed, "an adapter without a double in tests/tiny_systems.py"
    assert {row[0].strip("`") for row in shown.values()} == listed
    for name, row in shown.items():
        assert len(row) == len(HEAD) - 1
        kept, rows = row[-1].split(" of ")
        assert kept == rows, name
        assert row[-2] == "given frame", name


def alike(found: str, shown: str) -> bool:
    """Words are the same; numbers are other machines'."""
    number = re.compile(r"\d+(?:\.\d+)?")
    plain = [number.sub("#", text) for text in (found, shown)]
    if "not promised" in found and "not promised" in shown:
        return True  # equal here, a level apart there
    if plain[0] != plain[1]:
        return False
    pairs = zip(number.findall(found), number.findall(shown), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.5, abs=0.01) for a, b in pairs)


def compare(system: System) -> None:
    if lacking := missing(system):
        pytest.skip(f"not installed: {', '.join(lacking)}")
    found, shown = cells(system, check(system)), rows_of(DOCUMENT, "contract")[system.name]
    for head, mine, theirs in zip(HEAD[1:], found, shown, strict=True):
        assert alike(mine, theirs), f"{system.name}, {head}: {mine}, the document has {theirs}"


QUICK = ("step model, lifted", "window model, lifted", "chunk model, lifted", "floor: frozen",
         "DIAMOND's shape", "open-oasis' shape")  # fmt: skip


@pytest.mark.parametrize("system", [s for s in SYSTEMS if s.name in QUICK], ids=lambda s: s.name)
def test_the_table_is_measured(system: System) -> None:
    compare(system)


@pytest.mark.slow
@pytest.mark.parametrize(
    "system", [s for s in SYSTEMS if s.name not in QUICK], ids=lambda s: s.name
)
def test_the_rest_of_the_table_is_measured(system: System) -> None:
    compare(system)
