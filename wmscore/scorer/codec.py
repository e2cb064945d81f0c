"""What the codec of lossy clips costs by itself, in every axis of a panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch

from wmscore.manifest import Panel
from wmscore.rollouts import Rollouts
from wmscore.scorer.engine import Scorer
from wmscore.scorer.groups import of_reference
from wmscore.scores import Scores
from wmscore.video import CodecFacts, ahead, reencode

__all__ = ["RecordedClips", "behind_codec", "codec_floor", "codec_sentences"]


class About(Protocol):
    """What a recording says of itself."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """With the codec where it is lossy."""
        ...


class RecordedClips(Protocol):
    """What is needed of a `wmscore.recordings.Recording`."""

    panel: Panel

    @property
    def about(self) -> About:
        """Who was recorded, and how."""
        ...

    def __iter__(self) -> Iterator[Rollouts]:
        """Batches beside the truth."""
        ...


def codec_floor(
    panel: Panel, batches: Iterable[Rollouts], codec: dict[str, Any], **scorer: Any
) -> Scores:
    """Score the truth after the compression that the clips went through.

    Args:
        panel: the contract.
        batches: recorded rollouts beside their reference. The reference of each scenario is
            taken from its first seed that comes; the rest counts as missing.
        codec: how the clips are stored (`wmscore.video.CodecFacts.as_dict`).
        scorer: arguments of `Scorer`.

    Returns:
        Scores of a model "codec-floor".
    """
    facts = CodecFacts.from_dict(codec)
    size = panel.contract.observation
    fps = size.fps if size is not None else facts.fps
    floor = Scorer(panel, **scorer)
    taken: dict[int, int] = {}
    for batch in batches:
        rows = [
            row
            for row, (s, seed) in enumerate(
                zip(batch.scenario.tolist(), batch.seed.tolist(), strict=True)
            )
            if taken.setdefault(s, seed) == seed
        ]
        if rows:
            floor.update(_coded(batch[rows], facts, fps))
    return floor.compute()


def _coded(batch: Rollouts, facts: CodecFacts, fps: float) -> Rollouts:
    reference = of_reference(batch, batch.reference)
    if reference.dtype != torch.uint8:
        reference = (reference * 255).round().to(torch.uint8)

    def coded(frames: torch.Tensor) -> torch.Tensor:
        found = reencode(frames.cpu(), facts, fps=fps).frames.to(frames.device)
        return torch.cat([frames[:1], found[1:]])

    frames = torch.stack(list(ahead(coded, reference)))
    if batch.frames.dtype != torch.uint8:
        frames = frames.to(batch.frames.dtype) / 255
    labels = batch.reference_labels
    return replace(
        batch,
        frames=frames,
        valid=of_reference(batch, batch.reference_valid),
        labels=None if labels is None else of_reference(batch, labels),
        latents=None,
        info={},
        model="codec-floor",
    )


def codec_sentences(floor: Scores, codec: dict[str, Any]) -> dict[str, str]:
    """What to say beside the scores of lossy clips, by a name each."""
    facts = CodecFacts.from_dict(codec)
    said = {
        "codec": f"{facts.codec} {facts.pixel_format} {facts.height}x{facts.width}, "
        f"{facts.bits_per_pixel:.3g} bits per pixel"
    }
    sound = floor.fault == 0
    psnr = floor.measures.get("psnr")
    if psnr is not None and bool(sound.any()):
        values = psnr.values[sound]
        values = values[values.isfinite()]
        if len(values):
            said["codec"] += f"; the truth so encoded has a PSNR of {float(values.mean()):.1f} dB"
    for spec in floor.panel.axes:
        values = floor.axes[spec.axis].values[sound]
        values = values[~values.isnan()]
        if len(values):
            said[f"codec floor {spec.axis}"] = f"{float(values.mean()):.3f}"
        else:
            said[f"codec floor {spec.axis}"] = "n/a"
    return said


def behind_codec(scores: Scores, recording: RecordedClips, **scorer: Any) -> Scores:
    """Scores of recorded clips, with what their codec costs in the provenance; else as they are.

    Args:
        scores: of `recording`.
        recording: a `wmscore.recordings.Recording`.
        scorer: arguments of `Scorer`.
    """
    codec = recording.about.facts.get("codec")
    if not codec:
        return scores
    floor = codec_floor(recording.panel, recording, codec, **scorer)
    return replace(scores, provenance=scores.provenance | codec_sentences(floor, codec))
