"""Replay against the bare simulator: frames per second, and what the harness costs.

Each provider makes the same rollouts of one panel: `bare` drives the simulator by hand, in as many
processes and with the same batches, and throws the frames away; `replay` rolls out through the
harness, beside the truth, in memory; `record` writes the rollouts to disk too, in the folder that
`--folder` names, with a truth that was rendered before. Providers take turns. The clock is the
wall's, since VizDoom runs in processes of its own; `overhead` is the median over rounds of the time
beyond that of `bare` in the same round, as a share of it. `cpu_seconds` is the time of this process
on processors, all threads, without VizDoom's own.

For VizDoom, `bare` plays wmscore's games, whose episodes repeat, by hand. `engine` is VizDoom
itself asked for the picture, labels and objects of each step and nothing else: other rollouts,
which say what it costs that episodes repeat.
"""

from __future__ import annotations

import atexit
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Row, arguments, environment, parser, table, write_jsonl

from wmscore.manifest import Panel
from wmscore.recordings import Recording, record
from wmscore.replay import freeze_panel, panel_items, render_truth, replay
from wmscore.rollouts import Rollouts
from wmscore.worlds import SpriteWorld, WorldModel
from wmscore.worlds.step import stack_actions

Call = Callable[[], object]

COLUMNS = {
    "world": "",
    "size": "",
    "rows": "d",
    "workers": "d",
    "provider": "",
    "seconds": ".2f",
    "frames_per_second": ",.0f",
    "overhead": "+.1%",
    "cpu_seconds": ".2f",
}


class Named:
    """A world as if it were a model."""

    def __init__(self, world: WorldModel) -> None:
        self.world, self.name, self.capabilities = world, "model", world.capabilities

    def rollout(self, items: Any, horizon: int) -> Rollouts:
        return replace(self.world.rollout(items, horizon), model=self.name)


def sprites_by_hand(world: SpriteWorld, panel: Panel, batch_size: int) -> Call:
    """Reset and step the world, rows side by side, as its users would."""
    rows = list(panel.rows())
    batches = [
        panel_items(panel, rows[i : i + batch_size]) for i in range(0, len(rows), batch_size)
    ]
    horizon = panel.contract.horizon

    def play() -> None:
        for items in batches:
            actions = stack_actions(items, horizon)
            shown = [world.stepper.reset(items)]
            shown += [world.stepper.step(actions[:, t]) for t in range(horizon)]
            torch.stack([out.frames for out in shown], 1)
            torch.stack([out.labels for out in shown if out.labels is not None], 1)

    return play


def shares(panel: Panel, workers: int) -> list[list[tuple[Any, list[str]]]]:
    """For each worker its episodes: the scenario's reset and a script."""
    plays = [
        (
            panel.scenarios[s].reset,
            list(script.script(panel.contract.horizon, panel.contract.actions)),
        )
        for s, _ in panel.rows()
        for script in panel.scenarios[s].scripts
    ]
    plays.sort(key=lambda play: play[0]["scenario"])
    size = -(-len(plays) // workers)
    return [plays[i : i + size] for i in range(0, len(plays), size)]


def engine_by_hand(panel: Panel, workers: int) -> Call:
    """The engine alone: one game for each worker and scenario, kept open."""
    import vizdoom

    from wmscore.worlds import doom_game

    observation = panel.contract.observation
    assert observation is not None
    buttons = [getattr(vizdoom.Button, name) for name, _ in doom_game._BUTTONS.values()]
    pressed = {
        name: [name == button for button in doom_game._BUTTONS] for name in doom_game.ACTIONS
    }
    games: dict[tuple[int, str], Any] = {}
    settings = tempfile.TemporaryDirectory()  # else each game leaves a file right here

    def close() -> None:
        for game in games.values():
            game.close()
        settings.cleanup()

    atexit.register(close)

    def game_of(worker: int, scenario: str) -> Any:
        if (worker, scenario) not in games:
            game = vizdoom.DoomGame()
            game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario}.cfg"))
            game.set_window_visible(False)
            game.set_sound_enabled(False)
            size = (observation.height, observation.width)
            game.set_screen_resolution(doom_game.screen_resolution(*size))
            game.set_screen_format(vizdoom.ScreenFormat.CRCGCB)
            game.set_labels_buffer_enabled(True)
            game.set_objects_info_enabled(True)
            game.set_available_buttons(buttons)
            game.set_render_hud(False)
            game.set_doom_config_path(str(Path(settings.name) / f"{worker}-{scenario}.ini"))
            game.init()
            games[worker, scenario] = game
        return games[worker, scenario]

    def run(worker: int, share: list[tuple[Any, list[str]]]) -> None:
        for reset, script in share:
            game = game_of(worker, reset["scenario"])
            game.set_seed(reset["seed"])
            game.new_episode()
            for action in reset.get("warmup", ()):
                game.make_action(pressed[action], 4)
            frames = []
            for action in [None, *script]:
                if action is not None:
                    game.make_action(pressed[action], 4)
                state = game.get_state()
                if state is None:
                    break
                frames.append((state.screen_buffer, state.labels_buffer, state.objects))

    parts = shares(panel, workers)

    def play() -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, range(workers), parts))

    return play


