"""Numbers, vectors of 16 and arrays of compiled loops, written as in Python: ``a + b``, ``samples[i]``.

Nothing is computed here: an operation on a :class:`Value` writes one instruction of LLVM's into the function that is
being written (:mod:`slideprep.images.vector_code`), and is a :class:`Value` again. So ``total + pixel * weight`` is a
multiplication and an addition of the processor, in this order, never fused; on vectors, of all lanes at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from llvmlite import ir

LANES = 16
"""Numbers per vector: the widest registers (512 bits) hold 16; the compiler splits vectors for narrower ones."""

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32 = ir.FloatType()

Chosen = TypeVar("Chosen", "Value", "Array")


class Value:
    """A number, or a vector with a number in each lane. Whole numbers wrap around; ``//`` takes them as unsigned.

    The other side of an operator is a value of the same kind, or Python's number, which then stands in every lane.

    Args:
        builder: Where its instructions go.
        raw: It as llvmlite's.
    """

    def __init__(self, builder: ir.IRBuilder, raw: Any) -> None:
        self.builder = builder
        self.raw = raw

    @property
    def kind(self) -> Any:
        """LLVM's type of it."""
        return self.raw.type

    def __add__(self, other: Value | float) -> Value:
        return self._made("fadd" if self._is_float else "add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._made("fsub" if self._is_float else "sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._made("fmul" if self._is_float else "mul", other)

    def __floordiv__(self, other: Value | int) -> Value:
        return self._made("udiv", other)

    def __or__(self, other: Value | int) -> Value:
        return self._made("or_", other)

    def __and__(self, other: Value | int) -> Value:
        return self._made("and_", other)

    def __lshift__(self, bits: int) -> Value:
        return self._made("shl", bits)

    def __eq__(self, other: Value | int) -> Value:  # type: ignore[override] # a condition, as numpy's
        return self._of(self.builder.icmp_unsigned("==", self.raw, self._raw(other)))

    def __bool__(self) -> bool:
        raise TypeError("a value is known only when the loop runs: use choose, at_most or clipped, not if")

    def choose(self, if_true: Chosen, if_false: Chosen) -> Chosen:
        """One of two values or arrays, by whether this condition holds; no jump."""
        return type(if_true)(self.builder, self.builder.select(self.raw, if_true.raw, if_false.raw))

    def at_most(self, most: Value | int) -> Value:
        """This whole number, or ``most`` where it is larger."""
        limit = self._of(self._raw(most))
        return self._of(self.builder.icmp_unsigned("<", self.raw, limit.raw)).choose(self, limit)

    def clipped(self, least: float, most: float) -> Value:
        """This float, within bounds."""
        value = self
        for bound, beyond in ((least, "<"), (most, ">")):
            limit = value._of(value._raw(bound))
            value = value._of(self.builder.fcmp_ordered(beyond, value.raw, limit.raw)).choose(limit, value)
        return value

    def splat(self) -> Value:
        """A vector of this number in all lanes."""
        first = ir.Constant(ir.VectorType(self.kind, LANES), ir.Undefined)
        return self._of(self.builder.insert_element(first, self.raw, I32(0))).lanes([0] * LANES)

    def lanes(self, picked: Sequence[int], other: Value | None = None) -> Value:
        """A vector of some lanes, in any order; those of ``other`` are numbered after this one's."""
        mask = ir.Constant(ir.VectorType(I32, len(picked)), list(picked))
        second = self if other is None else other
        return self._of(self.builder.shuffle_vector(self.raw, second.raw, mask))

    def halves(self) -> Value:
        """The 32-bit lanes as twice as many of 16 bits, the lower half first."""
        return self._of(self.builder.bitcast(self.raw, ir.VectorType(I16, 2 * self.kind.count)))

    def bits(self) -> Value:
        """The bits of 32-bit floats, as whole numbers."""
        return self._of(self.builder.bitcast(self.raw, self._lanes_of(I32)))

    def unsigned(self, kind: ir.Type) -> Value:
        """Widened to whole numbers of more bits, none of them negative."""
        return self._of(self.builder.zext(self.raw, self._lanes_of(kind)))

    def signed(self, kind: ir.Type) -> Value:
        """Widened to whole numbers of more bits, negative ones staying so."""
        return self._of(self.builder.sext(self.raw, self._lanes_of(kind)))

    def lowest(self, kind: ir.Type) -> Value:
        """The lowest bits, as whole numbers of fewer."""
        return self._of(self.builder.trunc(self.raw, self._lanes_of(kind)))

    def floats(self) -> Value:
        """Signed whole numbers as 32-bit floats."""
        return self._of(self.builder.sitofp(self.raw, self._lanes_of(F32)))

    @property
    def _is_float(self) -> bool:
        return isinstance(getattr(self.kind, "element", self.kind), ir.FloatType)

    def _lanes_of(self, kind: ir.Type) -> ir.Type:
        return ir.VectorType(kind, self.kind.count)

    def _of(self, raw: Any) -> Value:
        return Value(self.builder, raw)

    def _made(self, instruction: str, other: Value | float) -> Value:
        return self._of(getattr(self.builder, instruction)(self.raw, self._raw(other)))

    def _raw(self, other: Value | float) -> Any:
        if isinstance(other, Value):
            return other.raw
        lanes = getattr(self.kind, "count", None)
        return ir.Constant(self.kind, other if lanes is None else [other] * lanes)


class Array:
    """Numbers one behind the other in memory, from an address on; nothing guards its ends.

    Args:
        builder: Where the instructions go.
        raw: The address, as llvmlite's pointer to the first number.
    """

    def __init__(self, builder: ir.IRBuilder, raw: Any) -> None:
        self.builder = builder
        self.raw = raw

    def at(self, index: Value | int) -> Array:
        """The array from its element ``index`` on."""
        place = index.raw if isinstance(index, Value) else I64(index)
        return Array(self.builder, self.builder.gep(self.raw, [place]))

    def __getitem__(self, index: Value | int) -> Value:
        return self.at(index)._load(self._kind)

    __iter__ = None  # endless: memory has no end

    def vector(self, index: Value | int = 0) -> Value:
        """The 16 numbers from element ``index`` on."""
        return self.at(index)._load(ir.VectorType(self._kind, LANES))

    def store(self, value: Value, index: Value | int = 0) -> None:
        """Write a number or a vector to element ``index`` and those behind it."""
        place = self.builder.bitcast(self.at(index).raw, value.kind.as_pointer())
        self.builder.store(value.raw, place, align=self._align)

    def as_bytes(self) -> Any:
        """The address as llvmlite's pointer to bytes."""
        return self.builder.bitcast(self.raw, I8.as_pointer())

    @property
    def _kind(self) -> Any:
        return self.raw.type.pointee

    @property
    def _align(self) -> int:
        """Bytes to which a single number is aligned: numpy's arrays begin at any address that fits their elements."""
        return 4 if isinstance(self._kind, ir.FloatType) else int(self._kind.width) // 8

    def _load(self, kind: ir.Type) -> Value:
        place = self.builder.bitcast(self.raw, kind.as_pointer())
        return Value(self.builder, self.builder.load(place, align=self._align))
