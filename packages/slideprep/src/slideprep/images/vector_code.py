"""Small loops over vectors of 16 numbers, compiled for this machine's processor when first needed: LLVM's, by llvmlite.

What numpy and BLAS cannot do at the processor's speed is written here as LLVM's own code, one vector operation after
the other (:mod:`slideprep.images.resample.loops`, :mod:`slideprep.images.sums`; ``docs/resampling-loops.md`` teaches
it). Compiling takes a tenth of a second per process and leaves nothing on disk, so a read-only installation and many
workers that start at once are no special cases.

Nothing may depend on the processor: integers are exact in any order, floats are multiplied and added in the order
written and never fused, so every machine makes the same bytes, with vectors of any width.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numpy.typing import NDArray

from slideprep.images.vector_values import I8, I32, I64, LANES, Array, Value

_LINE = 64
"""Bytes of a cache line."""


def aligned_zeros(size: int, kind: type[Any]) -> NDArray[Any]:
    """An array whose vectors each lie in one line of the cache: others take twice as long to read."""
    wanted = size * np.dtype(kind).itemsize
    memory = np.zeros(wanted + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + wanted].view(kind)


class Code:
    """One function being written.

    Attributes:
        arguments: What it is called with, in order: a :class:`Value` for a number, an :class:`Array` for an address.
    """

    def __init__(self, module: ir.Module, name: str, arguments: dict[str, ir.Type]) -> None:
        """Begin it.

        Args:
            module: Where it goes.
            name: Its name there.
            arguments: Names and types of its arguments, in order; an array's is a pointer to its first element.
        """
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments.values()), name=name)
        self._module = module
        self._builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.arguments: list[Any] = []
        for label, raw in zip(arguments, function.args, strict=True):
            raw.name = label
            made = Array if isinstance(raw.type, ir.PointerType) else Value
            self.arguments.append(made(self._builder, raw))

    def end(self) -> None:
        """Return to the caller."""
        self._builder.ret_void()

    @contextmanager
    def loop(self, count: Value | int, carried: Sequence[Value] = ()) -> Iterator[Loop]:
        """Repeat the block's code ``count`` times (possibly none), with values carried from one round to the next."""
        made = Loop(self._builder, count if isinstance(count, Value) else self.number(count), carried)
        yield made
        made.close()

    def number(self, value: int) -> Value:
        """A whole number of 64 bits: a count, an index."""
        return Value(self._builder, I64(value))

    def zeros(self, kind: ir.Type) -> Value:
        """A vector of nothing but 0."""
        return Value(self._builder, ir.Constant(ir.VectorType(kind, LANES), [0] * LANES))

    def scratch(self, kind: ir.Type, size: int) -> Array:
        """Memory of the function's own, until it returns; what is in it is not known."""
        memory = self._builder.alloca(kind, size)
        memory.align = _LINE
        return Array(self._builder, memory)

    def zero_scratch(self, kind: ir.Type, size: int) -> Array:
        """The same, filled with 0: ``size`` is a multiple of 16."""
        memory = self.scratch(kind, size)
        for first in range(0, size, LANES):
            memory.store(self.zeros(kind), first)
        return memory

    def bytes_at(self, address: Value) -> Array:
        """Memory by its address as a whole number."""
        return Array(self._builder, self._builder.inttoptr(address.raw, I8.as_pointer()))

    def prefetch(self, place: Array) -> None:
        """Have the second cache load what will be read soon."""
        kinds = [I8.as_pointer(), I32, I32, I32]
        function = self._module.declare_intrinsic(
            "llvm.prefetch", kinds[:1], ir.FunctionType(ir.VoidType(), kinds)
        )
        self._builder.call(function, [place.as_bytes(), I32(0), I32(2), I32(1)])

    def copy(self, target: Array, source: Array, size: Value) -> None:
        """Copy ``size`` bytes to where they do not overlap."""
        self._transfer("llvm.memcpy", target, source, size)

    def move(self, target: Array, source: Array, size: Value) -> None:
        """Copy ``size`` bytes to where they may overlap."""
        self._transfer("llvm.memmove", target, source, size)

    def _transfer(self, name: str, target: Array, source: Array, size: Value) -> None:
        function = self._module.declare_intrinsic(name, [I8.as_pointer(), I8.as_pointer(), I64])
        not_volatile = ir.Constant(ir.IntType(1), 0)
        self._builder.call(function, [target.as_bytes(), source.as_bytes(), size.raw, not_volatile])


