"""Help out of docstrings, whether Python kept them or not: ``python -OO`` drops them, and the source has them."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import click


def docstring_of(thing: type | Callable[..., Any]) -> str:
    """The docstring of a class or a function, without its indentation; "" where there is neither it nor a source file.

    Python 3.13 takes the indentation off docstrings, earlier ones keep it; this gives the same for both.
    """
    if sys.flags.optimize < 2:
        return inspect.cleandoc(thing.__doc__ or "")
    try:  # a dataclass without a docstring has made itself one
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    if not isinstance(definition, ast.FunctionDef | ast.ClassDef):
        return ""
    return ast.get_docstring(definition) or ""


def restore_help(command: click.Command) -> None:
    """Give a command, and those below it, the help that they have where docstrings are kept."""
    if sys.flags.optimize < 2:
        return
    if command.help is None and command.callback is not None:
        command.help = docstring_of(inspect.unwrap(command.callback)) or None
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        restore_help(below)
