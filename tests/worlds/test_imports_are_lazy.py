"""No adapter's package is loaded before the adapter is used, and a missing one names its extra."""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import wmscore

PACKAGE = Path(wmscore.__file__).parent
# Import name -> distributions that bring it, by themselves or as what they need.
OPTIONAL = {
    "PIL": {"pillow", "diffusers"},
    "accelerate": {"accelerate"},
    "av": {"av", "decart-oasis"},
    "decart_oasis": {"decart-oasis"},
    "diffusers": {"diffusers"},
    "grpc": {"decart-oasis"},
    "gymnasium": {"gymnasium"},
    "h5py": {"h5py"},
    "matplotlib": {"matplotlib"},
    "minari": {"minari"},
    "mujoco": {"mujoco"},
    "openai": {"openai"},
    "pyarrow": {"pyarrow"},
    "rich": {"rich"},
    "torchcodec": {"torchcodec"},
    "transformers": {"transformers"},
    "vizdoom": {"vizdoom"},
}
FOLDERS = ("worlds", "video", "episodes", "timeline")

LOADED = """
import importlib, sys
optional = {optional}
for name in {modules}:
    importlib.import_module(name)
    loaded = sorted(optional & sys.modules.keys())
    if loaded:
        sys.exit(f"{{name}} loads {{', '.join(loaded)}}")
"""


def modules() -> list[str]:
    """`wmscore.worlds` first, then every module of the folders that adapters live in."""
    found = ["wmscore.worlds"]
    for folder in FOLDERS:
        home = PACKAGE / folder
        if home.is_dir():
            found.append(f"wmscore.{folder}")
            found += [m.name for m in pkgutil.walk_packages([str(home)], f"wmscore.{folder}.")]
    return list(dict.fromkeys(found))


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )


def test_importing_adapters_loads_no_extra() -> None:
    names = modules()
    assert "wmscore.worlds.oasis.oasis3" in names
    assert "wmscore.worlds.servers.videos_api" in names
    done = run(LOADED.format(optional=set(OPTIONAL), modules=names))
    assert done.returncode == 0, done.stderr


def test_a_loaded_extra_is_seen() -> None:
    done = run(LOADED.format(optional={"tomllib"}, modules=["json", "tomllib"]))
    assert done.returncode == 1
    assert "tomllib loads tomllib" in done.stderr


# ---- extras ------------------------------------------------------------------------------


def required() -> Iterator[tuple[str, str, str]]:
    """(place, module, extra) of every `require` in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                values = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                assert len(values) == 2, place
                if None not in values:  # names that are computed are tested where they are used
                    yield place, *values


def extras() -> dict[str, set[str]]:
    """Extra -> distributions, as the project declares them."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    declared: dict[str, list[str]] = project["project"]["optional-dependencies"]
    return {
        extra: {re.match(r"[\w.-]+", need)[0].lower() for need in needs}  # type: ignore[index]
        for extra, needs in declared.items()
    }


def test_every_extra_that_is_named_brings_what_is_missing() -> None:
    known, found = extras(), list(required())
    assert {"openai", "decart_oasis", "av"} <= {module for _, module, _ in found}
    for place, module, extra in found:
        top = module.split(".")[0]
        assert extra in known, f"{place}: no extra {extra!r}"
        assert OPTIONAL[top] & known[extra], f"{place}: {extra!r} does not bring {top}"


def test_optional_packages_are_imported_in_no_other_way() -> None:
    """A bare `import av` would name no extra. torchcodec has none: it may be there and not load."""
    watched = OPTIONAL.keys() - {"torchcodec"}
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            typing_only = {
                id(inner)
                for node in ast.walk(tree)
                if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
                for inner in ast.walk(node)
            }
            for node in ast.walk(tree):
                if id(node) in typing_only:
                    continue
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                strays = [name for name in names if name.split(".")[0] in watched]
                assert not strays, f"{path.relative_to(PACKAGE)}:{node.lineno} imports {strays}"


def _videos() -> object:
    from wmscore.worlds.servers import videos_model

    return videos_model(model="m", fps=8.0, frame_size=(48, 64))


def _oasis3() -> object:
    from wmscore.worlds.oasis import oasis3_model

    return oasis3_model(fps=30.0)


def _clip() -> object:
    from wmscore.video import write_video

    return write_video("never.mp4", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), fps=8.0)


def _doom() -> object:
    from wmscore.worlds.doom_game import screen_resolution

    return screen_resolution(240, 320)


@pytest.mark.parametrize(
    ("module", "extra", "use"),
    [
        ("openai", "videos-api", _videos),
        ("decart_oasis", "oasis", _oasis3),
        ("av", "harness", _clip),
        ("vizdoom", "vizdoom", _doom),
    ],
)
def test_a_missing_package_names_its_extra(
    module: str, extra: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ImportError,
        match=rf"{module} is not installed; .*extra '{extra}': pip install 'wmscore\[{extra}\]'",
    ):
        use()
