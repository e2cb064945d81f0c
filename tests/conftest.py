"""What all tests share: which of them run, and seeds that do not leak.

This file imports nothing but torch, numpy and pytest, so that tests of kernels run on a bare GPU
machine.
"""

import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --run-slow."""
    parser.addoption("--run-slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here; a missing GPU is no excuse where one is required."""
    run_slow = config.getoption("--run-slow")
    has_cuda = torch.cuda.is_available()
    requires_cuda = os.environ.get("WMSCORE_REQUIRE_CUDA") == "1"
    for item in items:
        if item.get_closest_marker("slow") and not run_slow:
            item.add_marker(pytest.mark.skip(reason="slow: needs --run-slow"))
        if item.get_closest_marker("needs_cuda") and not has_cuda and not requires_cuda:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test that needs CUDA where CUDA is required and absent."""
    if item.get_closest_marker("needs_cuda") and not torch.cuda.is_available():
        pytest.fail("WMSCORE_REQUIRE_CUDA=1, but torch sees no CUDA device", pytrace=False)


@pytest.fixture(autouse=True)
def _seeds() -> Iterator[None]:
    """Each test starts from the same seeds and leaves the generators as they were."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
