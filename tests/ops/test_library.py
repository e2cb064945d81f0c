"""Kernels that are there, that are absent and that do not load; and the strict switch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import wmscore
from wmscore.ops import Kernels, kernels

PACKAGE = Path(wmscore.__file__).parent
REPORT = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from wmscore.ops import frame_errors, kernels
import torch
one = torch.ones(1, 1, 2, 2, dtype=torch.uint8)
print(json.dumps({
    "ops": kernels().ops,
    "absent": kernels().absent,
    "warnings": [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)],
    "sums": frame_errors(one, one * 3).flatten().tolist(),
}))
"""


def import_copy(
    folder: Path, *, require: bool, libraries: dict[str, bytes]
) -> subprocess.CompletedProcess:
    """Import a copy of the package whose compiled libraries are `libraries` and nothing else."""
    shutil.copytree(
        PACKAGE / "ops", folder / "wmscore" / "ops", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "wmscore" / "__init__.py").touch()
    for name, content in libraries.items():
        (folder / "wmscore" / name).write_bytes(content)
    environment = {k: v for k, v in os.environ.items() if k != "WMSCORE_REQUIRE_KERNELS"}
    if require:
        environment["WMSCORE_REQUIRE_KERNELS"] = "1"
    only = f"""
import sys
sys.path.insert(0, {str(folder)!r})
sys.meta_path[:] = [f for f in sys.meta_path if isinstance(f, type)]  # no editable install's finder
"""
    return subprocess.run(
        [sys.executable, "-c", only + REPORT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_no_library_means_plain_torch_and_says_so(tmp_path):
    run = import_copy(tmp_path, require=False, libraries={})
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["ops"]["frame_errors"] == []
    assert "wmscore/_C.so was not built" in report["absent"]["cpu"]
    assert "cuda" in report["absent"]
    assert report["warnings"] == []
    assert report["sums"] == [16, 8, 4, 12, 4, 36]


def test_a_library_that_does_not_load_warns_and_keeps_the_cause(tmp_path):
    run = import_copy(tmp_path, require=False, libraries={"_C.so": b"not a library"})
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["ops"]["frame_errors"] == []
    assert "does not load" in report["absent"]["cpu"]
    (warning,) = report["warnings"]
    assert "_C.so does not load with torch" in warning
    assert any(cause in warning for cause in ("file too short", "invalid ELF header"))
    assert report["sums"] == [16, 8, 4, 12, 4, 36]


@pytest.mark.parametrize("library", ["_C.so", "_C_cuda.so"])
def test_strict_refuses_a_library_that_does_not_load(tmp_path, library):
    libraries = {library: b"not a library"}
    if library == "_C_cuda.so":
        if torch.version.cuda is None:
            pytest.skip("this torch is built without CUDA: the library is not tried")
        if not (PACKAGE / "_C.so").exists():
            pytest.skip("needs a built _C.so beside the broken _C_cuda.so")
        libraries["_C.so"] = (PACKAGE / "_C.so").read_bytes()
    run = import_copy(tmp_path, require=True, libraries=libraries)
    assert run.returncode != 0
    assert "OSError" in run.stderr
    assert "ImportError: WMSCORE_REQUIRE_KERNELS is set" in run.stderr
    assert library in run.stderr.splitlines()[-1]


def test_strict_refuses_a_missing_library(tmp_path):
    run = import_copy(tmp_path, require=True, libraries={})
    assert run.returncode != 0
    assert "ImportError: WMSCORE_REQUIRE_KERNELS is set" in run.stderr
    assert "_C.so does not exist" in run.stderr


def test_report_agrees_with_the_files():
    report = kernels()
    devices = report.ops["frame_errors"]
    assert ("cpu" in devices) == (PACKAGE / "_C.so").exists() != ("cpu" in report.absent)
    assert ("cuda" in devices) != ("cuda" in report.absent)


def test_report_reads_as_a_line():
    report = Kernels(ops={"a": ("cpu", "cuda"), "b": ()}, absent={"cuda": "not built"})
    assert str(report) == "a cpu+cuda; b torch; no cuda kernels (not built)"


@pytest.mark.skipif(
    not os.environ.get("WMSCORE_REQUIRE_KERNELS"), reason="kernels are required only where asked"
)
def test_every_op_has_a_kernel_on_this_machine():
    needed = {"cpu", "cuda"} if torch.cuda.is_available() or shutil.which("nvcc") else {"cpu"}
    assert {name: needed - set(devices) for name, devices in kernels().ops.items()} == {
        name: set() for name in kernels().ops
    }
