"""Returns of references and loop closure of rollouts, against plain numpy loops over all frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from frames import frame_pairs
from timing import (
    Row,
    arguments,
    beside_ours,
    environment,
    measure,
    table,
    thread_counts,
    write_jsonl,
)
from torch import Tensor

from wmscore.functional import loop_closure, returns_of
from wmscore.ops import kernels

CASES = ((4, 33, 64, 64), (2, 33, 256, 256))  # rollouts, frames, height, width
COLUMNS = {
    "what": "s",
    "size": "s",
    "provider": "s",
    "seconds": ".4f",
    "items_per_second": ".0f",
    "times_wmscore": ".2f",
}


def there_and_back(rows: int, steps: int, height: int, width: int) -> Tensor:
    """Frames `[rows, steps, 3, H, W]` uint8 of a picture that is rolled by 2 pixels a step."""
    pictures = frame_pairs(rows, height, width)[1]
    order = [2 * min(t, steps - 1 - t) for t in range(steps)]
    return torch.stack([pictures.roll(s, -1) for s in order], 1)


def plain_returns(frames: np.ndarray) -> np.ndarray:
    """`[rows, T]`, the earlier frame of each step or -1: the definition, a triple at a time."""
    found = np.full((len(frames), frames.shape[1] - 1), -1)
    for row, film in enumerate(frames.astype(np.int16)):
        steps = len(film)
        apart = np.array([[np.abs(a - b).mean() for b in film] for a in film])
        for t in range(2, steps):
            best = 0.5
            for m in range(t - 1):
                k = m + 1 + int(np.minimum(apart[m, m + 1 : t], apart[t, m + 1 : t]).argmax())
                same = (np.abs(film[t] - film[m]) <= 4).all(0)
                left = (np.abs(film[k] - film[m]) > 4).any(0)
                changed = (left | ~same).sum()
                share = (left & same).sum() / max(changed, 1)
                if not same.any():
                    continue
                way = np.abs(film[m] - film[k])[:, same].mean()
                way += np.abs(film[k] - film[t])[:, same].mean()
                if way / 2 >= 0.01 * 255 and (
                    share > best or (found[row, t - 1] < 0 <= share - best)
                ):
                    best, found[row, t - 1] = share, m
    return found


def plain_closure(
    preds: np.ndarray, target: np.ndarray, to: np.ndarray, far: np.ndarray
) -> np.ndarray:
    """Scores `[rows, T]`, a step at a time."""
    score = np.full(to.shape, np.nan)
    for row, t in zip(*np.nonzero(to >= 0), strict=True):
        places = (to[row, t], far[row, t], t + 1)
        mine, true = ([x[row, place].astype(np.int16) for place in places] for x in (preds, target))
        same = (np.abs(true[2] - true[0]) <= 4).all(0)
        gap, way = [], []
        for m, k, end in (mine, true):
            gap.append(np.abs(end - m)[:, same].mean())
            way.append((np.abs(m - k)[:, same].mean() + np.abs(k - end)[:, same].mean()) / 2)
        error = max(gap[0] - gap[1], 0) + max(way[1] - way[0], 0)
        score[row, t] = max(0, 1 - error / max(way))
    return score


def bench(rows: int, steps: int, height: int, width: int, device: str, rounds: int) -> list[Row]:
    true = there_and_back(rows, steps, height, width)
    preds = true.clone()
    preds[:, steps // 2 :] = true[:, steps // 2 - 1 : -1]  # a step late on the way back
    returns = returns_of(true)
    here, there = preds.to(device), true.to(device)
    moved = type(returns)(*(part.to(device) for part in returns))
    plain = [x.numpy() for x in (preds, true, returns.to, returns.far)]
    cases: dict[str, dict[str, Callable[[], object]]] = {
        "returns_of": {
            "wmscore": partial(returns_of, there),
            "numpy loop": partial(plain_returns, plain[1]),
        },
        "loop_closure": {
            "wmscore": partial(loop_closure, here, there, moved),
            "numpy loop": partial(plain_closure, *plain),
        },
        "loop_closure, registered within 2 px": {
            "wmscore": partial(loop_closure, here, there, moved, radius=2)
        },
    }
    # A quick wrong answer is no result.
    assert np.array_equal(plain_returns(plain[1]), plain[2])
    score = loop_closure(here, there, moved).score.cpu()
    torch.testing.assert_close(score, torch.from_numpy(plain_closure(*plain)), equal_nan=True)
    found = []
    for what, providers in cases.items():
        timed = measure(
            providers, device=device, rounds=rounds, bytes_read=true.numel(), items=rows * steps
        )
        about = {"benchmark": "returns", "what": what, "size": f"{rows} x {steps} x {height}^2"}
        found += beside_ours(timed, about, device)
    return found


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    print(f"{environment(options.device)}\nkernels: {kernels()}")
    rows = [
        row
        for _ in thread_counts(options)
        for case in CASES
        for row in bench(*case, options.device, options.rounds)
    ]
    print(table(rows, COLUMNS))
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
