"""`wmscore bench`: how fast the metrics are on this machine, at a size of one's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wmscore.cli.answers import Answer
from wmscore.cli.options import Device, JsonFlag
from wmscore.cli.output import console, print_sentences, print_table
from wmscore.cli.reading import check_device, read_numbers

if TYPE_CHECKING:
    from wmscore.manifest import Panel
    from wmscore.rollouts import Rollouts

__all__ = ["bench"]

_PLAIN = "WMSCORE_PLAIN_TORCH"
_AXES = ("perceptual_drift", "identity_persistence", "action_response", "reset_consistency")


def bench(
    size: Annotated[
        str, typer.Option("--size", metavar="HxW", help="of a frame, in pixels")
    ] = "64x64",
    horizon: Annotated[int, typer.Option("--horizon", help="steps of a rollout")] = 32,
    rows: Annotated[int, typer.Option("--rows", help="(scenario, seed) rows in a batch")] = 4,
    scripts: Annotated[
        int, typer.Option("--scripts", help="scripts per row, the commanded one among them")
    ] = 3,
    repeats: Annotated[int, typer.Option("--repeats", help="of which the median counts")] = 3,
    plain: Annotated[
        bool,
        typer.Option("--plain/--no-plain", help="also time plain torch, without the kernels"),
    ] = True,
    device: Device = "cpu",
    as_json: JsonFlag = False,
) -> Answer:
    """Time the metrics on this machine: frames scored per second, axis by axis.

    Rollouts of the sprite world against its other-seed twin, scored by a panel with one axis each.
    A frame counts once for each script that the axis looks at. Kernels against plain torch, in
    another process.
    """
    import torch

    from wmscore.ops import kernels

    check_device(device)
    least = {"--horizon": (horizon, 4), "--rows": (rows, 1), "--scripts": (scripts, 2)}
    for option, (value, low) in {**least, "--repeats": (repeats, 1)}.items():
        if value < low:
            raise ValueError(f"{option}: expected at least {low}, got {value}")
    height, width = read_numbers("--size", size, "HxW")
    found = _measure(height, width, horizon, rows, scripts, repeats, device)
    slow = None
    is_plain = bool(os.environ.get(_PLAIN))
    if plain and not is_plain:
        words = ["bench", "--json", "--no-plain", "--size", size, "--device", device]
        for option, (value, _) in least.items():
            words += [option, str(value)]
        slow = _plainly([*words, "--repeats", "1"])
    document = {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "kernels": not is_plain and bool(any(kernels().ops.values())),
        "size": [height, width],
        "horizon": horizon,
        "rows": rows,
        "scripts": scripts,
        "axes": {
            axis: about | ({} if slow is None else {"plain": slow["axes"][axis]["frames_per_s"]})
            for axis, about in found.items()
        },
    }
    return Answer(document, lambda: _show(document))


def _measure(
    height: int, width: int, horizon: int, rows: int, scripts: int, repeats: int, device: str
) -> dict[str, dict[str, float]]:
    """Frames per second of each axis, and milliseconds per row."""
    from dataclasses import replace

    from wmscore.scorer import Scorer

    made: tuple[Panel, Rollouts] | None = None
    found = {}
    for axis in _AXES:
        panel = _panel(axis, height, width, horizon, rows, scripts)
        if made is None:
            made = panel, _rollouts(panel, rows)
        batch = replace(made[1], panel=panel.fingerprint)
        if axis != "action_response":
            batch = batch[batch.branch == 0]
        batch = batch.to(device)
        frames = len(batch.frames) * horizon
        seconds = []
        for turn in range(repeats + 1):
            scorer = Scorer(panel, device=device)
            start = time.perf_counter()
            scorer.update(batch)
            scorer.compute()  # its numbers are on the host, so nothing is left running
            if turn:  # the first warms caches up
                seconds.append(time.perf_counter() - start)
        middle = sorted(seconds)[len(seconds) // 2]
        found[axis] = {
            "frames": frames,
            "seconds": middle,
            "frames_per_s": frames / middle,
            "ms_per_row": middle / rows * 1e3,
        }
    return found


def _panel(axis: str, height: int, width: int, horizon: int, rows: int, scripts: int) -> Panel:
    from wmscore.manifest import Panel

    base = Panel.packaged("sprites")
    space = base.contract.actions
    commanded = [str(a) for a in base.scenarios[0].script(base.contract.horizon, space)]
    data = {
        "name": f"bench-{axis}",
        "contract": {
            "world": "sprites",
            "observation": {"height": height, "width": width, "fps": 10.0},
            "actions": {"names": list(space.names), "noop": space.noop},
            "horizon": horizon,
        },
        "scenarios": [
            {
                "id": f"row-{row}",
                "initial_state_id": f"row-{row}",
                "reset": {"seed": row},
                "actions": commanded[row % 3 :] or commanded,
                "then": "cycle",
            }
            for row in range(rows)
        ],
        "seeds": [0],
        "axes": [{"axis": "perceptual_drift", "threshold": 0.5}],
    }
    with_scripts = Panel.from_dict(data).with_random_branches(scripts - 1).model_dump()
    return Panel.from_dict({**with_scripts, "axes": [{"axis": axis, "threshold": 0.5}]})


def _rollouts(panel: Panel, rows: int) -> Rollouts:
    from wmscore.replay import render_truth, replay_rows
    from wmscore.worlds import OtherSeed
    from wmscore.worlds.load import load_world

    world = load_world(panel)
    truth = render_truth(panel, world)
    return replay_rows(panel, OtherSeed(world), truth, [(row, 0) for row in range(rows)])


def _plainly(words: list[str]) -> dict[str, Any]:
    """The same in a process whose kernels are not loaded."""
    env = {**os.environ, _PLAIN: "1", "WMSCORE_REQUIRE_KERNELS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "wmscore", *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"plain torch could not be timed: {done.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _show(document: dict[str, Any]) -> None:
    screen = console()
    height, width = document["size"]
    ran = "kernels" if document["kernels"] else "plain torch"
    about = (
        f"{document['rows']} rows of {document['horizon']} steps, {height}x{width}, "
        f"{document['scripts']} scripts; {document['device']}, {document['threads']} threads, {ran}"
    )
    print_sentences(screen, [about])
    body = []
    for axis, found in document["axes"].items():
        line = [axis, f"{found['frames_per_s']:,.0f}", f"{found['ms_per_row']:.2f}"]
        if (slow := found.get("plain")) is not None:
            line += [f"{slow:,.0f}", f"{found['frames_per_s'] / slow:.1f} x"]
        body.append(line)
    head = ["axis", "frames/s", "ms per row", "plain torch,\nframes/s", "speed-up"]
    print_table(screen, "Throughput", head[: len(body[0])], body)
