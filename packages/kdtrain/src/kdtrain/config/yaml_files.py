"""A YAML file in, a mapping of plain values out, or one sentence: what ``--config`` and a recipe have in common.

YAML can say much in few bytes: a value that is there again and again by its name, brackets within brackets, objects of
any class. Here it says plain values, each key once, and no more of them than a person writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kdtrain.errors import UsageError
from kdtrain.text import brief, visible

MOST_BYTES = 1_000_000
"""The longest recipe here has 3 KB."""
MOST_VALUES = 100_000
"""Counted as they would be written out, without names for what comes again."""
MOST_BRACKETS = 100
"""Open at a time: the parser's time grows with the square of it."""


def yaml_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read a file.

    Args:
        path: The file, or a pipe.
        what: How messages call it: "--config run.yaml".

    Returns:
        Its values by key; none for an empty file.

    Raises:
        UsageError: It cannot be read, is not YAML, or maps no keys to values.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror}; give a YAML file") from None
    try:
        content = _content(data)
    except yaml.YAMLError as error:
        raise UsageError(f"{what} is not YAML: {_reason(error)}") from None
    except ValueError as error:
        raise UsageError(f"{what} is not YAML: {visible(str(error))[:200]}") from None
    except (LookupError, AttributeError, TypeError):
        # What PyYAML lets out where a tag (!!bool, !!timestamp) stands before something else.
        raise UsageError(f"{what} is not YAML: a value is not of the type that its tag says") from None
    except RecursionError:
        raise UsageError(f"{what} is not YAML of a person: it nests without end") from None
    if not isinstance(content, dict | None):
        raise UsageError(
            f"{what} must map keys to values, such as 'epochs: 20'; it holds {brief(content)} instead"
        )
    return {str(key): value for key, value in (content or {}).items()}


def _content(data: bytes) -> Any:
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has over {MOST_BYTES / 1e6:g} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} is no UTF-8; save it as UTF-8, and give no binary file"
        ) from None
    opened = most = 0
    for character in text:
        opened += (character in "[{") - (character in "]}")
        most = max(most, opened)
    if most > MOST_BRACKETS:
        raise RecursionError
    content = yaml.load(text, _UniqueKeys)
    _count(content)
    return content


def _count(content: Any) -> None:
    """Refuse what would be much longer if it were written out; what holds itself has no end."""
    waiting, count = [content], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"with its names (&, *) written out, it has over {MOST_VALUES:,} values")
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value


def _reason(error: yaml.YAMLError) -> str:
    """On one line; what PyYAML says takes several and quotes the file."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return where + visible(" ".join(str(problem).split()))[:200]


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets the last of two equal keys win in silence; of two methods with one label, one would vanish."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # '<<: *name' takes over what is not given here
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {brief(key)} is there twice", key_node.start_mark
                )
            seen.add(key if isinstance(key, str | int | float) else None)
        return super().construct_mapping(node, deep)
