"""Who may import whom: a module imports lower floors only, and never a sibling."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wmscore

PACKAGE = Path(wmscore.__file__).parent
FLOORS = {
    "extras": 0,
    "files": 0,
    "opposites": 0,
    "ops": 0,
    "stats": 0,
    "functional": 1,
    "manifest": 1,
    "nested": 1,
    "networks": 1,
    "tensorfile": 1,
    "video": 1,
    "metrics": 2,
    "rollouts": 2,
    "rowfaults": 2,
    "scores": 2,
    "timeline": 2,
    "episodes": 3,
    "actions": 4,
    "attribution": 4,
    "comparison": 4,
    "scorer": 4,
    "worlds": 4,
    "calibration": 5,
    "replay": 5,
    "stressors": 5,
    "testing": 5,
    "integrations": 6,
    "ladder": 6,
    "plots": 6,
    "protocols": 6,
    "recordings": 6,
    "evidence": 7,
    "demo": 8,
    "cli": 9,
    "__main__": 10,
}
# These run where nothing but torch and numpy is installed.
BARE = ("ops", "functional", "stats", "networks")


def imported(path: Path, package: Path) -> Iterator[str]:
    """The modules of wmscore that a file imports, anywhere in it: `ops`, `worlds`, ..."""
    here = ["wmscore", *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "wmscore" and len(parts) > 1 and not parts[1].startswith("__version"):
                yield parts[1]


def violations(package: Path) -> list[str]:
    """One line for each import that goes up or sideways, and for each module without a floor."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        if relative == Path("__init__.py"):  # the front door: it names everything, lazily
            continue
        module = relative.parts[0].removesuffix(".py")
        if module not in FLOORS:
            found.append(f"{relative} has no floor")
            continue
        for other in dict.fromkeys(imported(path, package)):
            if other == module:
                continue
            if other not in FLOORS:
                found.append(f"{relative} imports wmscore.{other}, which has no floor")
            elif FLOORS[other] >= FLOORS[module]:
                found.append(
                    f"{relative} (floor {FLOORS[module]}) imports wmscore.{other} "
                    f"(floor {FLOORS[other]})"
                )
    return found


def test_imports_go_down():
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "violation"),
    [
        ("ops/a.py", "from wmscore import functional", "imports wmscore.functional (floor 1)"),
        ("functional/a.py", "from wmscore.networks import x", "imports wmscore.networks (floor 1)"),
        ("worlds/a.py", "import wmscore.scorer", "imports wmscore.scorer (floor 4)"),
        ("worlds/deep/a.py", "from ...scorer import x", "imports wmscore.scorer (floor 4)"),
        ("worlds/a.py", "from .. import scorer", "imports wmscore.scorer (floor 4)"),
        ("scorer.py", "from .worlds import x", "imports wmscore.worlds (floor 4)"),
        (
            "scores.py",
            "def f():\n    from wmscore.cli import main",
            "imports wmscore.cli (floor 9)",
        ),
        (
            "manifest.py",
            "from wmscore.nowhere import x",
            "imports wmscore.nowhere, which has no floor",
        ),
        ("utils.py", "", "utils.py has no floor"),
    ],
)
def test_planted_violation_is_caught(tmp_path, file, line, violation):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    (found,) = violations(tmp_path)
    assert violation in found


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("scorer.py", "from wmscore.scores import Scores"),
        ("worlds/a.py", "from .b import x\nfrom wmscore.worlds.c import y"),
        ("cli.py", "from wmscore import __version__, evidence"),
    ],
)
def test_downward_imports_are_allowed(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert violations(tmp_path) == []


BLOCKED = """
import importlib.metadata, re, sys
import numpy, torch
core = ("torch", "numpy")
needs = [re.match(r"[\\w.-]+", r)[0].lower() for r in importlib.metadata.requires("torch") or ()]
allowed = {*sys.stdlib_module_names, *core, "wmscore", "nvidia", "cuda", "torchgen", "functorch"}
allowed |= {need.replace("-", "_") for need in needs}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if path is None and name not in allowed:
            raise ModuleNotFoundError(f"blocked: {name}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize("module", BARE)
def test_imports_with_torch_and_numpy_only(module):
    if not list(PACKAGE.glob(f"{module}*")):
        pytest.skip(f"wmscore.{module} is not written yet")
    run = subprocess.run(
        [sys.executable, "-c", f"{BLOCKED}\nimport wmscore.{module}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("module", ["pydantic", "torchmetrics", "safetensors"])
def test_blocker_blocks(module):
    run = subprocess.run(
        [sys.executable, "-c", f"{BLOCKED}\nimport {module}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"ModuleNotFoundError: blocked: {module}" in run.stderr