def transposed(rows: Sequence[Value]) -> list[Value]:
    """16 vectors as the columns of a square: lane i of vector k becomes lane k of vector i."""
    square = list(rows)
    for distance in (8, 4, 2, 1):
        upper = [lane if not lane & distance else lane - distance + LANES for lane in range(LANES)]
        lower = [lane + distance if not lane & distance else lane + LANES for lane in range(LANES)]
        for i in (i for i in range(LANES) if not i & distance):
            a, b = square[i], square[i + distance]
            square[i], square[i + distance] = a.lanes(upper, b), a.lanes(lower, b)
    return square


class Loop:
    """A counting loop; ``index`` counts from 0, ``values`` are the carried ones, to be replaced by :meth:`carry`.

    ``results`` are the carried values after the last round.
    """

    def __init__(self, builder: ir.IRBuilder, count: Value, carried: Sequence[Value]) -> None:
        self._builder = builder
        before = builder.block
        self._head = builder.append_basic_block("head")
        body = builder.append_basic_block("body")
        self._after = builder.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = Value(builder, builder.phi(count.kind))
        self.index.raw.add_incoming(ir.Constant(count.kind, 0), before)
        self.values = [Value(builder, builder.phi(value.kind)) for value in carried]
        for phi, value in zip(self.values, carried, strict=True):
            phi.raw.add_incoming(value.raw, before)
        self._next: Sequence[Value] = self.values
        builder.cbranch(builder.icmp_unsigned("<", self.index.raw, count.raw), body, self._after)
        builder.position_at_end(body)

    def carry(self, values: Sequence[Value]) -> None:
        """What the next round starts with."""
        self._next = list(values)

    @property
    def results(self) -> list[Value]:
        """The carried values after the last round."""
        return self.values

    def close(self) -> None:
        """End the block of code that is repeated."""
        builder = self._builder
        end = builder.block
        self.index.raw.add_incoming((self.index + 1).raw, end)
        for phi, value in zip(self.values, self._next, strict=True):
            phi.raw.add_incoming(value.raw, end)
        builder.branch(self._head)
        builder.position_at_end(self._after)


class Compiled:
    """The machine code of a module. Its functions keep it."""

    def __init__(self, module: ir.Module, cpu: str | None = None) -> None:
        """Compile for a processor by LLVM's name ("haswell"), for the one at hand where None is given."""
        self._module = module
        self._cpu = cpu
        self._parsed = binding.parse_assembly(str(module))
        self._parsed.verify()
        self._engine = binding.create_mcjit_compiler(self._parsed, _machine(cpu))
        self._engine.finalize_object()

    @property
    def assembly(self) -> str:
        """The machine code as text, to look at."""
        return str(_machine(self._cpu).emit_assembly(self._parsed))

    def function(self, name: str) -> Callable[..., None]:
        """A function by its name; arrays are given to it by their addresses."""
        kinds = self._module.get_global(name).function_type.args
        arguments = [
            ctypes.c_size_t if isinstance(kind, ir.PointerType) else ctypes.c_int64 for kind in kinds
        ]
        function = ctypes.CFUNCTYPE(None, *arguments)(self._engine.get_function_address(name))
        function.code = self  # type: ignore[attr-defined] # freed with the last of its functions
        return function


def _machine(cpu: str | None) -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=cpu or binding.get_host_cpu_name(),
        features="" if cpu else binding.get_host_cpu_features().flatten(),
        opt=3,
    )
