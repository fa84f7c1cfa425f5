"""Loops that filter level-0 pixels to one magnification, in the processor's own code.

1. ``pair_rows``: rows of bytes, two at a time, as pairs of bytes, in columns of tiles that stay in the cache.
2. ``filter_rows``: along y. A pair of pixels times a pair of whole-number weights, added to a 32-bit sum, is one
   operation of the processor (x86: vpmaddwd, vpdpwssd); whole numbers make it exact. Two neighbouring rows are summed
   up together, since they draw on much the same pixels. 16 rows of sums at a time are turned by a quarter, so that the
   next filter finds its taps one below the other again.
3. ``filter_columns``: along x, in float32; rounded once, clipped, turned back, written into the image.

``docs/resampling-loops.md`` shows how such a loop is written and changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir

from slideprep.images.vector_code import Code, Compiled, transposed
from slideprep.images.vector_values import F32, I8, I16, I32, I64, LANES, Array, Value

TILE = 64
"""Samples (a pixel's channels are three) of a row that lie side by side in a tile: their pairs fill two cache lines."""

OUTPUT_PX = 16
"""Output pixels filtered along x before they are turned and written: 3 * 16 samples."""

_PIXEL = 3 * LANES
"""Half-filtered samples of a column: three channels of a block of 16 rows."""

_VECTORS = range(0, TILE, LANES)
"""Where in a tile its vectors begin."""

_HALVES = (_VECTORS[:2], _VECTORS[2:])
"""What of a tile two output rows are summed up of at a time: the four sums stay in registers of any width."""

_ZIPPED = [lane + line for lane in range(LANES) for line in (0, LANES)]
"""A lane of one vector, the same lane of another, and so on."""

_ROUND = 12_582_912.0
"""1.5 * 2**23: added to a float32 of 0 to 255 it leaves the nearest whole number in the lowest byte, ties to even."""

_BYTES, _WEIGHTS, _INTS, _FLOATS = (kind.as_pointer() for kind in (I8, I32, I64, F32))


def _pair_rows(module: ir.Module) -> None:
    """``out[tile, pair, sample] = first row, second row`` for pairs of row addresses."""
    kinds = {"rows": _INTS, "pairs": I64, "offset": I64, "tiles": I64, "out": _BYTES}
    code = Code(module, "pair_rows", kinds)
    rows, pairs, offset, tiles, out = code.arguments
    with code.loop(pairs) as pair:
        upper, lower = (code.bytes_at(rows[pair.index * 2 + k] + offset) for k in (0, 1))
        with code.loop(tiles) as tile:
            for line in (upper, lower):
                code.prefetch(line.at((tile.index + tiles) * TILE))
            target = out.at((tile.index * pairs + pair.index) * (2 * TILE))
            for v in _VECTORS:
                first, second = (line.vector(tile.index * TILE + v) for line in (upper, lower))
                target.store(first.lanes(_ZIPPED, second), 2 * v)
    code.end()


def _paired_samples(line: Array, first: int) -> Value:
    """16 pairs of bytes of a tile's row, as pairs of 16-bit numbers."""
    low, high = (line.vector(2 * first + half) for half in (0, LANES))
    return low.lanes(range(2 * LANES), high).unsigned(I16)


def _pair_product(pixels: Value, weights: Value) -> Value:
    """Per lane, first pixel times first weight plus second times second, in 32 bits."""
    products = pixels.signed(I32) * weights.halves().signed(I32)
    return products.lanes(range(0, 2 * LANES, 2)) + products.lanes(range(1, 2 * LANES, 2))


def _filter_rows(module: ir.Module) -> None:
    """``out[block, sample, lane]``: sample ``sample`` of output row ``16 * block + lane``, as float32."""
    kinds = {"pixels": _BYTES, "pairs": I64, "tiles": I64, "starts": _INTS, "weights": _WEIGHTS, "taps": I64}
    code = Code(
        module, "filter_rows", {**kinds, "scales": _FLOATS, "rows": I64, "out": _FLOATS, "stride": I64}
    )
    pixels, pairs, tiles, starts, weights, taps, scales, rows, out, stride = code.arguments
    sums = code.zero_scratch(F32, LANES * TILE)  # rows that a last block lacks are turned with the others
    blocks = (rows + (LANES - 1)) // LANES
    with code.loop(tiles) as tile, code.loop(blocks) as block:
        tile_pixels = pixels.at(tile.index * (pairs * (2 * TILE)))
        top = block.index * LANES
        with code.loop(((rows - top).at_most(LANES) + 1) // 2) as two:
            first = top + two.index * 2
            numbers = (first, (first + 1).at_most(rows - 1))  # the last row is its own neighbour
            taken = [(starts[number], weights.at(number * taps)) for number in numbers]
            for half in _HALVES:
                for row, (number, totals) in enumerate(
                    zip(numbers, _two_sums(code, tile_pixels, half, taken, taps), strict=True)
                ):
                    scale = scales[number].splat()
                    for v, total in zip(half, totals, strict=True):
                        sums.store(total.floats() * scale, (two.index * 2 + row) * TILE + v)
        target = out.at(block.index * stride).at(tile.index * (TILE * LANES))
        with code.loop(len(_VECTORS)) as part:
            square = [sums.vector(part.index * LANES + row_at) for row_at in range(0, LANES * TILE, TILE)]
            for sample, lanes in enumerate(transposed(square)):
                target.store(lanes, part.index * (LANES * LANES) + sample * LANES)
    code.end()


def _two_sums(
    code: Code, pixels: Array, part: range, taken: Sequence[tuple[Value, Array]], taps: Value
) -> list[list[Value]]:
    """Two output rows of part of a tile: its pairs of rows, each times their pairs of weights.

    The rows draw on much the same pairs, which are read once for both: first come those that the upper row has alone,
    then the common ones, then those of the lower row.

    Args:
        code: Where it is written.
        pixels: The tile.
        part: Where its vectors begin.
        taken: Of both rows, the upper first, their first pair and their weights.
        taps: Pairs that each draws on.
    """
    (upper, _), (lower, _) = taken
    totals = [[code.zeros(I32)] * len(part) for _ in taken]
    for first, stop, rows in (
        (upper, lower, (0,)),
        (lower, upper + taps, (0, 1)),
        (upper + taps, lower + taps, (1,)),
    ):
        weights = [taken[row][1].at(first - taken[row][0]) for row in rows]
        with code.loop(stop - first, [total for row in rows for total in totals[row]]) as tap:
            line = pixels.at((first + tap.index) * (2 * TILE))
            samples = [_paired_samples(line, v) for v in part]
            sums, added = iter(tap.values), []
            for weight in weights:
                pair = weight[tap.index].splat()
                added += [next(sums) + _pair_product(sample, pair) for sample in samples]
            tap.carry(added)
        results = iter(tap.results)
        for row in rows:
            totals[row] = [next(results) for _ in part]
    return totals


def _filter_columns(module: ir.Module) -> None:
    """Output pixels ``0 .. count - 1`` of every row, 8-bit, ``image[row, 3 * pixel + channel]``."""
    kinds = {"half": _FLOATS, "stride": I64, "starts": _INTS, "origin": I64, "weights": _FLOATS, "taps": I64}
    kinds |= {"count": I64, "rows": I64, "image": _BYTES, "image_stride": I64}
    code = Code(module, "filter_columns", kinds)
    half, stride, starts, origin, weights, taps, count, rows, image, image_stride = code.arguments
    # pixels that a last group lacks are turned with the others
    exact, turned = code.zero_scratch(F32, OUTPUT_PX * _PIXEL), code.scratch(I8, OUTPUT_PX * _PIXEL)
    blocks, groups = (rows + (LANES - 1)) // LANES, (count + (OUTPUT_PX - 1)) // OUTPUT_PX
    with code.loop(blocks) as block:
        samples, top = half.at(block.index * stride), block.index * LANES
        height, lines = (rows - top).at_most(LANES), image.at(top * image_stride)
        with code.loop(groups) as group:
            first = group.index * OUTPUT_PX
            width = (count - first).at_most(OUTPUT_PX)
            with code.loop(width) as pixel:
                number = first + pixel.index
                column = samples.at((starts[number] - origin) * _PIXEL)
                for c, total in enumerate(_filtered(code, column, weights.at(number * taps), taps)):
                    exact.store(total, pixel.index * _PIXEL + c * LANES)
            place = lines.at(first * 3)
            whole = (height == LANES) & (width == LANES)
            _write(
                code,
                exact,
                whole.choose(place, turned),
                whole.choose(image_stride, code.number(3 * OUTPUT_PX)),
            )
            with code.loop(whole.choose(code.number(0), height)) as row:
                line = turned.at(row.index * (3 * OUTPUT_PX))
                code.copy(place.at(row.index * image_stride), line, width * 3)
    code.end()


def _filtered(code: Code, column: Array, weights: Array, taps: Value) -> list[Value]:
    """One output pixel of 16 rows, a vector for each channel: half-filtered columns times their weights."""
    with code.loop(taps // 2, [code.zeros(F32)] * 3) as step:
        totals = step.values
        for k in range(2):  # two taps a round: fewer rounds to count
            tap = step.index * 2 + k
            weight = weights[tap].splat()
            channels = [column.at(tap * _PIXEL).vector(c * LANES) for c in range(3)]
            totals = [total + channel * weight for total, channel in zip(totals, channels, strict=True)]
        step.carry(totals)
    return step.results


def _write(code: Code, exact: Array, target: Array, stride: Value) -> None:
    """16 pixels of 16 rows, rounded, as lines of bytes."""
    for part in range(3):
        square = [exact.vector((part * LANES + i) * LANES) for i in range(LANES)]
        for r, line in enumerate(transposed([_rounded(samples) for samples in square])):
            target.store(line.lowest(I8), stride * r + part * LANES)


def _rounded(value: Value) -> Value:
    """Clipped to 0..255 and rounded to the nearest whole number, in the lowest byte of each lane."""
    return (value.clipped(0.0, 255.0) + _ROUND).bits()


def _keep_columns(module: ir.Module) -> None:
    """Move ``count`` half-filtered samples of every block from ``first`` on to its beginning, in place."""
    kinds = {"half": _FLOATS, "stride": I64, "blocks": I64, "first": I64, "count": I64}
    code = Code(module, "keep_columns", kinds)
    half, stride, blocks, first, count = code.arguments
    with code.loop(blocks) as block:
        start = half.at(block.index * stride)
        code.move(start, start.at(first * LANES), count * (4 * LANES))
    code.end()


@dataclass(frozen=True, kw_only=True)
class LanczosCode:
    """The compiled loops."""

    compiled: Compiled
    pair_rows: Any
    filter_rows: Any
    filter_columns: Any
    keep_columns: Any


@cache
def lanczos_code(cpu: str | None = None) -> LanczosCode:
    """The loops for this machine, or for a processor by LLVM's name; compiled once per process."""
    compiled = Compiled(lanczos_module(), cpu)
    names = ("pair_rows", "filter_rows", "filter_columns", "keep_columns")
    return LanczosCode(compiled=compiled, **{name: compiled.function(name) for name in names})


def lanczos_module() -> ir.Module:
    """The loops as LLVM's code, for any processor."""
    module = ir.Module(name="lanczos")
    for write in (_pair_rows, _filter_rows, _filter_columns, _keep_columns):
        write(module)
    return module
