"""LPIPS of uint8 frames, per frame: wmscore, lpips, torchmetrics, piq, pyiqa and the usual loop.

Trunks are random: no weights are needed, and they change no time. K rollouts of one scenario share
their reference frames, whose features wmscore computes once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from cost import peak_memory
from frames import frame_pairs
from lpips_peers import lpips_peers, per_frame_loop
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from wmscore.functional import lpips
from wmscore.networks import LpipsNetwork, WeightsNotFoundError
from wmscore.networks.trunks import skeleton
from wmscore.ops import kernels

FRAMES = {64: 64, 128: 32, 256: 16, 512: 8}  # in a call on a CPU
GPU_FRAMES = {64: 4096, 128: 2048, 256: 512, 512: 128}
TOLERANCE = {"cpu": 2e-6, "cuda": 5e-3}  # there peers compute in TF32, wmscore in float16
COLUMNS = {
    "net": "",
    "side": "d",
    "seeds": "d",
    "frames": "d",
    "threads": "d",
    "provider": "",
    "items_per_second": ",.1f",
    "times_lpips": ".2f",
    "share_of_gemm": ".2f",
    "extra_mib": ",.1f",
}


def providers_of(
    network: LpipsNetwork, preds: Tensor, target: Tensor, with_loop: bool
) -> dict[str, Callable[[], Tensor]]:
    """Calls on rollouts `[K, T, 3, H, W]` of one reference `[1, T, 3, H, W]`."""
    index = torch.zeros(len(preds), dtype=torch.int64)
    flat = preds.flatten(0, 1)
    repeated = target.expand_as(preds).flatten(0, 1)
    providers: dict[str, Callable[[], Tensor]] = {
        "wmscore": lambda: lpips(preds, target, network, target_index=index).flatten()
    }
    if len(preds) == 1:  # nothing to share
        providers["wmscore"] = lambda: lpips(preds, target, network).flatten()
    peers = _peers(network)
    for name, judge in peers.items():
        providers[name] = functools.partial(judge, flat, repeated)
    if with_loop:
        name, judge = next(iter(peers.items()))
        providers[f"{name}, frame by frame"] = functools.partial(
            per_frame_loop(judge), flat, repeated
        )
    return providers


@functools.cache
def _network(net: str, device: str) -> LpipsNetwork:
    try:
        return LpipsNetwork.random(net, device=device)
    except WeightsNotFoundError as error:  # as on a machine without the package lpips
        print(f"without heads: {error}")
        return LpipsNetwork.random(net, device=device, linear=False)


@functools.cache
def _peers(network: LpipsNetwork) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    return lpips_peers(network)


@functools.cache
def operations(net: str, side: int) -> int:
    """Of the trunk for one frame."""
    with FlopCounterMode(display=False) as counter:
        skeleton(net)(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops()


def bench(net: str, side: int, seeds: int, device: str, rounds: int) -> list[Row]:
    network = _network(net, device)
    count = (GPU_FRAMES if device == "cuda" else FRAMES)[side]
    if net == "vgg" and device == "cpu":
        count = max(8, count // 4)
    preds, target = (x.to(device) for x in frame_pairs(count, side, side))
    preds = preds.view(seeds, count // seeds, 3, side, side)
    target = target[None, : count // seeds]
    with_loop = seeds == 1 and count <= 512  # thousands of frames, one by one, take minutes
    providers = providers_of(network, preds, target, with_loop)
    # A quick wrong answer is no result.
    values = providers["wmscore"]()
    for call in providers.values():
        torch.testing.assert_close(
            call().double().to(device), values, rtol=0, atol=TOLERANCE[device]
        )
    rows = measure(
        providers,
        device=device,
        rounds=rounds,
        bytes_read=preds.numel() + target.numel(),
        items=count,
        operations=operations(net, side) * (count + count // seeds),
        seconds=1.0,
    )
    base = next((r["seconds"] for r in rows if r["provider"].startswith("lpips")), None)
    return [
        {
            "benchmark": "lpips",
            "net": net,
            "side": side,
            "seeds": seeds,
            "frames": count,
            "precision": network.precision,
            **row,
            "times_lpips": base and base / row["seconds"],
            "extra_mib": row["extra_bytes"] and row["extra_bytes"] / 2**20,
            **environment(device),
        }
        for row in rows
    ]


def memory(net: str, device: str, side: int = 64) -> str:
    """Extra memory at its peak, for more and more rollouts of one reference."""
    network = _network(net, device)
    steps = 8
    found = []
    for seeds in (16, 64, 128):
        preds, target = (x.to(device) for x in frame_pairs(seeds * steps, side, side))
        preds = preds.view(seeds, steps, 3, side, side)
        index = torch.zeros(seeds, dtype=torch.int64)
        call = functools.partial(lpips, preds, target[None, :steps], network, target_index=index)
        call()
        peak = peak_memory(call, device)
        found.append(f"{seeds} rollouts {'?' if peak is None else f'{peak / 2**20:.1f} MiB'}")
    return f"peak memory, {net}, {side} px, {steps} steps: {', '.join(found)}"


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--nets", nargs="+", default=["alex", "squeeze", "vgg"])
    options.add_argument("--sides", nargs="+", type=int, default=[64, 128, 256])
    options.add_argument("--seeds", nargs="+", type=int, default=[1, 4, 8], help="per scenario")
    options.add_argument("--large", action="store_true", help="512 pixels too")
    chosen = arguments(options)
    device = chosen.device
    print(f"{environment(device)}\nkernels: {kernels()}")
    rows: list[Row] = []
    sides = [*chosen.sides, *([512] if chosen.large else [])]
    for _ in thread_counts(chosen):
        for net, side, seeds in itertools.product(chosen.nets, sides, chosen.seeds):
            found = bench(net, side, seeds, device, chosen.rounds)
            write_jsonl(chosen.out, found)  # at once: a run that is cut off keeps what it has
            rows += found
    print(table(rows, COLUMNS))
    for net in chosen.nets:
        print(memory(net, device))


if __name__ == "__main__":
    main()
