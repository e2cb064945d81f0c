"""`wmscore.worlds` names every world, model and lifter, and loads none before it is used."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import wmscore.worlds

FOLDER = Path(wmscore.worlds.__file__).parent


def test_every_public_name_is_there() -> None:
    for name in wmscore.worlds.__all__:
        assert getattr(wmscore.worlds, name) is not None
    modules = {module.name for module in pkgutil.iter_modules([str(FOLDER)])}
    assert not modules & set(wmscore.worlds.__all__)  # a module would hide the name


def test_all_that_rolls_out_is_exported() -> None:
    """Whatever has `rollout`, but what is asked for by the harness only."""
    found = set()
    for path in FOLDER.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and any(
                isinstance(inner, ast.FunctionDef) and inner.name == "rollout"
                for inner in node.body
            ):
                found.add(node.name)
    assert {"ServerModel", "GymnasiumWorld", "WindowModel"} <= found
    assert found <= set(wmscore.worlds.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(wmscore.worlds.__all__)
    for name, module in seen.items():
        assert module == f"wmscore.worlds.{wmscore.worlds._HOME[name]}"


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = "import sys, wmscore.worlds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
