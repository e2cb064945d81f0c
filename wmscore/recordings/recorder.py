"""`record`: a model over a panel into a folder, resumable, in shards, with faults by row."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wmscore.files import create_file
from wmscore.manifest import Panel
from wmscore.recordings.about import About, describe_model, learned, start_about
from wmscore.recordings.asking import Answer, ask_rows, wrong_answer
from wmscore.recordings.freezing import freeze, prepare_truth
from wmscore.recordings.keeping import bytes_of, info_in, info_of, unlike
from wmscore.recordings.layout import Layout, Shard, clean_drafts
from wmscore.recordings.locks import lock_shard
from wmscore.recordings.parts import (
    has_room,
    is_disk_full,
    is_finished,
    read_faults,
    read_learned,
    write_part,
)
from wmscore.recordings.question import adopt_frozen, check_same
from wmscore.recordings.reading import Folders, Recording
from wmscore.recordings.truth import TruthParts
from wmscore.recordings.writer import Writer
from wmscore.replay import (
    Progress,
    WrongAnswerError,
    check_batch_size,
    predict_rows,
    reconstruct_rows,
    reconstruction_name,
    roll_out_rows,
    teacher_forced_name,
)
from wmscore.rollouts import Rollouts
from wmscore.rowfaults import RowFault, describe_faults
from wmscore.worlds import WorldModel

__all__ = ["Recorded", "record", "record_shard"]

Row = tuple[int, int]


@dataclass
class Recorded:
    """What a run of `record_shard` did.

    Attributes:
        panel: the panel with the initial frames frozen, as in `panel.json`.
        rows: rows of this shard.
        asked: how many of them this run asked for.
        faults: rows of this shard that the model failed to answer, of earlier runs too.
        unwritten: rows that found no room on the disk; the same run again records them.
        disk: what the system said when there was no room.
    """

    panel: Panel
    rows: int = 0
    asked: int = 0
    faults: list[RowFault] = field(default_factory=list)
    unwritten: list[Row] = field(default_factory=list)
    disk: str = ""

    @property
    def complete(self) -> bool:
        """Every row of the shard has rollouts."""
        return not self.faults and not self.unwritten

    def summary(self) -> list[str]:
        """Sentences on what went wrong; none where nothing did."""
        lines = describe_faults(self.faults, [s.id for s in self.panel.scenarios])
        if self.unwritten:
            count = f"{len(self.unwritten)} of {self.rows} rows"
            lines.append(f"disk full: {count} are not written ({self.disk}); run again to go on")
        return lines


def record(
    folder: str | Path,
    panel: Panel,
    world: WorldModel | None,
    model: WorldModel,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
    truth_progress: Progress | None = None,
    teacher_forced: bool = False,
    reconstruction: bool = False,
    role: str | None = None,
    shard: tuple[int, int] = (0, 1),
    truth: Folders | Recording | None = None,
    retry_faults: bool = False,
    made_by: str | None = None,
) -> Panel:
    """Replay `model` beside `world` into a folder, or go on where an earlier run ended.

    The folder fills in parts of `batch_size` rows, each whole or not there. Whenever a run ends,
    also by a kill or a power cut, the same call again asks for nothing that is finished, and gives
    the files that an uninterrupted run gives. An exception of the model, or an answer to another
    question, is recorded for the rows that fail when they are asked for alone, and the rest goes
    on; so it does where the disk is full, and a later call records what found no room. Then a
    warning says so; `record_shard` returns it instead.

    Args:
        folder: where to; new, empty, or with the same recording.
        panel: the contract.
        world: the true world; None where `truth` has all that is needed.
        model: who is judged; `world` itself for the truth.
        batch_size: panel rows (scenario, seed) per call and part; each brings all its branches.
        progress: called with (rows done, rows in all), rows of this shard: first with what was
            there before, then after each part.
        truth_progress: the same of the truth, with scenarios.
        teacher_forced: record the model's one-step predictions instead of its rollouts.
        reconstruction: record the model's pictures of the true frames instead of its rollouts.
        role: "truth", "ceiling" or "floor" for anchors, "model" for who is judged; by default
            "truth" for the world itself, else "model".
        shard: (index, count): only the parts i with i % count == index, for several machines.
            They may share the folder, or have one each and be read together (`Recording`).
        truth: a recording on the same scenarios, scripts and horizon, whose truth is taken over:
            no file of it is rendered twice, and all models are judged under one fingerprint.
        retry_faults: ask again for the rows that failed before, and only for them among the parts
            that are finished.
        made_by: what distinguishes this model from others of its name, say a checkpoint and its
            options. It is kept with each part, and a recording whose parts were made by different
            ones says so (`Recording.summary`).

    Returns:
        The panel with the initial frames frozen, as written to `panel.json`.

    Raises:
        PanelMismatchError: the folder or `truth` was recorded for another panel.
        ValueError: the folder holds something else, or a recording of another model, batch size or
            kind (names the field), the model offers no one-step predictions, the world does not
            show what the panel froze, or another process records the same shard.
        OSError: the disk has no room for the truth.
    """
    recorded = record_shard(
        folder,
        panel,
        world,
        model,
        batch_size=batch_size,
        progress=progress,
        truth_progress=truth_progress,
        teacher_forced=teacher_forced,
        reconstruction=reconstruction,
        role=role,
        shard=shard,
        truth=truth,
        retry_faults=retry_faults,
        made_by=made_by,
    )
    if not recorded.complete:
        warnings.warn(f"{folder}: " + "; ".join(recorded.summary()), UserWarning, stacklevel=2)
    return recorded.panel


def record_shard(
    folder: str | Path,
    panel: Panel,
    world: WorldModel | None,
    model: WorldModel,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
    truth_progress: Progress | None = None,
    teacher_forced: bool = False,
    reconstruction: bool = False,
    role: str | None = None,
    shard: tuple[int, int] = (0, 1),
    truth: Folders | Recording | None = None,
    retry_faults: bool = False,
    made_by: str | None = None,
) -> Recorded:
    """`record`, with what became of the rows in answer instead of a warning."""
    check_batch_size(batch_size)
    share = Shard.of(shard)
    if teacher_forced and reconstruction:
        raise ValueError("teacher_forced, reconstruction: expected one of them, got both")
    name = teacher_forced_name(model) if teacher_forced else model.name
    name = reconstruction_name(model) if reconstruction else name
    companion = teacher_forced or reconstruction
    default = "truth" if model is world and not companion else "model"
    about = About(
        model=name,
        role=role or default,
        batch_size=batch_size,
        teacher_forced=teacher_forced,
        reconstruction=reconstruction,
        facts=describe_model(model),
    )
    if truth is not None and not isinstance(truth, Recording):
        truth = Recording(truth)
    # Before there is a folder: what is refused here must not keep its place.
    given = panel if truth is None else adopt_frozen(truth.folder, panel, truth.panel)
    folder = Path(folder)
    _check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_shard(folder, share):
        layout = Layout(panel, batch_size)
        clean_drafts(folder, layout, share)
        start_about(folder, about)
        if not create_file(folder / "asked.json", panel.canonical_json() + "\n"):
            check_same(folder, Panel.load(folder / "asked.json"), panel)
        truths = prepare_truth(folder, given, world, layout, share, truth, truth_progress)
        frozen = freeze(folder, given, world, layout, truths)
        run = _Run(folder, frozen, layout, truths, model, about, progress, made_by)
        return run.all(share, retry_faults)


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which there is something else."""
    if not folder.exists() or (folder / "recording.json").exists():
        return
    if not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(f"folder: {folder} exists; choose a new one, this is no recording")