def games_by_hand(panel: Panel, workers: int) -> Call:
    """wmscore's games without the harness."""
    from wmscore.worlds.doom_game import DoomGame

    observation, horizon = panel.contract.observation, panel.contract.horizon
    assert observation is not None
    size = (observation.height, observation.width)
    games: dict[tuple[int, str], DoomGame] = {}

    def run(worker: int, share: list[tuple[Any, list[str]]]) -> None:
        for reset, script in share:
            key = worker, reset["scenario"]
            if key not in games:
                games[key] = DoomGame(reset["scenario"], *size, 4)
            frames = np.empty((horizon + 1, 3, *size), np.uint8)
            labels = np.empty((horizon + 1, *size), np.int16)
            games[key].play(
                reset["seed"], reset.get("warmup", ()), script, frames=frames, labels=labels
            )

    parts = shares(panel, workers)

    def play() -> None:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, range(workers), parts))

    return play


def measured(
    world: WorldModel, panel: Panel, by_hand: dict[str, Call], options: Any, about: Row
) -> list[Row]:
    """Rows of all providers on one panel."""
    truth = render_truth(panel, world, batch_size=options.batch_size)
    frozen, truth = freeze_panel(panel, truth, fps=world.capabilities.fps)
    model, folder = Named(world), Path(tempfile.mkdtemp(dir=options.folder))

    def in_memory() -> None:
        for _ in replay(frozen, model, truth, batch_size=options.batch_size):
            pass

    def on_disk() -> None:
        record(
            folder / "model",
            frozen,
            None,
            model,
            batch_size=options.batch_size,
            truth=folder / "truth",
        )

    record(folder / "truth", frozen, world, model, batch_size=options.batch_size)
    providers = {**by_hand, "replay": in_memory, "record": on_disk}
    taken: dict[str, list[float]] = {name: [] for name in providers}
    worked: dict[str, list[float]] = {name: [] for name in providers}
    for turn in range(options.rounds + 1):
        for name, call in providers.items():
            shutil.rmtree(folder / "model", ignore_errors=True)
            start, busy = time.perf_counter(), time.process_time()
            call()
            if turn:  # the first calls are slow
                taken[name].append(time.perf_counter() - start)
                worked[name].append(time.process_time() - busy)
    recording = Recording(folder / "model")
    assert recording.complete
    assert not recording.faults
    shutil.rmtree(folder)
    frames = sum(len(s.scripts) for s in panel.scenarios) * len(panel.seeds)
    frames *= panel.contract.horizon + 1
    rows = []
    for name, times in taken.items():
        beyond = [mine / bare - 1 for mine, bare in zip(times, taken["bare"], strict=True)]
        seconds = statistics.median(times)
        rows.append(
            {
                **about,
                "rows": len(list(panel.rows())),
                "provider": name,
                "seconds": seconds,
                "frames_per_second": frames / seconds,
                "overhead": statistics.median(beyond),
                "cpu_seconds": statistics.median(worked[name]),
                "rounds": len(times),
            }
        )
    return rows


def sized(panel: Panel, height: int, width: int, scenarios: int) -> Panel:
    """A packaged panel at another frame size and number of scenarios, one seed each.

    Seeds are left out, since these simulators play rows that differ in nothing else once.
    """
    data = panel.model_dump()
    data["contract"]["observation"] |= {"height": height, "width": width}
    data["seeds"] = (0,)
    copies = -(-scenarios // len(data["scenarios"]))
    data["scenarios"] = [
        scenario
        | {
            "id": f"{scenario['id']}-{i}",
            "reset": scenario["reset"] | {"seed": scenario["reset"]["seed"] + 1000 * i},
            "initial_frame_sha256": None,
        }
        for i in range(copies)
        for scenario in data["scenarios"]
    ][:scenarios]
    return Panel.from_dict(data)


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--worlds", nargs="+", default=["sprites", "vizdoom"])
    options.add_argument("--scenarios", type=int, default=48)
    options.add_argument("--batch-size", type=int, default=8)
    options.add_argument("--sides", type=int, nargs="+", default=[64], help="of sprites")
    options.add_argument("--workers", type=int, nargs="+", default=[2], help="games side by side")
    options.add_argument("--folder", help="where recordings go (default: the system's)")
    options.set_defaults(rounds=5, threads=[1])
    given = arguments(options)
    rows: list[Row] = []
    about = environment(given.device)
    if "sprites" in given.worlds:
        for side in given.sides:
            panel = sized(Panel.packaged("sprites"), side, side, given.scenarios)
            world = SpriteWorld(side, side, given.device)
            bare = sprites_by_hand(world, panel, given.batch_size)
            head = {"world": "sprites", "size": f"{side} x {side}", "workers": 1}
            rows += measured(world, panel, {"bare": bare}, given, head)
    if "vizdoom" in given.worlds:
        try:
            from wmscore.worlds.vizdoom import VizDoomWorld

            VizDoomWorld()
        except ImportError as error:
            print(f"vizdoom: left out, {error}")
        else:
            panel = sized(Panel.packaged("vizdoom"), 120, 160, given.scenarios)
            for workers in given.workers:
                by_hand = {
                    "engine": engine_by_hand(panel, workers),
                    "bare": games_by_hand(panel, workers),
                }
                head = {"world": "vizdoom", "size": "120 x 160", "workers": workers}
                with VizDoomWorld(workers=workers) as doom:
                    rows += measured(doom, panel, by_hand, given, head)
    rows = [{**about, **row} for row in rows]
    print(table(rows, COLUMNS))
    write_jsonl(given.out, rows)


if __name__ == "__main__":
    main()
