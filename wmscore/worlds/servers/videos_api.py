"""Services with a `/v1/videos` route: a prompt, and an image where they take one, become a clip."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from wmscore.functional import psnr
from wmscore.timeline import Converter
from wmscore.video import Video, VideoError, png_bytes, read_video, to_constant_rate
from wmscore.worlds.chunk_rule import ChunkRule
from wmscore.worlds.given import check_rate, item_timeline, naming_item
from wmscore.worlds.protocol import Capabilities, Item
from wmscore.worlds.row_losses import RowLosses
from wmscore.worlds.servers.errors import ServiceError
from wmscore.worlds.servers.jobs import VideoJobs
from wmscore.worlds.servers.model import ServerModel
from wmscore.worlds.servers.patience import Patience

__all__ = ["VideosService", "videos_model"]


class VideosService:
    """A `Service` of clips: vLLM-Omni (Cosmos 3, Wan), gateways; Sora until 2026-09-24.

    Clips come as lossy video, which `codec` says. Where the image is sent, a clip must begin with
    it (as image-to-video models do); that frame is dropped for the given one. Where it is not sent,
    the clip follows the prompt alone: its first frame comes after the given one, which it does not
    continue, and `capabilities.starts_from_frame` is False.
    """

    def __init__(
        self,
        jobs: VideoJobs,
        *,
        model: str,
        fps: float,
        frame_size: tuple[int, int],
        seconds: Sequence[int] | None = (4, 8, 12),
        frames_field: str | None = None,
        multiple: tuple[int, int] = (1, 0),
        seed_field: str | None = None,
        fields: Mapping[str, object] | None = None,
        image: bool = True,
        prompt: str | None = None,
        converter: Converter[str] | None = None,
        resample: bool = False,
        first_frame_psnr: float = 24.0,
        poll_seconds: float = 5.0,
    ) -> None:
        """Describe the service.

        Args:
            jobs: the server.
            model: name of the model there, and of the rollouts.
            fps: frames per second of the answers; panels must have the same.
            frame_size: (height, width), asked for as `size`; clips of another size are errors.
            seconds: the lengths that the service offers, of which the shortest that reaches the
                horizon is asked for; None sends no `seconds`.
            frames_field: form field for the number of frames (`num_frames` of vLLM-Omni); `fps` is
                sent beside it.
            multiple: (k, b): the service gives k * a + b frames, see `ChunkRule`; more are asked
                for, and the rest is dropped.
            seed_field: form field for the row's seed (`seed` of vLLM-Omni); None where seeds are
                not offered.
            fields: further form fields, such as `{"guidance_scale": 6}`.
            image: send the item's frame as `input_reference`.
            prompt: for scenarios without one.
            converter: turns the actions into words, which follow the prompt; without one actions
                are ignored.
            resample: bring clips of another frame rate to `fps` by their timestamps; otherwise
                they are errors.
            first_frame_psnr: dB that the clip's first frame must reach against the image.
            poll_seconds: between two looks at a job.
        """
        if seconds is not None and (not seconds or frames_field is not None):
            raise ValueError(
                f"seconds: expected some lengths, or None beside frames_field, got {list(seconds)} "
                f"and {frames_field!r}"
            )
        if not poll_seconds > 0:
            raise ValueError(f"poll_seconds: expected above 0, got {poll_seconds}")
        self.jobs = jobs
        self.model = model
        self.seconds = None if seconds is None else tuple(sorted(seconds))
        self.frames_field, self.rule = frames_field, ChunkRule(frames=None, multiple=multiple)
        self.seed_field = seed_field
        self.fields = dict(fields or {})
        self.image, self.prompt, self.converter = image, prompt, converter
        self.resample, self.first_frame_psnr = resample, first_frame_psnr
        self.poll_seconds = poll_seconds
        self.codec: dict[str, Any] | None = None
        self._losses = RowLosses()
        self._lock = threading.Lock()
        self._capabilities = Capabilities(
            actions="none" if converter is None else "text",
            actions_exact=False,
            deterministic=False,
            seedable=seed_field is not None,
            prefix_causal=False,
            batch_invariant=False,
            starts_from_frame=image,
            reads_prompt="prompt" not in self.fields,
            fps=fps,
            frame_size=frame_size,
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model

    @property
    def capabilities(self) -> Capabilities:
        """Words at most; nothing about a server far away is promised to repeat."""
        return self._capabilities

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What requests and answers could not carry, so far."""
        told = self._losses.sentences()
        if self.converter is None:
            told += ("actions: none is sent, the service takes a prompt only",)
        if not self.image:
            told += ("initial frame: not sent, clips begin as the prompt says",)
        return told

    def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
        """One job; see `Service`.

        Raises:
            UnavailableError: no job could be made yet.
            ServiceError: the job failed, or its clip is damaged, of another size or frame rate, or
                begins with another frame than the one that was sent.
            ValueError: the row asks for what the service cannot be asked for.
        """
        fields = self.form(item, horizon)
        image = None
        if self.image:
            if item.frame is None:
                raise ValueError("frame: expected the item's frame, got None")
            image = png_bytes(item.frame)
        data = self.jobs.run(fields, image, patience, self.poll_seconds)
        video = self._read(data, horizon + int(self.image))
        return video.frames[self._first(video.frames[0], item) :][:horizon]

    def form(self, item: Item, horizon: int) -> dict[str, object]:
        """The form fields of one row's request, without the image."""
        size, fps = self._capabilities.frame_size, self._capabilities.fps
        hint = "with resample=True fps may be the panel's"
        check_rate(item, fps, f"model {self.model!r}", hint)
        fields: dict[str, object] = {
            "model": self.model,
            "prompt": self._prompt(item, horizon, fps),
            "size": f"{size[1]}x{size[0]}",
            **self.fields,
        }
        count = horizon + int(self.image)
        if self.frames_field is not None:
            fields[self.frames_field] = self.rule.fitting(count)
            fields["fps"] = f"{fps:g}"
        elif self.seconds is not None:
            enough = [s for s in self.seconds if s * fps >= count - 1e-6]
            if not enough:
                raise ValueError(
                    f"horizon: {horizon} steps at {fps:g} fps are {count / fps:.3g} s, model "
                    f"{self.model!r} offers at most {self.seconds[-1]} s"
                )
            fields["seconds"] = enough[0]
        if self.seed_field is not None:
            if not 0 <= item.seed < 2**31:
                raise ValueError(f"seed: the service takes 0..2^31-1, got {item.seed}")
            fields[self.seed_field] = item.seed
        return fields

    def _prompt(self, item: Item, horizon: int, fps: float) -> str:
        prompt = item.prompt if item.prompt is not None else self.prompt
        if prompt is None:
            raise ValueError(
                f"prompt: scenario {item.scenario_id!r} has none; expected one there or prompt="
            )
        if self.converter is None:
            return prompt
        with naming_item(item):
            words = self.converter(item_timeline(item, fps, horizon))
        self._losses.note(item, words.losses)
        return f"{prompt} {words.value}".strip()

    def _read(self, data: bytes, count: int) -> Video:
        """Decode `count` frames, or as many as there are; check them, remember how they came."""
        size, fps = self._capabilities.frame_size, self._capabilities.fps
        with tempfile.TemporaryDirectory(prefix="wmscore-clip-") as folder:
            path = Path(folder) / "clip.mp4"
            path.write_bytes(data)
            try:
                video = read_video(path, until=(count - 0.5) / fps, threads=1)
            except VideoError as error:
                told = str(error).replace(str(path), f"clip of {len(data)} bytes")
                raise ServiceError(f"{told} ({error.readable} frames are readable)") from None
        if tuple(video.frames.shape[2:]) != size:
            raise ServiceError(
                f"expected a clip of {size[0]}x{size[1]} (height x width), got "
                f"{video.frames.shape[2]}x{video.frames.shape[3]}"
            )
        if self.resample:
            stay = video.measured_fps or fps
            reach = math.ceil((float(video.times[-1]) + 1 / stay) * fps - 1e-6)
            video = to_constant_rate(video, fps, frames=min(count, max(reach, 1)))
        elif not video.constant_rate or abs(video.measured_fps - fps) > 0.01 * fps:
            kind = "" if video.constant_rate else " on average, at no constant rate"
            raise ServiceError(
                f"expected a clip of {fps:g} fps, got {video.measured_fps:.4g} fps{kind}; "
                "resample=True brings it to the panel's by its timestamps"
            )
        with self._lock:
            if self.codec is None:
                self.codec = video.codec.as_dict()
        return video

    def _first(self, frame: Tensor, item: Item) -> int:
        """Number of the clip's first frame after the given one."""
        if not self.image:
            return 0
        assert item.frame is not None
        found = float(psnr(frame, item.frame.to(frame.device)))
        if found < self.first_frame_psnr:
            raise ServiceError(
                f"the clip begins with another frame than the one sent: {found:.3g} dB, expected "
                f"at least {self.first_frame_psnr:g} (first_frame_psnr)"
            )
        return 1


