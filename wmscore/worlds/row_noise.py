"""Noise per row for third-party samplers that draw it from the global generator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wmscore.worlds.randomness import contained_randomness

__all__ = ["RowNoise", "contained_row_noise"]

# What fills a tensor anew -> the method that fills a part of it.
_NEW: dict[Any, str] = {
    torch.randn: "normal_",
    torch.randn_like: "normal_",
    torch.rand: "uniform_",
    torch.rand_like: "uniform_",
}
_IN_PLACE: tuple[Any, ...] = (
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.exponential_,
    Tensor.bernoulli_,
    Tensor.random_,
    Tensor.log_normal_,
    Tensor.geometric_,
    Tensor.cauchy_,
)
_OF_INPUT: tuple[Any, ...] = (torch.bernoulli, torch.multinomial, Tensor.multinomial)


class RowNoise(TorchFunctionMode):
    """While active, what torch draws for a batch is drawn row by row, from one generator each.

    Samplers call `torch.randn(batch, ...)` and take no generator, so that a row's noise depends on
    the rows beside it. Under this mode a draw whose first dimension is a multiple of the number of
    rows is cut into as many blocks, in order, and each comes from its row's generator: batches laid
    out row by row, `[B, ...]` or `[B * T, ...]`, get noise that is their own. Draws of another size
    stay with the global generator and are counted, as are kinds of draws that are not known here.
    Draws that are given a generator are left alone.

    Attributes:
        shared: draws so far that were not cut into rows.

    Example:
        >>> def draw(seeds):
        ...     with RowNoise([torch.Generator().manual_seed(seed) for seed in seeds]):
        ...         return torch.randn(len(seeds), 2)
        >>> draw([3, 4])[1].equal(draw([4])[0])
        True
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        """Draw from one generator per row."""
        super().__init__()
        if not generators:
            raise ValueError("generators: expected at least one, got none")
        self.generators = tuple(generators)
        self.shared = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Draw row by row where `func` draws."""
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        kwargs.pop("generator", None)
        if func in _NEW:
            return self._fill(func(*args, **kwargs), _NEW[func], ())
        if func is torch.randint:
            return self._fill(func(*args, **kwargs), "random_", _limits(args, kwargs))
        if func in _IN_PLACE:
            return self._fill(args[0], func.__name__, args[1:], kwargs, whole=func)
        if func in _OF_INPUT:
            return self._of_input(func, args, kwargs)
        if func in _SHARED:
            self.shared += 1
        return func(*args, **kwargs)

    def _blocks(self, tensor: Tensor) -> tuple[Tensor, ...] | None:
        rows = len(self.generators)
        if tensor.ndim == 0 or tensor.shape[0] == 0 or tensor.shape[0] % rows:
            self.shared += 1
            return None
        return tensor.tensor_split(rows)

    def _fill(
        self,
        tensor: Tensor,
        method: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None = None,
        whole: Callable[..., Any] | None = None,
    ) -> Tensor:
        """Fill the tensor in place; one that cannot be cut stays as it is, or is filled whole."""
        blocks = self._blocks(tensor)
        if blocks is None:
            return tensor if whole is None else whole(tensor, *args, **kwargs or {})
        with torch.no_grad():
            for block, generator in zip(blocks, self.generators, strict=True):
                if block.device == generator.device:
                    getattr(block, method)(*args, **kwargs or {}, generator=generator)
                    continue
                drawn = torch.empty(block.shape, dtype=block.dtype, device=generator.device)
                getattr(drawn, method)(*args, **kwargs or {}, generator=generator)
                block.copy_(drawn)
        return tensor

    def _of_input(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Draws whose chances are given: `multinomial`, `bernoulli`."""
        chances = args[0] if args else kwargs.pop("input")
        one_row = func is not torch.bernoulli and chances.ndim == 1 and len(self.generators) > 1
        blocks = None if one_row else self._blocks(chances)
        if blocks is None or "out" in kwargs:
            self.shared += one_row
            return func(chances, *args[1:], **kwargs)
        if func is not torch.bernoulli and chances.ndim == 1:
            return func(chances, *args[1:], **kwargs, generator=self.generators[0])
        return torch.cat(
            [
                func(block, *args[1:], **kwargs, generator=generator)
                for block, generator in zip(blocks, self.generators, strict=True)
            ]
        )


_SHARED: tuple[Any, ...] = (
    torch.normal,
    torch.randint_like,
    torch.randperm,
    torch.poisson,
    torch.nn.functional.dropout,
)


def _limits(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, int]:
    """Low and high of `torch.randint`."""
    numbers = [arg for arg in args if isinstance(arg, int)]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    high = numbers[0] if numbers else kwargs["high"]
    low = kwargs.get("low", 0)
    if numbers and "high" in kwargs:  # randint(low, high=..., size=...)
        low, high = numbers[0], kwargs["high"]
    return low, high


@contextlib.contextmanager
def contained_row_noise(generators: Sequence[torch.Generator]) -> Iterator[RowNoise]:
    """`RowNoise`, with what stays global contained: seeded like the first row, and restored.

    Example:
        >>> from wmscore.testing import sprite_items
        >>> from wmscore.worlds import row_generators
        >>> with contained_row_noise(row_generators(sprite_items(1, 2))) as noise:
        ...     drawn = torch.randn(2, 3)
        >>> drawn[0].equal(drawn[1]), noise.shared  # two branches of one seed
        (True, 0)
    """
    mode = RowNoise(generators)
    with contained_randomness(generators[0].initial_seed()), mode:
        yield mode
