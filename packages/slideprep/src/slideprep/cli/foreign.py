"""A message in, what a command adds to it out: options that the message names and the command does not have.

Messages are raised where something is read, whatever command asked for it. What one of them says of ``--mpp`` helps who
builds a set, and not who adds to it.
"""

from __future__ import annotations

import re

import click

_OPTION = re.compile(r"(?<![\w/.-])--[a-z][a-z-]*[a-z]")
_GROWING = ("add-slides", "remove-slides", "relabel")


def about_options(message: str) -> str | None:
    """A sentence on the options in a message that the command at hand lacks; None where it has them all.

    Args:
        message: One message, or several.
    """
    context = click.get_current_context(silent=True)
    if context is None or context.parent is None:
        return None
    own = {option for parameter in context.command.get_params(context) for option in parameter.opts}
    foreign = [option for option in dict.fromkeys(_OPTION.findall(message)) if option not in own]
    if not foreign:
        return None
    kind = "are options" if len(foreign) > 1 else "is an option"
    told = f"({' and '.join(foreign)} {kind} of build-shards, not of {context.info_name}"
    if context.info_name in _GROWING:
        told += ": a set keeps the settings of its build"
        if {"--mpp", "--objective"} & set(foreign):
            told += ", and labels.csv has columns for one slide's mpp and objective"
    return told + ")"
