"""Folders of generated or recorded clips as episodes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wmscore.episodes.cut import Box, ClipCut, cut_clip
from wmscore.episodes.episode import (
    Episode,
    EpisodeError,
    EpisodeKey,
    SourceFacts,
)
from wmscore.episodes.naming import ROW_PATTERN, ClipEntry, entries_by_name, read_index
from wmscore.episodes.timed import read_timed_script, timed_actions
from wmscore.manifest import ActionSpace
from wmscore.video import CodecFacts, VideoError, stored_facts

__all__ = ["ClipFolder"]

_PROBED = 8  # clips that say how large all are, and how strongly compressed


class ClipFolder:
    """A folder of clips: what a video model gave, a screen recording, films of a real world.

    Which row of a panel a clip answers is told by an index, `clips.csv` or `clips.jsonl` in the
    folder (columns: the fields of `wmscore.episodes.ClipEntry`), or else by its file name. Sound is
    ignored. A clip that cannot be read, is of another rate or size, or lacks its script is an error
    of that clip alone.

    Args:
        folder: where the clips are.
        name: what they are called in tables; the folder's name by default.
        pattern: form of the file names without the suffix, where there is no index.
        fps: frames per second of the episodes; the first readable clip's by default.
        offset: seconds at which frame 0 is shown; an index may say another for a clip.
        start_frame: the same as a number of frames.
        resample: bring clips of another or a variable rate to `fps` by time.
        drop_repeats: see `wmscore.episodes.ClipCut`.
        seam_chunk: likewise.
        crop: (top, left, bottom, right) of the picture in each clip.
        size: (height, width) to which it is resized.
        threads: of each decoder; recorded worlds read several clips at once, so that one is enough
            where batches are larger than one.
        space: the panel's action space, for clips with hand-timed scripts (`x.actions.json` beside
            `x.mp4`, or the index' column `script`). Actions from there count as approximate.

    Raises:
        EpisodeError: no clip can be found or read, or two clips answer the same row.
        ValueError: arguments that make no cut.

    Example:
        >>> clips = ClipFolder(                                           # doctest: +SKIP
        ...     "genie3", fps=24.0, offset=1.5, resample=True, space=panel.contract.actions
        ... )
        >>> clips.read(clips.keys()[0], frames=61).actions.shape          # doctest: +SKIP
        torch.Size([60])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str | None = None,
        pattern: str = ROW_PATTERN,
        fps: float | None = None,
        offset: float = 0.0,
        start_frame: int | None = None,
        resample: bool = False,
        drop_repeats: int = 0,
        seam_chunk: int | None = None,
        crop: Box | None = None,
        size: tuple[int, int] | None = None,
        threads: int = 1,
        space: ActionSpace | None = None,
    ) -> None:
        """Find the clips, and read the headers of the first few."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise EpisodeError(f"folder: expected a folder of clips, got {folder}")
        self.name = name or self.folder.resolve().name
        if fps is None and (drop_repeats or resample):
            raise ValueError("fps: expected the rate to come out of drop_repeats or resample")
        self.unused: tuple[str, ...] = ()
        self._entries = self._find(pattern)
        self._space, self._threads = space, threads
        stored = self._probe()
        self._cut = ClipCut(
            fps=stored.fps if fps is None else fps,
            offset=offset,
            start_frame=start_frame,
            drop_repeats=drop_repeats,
            seam_chunk=seam_chunk,
            resample=resample,
            crop=None if crop is None else _box(crop),
            size=None if size is None else (size[0], size[1]),
        )
        self._facts = self._describe(stored)

    @property
    def facts(self) -> SourceFacts:
        """What all clips have in common."""
        return self._facts

    def keys(self) -> Sequence[EpisodeKey]:
        """The clips, in the order of the index or of their names."""
        return list(self._entries)

    def path(self, key: EpisodeKey) -> Path:
        """The file of a clip."""
        if key not in self._entries:
            raise EpisodeError(f"{self.name}: has no clip {key.id!r}")
        return self.folder / self._entries[key].file

    def read(self, key: EpisodeKey, *, start: int = 0, frames: int | None = None) -> Episode:
        """Decode a clip, or frames `start .. start + frames - 1` of what is cut from it."""
        if key not in self._entries:
            raise EpisodeError(f"{self.name}: has no clip {key.id!r}")
        entry = self._entries[key]
        cut = self._cut
        if entry.start_frame is not None:
            cut = replace(cut, start_frame=entry.start_frame, offset=0.0)
        elif entry.offset is not None:
            cut = replace(cut, start_frame=None, offset=entry.offset)
        try:
            video = cut_clip(
                self.folder / entry.file, cut, start=start, frames=frames, threads=self._threads
            )
        except VideoError as error:
            raise EpisodeError(str(error)) from None
        size = tuple(video.frames.shape[-2:])
        if size != self.facts.frame_size:
            expected = self.facts.frame_size
            raise EpisodeError(
                f"{self.folder / entry.file}: expected frames of {expected[0]}x{expected[1]} as "
                f"most clips have, got {size[0]}x{size[1]}"
            )
        actions, notes = None, video.notes
        if self.facts.actions != "none":
            assert self._space is not None
            if entry.script is None:
                raise EpisodeError(
                    f"{self.folder / entry.file}: expected an action script "
                    f"{Path(entry.file).stem}.actions.json beside it, there is none"
                )
            script = read_timed_script(self.folder / entry.script)
            begin = cut.offset
            if cut.start_frame is not None:
                begin = cut.start_frame / video.codec.fps
            actions, said = timed_actions(
                script,
                self._space,
                fps=cut.fps,
                steps=len(video.frames) - 1,
                offset=begin + start / cut.fps,
            )
            notes = notes + said
        return Episode(
            key=key,
            frames=video.frames,
            fps=cut.fps,
            actions=actions,
            prompt=entry.prompt,
            notes=notes,
        )

    # ---- finding -------------------------------------------------------------------------

    def _find(self, pattern: str) -> dict[EpisodeKey, ClipEntry]:
        indexes = [p for n in ("clips.csv", "clips.jsonl") if (p := self.folder / n).exists()]
        if len(indexes) > 1:
            raise EpisodeError(f"{self.folder}: expected one index, got clips.csv and clips.jsonl")
        if indexes:
            entries = read_index(indexes[0])
        else:
            entries, strays = entries_by_name(self.folder, pattern)
            self.unused = tuple(strays)
            if not entries:
                seen = f"; found {', '.join(strays[:3])}" if strays else ""
                raise EpisodeError(
                    f"{self.folder}: expected clips named {pattern}.mp4, or an index clips.csv or "
                    f"clips.jsonl{seen}"
                )
        for what in ("id", "row"):
            seen_keys = Counter(
                e.key.id if what == "id" else (e.scenario or e.key.id, e.seed, e.branch)
                for e in entries
            )
            if twice := [key for key, count in seen_keys.items() if count > 1]:
                raise EpisodeError(
                    f"{self.folder}: expected one clip for each {what}, got two for {twice[0]}"
                )
        return {entry.key: entry for entry in entries}

    def _probe(self) -> CodecFacts:
        """How clips are stored: the first lossy one, with the usual compression of a few."""
        found: list[CodecFacts] = []
        first_error = ""
        for entry in self._entries.values():
            try:
                found.append(stored_facts(self.folder / entry.file))
            except VideoError as error:
                first_error = first_error or str(error)
            if len(found) == _PROBED:
                break
        if not found:
            raise EpisodeError(f"{self.folder}: none of the clips can be read: {first_error}")
        self._codecs = tuple(dict.fromkeys(facts.codec for facts in found))
        lossy = [facts for facts in found if facts.lossy] or found
        usual = statistics.median(facts.bits_per_pixel for facts in lossy)
        return replace(lossy[0], bits_per_pixel=usual, fps=found[0].fps)

    def _describe(self, stored: CodecFacts) -> SourceFacts:
        size = self._cut.size
        sizes: Counter[tuple[int, int]] = Counter()
        notes = []
        for entry in self._entries.values() if size is None else ():
            try:
                frames = cut_clip(self.folder / entry.file, self._cut, frames=1, threads=1).frames
            except (VideoError, EpisodeError) as error:
                notes.append(str(error))
                continue
            sizes[frames.shape[-2], frames.shape[-1]] += 1
            if sizes.total() == _PROBED:
                break
        if size is None:
            if not sizes:
                raise EpisodeError(f"{self.folder}: no clip can be cut: {notes[0]}")
            size = sizes.most_common(1)[0][0]
        space = self._space
        return SourceFacts(
            fps=self._cut.fps,
            frame_size=size,
            actions="none" if space is None else space.kind,
            action_names=() if space is None else space.names,
            action_units=() if space is None else space.units or (),
            actions_exact=space is None,
            codec=self._of_crop(stored).as_dict() if stored.lossy else None,
            notes=self._notes(stored, space),
        )

    def _of_crop(self, stored: CodecFacts) -> CodecFacts:
        """How the part is stored that is taken of each picture."""
        if self._cut.crop is None:
            return stored
        top, left, bottom, right = self._cut.crop
        sides = (bottom - top, right - left)
        high, wide = sides[::-1] if stored.rotation % 180 else sides
        return replace(stored, height=high, width=wide)

    def _notes(self, stored: CodecFacts, space: ActionSpace | None) -> tuple[str, ...]:
        cut, notes = self._cut, []
        if stored.lossy:
            notes.append(
                f"clips are {stored.codec} at {stored.bits_per_pixel:.3g} bits per pixel, which "
                "changes pixels"
            )
        if len(self._codecs) > 1:
            notes.append(f"clips are of several codecs: {', '.join(self._codecs)}")
        if stored.audio:
            notes.append("sound is ignored")
        if cut.resample:
            notes.append(f"clips of another rate are brought to {cut.fps:g} fps by time")
        if cut.drop_repeats:
            notes.append(f"up to {cut.drop_repeats} repeats of a frame in a row are dropped")
        if cut.seam_chunk:
            notes.append(
                f"frames there twice at the seams of chunks of {cut.seam_chunk} are dropped"
            )
        if cut.crop is not None:
            notes.append(f"cropped to {list(cut.crop)}")
        if cut.size is not None:
            notes.append(f"resized to {cut.size[0]}x{cut.size[1]}")
        if space is not None:
            notes.append("actions are timed by hand and approximate")
        if self.unused:
            notes.append(
                f"{len(self.unused)} files are named otherwise and not used: "
                f"{', '.join(self.unused[:3])}"
            )
        return tuple(notes)


def _box(crop: Sequence[int]) -> Box:
    top, left, bottom, right = crop
    return int(top), int(left), int(bottom), int(right)
