"""The resampling loops once more, as plain Python over arrays that numba compiles: what ``loops.py`` compares.

They take what :mod:`slideprep.images.resample.loops` takes, addresses and counts, and make the same bytes: whole
numbers are exact, and without ``fastmath`` numba keeps the order of floats and fuses nothing. No threads.

Written for numba's compiler, which vectorises innermost loops: a tile's 64 samples (a pixel's 48) are that loop, and
four taps a round keep their sums from going to memory and back after each.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from slideprep.images.resample.loops import OUTPUT_PX, TILE
from slideprep.images.vector_values import LANES

PIXEL = 3 * LANES
u8, u16, i32, f32 = np.uint8, np.uint16, np.int32, np.float32
jit = njit(nogil=True, error_model="numpy")


def pointer_to(kind: Any) -> Any:
    """What makes a pointer of an address: numba has no function for it."""

    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(types.int64), write

    return at


bytes_at, pairs_at, shorts_at, longs_at, floats_at = (
    pointer_to(kind) for kind in (types.uint8, types.uint16, types.int16, types.int64, types.float32)
)


@jit
def pair_rows(rows, pairs, offset, tiles, out):
    """``out[tile, pair, sample] = first row, second row``."""
    addresses = carray(longs_at(rows), 2 * pairs)
    target = carray(bytes_at(out), (tiles, pairs, 2 * TILE))
    for pair in range(pairs):
        upper = carray(bytes_at(addresses[2 * pair] + offset), tiles * TILE)
        lower = carray(bytes_at(addresses[2 * pair + 1] + offset), tiles * TILE)
        for tile in range(tiles):
            above, below = upper[tile * TILE : (tile + 1) * TILE], lower[tile * TILE : (tile + 1) * TILE]
            both = target[tile, pair]
            for s in range(TILE):
                both[2 * s] = above[s]
                both[2 * s + 1] = below[s]


@jit
def filter_rows(pixels, pairs, tiles, starts, weights, taps, scales, rows, out, stride):
    """``out[block, sample, lane]``: sample ``sample`` of output row ``16 * block + lane``."""
    pixel = carray(pairs_at(pixels), (tiles, pairs, TILE))
    first = carray(longs_at(starts), rows)
    weight = carray(shorts_at(weights), (rows, 2 * taps))
    scale = carray(floats_at(scales), rows)
    blocks = (rows + LANES - 1) // LANES
    half = carray(floats_at(out), (blocks - 1) * stride + tiles * TILE * LANES)
    sums, exact = np.zeros(TILE, i32), np.zeros((LANES, TILE), f32)
    for tile in range(tiles):
        for block in range(blocks):
            for lane in range(min(LANES, rows - block * LANES)):
                row = block * LANES + lane
                weigh(pixel[tile, first[row] :], weight[row], sums)
                for s in range(TILE):
                    exact[lane, s] = f32(sums[s]) * scale[row]
            at = block * stride + tile * TILE * LANES
            target = half[at : at + TILE * LANES]
            for s in range(TILE):
                for lane in range(LANES):
                    target[s * LANES + lane] = exact[lane, s]


@jit
def weigh(pixel, weight, sums):
    """The sum over pairs of first pixel times first weight plus second times second."""
    taps = len(weight) // 2
    sums[:] = 0
    for tap in range(0, taps - 3, 4):
        p0, p1, p2, p3 = pixel[tap], pixel[tap + 1], pixel[tap + 2], pixel[tap + 3]
        w = weight[2 * tap : 2 * tap + 8]
        w0, w1, w2, w3 = i32(w[0]), i32(w[1]), i32(w[2]), i32(w[3])
        w4, w5, w6, w7 = i32(w[4]), i32(w[5]), i32(w[6]), i32(w[7])
        for s in range(TILE):
            a = i32(p0[s] & u16(255)) * w0 + i32(p0[s] >> u16(8)) * w1
            b = i32(p1[s] & u16(255)) * w2 + i32(p1[s] >> u16(8)) * w3
            c = i32(p2[s] & u16(255)) * w4 + i32(p2[s] >> u16(8)) * w5
            d = i32(p3[s] & u16(255)) * w6 + i32(p3[s] >> u16(8)) * w7
            sums[s] += a + b + c + d
    for tap in range(taps - taps % 4, taps):
        p0, w0, w1 = pixel[tap], i32(weight[2 * tap]), i32(weight[2 * tap + 1])
        for s in range(TILE):
            sums[s] += i32(p0[s] & u16(255)) * w0 + i32(p0[s] >> u16(8)) * w1


@jit
def filter_columns(half, stride, starts, origin, weights, taps, count, rows, image, image_stride):
    """Output pixels ``0 .. count - 1`` of every row, ``image[row, 3 * pixel + channel]``."""
    blocks = (rows + LANES - 1) // LANES
    samples = carray(floats_at(half), (blocks, stride))
    first = carray(longs_at(starts), count)
    weight = carray(floats_at(weights), (count, taps))
    line = carray(bytes_at(image), (rows - 1) * image_stride + 3 * count)
    total, whole = np.zeros(PIXEL, f32), np.zeros((OUTPUT_PX, PIXEL), u8)
    for block in range(blocks):
        for group in range(0, count, OUTPUT_PX):
            width = min(OUTPUT_PX, count - group)
            for pixel in range(width):
                number = group + pixel
                at = PIXEL * (first[number] - origin)
                weigh_columns(samples[block, at : at + PIXEL * taps], weight[number], total)
                for j in range(PIXEL):
                    whole[pixel, j] = u8(np.rint(min(max(total[j], f32(0)), f32(255))))
            columns = whole.reshape(3 * OUTPUT_PX, LANES)
            for lane in range(min(LANES, rows - block * LANES)):
                at = (block * LANES + lane) * image_stride + 3 * group
                target = line[at : at + 3 * width]
                for s in range(3 * width):
                    target[s] = columns[s, lane]


@jit
def weigh_columns(column, weight, total):
    """One output pixel of 16 rows: columns times their weights, added in their order."""
    taps = len(weight)
    total[:] = 0
    for tap in range(0, taps - 3, 4):
        a = column[PIXEL * tap : PIXEL * (tap + 4)]
        w0, w1, w2, w3 = weight[tap], weight[tap + 1], weight[tap + 2], weight[tap + 3]
        for j in range(PIXEL):
            t = (total[j] + a[j] * w0) + a[PIXEL + j] * w1
            total[j] = (t + a[2 * PIXEL + j] * w2) + a[3 * PIXEL + j] * w3
    for tap in range(taps - taps % 4, taps):
        a, w0 = column[PIXEL * tap : PIXEL * (tap + 1)], weight[tap]
        for j in range(PIXEL):
            total[j] += a[j] * w0


@jit
def keep_columns(half, stride, blocks, first, count):
    """Move ``count`` half-filtered samples of every block from ``first`` on to its beginning."""
    samples = carray(floats_at(half), (blocks, stride))
    for block in range(blocks):
        line = samples[block]
        for j in range(count * LANES):
            line[j] = line[first * LANES + j]


def numba_code() -> SimpleNamespace:
    """The loops, compiled, in place of :func:`slideprep.images.resample.loops.lanczos_code`'s."""
    loops = {"pair_rows": 5, "filter_rows": 10, "filter_columns": 10, "keep_columns": 5}
    for name, arguments in loops.items():
        globals()[name].compile(types.void(*[types.int64] * arguments))
    return SimpleNamespace(**{name: globals()[name] for name in loops})
