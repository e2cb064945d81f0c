"""Train the two model families that the demo judges, on other episodes than the panel's.

    python tools/train_demo_models.py vizdoom
    python tools/train_demo_models.py sprites

Writes `wmscore/worlds/learned/<world>.safetensors`.

Episodes are those of the panel's own maps under other seeds, with random scripts that hold each
action for a few steps. Seeded; some minutes on two cores.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from wmscore.manifest import Panel
from wmscore.replay import panel_items
from wmscore.worlds.learned.flow import HELD, FlowNet, held
from wmscore.worlds.learned.linear import fit_linear_latent
from wmscore.worlds.learned.packaged import write_models
from wmscore.worlds.load import load_world

FOLDER = Path(__file__).parents[1] / "wmscore" / "worlds" / "learned"
HORIZON, FIRST_SEED = 32, 10_001


def training_panel(panel: Panel, episodes: int) -> Panel:
    """The panel's worlds under other seeds, with random scripts."""
    names = panel.contract.actions.names
    scenarios = []
    for i in range(episodes):
        own = panel.scenarios[i % len(panel.scenarios)]
        rng = random.Random(f"training/{i}")
        script: list[str] = []
        while len(script) < HORIZON:
            script += [rng.choice(names)] * rng.choice((1, 2, 4, 8))
        scenarios.append(
            {
                "id": f"training-{i}",
                "initial_state_id": f"training-{i}",
                "reset": {**own.reset, "seed": FIRST_SEED + i},
                "actions": script[:HORIZON],
            }
        )
    data = panel.model_dump()
    data |= {"name": "training", "scenarios": scenarios, "seeds": [0]}
    data["contract"]["horizon"] = HORIZON
    data["axes"] = [{"axis": "perceptual_drift", "threshold": 0.5}]
    return Panel.from_dict(data)


def episodes_of(panel: Panel, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Frames `[N, T+1, 3, H, W]`, actions `[N, T]` and which steps exist `[N, T]`."""
    training = training_panel(panel, count)
    world = load_world(training)
    parts = []
    rows = list(training.rows())
    for first in range(0, count, 8):
        items = panel_items(training, rows[first : first + 8])
        parts.append(world.rollout(items, HORIZON))
    frames = torch.cat([part.frames for part in parts])
    actions = torch.cat([part.actions for part in parts])
    valid = torch.cat([part.valid for part in parts])[:, 1:]
    return frames, actions, valid


def recent(actions: Tensor, row: Tensor, t: Tensor) -> Tensor:
    """`[B, HELD]`: the actions up to step t of a row; nothing was done before the first."""
    before = actions.new_zeros(len(actions), HELD - 1)
    return torch.cat([before, actions], 1)[row[:, None], t[:, None] + torch.arange(HELD)]


def shifts(frames: Tensor, actions: Tensor, valid: Tensor, count: int) -> Tensor:
    """The whole picture's shift under each action, by search, as a flow `[A * HELD, 2]`."""
    found = torch.zeros(count * HELD, 2)
    row, t = valid.nonzero().T
    window = recent(actions, row, t)
    kind = window[:, -1] * HELD + held(window)
    small = (frames.shape[-2] // 2, frames.shape[-1] // 2)
    for k in kind.unique().tolist():
        r, s = row[kind == k][:40], t[kind == k][:40]
        last, following = (adaptive_avg_pool2d(frames[r, s + d].float(), small) for d in (0, 1))
        best = float("inf")
        for x in range(-small[1] // 4, small[1] // 4 + 1):
            inside = slice(max(0, -x), min(0, -x) or None)
            for y in range(-4, 5):
                moved = torch.roll(last, (-y, -x), (2, 3))
                error = float((moved - following)[:, :, 4:-4, inside].abs().mean())
                if error < best:
                    best, found[k] = error, torch.tensor([2 * x / small[1], 2 * y / small[0]])
    return found


def train_flow(
    frames: Tensor, actions: Tensor, valid: Tensor, count: int, steps: int, seed: int
) -> FlowNet:
    """Adam on the absolute error of the next frame, from the last two true ones."""
    torch.manual_seed(seed)
    small = (60, 80) if frames.shape[-1] > 100 else (64, 64)
    network = FlowNet(count, small=small)
    with torch.no_grad():
        network.field += shifts(frames, actions, valid, count)[:, :, None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    pairs = valid.nonzero()
    size = (frames.shape[-2] // 2, frames.shape[-1] // 2) if frames.shape[-1] > 100 else None
    generator = torch.Generator().manual_seed(seed)
    begin = time.time()
    for step in range(steps):
        pick = pairs[torch.randint(len(pairs), (16,), generator=generator)]
        row, t = pick.T
        three = [frames[row, (t + k).clamp_min(0)].float() / 255 for k in (-1, 0, 1)]
        if size is not None and step < 0.8 * steps:  # details come last
            three = [adaptive_avg_pool2d(x, size) for x in three]
        found = network(three[1], three[0], recent(actions, row, t))
        loss = (found - three[2]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 200 == 0 or step == steps - 1:
            still = float((three[1] - three[2]).abs().mean())
            seconds = time.time() - begin
            print(
                f"{seconds:.0f} s, step {step}: {loss.item():.4f} (still {still:.4f})", flush=True
            )
    return network


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("panel", choices=["vizdoom", "sprites"])
    parser.add_argument("--episodes", type=int, default=96)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--components", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    panel = Panel.packaged(args.panel)
    frames, actions, valid = episodes_of(panel, args.episodes)
    whole = valid.all(1)
    names = panel.contract.actions.names
    fps = load_world(panel).capabilities.fps
    linear = fit_linear_latent(
        frames[whole],
        actions[whole],
        components=args.components,
        small=(30, 40) if args.panel == "vizdoom" else (32, 32),
        action_names=names,
        fps=fps,
    )
    network = train_flow(frames, actions, valid, len(names), args.steps, args.seed)
    training = {
        "episodes": args.episodes,
        "first_seed": FIRST_SEED,
        "horizon": HORIZON,
        "steps": args.steps,
        "seed": args.seed,
        "by": "tools/train_demo_models.py",
    }
    out = args.out or FOLDER / f"{args.panel}.safetensors"
    write_models(out, linear, network, training)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
