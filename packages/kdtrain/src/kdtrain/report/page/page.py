"""A report becomes one HTML page that needs no network: style, script, drawings and downloads are inside it.

In: a :class:`~kdtrain.report.model.Report`. Out: HTML that reads without script (script remembers the theme and marks
the section in view), that a Content-Security-Policy keeps from loading or running anything but its own style and
script, and that is the same byte for byte for the same report: it holds no date.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from kdtrain.files import write_atomically
from kdtrain.pages import content_policy, theme_css
from kdtrain.report.model import Gallery, Report
from kdtrain.report.page.parts import (
    Anchors,
    bodies,
    card_address,
    main_and_interval,
    of_hundred,
    of_numbers,
    picture_address,
    section_parts,
    shaded,
)
from kdtrain.text import visible

_OWN_ANCHORS = ("top", "theme", "warnings-title", "main")
"""Ids that the template itself uses."""


def write_page(report: Report, path: Path) -> None:
    """Write the page to ``path``, whole or not at all; an earlier page there is replaced.

    Raises:
        OSError: The file cannot be written; what was there is then as it was.
    """
    write_atomically(path, render_page(report).encode("utf-8"))


def render_page(report: Report) -> str:
    """The page as text."""
    style, script = theme_css() + _asset("page.css"), _asset("page.js")
    # Safe: both are this package's own files, without a character of the report.
    own = {"style": Markup(style), "script": Markup(script)}
    sections = section_parts(report, Anchors(taken=set(_OWN_ANCHORS)))
    template = _environment().get_template("page.html")
    pictures = any(isinstance(block, Gallery) for section in report.sections for block in section.blocks)
    policy = content_policy(style, script, images=pictures)
    return template.render(report=report, sections=sections, policy=policy, **own)


def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader({name: _asset(name) for name in ("page.html", "blocks.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["unbroken"] = _unbroken
    environment.globals.update(
        bodies=bodies,
        card_address=card_address,
        main_and_interval=main_and_interval,
        of_hundred=of_hundred,
        of_numbers=of_numbers,
        picture_address=picture_address,
        shaded=shaded,
    )
    return environment


def _unbroken(words: str) -> Markup:
    """Keep "95 %" and "--shards" each on one line."""
    safe = str(escape(visible(re.sub(r"(?<=\d) %", "\u00a0%", words))))
    return Markup(re.sub(r"--[a-z][a-z-]*", r'<span class="opt">\g<0></span>', safe))


def _asset(name: str) -> str:
    return files("kdtrain.report.page").joinpath("assets", name).read_text(encoding="utf-8")
