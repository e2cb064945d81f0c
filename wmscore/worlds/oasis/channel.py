"""A gRPC channel that counts the bytes of the video that comes through it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from wmscore.extras import require

__all__ = ["counting_channel"]


@contextlib.contextmanager
def counting_channel(
    endpoint: str, stream: str, count: Callable[[int, int], None], *, tls: bool | None = None
) -> Iterator[Any]:
    """Open a channel to `endpoint`, and close it after the block.

    Args:
        endpoint: `host:port`, or a URL of `http` or `https`.
        stream: name of the stream that is counted.
        count: called with (frames, bytes) for each answer that has that stream.
        tls: encrypt; by default unless the URL begins with `http:`.
    """
    grpc = require("grpc", "oasis")

    class Counter(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc, name-defined]
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            call = continuation(details, request)
            if call.exception() is None:
                for found in getattr(call.result(), "streams", ()):
                    if found.name == stream and hasattr(found, "frames"):
                        count(len(found.frames), sum(len(data) for data in found.frames))
            return call

    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    if not parts.netloc:
        raise ValueError(f"endpoint: expected host:port or a URL, got {endpoint!r}")
    secure = parts.scheme != "http" if tls is None else tls
    if secure:
        channel = grpc.secure_channel(parts.netloc, grpc.ssl_channel_credentials())
    else:
        channel = grpc.insecure_channel(parts.netloc)
    try:
        yield grpc.intercept_channel(channel, Counter())
    finally:
        channel.close()
