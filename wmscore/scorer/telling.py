"""What a scorer says beside its numbers: who measured how, and what is wrong with rows."""

from __future__ import annotations

import inspect
import platform
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from wmscore import functional as F
from wmscore.functional import Encoder, InverseDynamics, Reason
from wmscore.manifest import AxisSpec, Panel
from wmscore.ops import kernels
from wmscore.scorer.identity import LABEL_WARNINGS
from wmscore.scorer.ignore import ignored_share
from wmscore.scorer.learned import Learned, describe_network
from wmscore.scorer.skill import Oracle

__all__ = ["describe_networks", "describe_starts", "provenance", "warn_of_labels"]

_TOLD = 5  # rows that are named


def describe_networks(
    learned: Learned,
    latent_encoder: Encoder | None,
    inverse_dynamics: InverseDynamics | None,
) -> dict[str, str]:
    """Names and fingerprints of the networks that make numbers."""
    about = learned.provenance()
    if latent_encoder is not None:
        about["latent encoder"] = describe_network(latent_encoder)
    if inverse_dynamics is not None:
        about["inverse dynamics"] = inverse_dynamics.name
    return about


def provenance(
    panel: Panel, device: torch.device, networks: Mapping[str, str], oracle: Oracle
) -> dict[str, str]:
    """What made the numbers: networks, versions, device, kernels, and constants of identity."""
    from wmscore import __version__

    about = dict(networks)
    if any(spec.score == "skill" for spec in panel.axes):
        about["oracle"] = oracle.model or "none given: a re-run shows the reference"
    observation = panel.contract.observation
    if observation is not None and observation.ignore is not None:
        boxes = ", ".join(str(list(box)) for box in observation.ignore)
        about["ignored"] = f"{ignored_share(observation):.1%} of the picture: {boxes}"
    about |= {
        "wmscore": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": str(device),
        "kernels": str(kernels()),
    }
    for spec in panel.axes:
        if spec.axis == "identity_persistence":
            about["identity"] = _identity(spec)
    return about


def _identity(spec: AxisSpec) -> str:
    """How objects are told, with the constants that the panel does not choose."""
    if spec.measure == "objects_alone":
        return f"label maps alone; {_defaults(F.lone_identity, 'iou_gate', 'min_area', 'patience')}"
    if not spec.measure.startswith("carried"):
        known = _defaults(F.object_identity, "iou_gate", "min_area", "patience")
        return f"ids shared with the reference; {known}"
    labels = "the given frame" if "first" in spec.measure else "the reference"
    sensitivity = F.SENSITIVITY if spec.sensitivity is None else spec.sensitivity
    known = _defaults(F.carried_identity, "min_area", "patience")
    return f"appearance, with labels of {labels}; sensitivity {sensitivity:g}, {known}"


def _defaults(function: Callable[..., Any], *names: str) -> str:
    known = inspect.signature(function).parameters
    return ", ".join(f"{name} {known[name].default:g}" for name in names)


def describe_starts(panel: Panel, fault: Tensor, apart: Tensor, script: Tensor) -> dict[str, str]:
    """Say which rows do not begin with the given frame, in which script and by how much.

    Args:
        panel: the contract.
        fault: `[R]` uint8.
        apart: `[R]` float64, largest difference of a value from the given frame.
        script: `[R]` int64, the script that differs so.
    """
    wrong = (fault == int(Reason.RESET_MISMATCH)) | (fault == int(Reason.BRANCH_APART))
    rows = wrong.nonzero()[:, 0].tolist()
    if not rows:
        return {}
    keys = list(panel.rows())
    some = []
    for row in rows[:_TOLD]:
        s, seed = keys[row]
        scenario = panel.scenarios[s]
        name = scenario.scripts[int(script[row])].name
        some.append(f"({scenario.id!r}, seed {seed}) script {name!r} by {float(apart[row]):g}")
    text = (
        f"rollouts.frames: in {len(rows)} rows a script does not begin with the given frame; "
        f"largest difference of a value: {', '.join(some)}"
    )
    return {"warning start": text}


def warn_of_labels(panel: Panel, bits: Tensor) -> dict[str, str]:
    """Warn of rows whose label maps are wrong (bits of `LABEL_WARNINGS`); say it as well."""
    said = {}
    keys = list(panel.rows())
    for bit, what in LABEL_WARNINGS.items():
        rows = (bits & bit).nonzero()[:, 0].tolist()
        if rows:
            some = ", ".join(
                f"({panel.scenarios[keys[r][0]].id!r}, seed {keys[r][1]})" for r in rows[:_TOLD]
            )
            name, _, rest = what.partition(": ")
            text = f"{name}: in {len(rows)} rows, the first of them {some}, {rest}"
            warnings.warn(text, UserWarning, stacklevel=3)
            said[f"warning {bit}"] = text
    return said
