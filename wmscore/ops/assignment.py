"""Linear sum assignment, many problems at once: which column each row goes with, at least cost."""

from __future__ import annotations

import torch
from torch import Tensor

from wmscore.ops._library import op

__all__ = ["LONGEST_SIDE", "assignment"]

LONGEST_SIDE = 1024  # of a problem; what the state of one takes in a block's shared memory


def _check(
    cost: Tensor,
    maximize: bool = False,
    use_rows: Tensor | None = None,
    use_cols: Tensor | None = None,
) -> None:
    if not isinstance(cost, Tensor):
        raise TypeError(f"cost must be a torch.Tensor, got {type(cost).__name__}")
    if cost.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"cost must be float32 or float64, got {cost.dtype}")
    if cost.dim() != 3:
        raise ValueError(f"cost must have shape [P, N, M], got {tuple(cost.shape)}")
    if max(cost.shape[1:]) > LONGEST_SIDE:
        raise ValueError(
            f"cost must have at most {LONGEST_SIDE} rows and columns, got {tuple(cost.shape)}"
        )
    for name, mask, length in (
        ("use_rows", use_rows, cost.shape[1]),
        ("use_cols", use_cols, cost.shape[2]),
    ):
        if mask is None:
            continue
        if not isinstance(mask, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor or None, got {type(mask).__name__}")
        if mask.dtype != torch.bool:
            raise TypeError(f"{name} must be bool, got {mask.dtype}")
        if tuple(mask.shape) != (cost.shape[0], length):
            raise ValueError(
                f"{name} must have shape {(cost.shape[0], length)}, got {tuple(mask.shape)}"
            )
        if mask.device != cost.device:
            raise ValueError(f"{name} must be on {cost.device} like cost, got {mask.device}")


@op(_check)
def assignment(
    cost: Tensor,
    maximize: bool = False,
    use_rows: Tensor | None = None,
    use_cols: Tensor | None = None,
) -> Tensor:
    """Match rows with columns, each at most once, so that the sum of the matched costs is least.

    Shortest augmenting paths (Crouse 2016, "On implementing 2D rectangular assignment algorithms",
    IEEE TAES 52(4)), in float64. Of several optimal matchings it takes the one that
    `scipy.optimize.linear_sum_assignment` takes, bit for bit: rows are added in order (columns, if
    there are fewer of them), and among equally near columns a free one comes before a taken one.

    As many pairs are matched as the shorter side has members. A cost that is not finite forbids its
    pair (scipy refuses NaN, and refuses a problem in which a member of the shorter side finds no
    partner). Where not all members of the shorter side can be matched, they have precedence in
    their order: one for whom no partner can be found without leaving an earlier one alone stays
    alone, and the others are matched as if it were not there.

    Args:
        cost: `[P, N, M]` float32 or float64, of any strides; N and M are at most 1024.
        maximize: find the largest sum instead.
        use_rows: `[P, N]` bool, rows that exist; a problem is solved as if cut to them. None means
            all.
        use_cols: `[P, M]` bool, columns that exist.

    Returns:
        `[P, N]` int64, the column of each row; -1 where the row stays unmatched.

    Raises:
        TypeError: cost is not float32 or float64, or a mask not bool.
        ValueError: shapes or devices do not fit, or a side is too long.

    Example:
        >>> assignment(torch.tensor([[[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]]))
        tensor([[1, 0, 2]])
    """
    problems, rows, cols = cost.shape
    side, short = max(rows, cols), min(rows, cols)
    result = cost.new_full((problems, rows), -1, dtype=torch.int64)
    if short == 0 or cost.is_meta:  # on meta tensors the steps below would say nothing more
        return result
    row_order, row_count = _in_use(use_rows, problems, rows, cost.device)
    col_order, col_count = _in_use(use_cols, problems, cols, cost.device)
    cut = cost.gather(1, row_order[:, :, None].expand_as(cost))
    cut = cut.gather(2, col_order[:, None, :].expand_as(cost)).double()
    cut = cut.neg() if maximize else cut
    square = cut.new_full((problems, side, side), torch.inf)
    square[:, :rows, :cols] = cut.where(cut.isfinite(), torch.inf)

    is_tall = row_count > col_count
    square = square.mT.where(is_tall[:, None, None], square)
    low, high = torch.minimum(row_count, col_count), torch.maximum(row_count, col_count)
    row_of_col, col_of_row = _solve(square[:, :short], low, high)

    # In the order of the members in use, then in that of all; the last place is for nobody.
    col_of_row = torch.nn.functional.pad(col_of_row, (0, side - short), value=-1)
    found = row_of_col.where(is_tall[:, None], col_of_row)[:, :rows]
    names = torch.nn.functional.pad(col_order, (0, 1), value=-1)
    found = names.gather(1, found.where(found >= 0, cols))
    return result.scatter(1, row_order, found)


def _in_use(
    mask: Tensor | None, problems: int, length: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Members in use, in order and before the others, `[P, L]`, and how many there are, `[P]`."""
    if mask is None:
        mask = torch.ones(problems, length, dtype=torch.bool, device=device)
    return torch.sort(mask.byte(), dim=1, descending=True, stable=True).indices, mask.sum(1)


def _solve(cost: Tensor, row_count: Tensor, col_count: Tensor) -> tuple[Tensor, Tensor]:
    """Row of each column and column of each row; costs `[P, K, S]`, K <= S, rows are no more."""
    problems, rows, cols = cost.shape
    place = torch.arange(cols, device=cost.device)
    row_places = place[:rows]
    row_dual = cost.new_zeros(problems, rows)
    col_dual = cost.new_zeros(problems, cols)
    row_of_col = torch.full_like(col_dual, -1, dtype=torch.int64)
    col_of_row = torch.full_like(row_dual, -1, dtype=torch.int64)
    for row in range(rows):
        # Columns not yet reached are listed backwards; one that leaves makes place for the last.
        listed = col_count[:, None] - 1 - place  # [P, S] place in the list; negative: not in it
        left = col_count.clone()
        nearest = torch.full_like(col_dual, torch.inf)
        via = torch.full_like(row_of_col, -1)
        reached = torch.zeros_like(row_of_col, dtype=torch.bool)
        distance = cost.new_zeros(problems)
        at = torch.full_like(row_count, row)
        sink = torch.full_like(row_count, -1)
        running = row < row_count
        for _ in range(row + 1):
            is_listed = listed >= 0
            from_at = cost.gather(1, at[:, None, None].expand(-1, 1, cols))[:, 0]
            length = distance[:, None] + from_at - row_dual.gather(1, at[:, None]) - col_dual
            is_nearer = (length < nearest) & is_listed & running[:, None]
            nearest = length.where(is_nearer, nearest)
            via = at[:, None].where(is_nearer, via)
            # The last free one of the nearest, or if all of them are taken the first.
            least = nearest.where(is_listed, torch.inf).amin(1)
            rank = torch.where(row_of_col < 0, cols + 1 + listed, cols - listed)
            rank = rank.where(is_listed & (nearest == least[:, None]), -1)
            col = rank.argmax(1, keepdim=True)
            running = running & (least < torch.inf)
            distance = least.where(running, distance)
            emptied = listed.gather(1, col)
            shifted = emptied.where(listed == left[:, None] - 1, listed).scatter(1, col, -1)
            listed = shifted.where(running[:, None], listed)
            left = left - running.long()
            reached = reached | ((place == col) & running[:, None])
            taken_by = row_of_col.gather(1, col)[:, 0]
            is_free = running & (taken_by < 0)
            sink = col[:, 0].where(is_free, sink)
            running = running & ~is_free
            at = taken_by.where(running, at)

        is_done = sink >= 0
        gain = (distance[:, None] - nearest).where(reached & is_done[:, None], 0.0)
        col_dual = col_dual - gain
        is_own = row_places == row
        own_gain = gain.gather(1, col_of_row.clamp(min=0)).where(col_of_row >= 0, 0.0)
        own_gain = torch.where(is_own & is_done[:, None], distance[:, None], own_gain)
        row_dual = row_dual + own_gain
        col, walking = sink[:, None].clamp(min=0), is_done[:, None]
        for _ in range(row + 1):
            back = via.gather(1, col).clamp(min=0)
            row_of_col = back.where(walking & (place == col), row_of_col)
            before = col_of_row.gather(1, back)
            col_of_row = col.where(walking & (row_places == back), col_of_row)
            walking = walking & (back != row)
            col = before.clamp(min=0)
    return row_of_col, col_of_row
