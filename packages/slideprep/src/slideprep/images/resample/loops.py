"""Loops that filter level-0 pixels to one magnification, in the processor's own code.

1. ``pair_rows``: rows of bytes, two at a time, as pairs of 16-bit numbers, in columns of tiles that stay in the cache.
2. ``filter_rows``: along y. A pair of pixels times a pair of whole-number weights, added to a 32-bit sum, is one
   operation of the processor (x86: vpmaddwd, vpdpwssd); whole numbers make it exact. 16 rows of sums at a time are
   turned by a quarter, so that the next filter finds its taps one below the other again.
3. ``filter_columns``: along x, in float32; rounded once, clipped, turned back, written into the image.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir

from slideprep.images.vector_code import BYTES, F32, FLOATS, I8, I16, I32, I64, INTS, LANES, Code, Compiled

TILE = 64
"""Samples (a pixel's channels are three) filtered along y at a time: four sums side by side stay in registers."""

OUTPUT_PX = 16
"""Output pixels filtered along x before they are turned and written: 3 * 16 samples."""

_VECTORS = TILE // LANES
_ROUND = 12_582_912.0
"""1.5 * 2**23: added to a float32 of 0 to 255 it leaves the nearest whole number in the lowest byte, ties to even."""


def _pair_rows(module: ir.Module) -> None:
    """``out[tile, pair, :] = first row | second row << 16`` for pairs of row addresses."""
    code = Code(
        module,
        "pair_rows",
        {
            "rows": I64.as_pointer(),
            "pairs": I64,
            "offset": I64,
            "tiles": I64,
            "out": I32.as_pointer(),
        },
    )
    given, b = code.arguments, code.builder
    prefetch = module.declare_intrinsic(
        "llvm.prefetch", [I8.as_pointer()], ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    )
    with code.loop(given["pairs"]) as pair:
        row = code.at(given["rows"], b.mul(pair.index, I64(2)))
        upper, lower = (
            b.inttoptr(b.add(b.load(at), given["offset"]), I8.as_pointer())
            for at in (row, code.at(row, I64(1)))
        )
        with code.loop(given["tiles"]) as tile:
            place = b.add(b.mul(tile.index, given["pairs"]), pair.index)
            ahead = b.mul(b.add(tile.index, given["tiles"]), I64(TILE))
            for line in (upper, lower):
                b.call(prefetch, [code.at(line, ahead), I32(0), I32(2), I32(1)])
            for vector in range(_VECTORS):
                column = b.add(b.mul(tile.index, I64(TILE)), I64(vector * LANES))
                first = b.zext(code.load(code.at(upper, column), BYTES), INTS)
                second = b.zext(code.load(code.at(lower, column), BYTES), INTS)
                both = b.or_(first, b.shl(second, ir.Constant(INTS, [16] * LANES)))
                code.store(both, code.at(given["out"], b.add(b.mul(place, I64(TILE)), I64(vector * LANES))))
    b.ret_void()


def _pair_product(code: Code, pixels: Any, weights: Any) -> Any:
    """Per lane, first pixel times first weight plus second times second, in 32 bits."""
    b = code.builder
    halves, wide = ir.VectorType(I16, 2 * LANES), ir.VectorType(I32, 2 * LANES)
    products = b.mul(*(b.sext(b.bitcast(value, halves), wide) for value in (pixels, weights)))
    even = code.shuffle(products, products, range(0, 2 * LANES, 2))
    odd = code.shuffle(products, products, range(1, 2 * LANES, 2))
    return b.add(even, odd)


def _filter_rows(module: ir.Module) -> None:
    """``out[block, sample, lane]``: sample ``sample`` of output row ``16 * block + lane``, as float32."""
    code = Code(
        module,
        "filter_rows",
        {
            "pixels": I32.as_pointer(),
            "pairs": I64,
            "tiles": I64,
            "starts": I64.as_pointer(),
            "weights": I32.as_pointer(),
            "taps": I64,
            "scales": F32.as_pointer(),
            "rows": I64,
            "out": F32.as_pointer(),
            "block_stride": I64,
        },
    )
    given, b = code.arguments, code.builder
    sums = b.alloca(F32, LANES * TILE)
    sums.align = 64
    for i in range(_VECTORS * LANES):  # rows that a last block lacks are turned with the others
        code.store(ir.Constant(FLOATS, [0.0] * LANES), code.at(sums, I32(i * LANES)))
    blocks = b.udiv(b.add(given["rows"], I64(LANES - 1)), I64(LANES))
    with code.loop(given["tiles"]) as tile:
        tile_pixels = code.at(given["pixels"], b.mul(tile.index, b.mul(given["pairs"], I64(TILE))))
        with code.loop(blocks) as block:
            top = b.mul(block.index, I64(LANES))
            left = b.sub(given["rows"], top)
            count = b.select(b.icmp_unsigned("<", left, I64(LANES)), left, I64(LANES))
            with code.loop(count) as row:
                number = b.add(top, row.index)
                start = b.load(code.at(given["starts"], number))
                pixels = code.at(tile_pixels, b.mul(start, I64(TILE)))
                weights = code.at(given["weights"], b.mul(number, given["taps"]))
                with code.loop(given["taps"], [ir.Constant(INTS, [0] * LANES)] * _VECTORS) as tap:
                    weight = code.splat(b.load(code.at(weights, tap.index)))
                    line = code.at(pixels, b.mul(tap.index, I64(TILE)))
                    parts = [code.load(code.at(line, I64(v * LANES)), INTS) for v in range(_VECTORS)]
                    products = [_pair_product(code, part, weight) for part in parts]
                    tap.carry([b.add(a, p) for a, p in zip(tap.values, products, strict=True)])
                scale = code.splat(b.load(code.at(given["scales"], number)))
                for v, total in enumerate(tap.results):
                    exact = b.fmul(b.sitofp(total, FLOATS), scale)
                    place = b.add(b.mul(row.index, I64(TILE)), I64(v * LANES))
                    code.store(exact, code.at(sums, place))
            target = code.at(given["out"], b.mul(block.index, given["block_stride"]))
            target = code.at(target, b.mul(tile.index, I64(TILE * LANES)))
            with code.loop(I64(_VECTORS)) as part:
                at = code.at(sums, b.mul(part.index, I64(LANES)))
                square = [code.load(code.at(at, I64(r * TILE)), FLOATS) for r in range(LANES)]
                to = code.at(target, b.mul(part.index, I64(LANES * LANES)))
                for sample, lanes in enumerate(code.transposed(square)):
                    code.store(lanes, code.at(to, I64(sample * LANES)))
    b.ret_void()


def _filter_columns(module: ir.Module) -> None:
    """Output pixels ``0 .. count - 1`` of every row, 8-bit, ``image[row, 3 * pixel + channel]``."""
    code = Code(
        module,
        "filter_columns",
        {
            "half": F32.as_pointer(),
            "block_stride": I64,
            "starts": I64.as_pointer(),
            "origin": I64,
            "weights": F32.as_pointer(),
            "taps": I64,
            "count": I64,
            "rows": I64,
            "image": I8.as_pointer(),
            "image_stride": I64,
        },
    )
    given, b = code.arguments, code.builder
    copy = module.declare_intrinsic("llvm.memcpy", [I8.as_pointer(), I8.as_pointer(), I64])
    exact = b.alloca(F32, OUTPUT_PX * 3 * LANES)
    exact.align = 64
    turned = b.alloca(I8, LANES * 3 * OUTPUT_PX)
    turned.align = 64
    for i in range(OUTPUT_PX * 3):  # pixels that a last group lacks are turned with the others
        code.store(ir.Constant(FLOATS, [0.0] * LANES), code.at(exact, I32(i * LANES)))
    blocks = b.udiv(b.add(given["rows"], I64(LANES - 1)), I64(LANES))
    groups = b.udiv(b.add(given["count"], I64(OUTPUT_PX - 1)), I64(OUTPUT_PX))
    with code.loop(blocks) as block:
        half = code.at(given["half"], b.mul(block.index, given["block_stride"]))
        top = b.mul(block.index, I64(LANES))
        rows = _at_most(b, b.sub(given["rows"], top), LANES)
        lines = code.at(given["image"], b.mul(top, given["image_stride"]))
        with code.loop(groups) as group:
            first = b.mul(group.index, I64(OUTPUT_PX))
            count = _at_most(b, b.sub(given["count"], first), OUTPUT_PX)
            with code.loop(count) as pixel:
                number = b.add(first, pixel.index)
                start = b.sub(b.load(code.at(given["starts"], number)), given["origin"])
                samples = code.at(half, b.mul(start, I64(3 * LANES)))
                weights = code.at(given["weights"], b.mul(number, given["taps"]))
                nothing = ir.Constant(FLOATS, [0.0] * LANES)
                with code.loop(b.udiv(given["taps"], I64(2)), [nothing] * 3) as step:
                    totals = step.values
                    for k in range(2):  # two taps a round: fewer rounds to count
                        tap = b.add(b.mul(step.index, I64(2)), I64(k))
                        weight = code.splat(b.load(code.at(weights, tap)))
                        at = code.at(samples, b.mul(tap, I64(3 * LANES)))
                        channels = [code.load(code.at(at, I64(c * LANES)), FLOATS) for c in range(3)]
                        totals = [b.fadd(t, b.fmul(c, weight)) for t, c in zip(totals, channels, strict=True)]
                    step.carry(totals)
                for c, total in enumerate(step.results):
                    place = b.add(b.mul(pixel.index, I64(3 * LANES)), I64(c * LANES))
                    code.store(total, code.at(exact, place))
            place = code.at(lines, b.mul(first, I64(3)))
            full = b.and_(*(b.icmp_unsigned("==", n, I64(LANES)) for n in (rows, count)))
            target = b.select(full, place, turned)
            stride = b.select(full, given["image_stride"], I64(3 * OUTPUT_PX))
            for part in range(3):
                at = code.at(exact, I64(part * LANES * LANES))
                square = [code.load(code.at(at, I64(i * LANES)), FLOATS) for i in range(LANES)]
                for r, line in enumerate(code.transposed([_rounded(b, s) for s in square])):
                    to = code.at(target, b.add(b.mul(stride, I64(r)), I64(part * LANES)))
                    code.store(b.trunc(line, BYTES), to)
            with code.loop(b.select(full, I64(0), rows)) as row:
                to = code.at(place, b.mul(row.index, given["image_stride"]))
                start = code.at(turned, b.mul(row.index, I64(3 * OUTPUT_PX)))
                b.call(copy, [to, start, b.mul(count, I64(3)), ir.Constant(ir.IntType(1), 0)])
    b.ret_void()


def _keep_columns(module: ir.Module) -> None:
    """Move ``count`` half-filtered samples of every block from ``first`` on to its beginning, in place."""
    code = Code(
        module,
        "keep_columns",
        {"half": F32.as_pointer(), "block_stride": I64, "blocks": I64, "first": I64, "count": I64},
    )
    given, b = code.arguments, code.builder
    move = module.declare_intrinsic("llvm.memmove", [I8.as_pointer(), I8.as_pointer(), I64])
    size = b.mul(given["count"], I64(4 * LANES))
    with code.loop(given["blocks"]) as block:
        start = code.at(given["half"], b.mul(block.index, given["block_stride"]))
        kept = code.at(start, b.mul(given["first"], I64(LANES)))
        to, source = (b.bitcast(pointer, I8.as_pointer()) for pointer in (start, kept))
        b.call(move, [to, source, size, ir.Constant(ir.IntType(1), 0)])
    b.ret_void()


def _at_most(b: ir.IRBuilder, value: Any, most: int) -> Any:
    return b.select(b.icmp_unsigned("<", value, I64(most)), value, I64(most))


def _rounded(b: ir.IRBuilder, value: Any) -> Any:
    """Clipped to 0..255 and rounded to the nearest whole number, in the lowest byte of each lane."""
    for bound, beyond in ((0.0, "<"), (255.0, ">")):
        limit = ir.Constant(FLOATS, [bound] * LANES)
        value = b.select(b.fcmp_ordered(beyond, value, limit), limit, value)
    return b.bitcast(b.fadd(value, ir.Constant(FLOATS, [_ROUND] * LANES)), INTS)


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
    module = ir.Module(name="lanczos")
    _pair_rows(module)
    _filter_rows(module)
    _filter_columns(module)
    _keep_columns(module)
    compiled = Compiled(module, cpu)
    address, count = ctypes.c_size_t, ctypes.c_int64
    return LanczosCode(
        compiled=compiled,
        pair_rows=compiled.function("pair_rows", address, count, count, count, address),
        filter_rows=compiled.function(
            "filter_rows",
            *(address, count, count, address, address, count, address, count, address, count),
        ),
        filter_columns=compiled.function(
            "filter_columns",
            *(address, count, address, count, address, count, count, count, address, count),
        ),
        keep_columns=compiled.function("keep_columns", address, count, count, count, count),
    )
