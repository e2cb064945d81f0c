"""Inner products of the frames of K scripts, generated and reference: fused kernel, torch, numpy.

The frames are noise in the lower half, and do not depend on the script in the upper one. "numpy"
has all of the counts, in float64, one group at a time; "torch, float32" is what one would write for
the products alone, and is not exact. "windows" are read in place from frames with a margin of 8.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.ops import kernels, response_products

# (scripts, side, dtype)
CASES = [
    *((2, 64, torch.uint8), (4, 64, torch.uint8), (9, 64, torch.uint8), (16, 64, torch.uint8)),
    *((2, 256, torch.uint8), (4, 256, torch.uint8)),
    *((4, 64, torch.float16), (4, 64, torch.float32)),
]
STEPS = 16
_VALUES = 1 << 23  # of preds in a call
COLUMNS = {
    "scripts": "d",
    "side": "d",
    "dtype": "",
    "layout": "",
    "groups": "d",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}
Result = tuple[Tensor, Tensor]


def frames_of(scripts: int, side: int, dtype: torch.dtype, groups: int) -> Tensor:
    """`[groups * scripts, STEPS, 3, side, side]`."""
    generator = torch.Generator().manual_seed(0)
    shape = (groups * scripts, STEPS, 3, side, side)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    frames[..., : side // 2, :] = frames[:1, ..., : side // 2, :]
    return frames if dtype == torch.uint8 else (frames / 255).to(dtype)


def by_numpy(preds: np.ndarray, target: np.ndarray, rows: np.ndarray) -> Result:
    """Without `shift` and absent fields, and with a threshold of 0."""
    products, statistics = [], []
    for of_group in rows:
        p, t = (x[of_group].swapaxes(0, 1) for x in (preds, target))  # [T, K, C, H, W]
        fields = np.concatenate([p, t], 1).reshape(len(p), 2 * len(of_group), -1)
        fields = fields.astype(np.float64)
        products.append(fields @ fields.swapaxes(1, 2))
        is_still = (t == t[:, :1]).all((1, 2))  # [T, H, W]
        spread = p.astype(np.float64).var(1).sum(1) * len(of_group)
        found = [np.full(len(p), is_still[0].size), is_still.sum((1, 2))]
        statistics.append(np.stack([*found, (spread * is_still).sum((1, 2))], 1))
    return torch.from_numpy(np.stack(products)), torch.from_numpy(np.stack(statistics))


def in_float32(preds: Tensor, target: Tensor, rows: Tensor) -> Tensor:
    """The products alone: gathered, widened, multiplied."""
    fields = torch.cat([preds[rows], target[rows]], 1).transpose(1, 2).flatten(3).float()
    return fields @ fields.mT


def bench(
    scripts: int, side: int, dtype: torch.dtype, layout: str, device: str, rounds: int
) -> list[Row]:
    values = _VALUES * (16 if device == "cuda" else 1)
    groups = max(1, values // (scripts * STEPS * 3 * side * side))
    preds = frames_of(scripts, side, dtype, groups).to(device)
    target = preds.flip(1).contiguous()
    if layout == "windows":
        preds, target = (x[..., 8:-8, 8:-8] for x in (preds, target))
    rows = torch.arange(groups * scripts, device=device).view(groups, scripts)
    providers: dict[str, Callable[[], object]] = {
        "wmscore kernel": lambda: response_products(preds, target, rows, rows),
        "wmscore torch function": lambda: response_products.__wrapped__(preds, target, rows, rows),
        "torch, float32, products alone": lambda: in_float32(preds, target, rows),
    }
    result = response_products(preds, target, rows, rows)
    expected = response_products.__wrapped__(preds, target, rows, rows)
    for one, other in zip(result, expected, strict=True):  # a quick wrong answer is no result
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(
        in_float32(preds, target, rows), result[0].float(), rtol=1e-3, atol=0
    )
    if device == "cpu":
        arrays = (preds.numpy(), target.numpy(), rows.numpy())
        for one, other in zip(by_numpy(*arrays), result, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-9, atol=1e-9)
        providers["numpy, per group"] = lambda: by_numpy(*arrays)
    found = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=2 * preds.numel() * preds.element_size(),
        items=groups * STEPS,
    )
    case = {
        "benchmark": "response_products",
        "scripts": scripts,
        "side": side,
        "dtype": str(dtype).removeprefix("torch."),
        "layout": layout,
        "groups": groups,
        "shape": list(preds.shape),
    }
    kernel = found[0]["seconds"]
    return [
        {**case, **row, "times_kernel": row["seconds"] / kernel, **environment(device)}
        for row in found
    ]


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["response_products"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for scripts, side, dtype in CASES
        for layout in (("whole", "windows") if scripts == 4 else ("whole",))
        for row in bench(scripts, side, dtype, layout, device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
