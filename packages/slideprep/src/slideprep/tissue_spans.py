"""Boxes of overview pixels that show too much of the same tissue -> one box around both."""

from __future__ import annotations

from slideprep.tissue import BoolArray

Span = tuple[slice, slice]
"""Rows and columns of a rectangle of overview pixels, both half-open."""


def without_shared_tissue(spans: list[Span], mask: BoolArray, most_shared: float) -> list[Span]:
    """Unite boxes, two at a time, until none shares too much tissue; each union leaves one box fewer.

    Args:
        spans: Boxes of overview pixels.
        mask: Tissue, (rows, columns) bool.
        most_shared: Largest part of the tissue in either box that may lie in both.
    """
    waiting, settled = list(spans), list[Span]()
    while waiting:
        span = waiting.pop()
        partner = next(
            (i for i, other in enumerate(settled) if _shares(span, other, mask, most_shared)), None
        )
        if partner is None:
            settled.append(span)
        else:
            waiting.append(_united(span, settled.pop(partner)))
    return settled


def _shares(a: Span, b: Span, mask: BoolArray, most_shared: float) -> bool:
    common = _common(a, b)
    return common is not None and bool(mask[common].sum() > most_shared * min(mask[a].sum(), mask[b].sum()))


def _common(a: Span, b: Span) -> Span | None:
    rows = slice(max(a[0].start, b[0].start), min(a[0].stop, b[0].stop))
    columns = slice(max(a[1].start, b[1].start), min(a[1].stop, b[1].stop))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _united(a: Span, b: Span) -> Span:
    return (
        slice(min(a[0].start, b[0].start), max(a[0].stop, b[0].stop)),
        slice(min(a[1].start, b[1].start), max(a[1].stop, b[1].stop)),
    )
