"""Command-line options out of a configuration: the same fields, names, defaults and sentences, said once."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click

from kdtrain.cli.docstrings import docstring_of
from kdtrain.config.phases import SetConfig, option_of
from kdtrain.shards.locations import Location

Command = Callable[..., Any]


def config_options(kind: type[SetConfig]) -> Callable[[Command], Command]:
    """Options for every field of a configuration, in its order, and ``--config``."""

    def decorate(command: Command) -> Command:
        command = click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path),
            help="YAML file with any of these settings.",
        )(command)
        sentences = field_sentences(kind)
        for name in reversed(kind.model_fields):
            command = _option(kind, name, sentences.get(name, name))(command)
        return command

    return decorate


def field_sentences(kind: type[SetConfig]) -> dict[str, str]:
    """What the docstrings of a configuration and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, SetConfig):
            continue
        section = docstring_of(base).partition("Attributes:")[2]
        for name, sentence in re.findall(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", section + "\n", re.M | re.S):
            found[name] = " ".join(sentence.split())
    return found


def _option(kind: type[SetConfig], name: str, sentence: str) -> Callable[[Command], Command]:
    field = kind.model_fields[name]
    note = "  [required]" if field.is_required() else f"  [default: {_shown(field.default)}]"
    # Where None is the default, the sentence says what it stands for.
    help_text = sentence if not field.is_required() and field.default is None else sentence + note
    flag = option_of(name)
    click_type, is_flag = _click_type(field.annotation)
    if is_flag:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=help_text)
    if name in _REPEATED:
        return click.option(flag, name, multiple=True, callback=_joined, help=help_text)
    return click.option(flag, name, type=click_type, default=None, help=help_text)


_REPEATED = ("logger",)
"""Lists that may be given one by one as well as with commas."""


def _joined(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:
    return ",".join(values) or None


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default)


def _click_type(annotation: Any) -> tuple[Any, bool]:
    """The type of an option, and whether it is an on-off switch."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation == Location:
        return str, False  # a Path would make one slash of the two in s3://
    if origin is Annotated:
        return _click_type(arguments[0])
    if origin in (Union, types.UnionType):
        return _click_type(next(argument for argument in arguments if argument is not type(None)))
    if origin is Literal:
        whole = all(isinstance(argument, int) for argument in arguments)
        return (int if whole else click.Choice([str(argument) for argument in arguments])), False
    if annotation is bool:
        return None, True
    return {int: int, float: float, Path: click.Path(path_type=Path)}.get(annotation, str), False
