"""A world model, or the true world, of which there are recordings only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from wmscore.episodes import (
    Episode,
    EpisodeError,
    EpisodeKey,
    EpisodeSource,
    EpisodeTooShortError,
)
from wmscore.files import safe_name
from wmscore.functional import psnr
from wmscore.rollouts import Rollouts
from wmscore.video import ahead, constant_rate_index
from wmscore.worlds.given import item_words
from wmscore.worlds.protocol import Capabilities, Item, item_keys
from wmscore.worlds.recorded_rows import RecordedRow, RowBatch
from wmscore.worlds.step import stack_actions

__all__ = ["RecordedWorld"]

_CLOSE = 24.0  # dB; frames of other moments are seldom as close, compressed ones seldom further
_LATER = 4  # frames after the first among which none may be closer to the given one
_CLOSER = 3.0  # dB; by less, a codec refines a picture that stands still


class RecordedWorld:
    """Answers items with recorded episodes: generated clips as a model, or films as the true world.

    An item is answered by the episode of its scenario, seed and branch; episodes without a seed
    answer every seed. A row without an episode, or whose episode cannot be read, is an error that
    names it. One that is too short has no frames (`Rollouts.valid`) from its end on.

    The first frame of an exact recording must be the given one, as for every model. Of a lossy one
    it is the given frame with the codec's loss: if the two are close (PSNR of at least
    `first_frame_psnr`), and no frame right after is clearly closer, the given frame takes its
    place; otherwise it stays, so that the scorer finds a wrong start.
    `info["first_frame_psnr"]` keeps how close they were.

    Args:
        source: where the episodes are.
        name: of the model; the source's by default.
        resample: hold or leave out frames by time where the source's rate is not the panel's;
            without it, that is an error.
        first_frame_psnr: see above, in dB.
        ignore: boxes (top, left, bottom, right) that do not count in this, as those of
            `Observation.ignore`.
        actions: "check" refuses episodes that were recorded under other actions than commanded,
            as far as they are known; "ignore" takes them all the same.
        every_script: the model takes no actions, so that its clip of the commanded script is its
            answer to all scripts of the row. Then it is asked the same panel as models that do take
            them, and its response is n/a. Never of a true world.
        action_slack: steps by which a recorded action may be off; by default none, and a quarter of
            a second where actions are approximate.
        workers: episodes read at once, by threads; as many as there are cores by default.

    Raises:
        EpisodeError: two episodes answer the same row.

    Example:
        >>> model = RecordedWorld(ClipFolder("generated"), name="some-model")   # doctest: +SKIP
        >>> record("out", panel, world, model)                                  # doctest: +SKIP
    """

    def __init__(
        self,
        source: EpisodeSource,
        *,
        name: str | None = None,
        resample: bool = False,
        first_frame_psnr: float = _CLOSE,
        ignore: Sequence[tuple[int, int, int, int]] = (),
        actions: Literal["check", "ignore"] = "check",
        every_script: bool = False,
        action_slack: int | None = None,
        workers: int | None = None,
    ) -> None:
        """Look up which rows the episodes answer; none is read yet."""
        if actions not in ("check", "ignore"):
            raise ValueError(f"actions: expected 'check' or 'ignore', got {actions!r}")
        self.source = source
        self.name = name or source.name
        self.resample = resample
        self.first_frame_psnr = first_frame_psnr
        self.ignore = tuple(ignore)
        self.actions = actions
        self.every_script = every_script
        self.workers = workers or os.cpu_count() or 1
        self._action_slack = action_slack
        self._facts = source.facts
        self._keys: dict[tuple[str, int | None, int], EpisodeKey] = {}
        for key in source.keys():
            row = (key.scenario or key.id, key.seed, key.branch)
            if row in self._keys:
                raise EpisodeError(
                    f"{source.name}: expected one episode for each row, got {self._keys[row].id!r} "
                    f"and {key.id!r} for scenario {row[0]!r}, seed {row[1]}, branch {row[2]}"
                )
            self._keys[row] = key

    @property
    def capabilities(self) -> Capabilities:
        """What the recordings are.

        No actions are promised unless they are known, and nothing for seeds or later actions other
        than those that were recorded.
        """
        facts = self._facts
        known = facts.actions != "none" and not self.every_script
        return Capabilities(
            actions=facts.actions if known else "none",
            action_names=facts.action_names if known else (),
            action_units=facts.action_units if known else (),
            actions_exact=facts.actions_exact,
            seedable=False,
            prefix_causal=not known or self.actions == "ignore",
            labels=facts.labels,
            fps=facts.fps,
            frame_size=facts.frame_size,
        )

    @property
    def codec(self) -> dict[str, Any] | None:
        """What a lossy codec did to the pixels (`wmscore.video.CodecFacts.as_dict`), or None."""
        return self._facts.codec

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What the recordings do not keep of what the panel asks for, one sentence each."""
        said = list(self._facts.notes)
        if self.resample:
            said.append("frames are held or left out where the panel's rate is another")
        if self.every_script:
            said.append("no actions are taken: the commanded script's clip answers every script")
        elif self._facts.actions == "none":
            said.append("the actions under which the frames were made are not known")
        elif self.actions == "ignore":
            said.append("recorded actions were not compared with the commanded ones")
        return tuple(said)

    def rollout(self, items: Sequence[Item], horizon: int) -> Rollouts:
        """Read the episode of each item, several at once."""
        actions = stack_actions(items, horizon)
        batch = RowBatch(self.name, items, horizon)

        def answer(place: int) -> None:
            batch.put(place, self._row(items[place], horizon))

        workers = min(self.workers, len(items))
        for _ in ahead(answer, range(len(items)), workers=workers, depth=0):
            pass
        return Rollouts(
            frames=batch.frames,
            labels=batch.labels,
            valid=batch.valid,
            actions=actions,
            model=self.name,
            info={"first_frame_psnr": batch.psnr},
            **item_keys(items),
        )

    # ---- one row -------------------------------------------------------------------------

    def _row(self, item: Item, horizon: int) -> RecordedRow:
        key = self._key(item)
        where = f"{self.name}: {item_words(item)}"
        if item.noise_seed is not None:
            raise ValueError(f"{where}: a recording cannot run again with other randomness")
        try:
            episode = self._read(item, key, horizon, where)
        except EpisodeError as error:
            raise EpisodeError(f"{where}: {error}") from None
        frames, count = episode.frames, min(len(episode.frames), horizon + 1)
        self._check_size(item, frames, where)
        if self.actions == "check" and episode.actions is not None and not self.every_script:
            self._check_actions(item, episode.actions[: count - 1], where)
        first, closeness = self._begun(item, frames[:count])
        labels = episode.labels
        return RecordedRow(
            frames=frames[:count],
            first=first,
            labels=None if labels is None else labels[:count],
            count=min(count, count if episode.valid is None else episode.valid),
            psnr=closeness,
        )

    def _key(self, item: Item) -> EpisodeKey:
        branch = 0 if self.every_script else item.branch
        for name in (item.scenario_id, safe_name(item.scenario_id)):
            for seed in (item.seed, None):
                if key := self._keys.get((name, seed, branch)):
                    return key
        known = sorted({name for name, _, _ in self._keys})
        raise EpisodeError(
            f"{self.name}: expected an episode for {item_words(item)}, there is none among "
            f"{len(self._keys)} of {', '.join(map(repr, known[:3]))}{', ...' * (len(known) > 3)}"
            + (
                "; `Panel.without_actions` asks for commanded scripts only, `every_script` answers "
                "all with them"
                if branch
                else ""
            )
        )

    def _read(self, item: Item, key: EpisodeKey, horizon: int, where: str) -> Episode:
        fps = self._facts.fps
        rate = item.fps or fps
        if abs(rate - fps) <= 1e-3 * rate:
            return self._at_most(key, horizon + 1)
        if not self.resample:
            raise EpisodeError(
                f"expected {rate:g} frames per second as the panel's observation has, got {fps:g}; "
                "bring the source to it, or give resample=True"
            )
        needed = int(horizon * fps / rate + 1e-6) + 1
        episode = self._at_most(key, needed)
        times = torch.arange(len(episode.frames), dtype=torch.float64) / fps
        count = min(horizon + 1, int((float(times[-1]) + 1e-6) * rate) + 1)
        index = constant_rate_index(times, rate, frames=count, tick=1e-6 / fps)
        return replace(
            episode,
            frames=episode.frames[index],
            labels=None if episode.labels is None else episode.labels[index],
            valid=None if episode.valid is None else int((index < episode.valid).sum()),
            actions=None,  # those of the source's own steps
            fps=rate,
            info={},
        )

    def _at_most(self, key: EpisodeKey, frames: int) -> Episode:
        """The first frames of an episode, fewer where it is shorter."""
        try:
            return self.source.read(key, frames=frames)
        except EpisodeTooShortError as error:
            if error.frames < 1:
                raise
            return self.source.read(key, frames=error.frames)

    def _check_size(self, item: Item, frames: Tensor, where: str) -> None:
        if item.frame is not None and item.frame.shape != frames.shape[1:]:
            expected, found = list(item.frame.shape[1:]), list(frames.shape[2:])
            raise EpisodeError(
                f"{where}: expected frames of {expected[0]}x{expected[1]} as the given one has, "
                f"got {found[0]}x{found[1]}; crop or resize the source, or wrap the model in "
                "FitSize"
            )

    def _check_actions(self, item: Item, recorded: Tensor, where: str) -> None:
        commanded = item.actions[: len(recorded)]
        if recorded.shape != commanded.shape:
            raise EpisodeError(
                f"{where}: expected recorded actions {list(commanded.shape)} as commanded, got "
                f"{list(recorded.shape)}"
            )
        slack = self._action_slack
        if slack is None:
            slack = 0 if self._facts.actions_exact else max(round(self._facts.fps / 4), 1)
        wrong = ~_within(recorded, commanded, slack)
        if bool(wrong.any()):
            step = int(wrong.int().argmax())
            raise EpisodeError(
                f"{where}: recorded under other actions than commanded, the first at step {step}: "
                f"expected {commanded[step].tolist()}, got {recorded[step].tolist()}"
                f"{f' and not {slack} steps off' if slack else ''}; actions='ignore' takes it "
                "all the same"
            )

    def _begun(self, item: Item, frames: Tensor) -> tuple[Tensor | None, float]:
        """The given frame where the codec alone explains how the first one differs, or None."""
        given = item.frame
        if given is None or given.dtype != torch.uint8:
            return None, float("inf") if given is None else float("nan")
        given = given.to(frames.device)
        seen = torch.ones(given.shape[1:], dtype=torch.bool, device=given.device)
        for top, left, bottom, right in self.ignore:
            seen[top:bottom, left:right] = False
        early = frames[: 1 + _LATER]
        gaps = psnr(early, given.expand_as(early), mask=seen).tolist()
        close = gaps[0] >= self.first_frame_psnr and gaps[0] >= max(gaps) - _CLOSER
        if self._facts.codec is None or not close:
            return None, gaps[0]
        return given, gaps[0]


def _within(recorded: Tensor, commanded: Tensor, slack: int) -> Tensor:
    """`[T]` bool: the recorded action is commanded at most `slack` steps before or after."""
    steps = len(recorded)
    found = torch.zeros(steps, dtype=torch.bool)
    for shift in range(-min(slack, steps - 1), min(slack, steps - 1) + 1):
        mine = recorded[max(shift, 0) : steps + min(shift, 0)]
        theirs = commanded[max(-shift, 0) : steps + min(-shift, 0)]
        same = (mine - theirs).abs() <= 1e-6 * theirs.abs().clamp_min(1)
        found[max(shift, 0) : steps + min(shift, 0)] |= same.view(len(mine), -1).all(1)
    return found
