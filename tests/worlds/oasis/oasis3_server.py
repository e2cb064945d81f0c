"""The Oasis 3 service on this machine, for tests: speaks its protocol, draws moving stripes."""

from __future__ import annotations

import fractions
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import av
import grpc
import numpy as np
from decart_oasis._proto import a2v_pb2, a2v_pb2_grpc, common_pb2

SIZE = (64, 96)
CAMERAS = ("left_forward", "front", "right_forward")


class _Encoder:
    def __init__(self, size: tuple[int, int]) -> None:
        context = av.CodecContext.create("libvpx-vp9", "w")
        context.height, context.width = size
        context.pix_fmt, context.framerate = "yuv420p", 30
        context.time_base = fractions.Fraction(1, 30)
        context.options = {
            "deadline": "realtime",
            "cpu-used": "8",
            "lag-in-frames": "0",
            "error-resilient": "1",
            "crf": "10",
            "b": "0",
        }
        self.context, self.count = context, 0

    def __call__(self, picture: np.ndarray) -> bytes:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self.count, self.context.time_base
        self.count += 1
        return b"".join(bytes(packet) for packet in self.context.encode(frame))


class OasisServer(a2v_pb2_grpc.A2VServiceServicer):
    """What was asked, and how to go wrong.

    Attributes:
        size: of the frames.
        unavailable: method -> how many of its first calls are refused as unavailable.
        errors: prompt -> message of the error that answers it.
        short: prompts whose chunks have a frame too few.
        slow: seconds that each call takes.
        cameras: the streams.
        sessions: prompt and actions of each session.
        asked: calls by method.
    """

    def __init__(self) -> None:
        self.size = SIZE
        self.unavailable: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.short: set[str] = set()
        self.slow = 0.0
        self.cameras = CAMERAS
        self.sessions: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    def _come(self, method: str, context: Any) -> None:
        with self.lock:
            self.asked[method] += 1
            refuse = self.asked[method] <= self.unavailable.get(method, 0)
        time.sleep(self.slow)
        if refuse:
            context.abort(grpc.StatusCode.UNAVAILABLE, "full house")

    def Initialize(self, request: Any, context: Any) -> Any:
        self._come("Initialize", context)
        if request.api_key == "wrong":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"bad key {request.api_key}")
        with self.lock:
            name = f"s{len(self.sessions)}"
            self.sessions[name] = {"actions": [], "offset": 0.0}
            self.sessions[name]["encoders"] = {c: _Encoder(self.size) for c in self.cameras}
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        return a2v_pb2.InitializeResponse(
            session_id=name,
            output_format=common_pb2.FRAME_FORMAT_VP9,
            streams=[
                a2v_pb2.StreamInfo(name=c, height=self.size[0], width=self.size[1])
                for c in self.cameras
            ],
        )

    def Prompt(self, request: Any, context: Any) -> Any:
        self._come("Prompt", context)
        self.sessions[request.session_id]["prompt"] = request.prompt
        if request.prompt in self.errors:
            error = common_pb2.Error(code=3, message=self.errors[request.prompt])
            return a2v_pb2.PromptResponse(error=error)
        return a2v_pb2.PromptResponse()

    def Infer(self, request: Any, context: Any) -> Any:
        self._come("Infer", context)
        session = self.sessions[request.session_id]
        shown: dict[str, list[bytes]] = {camera: [] for camera in self.cameras}
        for action in request.actions:
            session["actions"].append((action.throttle, action.steering))
            session["offset"] += 20 * action.throttle + 50 * action.steering
            for k, camera in enumerate(self.cameras):
                shown[camera].append(session["encoders"][camera](self.picture(session, k)))
        if session["prompt"] in self.short:
            shown = {camera: frames[:3] for camera, frames in shown.items()}
        return a2v_pb2.InferResponse(
            sequence_num=request.sequence_num,
            streams=[a2v_pb2.OutputStream(name=c, frames=f) for c, f in shown.items()],
        )

    def Finish(self, request: Any, context: Any) -> Any:
        self._come("Finish", context)
        with self.lock:
            self.open -= 1
        return a2v_pb2.FinishResponse()

    def picture(self, session: dict[str, Any], camera: int) -> np.ndarray:
        column = np.arange(self.size[1])
        wave = 128 + 100 * np.sin((column + session["offset"]) / 8)
        grey = np.broadcast_to(wave, self.size)
        return np.stack([grey, grey, np.full(self.size, 60 * camera)], -1).astype(np.uint8)


@contextmanager
def serving_oasis() -> Iterator[tuple[OasisServer, str]]:
    """The server and its address."""
    state = OasisServer()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    a2v_pb2_grpc.add_A2VServiceServicer_to_server(state, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield state, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
