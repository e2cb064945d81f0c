"""Oasis 3 Preview, a driving model behind gRPC, through the `decart-oasis` client."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from wmscore.extras import require
from wmscore.timeline import ByTable, Converter, SameVector
from wmscore.video import CodecFacts
from wmscore.worlds.given import check_rate, item_timeline, naming_item
from wmscore.worlds.oasis.channel import counting_channel
from wmscore.worlds.protocol import Capabilities, Item
from wmscore.worlds.row_losses import RowLosses
from wmscore.worlds.servers.errors import ServiceError, UnavailableError, without_secrets
from wmscore.worlds.servers.model import ServerModel
from wmscore.worlds.servers.patience import Patience

__all__ = ["OASIS3_ACTIONS", "Oasis3Service", "oasis3_model"]

OASIS3_ACTIONS = ("throttle", "steering")
_CHUNK = 4
_AGAIN = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")
Camera = Literal["front", "left_forward", "right_forward"]


class Oasis3Service:
    """A `Service` of one session per row: a prompt, then four actions for four frames, and so on.

    The service takes no picture: what it shows begins as the prompt says, and does not continue
    the given frame, so that `capabilities.starts_from_frame` is False and distances to a truth mean
    nothing; response to actions, drift and identity within its own frames do. It takes no seed.
    Frames come as lossy VP9, decoded by the client. A horizon that is no multiple of four is filled
    with the last action, and the frames beyond it are dropped.

    The key is read from the environment, and cut out of error messages.
    """

    def __init__(
        self,
        *,
        converter: Converter[Tensor],
        fps: float,
        endpoint: str | None = None,
        tls: bool | None = None,
        api_key_env: str = "DECART_API_KEY",
        camera: Camera = "front",
        prompt: str | None = None,
        frame_size: tuple[int, int] = (512, 768),
        request_timeout: float = 120.0,
        name: str = "oasis-3",
    ) -> None:
        """Describe the service.

        Args:
            converter: the panel's actions to `[T, 2]`: throttle and steering, each -1..1, steering
                positive to the right.
            fps: frames per second of the panel; the service does not say how fast its time goes.
            endpoint: of the service, `host:port` or a URL; by default that of the package.
            tls: encrypt; by default unless the URL begins with `http:`.
            api_key_env: environment variable that holds the key.
            camera: which of the three streams to take.
            prompt: for scenarios without one.
            frame_size: (height, width) of the stream.
            request_timeout: seconds of one request.
            name: of the rollouts.

        Raises:
            ImportError: decart-oasis is not installed.
        """
        require("decart_oasis", "oasis")  # told at once, and not by every row
        if camera not in get_args(Camera):
            raise ValueError(f"camera: expected one of {get_args(Camera)}, got {camera!r}")
        self.converter, self.name = converter, name
        self.endpoint, self.tls, self.api_key_env = endpoint, tls, api_key_env
        self.camera, self.prompt = camera, prompt
        self.request_timeout = request_timeout
        self._losses = RowLosses()
        self._bytes = self._frames = 0
        self._lock = threading.Lock()
        table = getattr(converter, "table", None)
        self._capabilities = Capabilities(
            actions="continuous" if table is None else "discrete",
            action_names=OASIS3_ACTIONS if table is None else tuple(table),
            deterministic=False,
            seedable=False,
            prefix_causal=False,
            batch_invariant=False,
            frames_per_call=_CHUNK,
            starts_from_frame=False,
            reads_prompt=True,
            fps=fps,
            frame_size=frame_size,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Actions, and nothing that a service without seeds could promise."""
        return self._capabilities

    @property
    def codec(self) -> dict[str, Any] | None:
        """How frames came (`wmscore.video.CodecFacts.as_dict`); None before the first."""
        height, width = self._capabilities.frame_size
        with self._lock:
            if not self._frames:
                return None
            bits = 8 * self._bytes / (self._frames * height * width)
        return CodecFacts(
            container="grpc",
            codec="vp9",
            pixel_format="yuv420p",
            width=width,
            height=height,
            fps=self._capabilities.fps,
            bits_per_pixel=bits,
            lossy=True,
        ).as_dict()

    @property
    def conversion_losses(self) -> tuple[str, ...]:
        """What the requests so far could not carry."""
        return (
            *self._losses.sentences(),
            "initial frame: not sent, the service begins as the prompt says",
        )

    def frames(self, item: Item, horizon: int, patience: Patience) -> Tensor:
        """One session; see `Service`.

        Raises:
            UnavailableError: the service was not reached, or has no place.
            ServiceError: it answered with an error, or with other frames than asked for.
            ValueError: no prompt, another frame rate, or actions beyond -1..1.
        """
        prompt = item.prompt if item.prompt is not None else self.prompt
        if prompt is None:
            raise ValueError(
                f"prompt: scenario {item.scenario_id!r} has none; expected one there or prompt="
            )
        actions = self._actions(item, horizon)
        decart = require("decart_oasis", "oasis")
        grpc = require("grpc", "oasis")
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ServiceError(
                f"environment variable {self.api_key_env}: expected the key of the service, got "
                "none"
            )
        failed: ServiceError
        try:
            return self._session(decart, key, prompt, actions, patience)[:horizon]
        except grpc.RpcError as error:
            code = error.code().name
            told = without_secrets(f"gRPC {code}: {error.details()}", [key])
            failed = UnavailableError(told) if code in _AGAIN else ServiceError(told)
        except decart.DecartRoboticsError as error:
            failed = ServiceError(without_secrets(str(error), [key]))
        raise failed

    def _session(
        self, decart: Any, key: str, prompt: str, actions: Tensor, patience: Patience
    ) -> Tensor:
        timeout = min(self.request_timeout, max(patience.left, 0.001))
        endpoint = self.endpoint or decart.DEFAULT_ENDPOINT
        shown = []
        with counting_channel(endpoint, self.camera, self._count, tls=self.tls) as channel:
            client = decart.A2VClient(
                endpoint,
                api_key=key,
                channel=channel,
                timeout=timeout,
                required_streams=(self.camera,),
            )
            try:
                client.initialize()
                client.prompt(prompt)
                for chunk in torch.split(actions, _CHUNK):
                    patience.wait(0.0, "session of Oasis 3")
                    pictures = client.infer(chunk.tolist()).frames[self.camera]
                    if len(pictures) != _CHUNK:
                        raise ServiceError(
                            f"expected {_CHUNK} frames for {_CHUNK} actions, got {len(pictures)}"
                        )
                    shown += [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures]
            finally:
                # A session that does not end well must not hide what it has shown, or its error.
                with contextlib.suppress(require("grpc", "oasis").RpcError):
                    with contextlib.suppress(decart.DecartRoboticsError):
                        client.close()
        return torch.stack(shown).contiguous()

    def _count(self, frames: int, size: int) -> None:
        with self._lock:
            self._frames += frames
            self._bytes += size

    def _actions(self, item: Item, horizon: int) -> Tensor:
        """`[n, 2]`, n a multiple of four."""
        fps = self._capabilities.fps
        check_rate(item, fps, f"model {self.name!r}")
        with naming_item(item):
            found = self.converter(item_timeline(item, fps, horizon))
        if tuple(found.value.shape) != (horizon, 2):
            raise ValueError(
                f"converter: expected [{horizon}, 2] for throttle and steering, "
                f"got {list(found.value.shape)}"
            )
        if not bool((found.value.abs() <= 1).all()):
            low, high = (float(value) for value in found.value.aminmax())
            raise ValueError(f"actions: expected -1..1, got {low:g}..{high:g}")
        self._losses.note(item, found.losses)
        rest = -horizon % _CHUNK
        return torch.cat([found.value, found.value[-1:].expand(rest, 2)]).float()


