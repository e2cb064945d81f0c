"""The axis action_response: rollouts per second, whole and in parts, against numpy and peers.

Of groups of K scripts from one frame: the response to the script (products, agreement, match,
delta-PSNR, what the test against chance needs), motion features of generated and reference
rollouts, and a panel's report (latency, probe, effects, with 999 permutations). The peers make the
first two a step and a pair of frames at a time, as evaluation scripts do: differences in numpy,
scikit-image's phase correlation, OpenCV's DIS flow. They have no report. They are linear in the
groups and get the first one alone.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import numpy as np
import torch
from timing import Row, arguments, environment, measure, parser, table, thread_counts, write_jsonl
from torch import Tensor

from wmscore import functional as F
from wmscore.ops import kernels

COLUMNS = {
    "scripts": "d",
    "pixels": "",
    "groups": "d",
    "threads": "d",
    "part": "",
    "provider": "",
    "items_per_second": ",.1f",
    "times_wmscore": ",.1f",
    "extra_bytes": ",d",
}
MOVES = torch.tensor([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]])  # of the camera, per action
STEP = 2  # pixels


def panel(groups: int, scripts: int, steps: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """A camera over texture: frames `[G, K, T + 1, 3, H, W]` and actions `[G, K, T]`.

    The generated camera moves half as far, over noise of two levels.
    """
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(0, len(MOVES), (groups, scripts, steps), generator=generator)
    way = torch.nn.functional.pad(MOVES[actions].cumsum(2), (0, 0, 1, 0)) * STEP
    margin = STEP * steps
    frames = []
    for group in range(groups):
        large = torch.rand(3, *(side + 2 * margin for side in size), generator=generator)
        smooth = torch.nn.functional.avg_pool2d(large[None], 5, 1, 2)[0]
        world = ((smooth - 0.5) * 3 + 0.5).clamp(0, 1).mul(255).byte()

        def seen(way: Tensor, world: Tensor = world) -> Tensor:
            places = (way + margin).flatten(0, 1).tolist()
            views = [world[:, y : y + size[0], x : x + size[1]] for y, x in places]
            return torch.stack(views).view(*way.shape[:2], 3, *size)

        half = seen(way[group] // 2).short()
        noise = torch.randint(-2, 3, half.shape, generator=generator, dtype=torch.int16)
        frames.append((seen(way[group]), (half + noise).clamp(0, 255).byte()))
    target, preds = (torch.stack(parts) for parts in zip(*frames, strict=True))
    return preds, target, actions


def response(preds: Tensor, target: Tensor) -> object:
    products = F.script_products(preds[:, :, 1:], target[:, :, 1:])
    random = torch.ones(preds.shape[:2], dtype=torch.bool, device=preds.device)
    random[:, 0] = False
    return (
        F.script_response(products),
        F.script_match(products),
        F.script_delta_psnr(products, random),
        F.script_cross(products),
    )


def features(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    found = [F.motion_features(frames.flatten(0, 1)).values for frames in (preds, target)]
    return found[0].view(*preds.shape[:2], *found[0].shape[1:]), found[1].view(
        *target.shape[:2], *found[1].shape[1:]
    )


def report(found: tuple[Tensor, Tensor], actions: Tensor) -> object:
    scenario = torch.arange(len(actions))
    return F.action_report(*found, actions, scenario, num_actions=len(MOVES), noop=0)


def numpy_response(preds: np.ndarray, target: np.ndarray) -> list[tuple[float, ...]]:
    """Agreement, cosine, gain, leak, match, delta-PSNR and the table of the test, step by step."""
    values = []
    scripts = preds.shape[1]
    for p, g in zip(preds, target, strict=True):
        for t in range(1, p.shape[1]):
            now, true = (x[:, t].astype(np.float64) / 255 for x in (p, g))
            a, b = now - now.mean(0), true - true.mean(0)
            shared, own, other = (a * b).sum(), (a * a).sum(), (b * b).sum()
            still = (true.max(0) - true.min(0)).max(0) == 0
            leak = (a * a)[..., still].sum() / own if still.any() else np.nan
            apart = [
                [((now[i] - true[j]) ** 2).mean() for j in range(scripts)] for i in range(scripts)
            ]
            match = np.mean(np.argmin(apart, 1) == np.arange(scripts))
            errors = [max(row[0], 1e-12) for row in apart]
            gain = np.mean([10 * np.log10(error / errors[0]) for error in errors[1:]])
            cross = [[(a[i] * b[j]).sum() for j in range(scripts)] for i in range(scripts)]
            values.append(
                (
                    2 * shared / (own + other),
                    shared / np.sqrt(own * other),
                    np.sqrt(own / other),
                    leak,
                    match,
                    gain,
                    np.trace(cross),
                )
            )
    return values


def peer_features(preds: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Shift, zoom, roll, flow, change and brightness in cells, pair by pair."""
    import cv2
    from skimage.registration import phase_cross_correlation

    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = preds.shape[-2:]
    grid = np.stack(np.mgrid[:height, :width], -1) - (np.array([height, width]) - 1) / 2
    design = np.stack([grid, np.stack([grid[..., 1], -grid[..., 0]], -1)], -1).reshape(-1, 2)
    solve = np.linalg.pinv(design).astype(np.float32)
    values = []
    for frames in (preds, target):
        for rollout in frames.reshape(-1, *frames.shape[2:]):
            images = [np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in rollout]
            greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
            for t in range(1, len(images)):
                shift, _, _ = phase_cross_correlation(greys[t], greys[t - 1], upsample_factor=100)
                flow = dis.calc(greys[t - 1], greys[t], None)[..., ::-1]
                fit = solve @ (flow - shift.astype(np.float32)).reshape(-1)
                now, before = (image.astype(np.float32) for image in (images[t], images[t - 1]))
                change, brighter = np.abs(now - before) / 255, (now - before) / 255
                cells = [
                    cell.mean((0, 1)) if cell.shape[-1] == 2 else cell.mean()
                    for field in (flow, change, brighter)
                    for band in np.array_split(field, 3, 0)
                    for cell in np.array_split(band, 3, 1)
                ]
                values.append(np.concatenate([shift, fit, np.hstack(cells)]))
    return values


