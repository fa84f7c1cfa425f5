"""Paths, addresses and numbers among the options and arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slideprep.errors import UsageError
from slideprep.storage.places import local_path, place
from slideprep.text import number, whole_number


class _Checked(click.ParamType[Any]):
    """What a function makes of a text, or refuses."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name, self.check = name, check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The function's result."""
        try:
            return self.check(value) if isinstance(value, str) else value
        except (UsageError, ValueError) as error:
            self.fail(str(error), param, ctx)


NUMBER = _Checked("float", number)
WHOLE = _Checked("integer", whole_number)
"""Numbers as tables hold them: click would take 0_5 for 5, and nan for a number."""


def within(kind: _Checked, least: float, most: float, *, above: bool = False) -> _Checked:
    """A number of a kind, not outside of two limits.

    Args:
        kind: :data:`NUMBER` or :data:`WHOLE`.
        least: The least that is taken.
        most: The most.
        above: Whether ``least`` itself is refused.
    """

    def check(given: str) -> Any:
        value = kind.check(given)
        if not least <= value <= most or (above and value == least):
            raise ValueError(
                f"{value:g} is not {'above' if above else 'at least'} {least:g} and at most {most:g}"
            )
        return value

    return _Checked(kind.name, check)


PATH = click.Path(path_type=Path)
LOCAL_PATH = _Checked("path", lambda given: local_path(Path(given)))
"""Refuses addresses, as ``--config`` and the settings of a build do themselves."""
PLACE = _Checked("place", place)
"""A local path or an address."""
