"""Nodes of Gauss-Legendre quadrature: they take longer to find than what they are used for."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["legendre"]


@functools.cache
def legendre(nodes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes in (-1, 1) and their weights; not to be written to."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return places, weights
