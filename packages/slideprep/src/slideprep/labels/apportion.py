"""Share out whole patients: rows of a table (classes) over its columns (splits), rounded together.

Rounding every class by itself can add up: ten classes whose test share is 4.5 patients would give 50 or 40
test patients instead of 45. A table that rounds every cell and every column total to a neighbouring whole
number always exists (controlled rounding: the bounds are those of a network flow, whose corners are whole
numbers); it is found here by moving single patients between columns until no move brings the totals closer.
Pure integers; no randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

Bounds = tuple[list[int], list[int]]


def apportion(sizes: Sequence[int], weights: Sequence[int], cover: int) -> list[list[int]]:
    """Share out each row over the columns in proportion to the weights.

    Cells and column totals are each within less than one of the exact share, unless a row is so small that a
    column that it should reach would stay empty: it then puts one into each of those, in order, while it has
    any. Equal remainders go to the earlier column.

    Args:
        sizes: Patients per row.
        weights: Weight per column, most important column first; whole and not negative, of any sum above 0.
        cover: How many of the first columns every row should reach; those of weight 0 need not be.

    Returns:
        Whole numbers, one list per row, that sum to the row's size.
    """
    whole = sum(weights)
    bounds = [_bounds(size, weights, whole, cover) for size in sizes]
    table = [_rounded(size, weights, whole, bound) for size, bound in zip(sizes, bounds, strict=True)]
    goals = [sum(sizes) * weight for weight in weights]
    while _improve(table, bounds, sizes, weights, goals):
        pass
    return table


def _bounds(size: int, weights: Sequence[int], whole: int, cover: int) -> Bounds:
    """Lowest and highest number per column of one row."""
    minimum = [0] * len(weights)
    for column in [c for c in range(cover) if weights[c]][:size]:
        minimum[column] = 1
    lower = [max(m, size * w // whole) for m, w in zip(minimum, weights, strict=True)]
    upper = [max(m, -(-size * w // whole)) for m, w in zip(minimum, weights, strict=True)]
    while sum(lower) > size:
        spare = [low - m for low, m in zip(lower, minimum, strict=True)]
        lower[spare.index(max(spare))] -= 1
    return lower, upper


def _rounded(size: int, weights: Sequence[int], whole: int, bounds: Bounds) -> list[int]:
    """One row by itself: largest remainders first."""
    row, upper = list(bounds[0]), bounds[1]
    for _ in range(size - sum(row)):
        open_columns = [c for c in range(len(row)) if row[c] < upper[c]]
        row[max(open_columns, key=lambda c: (size * weights[c] - row[c] * whole, -c))] += 1
    return row


def _improve(
    table: list[list[int]],
    bounds: Sequence[Bounds],
    sizes: Sequence[int],
    weights: Sequence[int],
    goals: Sequence[int],
) -> bool:
    """Move one from the fullest column to the emptiest that it can reach; False where no move helps.

    ``goals`` are column totals times the sum of the weights. The set of column totals is M-convex, so a table
    that no single move improves (in squared deviations) is the best one.
    """
    whole = sum(weights)
    gaps = [sum(row[c] for row in table) * whole - goal for c, goal in enumerate(goals)]
    pairs = [(s, t) for s, t in permutations(range(len(gaps)), 2) if gaps[s] - gaps[t] > whole]
    if not pairs:
        return False
    movers = {pair: _mover(table, bounds, sizes, weights, pair) for pair in permutations(range(len(gaps)), 2)}
    for source, target in sorted(pairs, key=lambda p: (gaps[p[1]] - gaps[p[0]], p)):
        path = _path(movers, source, target)
        if path:
            for step in path:
                row = movers[step]
                assert row is not None
                table[row][step[0]] -= 1
                table[row][step[1]] += 1
            return True
    return False


def _mover(
    table: Sequence[Sequence[int]],
    bounds: Sequence[Bounds],
    sizes: Sequence[int],
    weights: Sequence[int],
    step: tuple[int, int],
) -> int | None:
    """The row that gives one from column to column at least cost to its shares, or None where none may."""
    source, target = step
    whole = sum(weights)

    def gain(row: int) -> int:
        excess = table[row][source] * whole - sizes[row] * weights[source]
        lack = sizes[row] * weights[target] - table[row][target] * whole
        return excess + lack

    able = [
        row
        for row, (lower, upper) in enumerate(bounds)
        if table[row][source] > lower[source] and table[row][target] < upper[target]
    ]
    return max(able, key=lambda row: (gain(row), -row)) if able else None


def _path(
    movers: dict[tuple[int, int], int | None], source: int, target: int
) -> list[tuple[int, int]] | None:
    """Shortest chain of possible moves from one column to another."""
    chains = [[(source, source)]]
    seen = {source}
    while chains:
        chain = chains.pop(0)
        for step, row in movers.items():
            if row is None or step[0] != chain[-1][1] or step[1] in seen:
                continue
            if step[1] == target:
                return [*chain[1:], step]
            seen.add(step[1])
            chains.append([*chain, step])
    return None
