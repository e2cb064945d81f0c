"""Fixtures of the op tests."""

from emulation import emulated

__all__ = ["emulated"]
