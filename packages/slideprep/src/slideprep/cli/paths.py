"""Paths and addresses among the options and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slideprep.errors import UsageError
from slideprep.storage.places import Place, local_path, place

PATH = click.Path(path_type=Path)


class _PlaceType(click.ParamType[Place]):
    """A local path or an address."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        """The place of a text."""
        try:
            return place(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


PLACE = _PlaceType()


def local(_context: click.Context, _option: click.Parameter, given: Path | None) -> Path | None:
    """A callback that refuses an address."""
    try:
        local_path(given)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return given
