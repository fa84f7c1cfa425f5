"""A slide's page as bytes of HTML: style, script, images and maps are inside it, and nothing is ever loaded.

In: a :class:`~kdtrain.predict.page.tiles.SlidePage`. Out: one file that opens from a disk without a network, that a
Content-Security-Policy keeps from loading or running anything but its own style and script, and that is the same byte
for byte for the same input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from kdtrain.pages import content_policy, theme_css
from kdtrain.predict.explain.colours import diverging, sequential
from kdtrain.predict.explain.picture import METHOD_NAMES
from kdtrain.predict.page import glossary, trust, words
from kdtrain.predict.page.data import OWN_CLASS, Colours, as_script, first_choice, page_data, scales
from kdtrain.predict.page.tiles import Pyramid, SlidePage, cut, within
from kdtrain.text import visible

SIZE_LIMIT_BYTES = 40_000_000
"""What a page may weigh: mail and chat programs take about this much, and a phone opens it."""

_SCRIPTS = ("data", "view", "tiles", "maps", "paint", "input", "panel", "main")
_NO_IMAGE = Pyramid(width=0, height=0, levels=())
# A sentence about what was left out, and what a level takes besides its tiles.
_SPARE_BYTES = 2_000


def build_page(
    page: SlidePage,
    *,
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
    colours: Colours = sequential,
    signed_colours: Colours = diverging,
) -> bytes:
    """The page.

    Args:
        page: What to show.
        size_limit_bytes: The finest resolutions of the largest regions are left out until the page is no larger,
            and it says so; what is left when all are out (overview, maps, table) is never left out.
        colours: Colours of maps that are nowhere negative.
        signed_colours: Colours of maps that are, the middle standing for 0.

    Returns:
        HTML in UTF-8.

    Raises:
        OSError: An image of a region is damaged.
        ValueError: A map holds values that are not finite.
    """
    whole = [_NO_IMAGE if view.display is None else cut(view.display) for view in page.regions]
    render = _renderer(page, whole, colours, signed_colours)
    bare = len(render([_NO_IMAGE] * len(whole)))
    levels = sum(len(pyramid.levels) for pyramid in whole)
    return render(within(whole, size_limit_bytes - bare - _SPARE_BYTES - 64 * levels))


def _renderer(
    page: SlidePage, whole: Sequence[Pyramid], colours: Colours, signed_colours: Colours
) -> Callable[[Sequence[Pyramid]], bytes]:
    """What makes the page once it is known which resolutions it holds."""
    style, script = theme_css() + _asset("page.css"), _script()
    given = {
        "page": page,
        "slide": page.prediction,
        "choices": _choices(page),
        "methods": [
            (method, words.CHOICES[method])
            for method in METHOD_NAMES
            if method in {scale["method"] for scale in scales(page)}
        ],
        "first": first_choice(page),
        "checks": trust.checks(page),
        "states": trust.STATES,
        "caution": words.CAUTION,
        "research": words.RESEARCH,
        "of_maps": words.OF_MAPS,
        "calibrated": "" if page.calibrated is None else words.CALIBRATED[page.calibrated],
        "terms": glossary.TERMS,
        "with_agreement": any(view.agreement is not None for view in page.regions),
        "policy": content_policy(style, script),
        # Safe: both are this package's own files, without a character of the slide.
        "style": Markup(style),
        "script": Markup(script),
    }
    template = _template()

    def render(pyramids: Sequence[Pyramid]) -> bytes:
        data = as_script(page_data(page, pyramids, colours, signed_colours))
        facts = words.facts(page, pyramids, whole)
        # Safe: as_script() leaves no character in it that means anything in HTML.
        return template.render(given, facts=facts, data=Markup(data)).encode("utf-8")

    return render


def _choices(page: SlidePage) -> list[tuple[int, str]]:
    """Classes that have a map, and each region's own where regions differ: what the page lets choose."""
    classes = sorted({scale["classIndex"] for scale in scales(page)})
    named = [(class_index, page.prediction.classes[class_index]) for class_index in classes]
    predicted = {view.prediction.predicted for view in page.regions}
    own = len(predicted) > 1 and predicted <= set(classes)
    return [*named, (OWN_CLASS, "predicted class of each region")] if own else named


def _script() -> str:
    """The files one after the other, in a scope of their own."""
    return "(() => {\n'use strict';\n" + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS) + "})();\n"


def _template() -> Template:
    environment = Environment(
        loader=DictLoader({"page.html": _asset("page.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["unbroken"] = _unbroken
    environment.globals.update(
        figure=trust.figure,
        measures=trust.measures,
        percent=words.percent,
        sentences=words.sentences,
        size=words.size,
    )
    return environment.get_template("page.html")


def _unbroken(text: str) -> Markup:
    """Keep "95 %" and "1.2 × 0.8" each on one line."""
    return escape(visible(re.sub(r"(?<=\d) (?=[%×µ])|(?<=×) ", "\u00a0", text)))


def _asset(name: str) -> str:
    return files("kdtrain.predict.page").joinpath("assets", name).read_text(encoding="utf-8")