def videos_model(
    *,
    model: str,
    fps: float,
    frame_size: Sequence[int],
    base_url: str | None = None,
    api_key_env: str | None = "OPENAI_API_KEY",
    request_timeout: float = 120.0,
    workers: int = 4,
    attempts: int = 4,
    timeout: float = 1800.0,
    multiple: Sequence[int] = (1, 0),
    **options: Any,
) -> ServerModel:
    """A videos API as a world model, from plain values.

    Args:
        model: see `VideosService`, as the other `options`.
        fps: likewise.
        frame_size: (height, width).
        base_url: see `VideoJobs`.
        api_key_env: name of the environment variable that holds the key, never the key.
        request_timeout: seconds of one request.
        workers: rows under way at once, see `ServerModel`.
        attempts: likewise.
        timeout: seconds of one row.
        multiple: (k, b), see `VideosService`.
        options: further options of `VideosService`.

    Example:
        >>> videos_model(base_url="http://localhost:8091/v1", api_key_env=None,  # doctest: +SKIP
        ...     model="nvidia/Cosmos3-Nano", fps=16, frame_size=(480, 832),
        ...     seconds=None, frames_field="num_frames", multiple=(4, 1), seed_field="seed")

        wmscore replay panel.json --model wmscore.worlds.servers:videos_model \
            --set model='"sora-2"' --set fps=24 --set 'frame_size=[720, 1280]' --out rollouts
    """
    jobs = VideoJobs(base_url=base_url, api_key_env=api_key_env, request_timeout=request_timeout)
    (height, width), (k, b) = frame_size, multiple
    service = VideosService(
        jobs, model=model, fps=fps, frame_size=(height, width), multiple=(k, b), **options
    )
    return ServerModel(service, workers=workers, attempts=attempts, timeout=timeout)
