"""Distribution distances of features: Fréchet against a matrix root, kernel against whole matrices.

Each provider starts from the same float32 features and pays for its own statistics. `error` is the
relative difference from the first provider; for the Fréchet distance that one never forms a
covariance. `pytorch-fid arithmetic` is numpy's covariance and `scipy.linalg.sqrtm` of the product,
without the 1e-6 on the diagonals that pytorch-fid adds where the root is not finite.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.functional import (
    FeatureMoments,
    frechet_distance,
    frechet_distance_from_features,
    kernel_distance,
)

# rows of each set, features: of I3D, of a ViT-B, of InceptionV3; many rows and a world model's few
FRECHET = ((2048, 400), (256, 400), (2048, 768), (256, 768), (4096, 2048), (256, 2048))
KERNEL = ((1024, 768), (4096, 768))
COLUMNS = {
    "distance": "",
    "rows": "d",
    "features": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "times_first": ".2f",
    "extra_bytes": ",d",
    "error": ".1e",
}


def features_of(rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Two sets of float32 features whose variances fall over four decades, in mixed directions."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    scale = torch.logspace(0, -2, width)[:, None] * mix
    x, y = torch.randn(2, rows, width, generator=generator)
    return x @ scale, (0.9 * y + 0.1) @ scale


def with_matrix_root(x: Tensor, y: Tensor) -> Tensor:
    linalg = importlib.import_module("scipy.linalg")
    means = [a.double().mean(0).cpu().numpy() for a in (x, y)]
    covariances = [np.cov(a.double().cpu().numpy(), rowvar=False) for a in (x, y)]
    root = linalg.sqrtm(covariances[0] @ covariances[1])
    apart = means[0] - means[1]
    traces = sum(np.trace(c) for c in covariances)
    return torch.tensor(apart @ apart + traces - 2 * np.trace(root).real)


def with_torchmetrics(x: Tensor, y: Tensor) -> Tensor:
    fid = importlib.import_module("torchmetrics.image.fid")
    x, y = x.double(), y.double()
    return fid._compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))


def frechet_providers(x: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    def from_moments() -> Tensor:
        return frechet_distance(FeatureMoments.of(x), FeatureMoments.of(y)).distance

    return present(
        {
            "wmscore from features": lambda: frechet_distance_from_features(x, y).distance,
            "wmscore from moments": from_moments,
            "torchmetrics arithmetic": partial(with_torchmetrics, x, y),
            "pytorch-fid arithmetic": partial(with_matrix_root, x, y),
        }
    )


def kernel_providers(x: Tensor, y: Tensor) -> dict[str, Callable[[], Tensor]]:
    def whole_matrices() -> Tensor:
        a, b = x.double(), y.double()
        n, m = len(a), len(b)
        aa, bb, ab = ((u @ v.T / u.shape[1] + 1) ** 3 for u, v in ((a, a), (b, b), (a, b)))
        within = (aa.sum() - aa.trace()) / (n * (n - 1)) + (bb.sum() - bb.trace()) / (m * (m - 1))
        return within - 2 * ab.mean()

    def torchmetrics() -> Tensor:
        kid = importlib.import_module("torchmetrics.image.kid")
        return kid.poly_mmd(x.double(), y.double(), 3, None, 1.0)

    return present(
        {
            "wmscore blocks": lambda: kernel_distance(x, y).distance,
            "whole matrices": whole_matrices,
            "torchmetrics poly_mmd": torchmetrics,
        }
    )


def present(providers: Mapping[str, Callable[[], Tensor]]) -> dict[str, Callable[[], Tensor]]:
    """Those whose library is installed; calls each once."""
    found = {}
    for name, call in providers.items():
        try:
            call()
        except ImportError as error:
            print(f"skipped: {name} ({error})")
        else:
            found[name] = call
    return found


def bench(
    distance: str,
    rows: int,
    width: int,
    providers: Callable[[Tensor, Tensor], dict[str, Callable[[], Tensor]]],
    device: str,
    rounds: int,
) -> list[Row]:
    x, y = (a.to(device) for a in features_of(rows, width))
    calls = providers(x, y)
    values = {name: call().item() for name, call in calls.items()}
    first = next(iter(values.values()))
    errors = {name: abs(value / first - 1) for name, value in values.items()}
    if max(errors.values()) > 1e-5:  # a quick wrong answer is no result
        raise SystemExit(f"{distance} of {rows} x {width}: {values}")
    measured = measure(
        calls, device=device, rounds=rounds, bytes_read=2 * x.numel() * 4, items=2 * rows
    )
    case: dict[str, Any] = {"benchmark": "frechet", "distance": distance}
    case |= {"rows": rows, "features": width, "dtype": "float32", **environment(device)}
    fastest = measured[0]["seconds"]
    return [
        {
            **case,
            **row,
            "times_first": row["seconds"] / fastest,
            "error": errors[row["provider"]],
        }
        for row in measured
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    print(environment(options.device))
    rows = [
        row
        for _ in thread_counts(options)
        for distance, cases, providers in (
            ("frechet", FRECHET, frechet_providers),
            ("kernel", KERNEL, kernel_providers),
        )
        for count, width in cases
        for row in bench(distance, count, width, providers, options.device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
