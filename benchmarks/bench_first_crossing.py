"""First failures of curves of scores: fused kernel, torch, numpy, pandas.

"drift" are curves that leave their level once, with a little noise; "noise" crosses the threshold
at every third step, the most that the kernel, which works by runs, can have to do. "numpy" and
"pandas" have the first crossing alone, without recoveries, margins and undefined steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from timing import Row, arguments, environment, measure, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore.functional import usable_horizon
from wmscore.ops import first_crossing, kernels

try:
    import pandas as pd
except ImportError:
    pd = None

AXES, PATIENCE, THRESHOLD = 4, 3, 0.5
# (rollouts on a CPU, on a GPU, steps)
SIZES = [(32, 32, 64), (20_000, 1_000_000, 128), (2_000, 100_000, 1000)]
DTYPES = [torch.float32, torch.float16, torch.float64]
COLUMNS = {
    "rollouts": "d",
    "steps": "d",
    "content": "",
    "dtype": "",
    "threads": "d",
    "provider": "",
    "seconds": ".3e",
    "items_per_second": ",.0f",
    "extra_bytes": ",d",
    "share_of_copy": ".3f",
    "times_kernel": ".1f",
}


def curves_of(content: str, rollouts: int, steps: int, device: str) -> Tensor:
    """`[AXES, rollouts, steps]` float32."""
    generator = torch.Generator(device).manual_seed(0)
    noise = torch.rand(AXES, rollouts, steps, generator=generator, device=device)
    if content == "noise":
        return noise * 0.75
    onset = torch.randint(0, 2 * steps, (AXES, rollouts, 1), generator=generator, device=device)
    return noise * 0.1 + 0.85 - 0.6 * (torch.arange(steps, device=device) >= onset)


def by_numpy(scores: np.ndarray) -> np.ndarray:
    """First step of the first run of failures, 0 = none: windows of the length of the patience."""
    windows = np.lib.stride_tricks.sliding_window_view(scores < THRESHOLD, PATIENCE, axis=-1)
    run = windows.all(-1)
    return np.where(run.any(-1), run.argmax(-1) + 1, 0)


def by_pandas(scores: np.ndarray) -> np.ndarray:
    """The same with a rolling sum along the steps, one column of a frame for each curve."""
    frame = pd.DataFrame((scores.reshape(-1, scores.shape[-1]) < THRESHOLD).T)
    run = frame.rolling(PATIENCE).sum() == PATIENCE
    first = np.where(run.any(), run.idxmax() - PATIENCE + 2, 0)
    return first.reshape(scores.shape[:-1])


def bench(
    rollouts: int, steps: int, content: str, dtype: torch.dtype, device: str, rounds: int
) -> list[Row]:
    scores = curves_of(content, rollouts, steps, device).to(dtype)
    limit = torch.full((AXES, 1, 1), THRESHOLD, dtype=dtype, device=device)
    patience = torch.full((AXES, 1), PATIENCE, device=device)
    plain = first_crossing.__wrapped__

    def torch_function() -> tuple[Tensor, ...]:
        pieces = [plain(piece, limit, patience) for piece in scores.split(_piece(scores), 1)]
        return tuple(torch.cat(parts, -1) for parts in zip(*pieces, strict=True))

    providers: dict[str, Callable[[], object]] = {
        "wmscore kernel": lambda: first_crossing(scores, limit, patience),
        "wmscore usable_horizon": lambda: usable_horizon(scores, limit.view(-1), patience=PATIENCE),
        "wmscore torch function": torch_function,
    }
    result = first_crossing(scores, limit, patience)
    for one, other in zip(torch_function(), result, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    usable_horizon(scores, limit.view(-1), patience=PATIENCE)
    if device == "cpu":
        array = scores.numpy()
        steps_found = result[0][0].numpy()
        assert (by_numpy(array) == steps_found).all()  # a quick wrong answer is no result
        providers["numpy"] = lambda: by_numpy(array)
        if pd is not None and rollouts <= 2_000:
            assert (by_pandas(array) == steps_found).all()
            providers["pandas"] = lambda: by_pandas(array)
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=scores.numel() * scores.element_size(),
        items=rollouts,
    )
    case = {
        "benchmark": "first_crossing",
        "rollouts": rollouts,
        "steps": steps,
        "content": content,
        "dtype": str(dtype).removeprefix("torch."),
        "shape": list(scores.shape),
    }
    kernel = rows[0]["seconds"]
    return [
        {**case, **row, "times_kernel": row["seconds"] / kernel, **environment(device)}
        for row in rows
    ]


def _piece(scores: Tensor) -> int:
    """Rollouts at a time, as `wmscore.functional` calls the torch function."""
    elements = 1 << (17 if scores.device.type == "cpu" else 19)
    return max(1, elements // (scores.shape[0] * scores.shape[2]))


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    device = options.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    if device not in kernels().ops["first_crossing"]:
        print(f"no {device} kernel: 'wmscore kernel' is the torch function here")
    rows = [
        row
        for _ in thread_counts(options)
        for on_cpu, on_gpu, steps in SIZES
        for content in ("drift", "noise")
        for dtype in (DTYPES if steps == 128 else DTYPES[:1])
        for row in bench(
            on_cpu if device == "cpu" else on_gpu, steps, content, dtype, device, options.rounds
        )
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
