"""The models that come with the packaged panels."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

from wmscore.manifest import Panel
from wmscore.tensorfile import load_tensors, save_tensors
from wmscore.worlds.learned.flow import FlowNet, FlowNetModel
from wmscore.worlds.learned.linear import LinearLatentModel

__all__ = ["packaged_models", "read_models", "write_models"]

KIND = "demo models"


def packaged_models(panel: Panel) -> tuple[LinearLatentModel, FlowNetModel]:
    """The linear latent model and the flow network that were trained for a panel's world.

    Raises:
        ValueError: there are none for this world, its size or its actions.
    """
    world = panel.contract.world
    folder = importlib.resources.files("wmscore") / "worlds" / "learned"
    path = Path(str(folder / f"{world}.safetensors"))
    if not path.exists():
        raise ValueError(f"contract.world: no trained models come with {world!r}")
    linear, flow = read_models(path)
    names = panel.contract.actions.names
    if linear.action_names != names:
        raise ValueError(
            f"contract.actions.names: the models were trained with {list(linear.action_names)}, "
            f"got {list(names)}"
        )
    size = panel.contract.observation
    if size is not None and (size.height, size.width) != linear.size:
        raise ValueError(
            f"contract.observation: the models were trained at {list(linear.size)}, got "
            f"{[size.height, size.width]}"
        )
    return linear, flow


def write_models(
    path: str | Path, linear: LinearLatentModel, network: FlowNet, training: dict[str, Any]
) -> None:
    """Write both, halved in precision, with how they were trained."""
    tensors = {f"linear.{name}": value.half() for name, value in linear.tensors().items()}
    tensors |= {f"flow.{name}": value.half() for name, value in network.state_dict().items()}
    about = {
        "action_names": list(linear.action_names),
        "fps": linear.fps,
        "size": list(linear.size),
        "linear_small": list(linear.small),
        "flow_small": list(network.small),
        "flow_channels": network.into.out_channels,
        "training": training,
    }
    save_tensors(path, KIND, tensors, about)


def read_models(path: str | Path) -> tuple[LinearLatentModel, FlowNetModel]:
    """Read what `write_models` wrote."""
    about, tensors = load_tensors(path, KIND)
    names, fps = tuple(about["action_names"]), float(about["fps"])
    height, width = about["size"]
    parts: dict[str, Any] = {
        k.removeprefix("linear."): v.float() for k, v in tensors.items() if "linear." in k
    }
    h, w = about["linear_small"]
    linear = LinearLatentModel(
        small=(h, w), size=(height, width), action_names=names, fps=fps, **parts
    )
    h, w = about["flow_small"]
    network = FlowNet(len(names), channels=about["flow_channels"], small=(h, w))
    network.load_state_dict(
        {k.removeprefix("flow."): v.float() for k, v in tensors.items() if "flow." in k}
    )
    flow = FlowNetModel(network, action_names=names, fps=fps, size=(height, width))
    return linear, flow
