"""A videos API on this machine, for tests: jobs that succeed, fail, stall or lie on demand."""

from __future__ import annotations

import email.parser
import email.policy
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from torch import Tensor

from wmscore.video import encode_video

FPS = 8


@dataclass
class Job:
    """One request as the server saw it."""

    id: str
    fields: dict[str, str]
    image: bytes | None
    key: str
    looks: int = 0


Answer = tuple[int, object, dict[str, str]]


@dataclass
class VideosServer:
    """What was asked, and how to answer.

    Attributes:
        clip: the file that answers a job.
        before: called with (method and path, how often it was asked for) before anything else;
            what it returns is sent instead.
        polls: looks until a job is done.
        status: final status of a job by its prompt.
    """

    clip: Callable[[Job], bytes]
    before: Callable[[str, int, dict[str, str]], Answer | None] = lambda what, count, fields: None
    polls: int = 2
    status: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    url: str = ""
    active: int = 0
    most_active: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self, job: Job) -> dict[str, Any]:
        done = job.looks >= self.polls
        status = self.status.get(job.fields["prompt"], "completed") if done else "in_progress"
        answer: dict[str, Any] = {"id": job.id, "object": "video", "status": status}
        answer |= {"progress": 50, "error": None}
        if status == "failed":
            answer["error"] = {"code": "moderation_blocked", "message": "not this one"}
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields, image = {}, None
        for part in parts.iter_parts():
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            if part.get_filename():
                image = data
            else:
                fields[name] = data.decode()
        state: VideosServer = self.server.state
        if self._instead("POST /v1/videos", fields):
            return
        with state.lock:
            job = Job(f"video_{len(state.jobs)}", fields, image, self.headers["Authorization"])
            state.jobs[job.id] = job
            state.active += 1
            state.most_active = max(state.most_active, state.active)
        self._json({**state.describe(job), "status": "queued"})

    def do_GET(self) -> None:
        state: VideosServer = self.server.state
        _, job_id, *rest = self.path.removeprefix("/v1/").split("/")
        job = state.jobs[job_id]
        kind = "GET content" if rest else "GET job"
        if self._instead(kind, job.fields):
            return
        if rest:
            with state.lock:
                state.active -= 1
            self._send(200, state.clip(job), {"Content-Type": "video/mp4"})
        else:
            job.looks += 1
            self._json(state.describe(job))

    def _instead(self, what: str, fields: dict[str, str]) -> bool:
        state: VideosServer = self.server.state
        with state.lock:
            key = f"{what} {fields['prompt']}"
            state.asked[key] += 1
            count = state.asked[key]
        answer = state.before(what, count, fields)
        if answer is None:
            return False
        code, body, headers = answer
        if code == 0:  # hang up without a word
            self.close_connection = True
            self.connection.close()
        elif isinstance(body, bytes):
            self._send(code, body, headers)
        else:
            self._send(
                code, json.dumps(body).encode(), {"Content-Type": "application/json"} | headers
            )
        return True

    def _json(self, answer: object) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away are meant


@contextmanager
def serving(state: VideosServer) -> Iterator[VideosServer]:
    """Serve on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.state = state  # type: ignore[attr-defined]
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def mp4(frames: Tensor, fps: float = FPS) -> bytes:
    """Frames as H.264 in memory."""
    file = io.BytesIO()
    encode_video(file, frames, fps=fps, options={"crf": "8"}, container="mp4")
    return file.getvalue()


def moving(image: bytes | None, count: int, size: tuple[int, int], shift: int = 1) -> Tensor:
    """A clip that begins with the picture sent (grey without one) and slides it to the right."""
    if image is None:
        first = torch.full((3, *size), 90, dtype=torch.uint8)
        first[:, : size[0] // 2] = 200
    else:
        import numpy as np
        from PIL import Image

        with Image.open(io.BytesIO(image)) as picture:
            first = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)
    return torch.stack([first.roll(shift * i, 2) for i in range(count)])
