"""Networks that recognise actions: what they must offer, and whether their answers make sense."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from wmscore.functional._check import check_count, check_frames, check_rollouts

__all__ = ["InverseDynamics", "recognise_actions", "recognise_vectors"]


@runtime_checkable
class InverseDynamics(Protocol):
    """A recogniser of actions in frames, such as an inverse dynamics network.

    T actions lie between T + 1 frames: answer t is about the move from frame t to frame t + 1. A
    network that counts one action per frame (VPT answers for each of its frames) drops the one
    that has no frame after it.
    """

    @property
    def name(self) -> str:
        """Short name, used in tables."""
        ...

    def recognise(self, frames: Tensor) -> Tensor:
        """Recognise the actions of rollouts.

        Args:
            frames: ``[B, T + 1, C, H, W]`` uint8 or floating point.

        Returns:
            ``[B, T]`` int64, the action of each step, -1 = none; or ``[B, T, A]`` floating point,
            a score of each of A actions (logits), or the A values of a continuous action.
        """
        ...


def recognise_actions(network: InverseDynamics, frames: Tensor, num_actions: int) -> Tensor:
    """Ask a network for discrete actions, and check what it answers.

    Args:
        network: the recogniser; called without gradients.
        frames: ``[B, T + 1, C, H, W]`` uint8 or floating point.
        num_actions: number of actions A.

    Returns:
        ``[B, T]`` int64 on the device of ``frames``; of scores the highest, -1 where one is NaN.

    Raises:
        ValueError: the answer has another shape, or an action is out of range.
        TypeError: ``network`` has no ``name`` or ``recognise``, or the answer is no tensor of
            integers (int64) or scores (floating point).
    """
    check_count("num_actions", num_actions)
    answer = _ask(network, frames)
    rows, steps = len(frames), frames.shape[1] - 1
    who = f"{network.name}.recognise"
    if answer.is_floating_point():
        if tuple(answer.shape) != (rows, steps, num_actions):
            raise ValueError(
                f"{who} must return scores [B, T, A] = {(rows, steps, num_actions)} for frames "
                f"[B, T + 1, C, H, W] = {tuple(frames.shape)}, got {tuple(answer.shape)}"
            )
        return answer.argmax(-1).where(~answer.isnan().any(-1), -1).to(frames.device)
    if answer.dtype != torch.int64:
        raise TypeError(
            f"{who} must return actions (int64) or scores (floating point), got {answer.dtype}"
        )
    if tuple(answer.shape) != (rows, steps):
        raise ValueError(
            f"{who} must return actions [B, T] = {(rows, steps)} for frames "
            f"[B, T + 1, C, H, W] = {tuple(frames.shape)}, got {tuple(answer.shape)}"
        )
    # Reading values is free on the CPU only; elsewhere it would stall the device.
    if answer.device.type == "cpu" and answer.numel():
        low, high = (int(value) for value in answer.aminmax())
        if low < -1 or high >= num_actions:
            raise ValueError(
                f"{who} must return actions in 0..{num_actions - 1}, or -1 for none, got "
                f"{low}..{high}"
            )
    return answer.to(frames.device)


def recognise_vectors(network: InverseDynamics, frames: Tensor, dimensions: int) -> Tensor:
    """Ask a network for the values of a continuous action, and check what it answers.

    Args:
        network: the recogniser; called without gradients.
        frames: ``[B, T + 1, C, H, W]`` uint8 or floating point.
        dimensions: number A of values.

    Returns:
        ``[B, T, A]`` float64 on the device of ``frames``.

    Raises:
        ValueError: the answer has another shape.
        TypeError: ``network`` has no ``name`` or ``recognise``, or the answer is no floating point
            tensor.
    """
    check_count("dimensions", dimensions)
    answer = _ask(network, frames)
    if not answer.is_floating_point():
        raise TypeError(
            f"{network.name}.recognise must return values (floating point), got {answer.dtype}"
        )
    expected = (len(frames), frames.shape[1] - 1, dimensions)
    if tuple(answer.shape) != expected:
        raise ValueError(
            f"{network.name}.recognise must return values [B, T, A] = {expected} for frames "
            f"[B, T + 1, C, H, W] = {tuple(frames.shape)}, got {tuple(answer.shape)}"
        )
    return answer.double().to(frames.device)


def _ask(network: InverseDynamics, frames: Tensor) -> Tensor:
    if not isinstance(network, InverseDynamics):
        raise TypeError(
            "network must have a name and recognise(frames) (see InverseDynamics), got "
            f"{type(network).__name__}"
        )
    check_frames(frames=frames)
    check_rollouts("frames", frames)
    with torch.no_grad():
        answer: object = network.recognise(frames)
    if not isinstance(answer, Tensor):
        raise TypeError(
            f"{network.name}.recognise must return a torch.Tensor, got {type(answer).__name__}"
        )
    return answer
