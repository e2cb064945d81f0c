"""What the converters to vector formats have in common: a row of named components per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from wmscore.timeline.loss import Conversion
from wmscore.timeline.tables import ByTable, Table
from wmscore.timeline.timeline import Timeline
from wmscore.timeline.vectors import SameVector

__all__ = ["Chain", "pick"]


class Chain:
    """One conversion after another; the losses of all are kept.

    Args:
        first: converters from timeline to timeline, the last of which may give anything.

    Example:
        >>> import torch
        >>> table = ByTable({"go": {"w": 1.0}, "stop": {}}, units=("button",))
        >>> convert = Chain(table.timeline, SameVector(("s", "w"), fill={"s": 0.0}))
        >>> convert(Timeline.of(torch.tensor([0, 1]), ("go", "stop"), fps=20.0)).value.tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """

    def __init__(self, *converters: Callable[..., Conversion[object]]) -> None:
        if not converters:
            raise ValueError("converters: expected at least one, got none")
        self.converters = converters

    def __call__(self, timeline: Timeline, /) -> Conversion[object]:
        """Convert step after step.

        Raises:
            TypeError: a converter before the last gives no timeline.
        """
        found: Conversion[object] = Conversion(timeline)
        for i, converter in enumerate(self.converters):
            if not isinstance(found.value, Timeline):
                raise TypeError(
                    f"converters: expected a Timeline from number {i - 1}, "
                    f"got {type(found.value).__name__}"
                )
            found = found.then(converter(found.value))
        return found


def pick(
    timeline: Timeline,
    wanted: Mapping[str, str],
    *,
    table: Table | None,
    who: str,
    open_table: bool = False,
) -> Conversion[Tensor]:
    """The components that a format wants, `[..., T, A]` float32, 0 where the panel has none.

    Args:
        timeline: discrete with a table, or of vectors without one.
        wanted: component -> unit, in the format's order.
        table: action -> components.
        who: what asks, for errors.
        open_table: the table may have components that the format lacks, which are then dropped and
            stated.

    Raises:
        ValueError: discrete actions without a table or vectors with one, vectors that share no
            component with the format, or another unit.
    """
    line, losses = timeline, Conversion(timeline).losses
    if timeline.discrete:
        if table is None:
            raise ValueError(
                f"table: {who} expected one for the discrete actions {list(timeline.names)}, "
                f"with components of {list(wanted)}; got None"
            )
        named = dict.fromkeys([*wanted, *(n for entry in table.values() for n in entry or ())])
        if not open_table and len(named) > len(wanted):
            strays = [name for name in named if name not in wanted]
            raise ValueError(f"table: {who} knows {list(wanted)}, got {strays}")
        units = [wanted.get(name, "number") for name in named]
        found = ByTable(table, components=tuple(named), units=units).timeline(timeline)
        line, losses = found.value, found.losses
    elif table is not None:
        raise ValueError(
            f"table: {who} takes none for vector actions {list(timeline.names)}, got one"
        )
    if not set(line.names) & set(wanted):
        raise ValueError(
            f"timeline: {who} knows {list(wanted)}, got none of them but {list(line.names)}; "
            "see Timeline.renamed"
        )
    same = SameVector(tuple(wanted), units=tuple(wanted.values()), fill=dict.fromkeys(wanted, 0.0))
    return Conversion(line, losses).then(same(line))
