"""Redraw the randomness inside a Doom savegame, and nothing else.

A ZDoom savegame is a PNG file. Its chunk `raNd` holds the state of every named random generator
of the engine: 4 bytes of seed, then per generator the CRC of its name, its position and the 20
words of an SFMT-607 (Saito and Matsumoto, 2008).
"""

from __future__ import annotations

import hashlib
import struct
import zlib

__all__ = ["redraw_randomness"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = 8  # CRC of the generator's name, position
_STATE = 80  # 20 words


def redraw_randomness(savegame: bytes, noise_seed: int) -> bytes:
    """The same savegame with every generator's state drawn anew from `noise_seed`.

    Args:
        savegame: the file's bytes.
        noise_seed: any integer; equal seeds give equal bytes on every machine.

    Raises:
        ValueError: this is no savegame, or its generators are stored in another way.
    """
    if not savegame.startswith(_SIGNATURE):
        raise ValueError("savegame: expected a PNG file")
    out, place, found = [_SIGNATURE], len(_SIGNATURE), False
    while place < len(savegame):
        (size,) = struct.unpack_from(">I", savegame, place)
        kind = savegame[place + 4 : place + 8]
        body = savegame[place + 8 : place + 8 + size]
        if kind == b"raNd":
            body, found = _redraw(body, noise_seed), True
        out.append(struct.pack(">I", len(body)) + kind + body)
        out.append(struct.pack(">I", zlib.crc32(kind + body)))
        place += 12 + size
    if not found:
        raise ValueError("savegame: expected a chunk 'raNd', got none")
    return b"".join(out)


def _redraw(body: bytes, noise_seed: int) -> bytes:
    count, rest = divmod(len(body) - 4, _HEAD + _STATE)
    if rest or count < 1:
        raise ValueError(
            f"savegame: expected 4 + n * {_HEAD + _STATE} bytes of random state, got {len(body)}"
        )
    fresh = hashlib.shake_256(b"wmscore.vizdoom/%d" % noise_seed).digest(count * _STATE)
    out = [body[:4]]
    for i in range(count):
        start = 4 + i * (_HEAD + _STATE)
        out += [body[start : start + _HEAD], fresh[i * _STATE : (i + 1) * _STATE]]
    return b"".join(out)