def peers(preds: Tensor, target: Tensor) -> dict[str, tuple[str, Callable[[], object]]]:
    pair = [x[:1].cpu().numpy() for x in (preds, target)]
    found = {"response": ("numpy", lambda: numpy_response(*pair))}
    try:
        peer_features(pair[0][:, :1, :2], pair[1][:, :1, :2])
    except ImportError as error:
        print(f"skipped: motion of peers ({error})")
        return found
    image = importlib.metadata.version("scikit-image")
    name = f"scikit-image {image}, OpenCV DIS, numpy"
    found["motion"] = (name, lambda: peer_features(*pair))
    found["both"] = (name, lambda: (numpy_response(*pair), peer_features(*pair)))
    return found


def check(preds: Tensor, target: Tensor) -> None:
    """What both define alike is alike: the response, and the shift of a camera over texture."""
    pair = [x[:1].cpu().numpy() for x in (preds, target)]
    found = response(preds[:1], target[:1])
    theirs = np.array([step[:4] for step in numpy_response(*pair)])
    names = ("agreement", "cosine", "gain", "leak")
    mine = np.stack([getattr(found[0], name)[0].cpu() for name in names], 1)
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)
    try:
        shift = np.array([step[:2] for step in peer_features(*(x[:, :1, :6] for x in pair))])
    except ImportError:
        return
    mine = torch.cat([x.flatten(0, 2) for x in features(preds[:1, :1, :6], target[:1, :1, :6])])
    assert np.median(np.abs(mine[:, :2].cpu().numpy() - shift)) < 0.05


def timed(
    groups: int, scripts: int, size: tuple[int, int], steps: int, device: str, rounds: int
) -> list[Row]:
    preds, target, actions = panel(groups, scripts, steps, size)
    preds, target = preds.to(device), target.to(device)
    check(preds, target)
    found = features(preds, target)
    on_host = tuple(values.cpu() for values in found)

    def axis() -> object:
        shown = response(preds, target)
        return shown, report(tuple(x.cpu() for x in features(preds, target)), actions)

    mine: dict[str, Callable[[], object]] = {
        "response": lambda: response(preds, target),
        "motion": lambda: features(preds, target),
        "report": lambda: report(on_host, actions),
        "whole axis": axis,
    }
    about = {
        "benchmark": "response",
        "groups": groups,
        "scripts": scripts,
        "steps": steps,
        "pixels": f"{size[0]} x {size[1]}",
        "dtype": "uint8",
    }
    total, rows = groups * scripts, []
    read = 2 * preds.numel()
    ours = measure(mine, device=device, rounds=rounds, bytes_read=read, items=total)
    rate = {row["provider"]: row["items_per_second"] for row in ours}
    rate["both"] = 1 / (1 / rate["response"] + 1 / rate["motion"])
    rows = [{**row, "part": row["provider"], "provider": "wmscore"} for row in ours]
    for part, (name, call) in peers(preds, target).items():
        (row,) = measure(
            {name: call},
            device="cpu",
            rounds=3,
            bytes_read=read // groups,
            items=scripts,
            seconds=0.1,
        )
        times = rate[part] / row["items_per_second"]
        rows.append({**row, "part": part, "times_wmscore": times})
    return [{**about, **row, **environment(device)} for row in rows]


def main() -> None:
    command = parser((__doc__ or "").splitlines()[0])
    command.add_argument("--groups", type=int, nargs="+", default=[16, 64])
    command.add_argument("--scripts", type=int, nargs="+", default=[3, 9])
    command.add_argument("--sizes", nargs="+", default=["64x64", "120x160"])
    command.add_argument("--steps", type=int, default=32)
    command.set_defaults(rounds=3)
    options = arguments(command)
    print(f"{environment(options.device)}\nkernels: {kernels()}")
    rows = []
    for _ in thread_counts(options):
        for size in options.sizes:
            height, width = (int(side) for side in size.split("x"))
            for scripts in options.scripts:
                for groups in options.groups:
                    case = timed(
                        groups,
                        scripts,
                        (height, width),
                        options.steps,
                        options.device,
                        options.rounds,
                    )
                    print(table(case, COLUMNS), flush=True)
                    rows += case
    write_jsonl(options.out, rows)


if __name__ == "__main__":
    main()
