"""Small loops over vectors of 16 numbers, compiled for this machine's processor when first needed: LLVM's, by llvmlite.

What numpy and BLAS cannot do at the processor's speed is written here as LLVM's own code, one vector operation after
the other (:mod:`slideprep.images.resample.loops`, :mod:`slideprep.images.sums`). Compiling takes a tenth of a second
per process and leaves nothing on disk, so a read-only installation and many workers that start at once are no special
cases.

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

LANES = 16
"""Numbers per vector: the widest registers (512 bits) hold 16; the compiler splits vectors for narrower ones."""

_LINE = 64
"""Bytes of a cache line."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()
BYTES, INTS, FLOATS = (ir.VectorType(kind, LANES) for kind in (I8, I32, F32))


def aligned_zeros(size: int, kind: type[Any]) -> NDArray[Any]:
    """An array whose vectors each lie in one line of the cache: others take twice as long to read."""
    wanted = size * np.dtype(kind).itemsize
    memory = np.zeros(wanted + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + wanted].view(kind)


class Code:
    """One function being written.

    Args:
        module: Where it goes.
        name: Its name there.
        arguments: Names and types of its arguments, in order.
    """

    def __init__(self, module: ir.Module, name: str, arguments: dict[str, Any]) -> None:
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments.values()), name=name)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.arguments = dict(zip(arguments, function.args, strict=True))

    @contextmanager
    def loop(self, count: Any, carried: Sequence[Any] = ()) -> Iterator[Loop]:
        """Repeat the block's code ``count`` times (possibly none), with values carried from one round to the next."""
        made = Loop(self.builder, count, carried)
        yield made
        made.close()

    def at(self, pointer: Any, index: Any) -> Any:
        """The address of an array's element."""
        return self.builder.gep(pointer, [index])

    def load(self, pointer: Any, kind: Any) -> Any:
        """Read a number or a vector, whatever the pointer was made for."""
        return self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=_align(kind))

    def store(self, value: Any, pointer: Any) -> None:
        """Write a number or a vector."""
        target = self.builder.bitcast(pointer, value.type.as_pointer())
        self.builder.store(value, target, align=_align(value.type))

    def splat(self, value: Any) -> Any:
        """A vector of one number in all lanes."""
        kind = ir.VectorType(value.type, LANES)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), value, I32(0))
        return self.builder.shuffle_vector(first, first, ir.Constant(INTS, [0] * LANES))

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Pick lanes from two vectors, those of ``b`` numbered after those of ``a``."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, mask)

    def transposed(self, rows: Sequence[Any]) -> list[Any]:
        """16 vectors as the columns of a square: lane i of vector k becomes lane k of vector i."""
        square = list(rows)
        for distance in (8, 4, 2, 1):
            upper = [lane if not lane & distance else lane - distance + LANES for lane in range(LANES)]
            lower = [lane + distance if not lane & distance else lane + LANES for lane in range(LANES)]
            for i in (i for i in range(LANES) if not i & distance):
                a, b = square[i], square[i + distance]
                square[i], square[i + distance] = self.shuffle(a, b, upper), self.shuffle(a, b, lower)
        return square


class Loop:
    """A counting loop; ``index`` counts from 0, ``values`` are the carried ones, to be replaced by :meth:`carry`.

    ``results`` are the carried values after the last round.
    """

    def __init__(self, builder: ir.IRBuilder, count: Any, carried: Sequence[Any]) -> None:
        self._builder = builder
        before = builder.block
        self._head = builder.append_basic_block("head")
        body = builder.append_basic_block("body")
        self._after = builder.append_basic_block("after")
        builder.branch(self._head)
        builder.position_at_end(self._head)
        self.index = builder.phi(count.type)
        self.index.add_incoming(ir.Constant(count.type, 0), before)
        self.values = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.values, carried, strict=True):
            phi.add_incoming(value, before)
        self._next: Sequence[Any] = self.values
        builder.cbranch(builder.icmp_unsigned("<", self.index, count), body, self._after)
        builder.position_at_end(body)

    def carry(self, values: Sequence[Any]) -> None:
        """What the next round starts with."""
        self._next = list(values)

    @property
    def results(self) -> list[Any]:
        """The carried values after the last round."""
        return self.values

    def close(self) -> None:
        """End the block of code that is repeated."""
        builder = self._builder
        end = builder.block
        self.index.add_incoming(builder.add(self.index, ir.Constant(self.index.type, 1)), end)
        for phi, value in zip(self.values, self._next, strict=True):
            phi.add_incoming(value, end)
        builder.branch(self._head)
        builder.position_at_end(self._after)


def _align(kind: Any) -> int:
    """Bytes to which a single number is aligned: numpy's arrays begin at any address that fits their elements."""
    element = getattr(kind, "element", kind)
    return 4 if isinstance(element, ir.FloatType) else int(element.width) // 8


class Compiled:
    """The machine code of a module; keep it for as long as its functions are called."""

    def __init__(self, module: ir.Module, cpu: str | None = None) -> None:
        """Compile for a processor by LLVM's name ("haswell"), for the one at hand where None is given."""
        self._cpu = cpu
        self._parsed = binding.parse_assembly(str(module))
        self._parsed.verify()
        self._engine = binding.create_mcjit_compiler(self._parsed, _machine(cpu))
        self._engine.finalize_object()

    @property
    def assembly(self) -> str:
        """The machine code as text, to look at."""
        return str(_machine(self._cpu).emit_assembly(self._parsed))

    def function(self, name: str, *arguments: Any) -> Callable[..., None]:
        """A function by its name, given its arguments' C types."""
        address = self._engine.get_function_address(name)
        return ctypes.CFUNCTYPE(None, *arguments)(address)


def _machine(cpu: str | None) -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=cpu or binding.get_host_cpu_name(),
        features="" if cpu else binding.get_host_cpu_features().flatten(),
        opt=3,
    )
