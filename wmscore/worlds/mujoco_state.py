"""From reset parameters to the state of a MuJoCo simulation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["reset_state"]

_KEYS = {"keyframe", "state", "qpos", "qvel", "warmup"}


def reset_state(mujoco: Any, model: Any, data: Any, reset: Mapping[str, Any]) -> None:
    """Put `data` into the state that `reset` names, before its warm-up.

    Raises:
        ValueError: a key, keyframe or joint is unknown, or a value has another size.
    """
    unknown = sorted(reset.keys() - _KEYS)
    if unknown:
        raise ValueError(f"reset: expected keys out of {sorted(_KEYS)}, got {unknown}")
    if "state" in reset and "keyframe" in reset:
        raise ValueError("reset: expected either state or keyframe, got both")
    mujoco.mj_resetData(model, data)
    if "keyframe" in reset:
        names = [model.key(i).name for i in range(model.nkey)]
        if reset["keyframe"] not in names:
            raise ValueError(f"reset.keyframe: expected one of {names}, got {reset['keyframe']!r}")
        mujoco.mj_resetDataKeyframe(model, data, names.index(reset["keyframe"]))
    if "state" in reset:
        spec = mujoco.mjtState.mjSTATE_INTEGRATION
        size = mujoco.mj_stateSize(model, spec)
        mujoco.mj_setState(model, data, _numbers("state", reset["state"], size), spec)
    for field in ("qpos", "qvel"):
        values = reset.get(field, {})
        if not isinstance(values, Mapping):
            raise ValueError(f"reset.{field}: expected an object of joints, got {values!r}")
        names = [model.joint(i).name for i in range(model.njnt)]
        for name, value in values.items():
            if name not in names:
                raise ValueError(f"reset.{field}: expected joints out of {names}, got {name!r}")
            target = getattr(data.joint(name), field)
            target[:] = _numbers(f"{field}.{name}", value, len(target))
    mujoco.mj_forward(model, data)


def _numbers(field: str, value: Any, count: int) -> np.ndarray:
    row = value if isinstance(value, list | tuple) else [value]
    wrong = [x for x in row if isinstance(x, bool) or not isinstance(x, int | float)]
    if wrong or len(row) != count or not np.isfinite(row).all():
        raise ValueError(f"reset.{field}: expected {count} finite numbers, got {value!r}")
    return np.array(row, dtype=np.float64)
