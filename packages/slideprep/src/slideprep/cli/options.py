"""The options of ``build-shards`` and ``plan`` out of :class:`BuildConfig`: its names, types, defaults and sentences.

The first sentence of a field's docstring is the option's help; what it says None is for is shown as the default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from slideprep.building.config import REPEATED, BuildConfig, option_of
from slideprep.cli.docstrings import docstring_of
from slideprep.cli.paths import NUMBER, PATH, PLACE, WHOLE
from slideprep.labels.split_plan import SplitSettings
from slideprep.regions.settings import ReadSettings
from slideprep.storage.places import Url

_SHOWN_BEFORE = {
    "labels": "magnifications",
    "annotations": "exclude_classes",
    "image_format": "shard_mb",
    "quality": "shard_mb",
}
"""Settings that help shows beside those that they go with, which is not where their model has them."""


def build_parameters(*, with_out: bool) -> list[click.Parameter]:
    """SLIDES, an option for every other setting of a build, and ``--config``."""
    names = [name for name in BuildConfig.model_fields if name not in ("slides", "out")]
    for name, other in _SHOWN_BEFORE.items():
        names.remove(name)
        names.insert(names.index(other), name)
    sentences = field_sentences()
    return [
        click.Argument(["slides"], nargs=-1),
        *(_option(name, sentences.get(name, name)) for name in names),
        click.Option(["--config", "config_file"], type=PATH, help="YAML file with any of these settings."),
        *([_option("out", sentences.get("out", "out"))] if with_out else []),
    ]


def field_sentences() -> dict[str, str]:
    """The first sentence that the docstrings say of each field, without its full stop."""
    found: dict[str, str] = {}
    for kind in (ReadSettings, SplitSettings, BuildConfig):
        section = docstring_of(kind).partition("Attributes:")[2].partition("Raises:")[0]
        sentences = re.findall(r"^ {4}(\w+): (.*?)\.(?:\s|\Z)", section, re.M | re.S)
        found |= {name: " ".join(sentence.split()) for name, sentence in sentences}
    return found


def _option(name: str, sentence: str) -> click.Option:
    field = BuildConfig.model_fields[name]
    text, _, absent = sentence.partition("; None for ")
    default = absent or _shown(field.default)
    return click.Option(
        [option_of(name), name],
        type=_click_type(field.annotation),
        is_flag=field.annotation is bool,
        multiple=name in REPEATED,
        default=None,  # what is not given here may be in --config
        help=f"{text}.  [default: {default}]" if default else f"{text}.",
    )


def _shown(default: Any) -> str:
    """A default as it is given on the command line; empty where there is none, or nothing to give."""
    if isinstance(default, str):
        return default
    numbers = default if isinstance(default, tuple) else (default,)
    return ",".join(f"{number:g}" for number in numbers if type(number) in (int, float))


def _click_type(kind: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return click.Choice(arguments)
    if origin is tuple:
        return str  # with commas; BuildConfig takes it apart
    if Url in arguments:
        return PLACE
    if arguments:  # of Annotated, and of "or None"
        return _click_type(arguments[0])
    return {Path: PATH, float: NUMBER, int: WHOLE}.get(kind, kind)
