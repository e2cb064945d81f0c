"""A panel's actions as the rows that open-oasis takes, at its frame rate."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from wmscore.timeline import ByTable, Conversion, Resample, Timeline, ToOasis, minecraft_space

__all__ = ["OasisActions"]


class OasisActions:
    """A `Converter` to `[T k, 25]` or `[B, T k, 25]` rows, row t acting between frame t and t + 1.

    Turns are shared out over the k frames that the model shows per step of the panel; buttons are
    held. What the 25 columns cannot say is stated as a loss, see `wmscore.timeline.ToOasis`.

    Args:
        table: what each discrete action of the panel is in a step of the panel, in the components
            of `wmscore.timeline.minecraft_space()`: `{"forward": {"forward": 1},
            "left": {"yaw": -12}, "stop": {}}`. Without it, panels must have some of the components
            themselves.
        fps: frames per second of the model.

    Example:
        >>> convert = OasisActions({"go": {"forward": 1}, "left": {"yaw": -10}})
        >>> rows = convert(Timeline.of(torch.tensor([[1, 0]]), ("go", "left"), fps=20.0)).value
        >>> rows.shape, rows[0, 0, 16].item(), rows[0, 1, 11].item()
        (torch.Size([1, 2, 25]), -0.5, 1.0)
    """

    def __init__(
        self, table: Mapping[str, Mapping[str, float] | None] | None = None, *, fps: float = 20.0
    ) -> None:
        space = minecraft_space()
        self.table = table
        self.names, self.units = space.names, space.units or ()
        self._by_table = (
            None if table is None else ByTable(table, components=self.names, units=self.units)
        )
        self._resample, self._encode = Resample(fps), ToOasis(align="transition")

    def __call__(self, timeline: Timeline, /) -> Conversion[Tensor]:
        """Look up, resample, encode.

        Raises:
            ValueError: an action that the table lacks, or components that Oasis does not know.
        """
        line = Conversion(timeline)
        if self._by_table is not None:
            line = self._by_table.timeline(timeline)
        line = line.then(self._resample(line.value))
        return line.then(self._encode(line.value))