class _Run:
    """The parts of one shard, one after the other."""

    def __init__(
        self,
        folder: Path,
        panel: Panel,
        layout: Layout,
        truths: TruthParts,
        model: WorldModel,
        about: About,
        progress: Progress | None,
        made_by: str | None,
    ) -> None:
        self.made_by = made_by
        self.folder, self.panel, self.layout, self.truths = folder, panel, layout, truths
        self.model, self.progress = model, progress
        self.answer = predict_rows if about.teacher_forced else roll_out_rows
        if about.reconstruction:
            self.answer = reconstruct_rows
        self.name, self.info = about.model, info_in(folder)
        self.fingerprint = panel.fingerprint
        self.recorded = Recorded(panel)
        self.done = 0
        self.run, self.asked = secrets.token_hex(8), 0  # so that reports tell one run's order
        self.size = 0  # bytes of the last part that found no room

    def all(self, shard: Shard, retry_faults: bool) -> Recorded:
        """Ask for what is not there; tell what is there in the end."""
        parts = self.layout.parts_of(shard)
        rows = {part: self.layout.rows_of(part) for part in parts}
        self.recorded.rows = sum(map(len, rows.values()))
        todo: list[tuple[int, bool]] = []
        for part in parts:
            finished = is_finished(self.folder, part, rows[part])
            if not finished or (retry_faults and read_faults(self.folder, part)):
                todo.append((part, finished))
            else:
                self.done += len(rows[part])
        self._tell()
        with Writer() as writer:
            for part, again in todo:
                self._one(writer, part, rows[part], again)
        lost = set(self.recorded.unwritten)
        for part in parts:
            faults = read_faults(self.folder, part)
            self.recorded.faults += [f for f in faults if (f.scenario, f.seed) not in lost]
        return self.recorded

    def _one(self, writer: Writer, part: int, rows: list[Row], again: bool) -> None:
        """Ask for a part, or for the faults in it, and have it written."""
        if self.size:
            writer.settle()
        wanted = rows
        if again:
            wanted = [(fault.scenario, fault.seed) for fault in read_faults(self.folder, part)]
        if self.size and not has_room(self.folder, self.size):
            self._lost(wanted)  # nothing is rolled out that cannot be kept
            return
        truth = self.truths.rows(Layout.scenarios(wanted), self.fingerprint)
        start = time.perf_counter()
        answer = ask_rows(partial(self._ask, truth), wanted)
        self.asked += 1
        self.recorded.asked += len(wanted)
        report = {
            "part": part,
            "rows": len(rows),
            "calls": answer.calls,
            "seconds": round(time.perf_counter() - start, 6),
            **_where(answer),
            "run": self.run,
            "number": self.asked,
            "made_by": self.made_by,
            **learned(self.model),
        }
        kept, answer.rollouts = answer.rollouts, None
        if again:
            report["before"] = read_learned(self.folder, part)
            kept = None if kept is None else self._merged(part, rows, kept, answer)
        if kept is not None:
            self.info = info_of(kept)
        writer.submit(
            partial(
                write_part,
                self.folder,
                part,
                kept,
                report,
                answer.faults,
                answer.log,
                again=again,
            ),
            partial(self._written, len(rows), wanted, 0 if kept is None else bytes_of(kept)),
        )

    def _ask(self, truth: Rollouts, rows: Sequence[Row]) -> Rollouts:
        """An answer that goes with what is recorded already."""
        found = self.answer(self.panel, self.model, truth, rows)
        if found.model != self.name:
            raise WrongAnswerError(
                f"model {found.model!r}: expected {self.name!r}, the name under which it is "
                "recorded (model.name)"
            )
        info = info_of(found)
        if self.info is not None and info != self.info:
            raise WrongAnswerError(
                f"model {self.name!r}: info: expected {dict(self.info)} as in other rows, got "
                f"{dict(info)}"
            )
        return found

    def _merged(
        self, part: int, rows: list[Row], fresh: Rollouts, answer: Answer
    ) -> Rollouts | None:
        """Rollouts of a finished part with those of rows that failed before, in its order.

        None where the fresh ones do not go with the others, which makes them faults.
        """
        path = Layout.rollouts(self.folder, part)
        if path.exists():
            known = Rollouts.load(path, self.fingerprint)
            if other := unlike(fresh, known):
                failed = dict.fromkeys(
                    zip(fresh.scenario.tolist(), fresh.seed.tolist(), strict=True)
                )
                answer.faults += [wrong_answer(row, other) for row in failed]
                return None
            fresh = Rollouts.concat([known, fresh])
        place = {row: i for i, row in enumerate(rows)}
        scripts = (fresh.scenario.tolist(), fresh.seed.tolist(), fresh.branch.tolist())
        order = [(place[s, seed], branch) for s, seed, branch in zip(*scripts, strict=True)]
        return fresh[sorted(range(len(order)), key=order.__getitem__)]

    def _written(self, rows: int, asked: list[Row], size: int, error: BaseException | None) -> None:
        """What to do once a part of some rows is written, or is not."""
        if error is None:
            self.size = 0
            self.done += rows
            self._tell()
        elif is_disk_full(error):
            self.size = max(size, 1)
            self.recorded.disk = str(error)
            self._lost(asked)
        else:
            raise error

    def _lost(self, rows: Sequence[Row]) -> None:
        self.recorded.unwritten += rows

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.done, self.recorded.rows)


def _where(answer: Answer) -> dict[str, Any]:
    """On which device, by which torch: shards may have others."""
    device = answer.device
    name = torch.cuda.get_device_name(device) if device and device.type == "cuda" else str(device)
    return {"device": name, "torch": torch.__version__}
