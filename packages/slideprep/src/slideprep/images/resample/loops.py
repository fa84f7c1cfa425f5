"""Loops that filter level-0 pixels to one magnification, in the processor's own code.

1. ``pair_rows``: rows of bytes, two at a time, as pairs of 16-bit numbers, in columns of tiles that stay in the cache.
2. ``filter_rows``: along y. A pair of pixels times a pair of whole-number weights, added to a 32-bit sum, is one
   operation of the processor (x86: vpmaddwd, vpdpwssd); whole numbers make it exact. 16 rows of sums at a time are
   turned by a quarter, so that the next filter finds its taps one below the other again.
3. ``filter_columns``: along x, in float32; rounded once, clipped, turned back, written into the image.

``docs/resampling-loops.md`` shows how such a loop is written and changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir

from slideprep.images.vector_code import Code, Compiled, transposed
from slideprep.images.vector_values import F32, I8, I32, I64, LANES, Array, Value

TILE = 64
"""Samples (a pixel's channels are three) filtered along y at a time: four sums side by side stay in registers."""

OUTPUT_PX = 16
"""Output pixels filtered along x before they are turned and written: 3 * 16 samples."""

_PIXEL = 3 * LANES
"""Half-filtered samples of a column: three channels of a block of 16 rows."""

_VECTORS = range(0, TILE, LANES)
"""Where in a tile its vectors begin."""

_ROUND = 12_582_912.0
"""1.5 * 2**23: added to a float32 of 0 to 255 it leaves the nearest whole number in the lowest byte, ties to even."""

_BYTES, _PAIRS, _INTS, _FLOATS = (kind.as_pointer() for kind in (I8, I32, I64, F32))


def _pair_rows(module: ir.Module) -> None:
    """``out[tile, pair, :] = first row | second row << 16`` for pairs of row addresses."""
    kinds = {"rows": _INTS, "pairs": I64, "offset": I64, "tiles": I64, "out": _PAIRS}
    code = Code(module, "pair_rows", kinds)
    rows, pairs, offset, tiles, out = code.arguments
    with code.loop(pairs) as pair:
        upper, lower = (code.bytes_at(rows[pair.index * 2 + k] + offset) for k in (0, 1))
        with code.loop(tiles) as tile:
            for line in (upper, lower):
                code.prefetch(line.at((tile.index + tiles) * TILE))
            target = out.at((tile.index * pairs + pair.index) * TILE)
            for v in _VECTORS:
                first, second = (line.vector(tile.index * TILE + v).unsigned(I32) for line in (upper, lower))
                target.store(first | second << 16, v)
    code.end()


def _pair_product(pixels: Value, weights: Value) -> Value:
    """Per lane, first pixel times first weight plus second times second, in 32 bits."""
    products = pixels.halves().signed(I32) * weights.halves().signed(I32)
    return products.lanes(range(0, 2 * LANES, 2)) + products.lanes(range(1, 2 * LANES, 2))


def _filter_rows(module: ir.Module) -> None:
    """``out[block, sample, lane]``: sample ``sample`` of output row ``16 * block + lane``, as float32."""
    kinds = {"pixels": _PAIRS, "pairs": I64, "tiles": I64, "starts": _INTS, "weights": _PAIRS, "taps": I64}
    code = Code(
        module, "filter_rows", {**kinds, "scales": _FLOATS, "rows": I64, "out": _FLOATS, "stride": I64}
    )
    pixels, pairs, tiles, starts, weights, taps, scales, rows, out, stride = code.arguments
    sums = code.zero_scratch(F32, LANES * TILE)  # rows that a last block lacks are turned with the others
    blocks = (rows + (LANES - 1)) // LANES
    with code.loop(tiles) as tile, code.loop(blocks) as block:
        tile_pixels = pixels.at(tile.index * (pairs * TILE))
        top = block.index * LANES
        with code.loop((rows - top).at_most(LANES)) as row:
            number = top + row.index
            total = _weighted(code, tile_pixels.at(starts[number] * TILE), weights.at(number * taps), taps)
            scale = scales[number].splat()
            for v, vector in zip(_VECTORS, total, strict=True):
                sums.store(vector.floats() * scale, row.index * TILE + v)
        target = out.at(block.index * stride).at(tile.index * (TILE * LANES))
        with code.loop(len(_VECTORS)) as part:
            square = [sums.vector(part.index * LANES + row_at) for row_at in range(0, LANES * TILE, TILE)]
            for sample, lanes in enumerate(transposed(square)):
                target.store(lanes, part.index * (LANES * LANES) + sample * LANES)
    code.end()


def _weighted(code: Code, pixels: Array, weights: Array, taps: Value) -> list[Value]:
    """The sum of a tile's pairs of rows, each times its pair of weights."""
    with code.loop(taps, [code.zeros(I32)] * len(_VECTORS)) as tap:
        weight = weights[tap.index].splat()
        line = pixels.at(tap.index * TILE)
        products = [_pair_product(line.vector(v), weight) for v in _VECTORS]
        tap.carry([total + product for total, product in zip(tap.values, products, strict=True)])
    return tap.results


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
