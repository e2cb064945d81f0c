"""Tails of the Kolmogorov-Smirnov distances of N uniform values."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["one_sided_tail", "two_sided_tail"]

_EXACT_SAMPLES = 10_000
_FAR = 18.0  # N d^2 from which both tails together are the sum of each, to 1e-60


def one_sided_tail(samples: int, distance: float) -> float:
    """P(D+ >= d), the sum of Birnbaum and Tingey, of terms above 0 only."""
    if distance <= 0 or samples == 0:
        return 1.0
    if distance >= 1:
        return 0.0
    j = np.arange(math.floor(samples * (1 - distance)) + 1)
    up, down = distance + j / samples, 1 - distance - j / samples
    keep = down > 0
    j, up, down = j[keep], up[keep], down[keep]
    factorial = _log_factorials(samples)
    chosen = factorial[samples] - factorial[j] - factorial[samples - j]
    terms = chosen + (j - 1) * np.log(up) + (samples - j) * np.log(down)
    return float(min(1.0, distance * np.exp(terms).sum()))


def two_sided_tail(samples: int, distance: float) -> float:
    """P(D >= d)."""
    if samples == 0 or 2 * samples * distance <= 1:
        return 1.0
    far = samples * distance**2 >= _FAR
    if distance >= 0.5 or (far and samples <= _EXACT_SAMPLES):
        return min(1.0, 2 * one_sided_tail(samples, distance))
    if samples > _EXACT_SAMPLES:
        return _limit(samples, distance)
    return max(0.0, 1 - _marsaglia(samples, distance))


def _marsaglia(samples: int, distance: float) -> float:
    """P(D < d) as an entry of a power of a matrix."""
    k = math.floor(samples * distance) + 1
    size, h = 2 * k - 1, k - samples * distance
    order = np.arange(size)
    below = order[:, None] - order + 1
    matrix = np.where(below >= 0, 1.0, 0.0)
    powers = h ** (order + 1.0)
    matrix[:, 0] -= powers
    matrix[-1] -= powers[::-1]
    matrix[-1, 0] += max(0.0, 2 * h - 1) ** size
    factorial = _log_factorials(size + 1)
    matrix *= np.exp(-factorial[np.maximum(below, 0)])
    power, scale = _power(matrix, samples)
    entry = power[k - 1, k - 1]
    if entry <= 0:
        return 0.0
    total = math.lgamma(samples + 1) - samples * math.log(samples)
    return math.exp(math.log(entry) + scale + total)


def _power(matrix: np.ndarray, exponent: int) -> tuple[np.ndarray, float]:
    """A power as a matrix and the logarithm of its factor, as it may be beyond all floats."""
    result, of_result = np.eye(len(matrix)), 0.0
    of_matrix = 0.0
    while exponent:
        if exponent & 1:
            result, of_result = result @ matrix, of_result + of_matrix
            largest = np.abs(result).max()
            result, of_result = result / largest, of_result + math.log(largest)
        exponent >>= 1
        if exponent:
            matrix, of_matrix = matrix @ matrix, 2 * of_matrix
            largest = np.abs(matrix).max()
            matrix, of_matrix = matrix / largest, of_matrix + math.log(largest)
    return result, of_result


def _limit(samples: int, distance: float) -> float:
    root = math.sqrt(samples)
    x = root * distance
    x += 1 / (6 * root) + (x - 1) / (4 * samples)
    if x < 1:
        odd = np.arange(1, 40, 2)
        below = np.exp(-(odd**2) * math.pi**2 / (8 * x * x)).sum() * math.sqrt(2 * math.pi) / x
        return float(1 - below)
    k = np.arange(1, 20)
    return float(min(1.0, 2 * ((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)).sum()))


def _log_factorials(most: int) -> np.ndarray:
    """Logarithms of 0! .. most!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, most + 1)))])
