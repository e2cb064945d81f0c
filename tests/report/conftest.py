"""A real browser, and evidence folders to look at in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.folders import demo_folder, hostile_folder, large_folder
from tests.report.pages import BROWSERS
from wmscore.evidence import write_report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window; a missing one is no excuse with WMSCORE_REQUIRE_BROWSER=1."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    required = os.environ.get("WMSCORE_REQUIRE_BROWSER") == "1"
    if path is None and not required:
        pytest.skip("no browser: install chromium, or set WMSCORE_REQUIRE_BROWSER=1 to fail here")
    if not required:
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    assert path is not None, f"WMSCORE_REQUIRE_BROWSER=1, but there is none of {BROWSERS}"
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        running = playwright.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small demo, with causes and ladders."""
    folder = tmp_path_factory.mktemp("report") / "evidence"
    return write_report(demo_folder(folder))


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(hostile_folder(tmp_path_factory.mktemp("hostile") / "evidence"))


@pytest.fixture(scope="session")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(large_folder(tmp_path_factory.mktemp("large") / "evidence"))
