"""What tells two networks apart: a digest of what was stated and of every weight."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(stated: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of plain values and of the tensors of a state dict by name, type and bytes.

    Raises:
        TypeError: an entry of the state is not a plain tensor.
    """
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name in sorted(state):
        value = state[name]
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            raise TypeError(
                f"{name}: expected a dense tensor in the state dict, got {type(value).__name__}; "
                "say which weights these are with weights="
            )
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
