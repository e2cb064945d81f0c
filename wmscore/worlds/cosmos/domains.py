"""The embodiments that Cosmos 3 knows actions of."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COSMOS_DOMAINS", "CosmosDomain", "cosmos_domain"]


@dataclass(frozen=True, kw_only=True)
class CosmosDomain:
    """One embodiment, as its actions reach the model.

    Attributes:
        name: `domain_name`.
        width: numbers per action.
        parts: what they are, in order.
        chunk: actions per call as published, or None where nothing is.
        fps: frames per second as published, or None.
        prompt: the published prompt, or None where each clip has its own.
    """

    name: str
    width: int
    parts: str
    chunk: int | None = None
    fps: float | None = None
    prompt: str | None = None


_POSE = "translation 3, rotation 6"
_ARM = f"{_POSE}, gripper 1"

COSMOS_DOMAINS: dict[str, CosmosDomain] = {
    domain.name: domain
    for domain in (
        CosmosDomain(
            name="av",
            width=9,
            parts=_POSE,
            chunk=60,
            fps=10.0,
            prompt="You are an autonomous vehicle planning system.",
        ),
        CosmosDomain(name="camera_pose", width=9, parts=_POSE, chunk=60, fps=30.0),
        CosmosDomain(name="pusht", width=2, parts="position 2"),
        CosmosDomain(name="umi", width=10, parts=_ARM, chunk=16, fps=20.0),
        CosmosDomain(name="bridge_orig_lerobot", width=10, parts=_ARM, chunk=16, fps=5.0),
        CosmosDomain(name="droid_lerobot", width=10, parts=_ARM, chunk=16, fps=15.0),
        CosmosDomain(name="robomind-franka", width=10, parts=_ARM),
        CosmosDomain(name="robomind-franka-dual", width=20, parts=f"2 x ({_ARM})"),
        CosmosDomain(name="robomind-ur", width=10, parts=_ARM),
        CosmosDomain(name="fractal", width=10, parts=_ARM),
        CosmosDomain(name="galbot", width=30, parts="poses and grippers of the whole body"),
        CosmosDomain(name="agibotworld", width=29, parts=f"{_POSE}, 2 x ({_ARM})"),
        CosmosDomain(name="agibot_gear_gripper", width=29, parts=f"{_POSE}, 2 x ({_ARM})"),
        CosmosDomain(name="agibot_gear_gripper_ext", width=29, parts=f"{_POSE}, 2 x ({_ARM})"),
        CosmosDomain(
            name="hand_pose",
            width=57,
            parts=f"{_POSE}, 2 x (wrist 9, fingertips 15)",
            chunk=16,
            fps=15.0,
        ),
    )
}
"""By name. Widths as in `diffusers` 0.42 (`CosmosActionCondition`); chunks, rates and prompts as in
the action cookbook of NVIDIA/cosmos (2026). Poses are the motion from one frame to the next in the
earlier frame's own axes (OpenCV: right, down, forward), rotations the first two columns of their
matrix; values are normalised per embodiment by its published statistics before they reach the
model."""


def cosmos_domain(name: str) -> CosmosDomain:
    """The domain of a name.

    Raises:
        ValueError: Cosmos 3 has none of that name, or none with actions of a fixed width.

    Example:
        >>> cosmos_domain("pusht").width
        2
    """
    if name not in COSMOS_DOMAINS:
        raise ValueError(f"domain: expected one of {sorted(COSMOS_DOMAINS)}, got {name!r}")
    return COSMOS_DOMAINS[name]
