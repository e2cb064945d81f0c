"""What the package says it has, it has."""

import pytest

from wmscore import functional, metrics, ops, stats, testing, worlds


@pytest.mark.parametrize(
    "package",
    [functional, metrics, ops, stats, testing, worlds],
    ids=lambda package: package.__name__,
)
def test_every_public_name_exists_once(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert [name for name in names if not hasattr(package, name)] == []
    assert len(set(names)) == len(names)
