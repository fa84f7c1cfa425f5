"""Paths and addresses among the options and arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slideprep.errors import UsageError
from slideprep.storage.places import local_path, place


class _Checked(click.ParamType[Any]):
    """What a function makes of a text, or refuses."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name, self._check = name, check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The function's result."""
        try:
            return self._check(value)
        except (UsageError, ValueError) as error:
            self.fail(str(error), param, ctx)


PATH = click.Path(path_type=Path)
LOCAL_PATH = _Checked("path", lambda given: local_path(Path(given)))
"""Refuses addresses, as ``--config`` and the settings of a build do themselves."""
PLACE = _Checked("place", place)
"""A local path or an address."""
