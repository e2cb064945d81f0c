"""What a distance may be called: FVD and FID are names of features, not of formulas."""

from __future__ import annotations

import re
from typing import Literal

from wmscore.functional._check import check_choice

__all__ = ["distribution_name"]

_PLAIN = {"frechet": "frechet-distance", "kernel": "kernel-distance"}
_FAMOUS = {
    ("frechet", "i3d"): "fvd",
    ("kernel", "i3d"): "kvd",
    ("frechet", "inception-v3"): "fid",
    ("kernel", "inception-v3"): "kid",
}


def distribution_name(
    measure: Literal["frechet", "kernel"],
    encoder: str,
    *,
    declared: Literal["i3d", "inception-v3"] | None = None,
    sha256: str | None = None,
) -> str:
    """Name under which a distance may be reported.

    Numbers under one name get compared, and another network, or another port of its weights, gives
    another number. So FVD and FID are names for those who declare that their encoder is the
    network of that name (I3D as in TF-Hub and StyleGAN-V, InceptionV3 of 2015) and state the
    checksum of its weights, to be recorded beside the value. It is their word: nothing is checked.

    Args:
        measure: "frechet", or "kernel" with the defaults of :func:`kernel_distance`.
        encoder: name of the encoder that gave the features.
        declared: the network that the encoder is declared to be.
        sha256: of its weights, 64 hexadecimal digits.

    Raises:
        ValueError: an unknown word, or one of ``declared`` and ``sha256`` without the other.

    Example:
        >>> distribution_name("frechet", "dinov2-small")
        'frechet-distance[dinov2-small]'
        >>> distribution_name("frechet", "i3d.pt", declared="i3d", sha256="ab" * 32)
        'fvd'
    """
    check_choice("measure", measure, tuple(_PLAIN))
    if declared is None and sha256 is None:
        return f"{_PLAIN[measure]}[{encoder}]"
    check_choice("declared", declared, ("i3d", "inception-v3"))
    assert declared is not None  # checked above
    if sha256 is None or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(
            f"sha256 must be the 64 hexadecimal digits of the weights of {declared}, got {sha256!r}"
        )
    return _FAMOUS[measure, declared]
