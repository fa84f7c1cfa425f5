"""A slide's page as bytes of HTML: style, script, images and maps are inside it, and nothing is ever loaded.

In: a :class:`~kdtrain.explain.page.model.SlidePage`. Out: one file that opens from a disk without a network, that a
Content-Security-Policy keeps from loading or running anything but its own style and script, and that is the same byte
for byte for the same input.
"""

from __future__ import annotations

from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined

from kdtrain.explain.page.model import SlidePage
from kdtrain.explain.page.scales import Colours, diverging, sequential
from kdtrain.report.svg import visible

SIZE_LIMIT_BYTES = 40_000_000
"""What a page may weigh: mail and chat programs take about this much, and a phone opens it."""


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
        colours: Of maps that are nowhere negative.
        signed_colours: Of maps that are, the middle standing for 0.

    Returns:
        HTML in UTF-8.

    Raises:
        OSError: An image of the page is damaged.
    """
    environment = Environment(
        loader=DictLoader({"page.html": _asset("page.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("page.html").render(page=page).encode("utf-8")


def _asset(name: str) -> str:
    return files("kdtrain.explain.page").joinpath("assets", name).read_text(encoding="utf-8")
