"""What a terminal is told goes through here, so that no name in it is obeyed: neither by the terminal nor by rich.

``say`` prints a line, ``console`` makes what tables and bars are drawn on. rich is imported by the latter alone.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import click

from kdtrain.text import on_terminal

if TYPE_CHECKING:
    from rich.console import Console


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, of one line or several.

    Args:
        text: The text.
        err: To standard error.
        nl: Whether its last line ends.
    """
    click.echo(on_terminal(str(text)), err=err, nl=nl)


def console(**given: Any) -> Console:
    """A rich console on which a name is what it says: no mark-up, no emoji, no control character.

    Args:
        given: As rich takes them: ``stderr=True``, ``width``, ``file``.
    """
    return _kind()(markup=False, emoji=False, highlight=False, **given)


@cache
def _kind() -> type[Console]:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Screen(Console):
        """Whatever is drawn becomes segments here; those of rich itself that steer the terminal are marked so."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=on_terminal(segment.text))

    return Screen