def oasis3_model(
    *,
    table: Mapping[str, Mapping[str, float] | None] | None = None,
    limits: bool = False,
    frame_size: Sequence[int] = (512, 768),
    workers: int = 1,
    attempts: int = 4,
    timeout: float = 1800.0,
    **options: Any,
) -> ServerModel:
    """Oasis 3 as a world model, from plain values.

    Args:
        table: what each discrete action of the panel is, such as `{"forward": {"throttle": 0.3},
            "left": {"throttle": 0.2, "steering": -0.5}}`. Without it, panels must have the
            components throttle and steering.
        limits: clip components to -1..1, as a stated loss; otherwise more is an error.
        frame_size: see `Oasis3Service`, as the other `options`.
        workers: sessions at once, see `ServerModel`.
        attempts: likewise.
        timeout: seconds of one row.
        options: further options of `Oasis3Service`.

    Example:
        wmscore replay panel.json --model wmscore.worlds.oasis:oasis3_model --out rollouts \
            --set 'prompt="driving in a city"' --set fps=30 \
            --set 'table={"forward": {"throttle": 0.3}, "noop": {}}'
    """
    if table is not None:
        converter: Converter[Tensor] = ByTable(table, components=OASIS3_ACTIONS)
    else:
        bounds = dict.fromkeys(OASIS3_ACTIONS, (-1.0, 1.0)) if limits else {}
        converter = SameVector(OASIS3_ACTIONS, limits=bounds)
    height, width = frame_size
    service = Oasis3Service(converter=converter, frame_size=(height, width), **options)
    return ServerModel(service, workers=workers, attempts=attempts, timeout=timeout)
