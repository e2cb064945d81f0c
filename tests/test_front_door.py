"""What is offered by name is there: modules of `wmscore`, and what `__all__` lists."""

import importlib
import pkgutil
from pathlib import Path

import pytest

import wmscore

# Entry points, and helpers that no user needs.
INTERNAL = {"cli", "demo", "extras", "files", "nested", "opposites", "rowfaults", "tensorfile"}
MODULES = {
    name
    for _, name, _ in pkgutil.iter_modules([str(Path(wmscore.__file__).parent)])
    if not name.startswith("_")
}


@pytest.mark.parametrize("name", sorted(MODULES - INTERNAL))
def test_a_module_is_an_attribute_without_a_further_import(name: str) -> None:
    assert name in dir(wmscore)
    assert getattr(wmscore, name) is importlib.import_module(f"wmscore.{name}")


def test_nothing_is_offered_that_is_not_there() -> None:
    assert set(dir(wmscore)) - set(wmscore.__all__) == MODULES - INTERNAL


@pytest.mark.parametrize("name", sorted(MODULES - INTERNAL))
def test_all_names_that_are_listed_exist_and_come_once(name: str) -> None:
    module = importlib.import_module(f"wmscore.{name}")
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    assert len(set(module.__all__)) == len(module.__all__)
