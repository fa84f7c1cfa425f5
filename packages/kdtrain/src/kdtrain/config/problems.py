"""What is said of a setting that is refused: its rule, with the whole range of a number, and what was given.

In: what pydantic found wrong. Out: a sentence, without the name of the setting, which whoever asks knows how to spell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from kdtrain.text import brief

_OF_NUMBERS = frozenset(
    {
        *("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
        *("finite_number", "float_parsing", "float_type", "int_parsing", "int_type", "int_from_float"),
        "int_parsing_size",
    }
)
"""pydantic's names of what is wrong with a number."""


def rule_broken(problem: Any, kind: type[BaseModel]) -> str:
    """Which rule a value breaks, and the value.

    Args:
        problem: One of ``ValidationError.errors()``.
        kind: The model that refused it.
    """
    rule = problem["msg"].removeprefix("Value error, ")
    name = problem["loc"][0] if len(problem["loc"]) == 1 else None
    if problem["type"] in _OF_NUMBERS and name in kind.model_fields:
        rule = f"must be {range_of(kind, name)}"
    return f"{rule} (given: {brief(problem['input'])})"


def range_of(kind: type[BaseModel], name: str) -> str:
    """The numbers that a setting takes: "a whole number from 1 to 1,000", "a number above 0"."""
    field = kind.model_fields[name]
    annotation: Any = field.annotation
    whole = int in (annotation, *get_args(annotation))
    return " ".join(["a whole number" if whole else "a number", *_bounds(field.metadata)])


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    """The rules of annotated-types, which pydantic keeps, in words: lower ends first."""
    for name, words in (("gt", "above"), ("ge", "from"), ("lt", "to below"), ("le", "to")):
        for rule in metadata:
            bound = getattr(rule, name, None)
            if bound is not None:
                yield f"{words} {bound:,}"
