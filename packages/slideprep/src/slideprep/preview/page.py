"""`preview.html`: one self-contained page on which a person checks a shard set before training on it.

In: a :class:`PreviewSet`, thumbnails included. Out: one HTML file that needs no network, works without script (script
adds filters, sorting and the enlarged view), and is the same byte for byte for the same set: it holds no date.
It is written slide by slide, and of a large set it shows a selection, so that a browser can open it and memory stays
small. What is drawn is the plan and its outcome, not the images in the shards; `slideprep verify` checks those.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from slideprep.preview import words
from slideprep.preview.model import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable, RegionStatus
from slideprep.preview.tally import Tally, selection_note, tally

__all__ = [
    "PreviewRegion",
    "PreviewSet",
    "PreviewSlide",
    "PreviewTable",
    "RegionStatus",
    "preview_pieces",
    "render_preview",
    "write_preview",
]


def write_preview(preview: PreviewSet, path: Path) -> None:
    """Write the page to ``path`` under a temporary name and rename it: a reader never meets half a page.

    An existing page is replaced. The temporary name is ``path`` with ".partial" appended; a write that was broken off
    leaves it behind, and the next one overwrites it.

    Args:
        preview: What to show.
        path: The file to write, usually DIR/preview.html.

    Raises:
        OSError: The file cannot be written, such as on a full disk; ``path`` is then as it was.
    """
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(preview_pieces(preview))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def render_preview(preview: PreviewSet) -> str:
    """The whole page as one string; :func:`write_preview` is the way for many slides."""
    return "".join(preview_pieces(preview))


def preview_pieces(preview: PreviewSet) -> Iterator[str]:
    """The page in small pieces; a slide with its thumbnail is asked for when those before it have been taken.

    Cards come failures first, then warnings, then in the set's order; ``id="slide-<position in the set>"``. Of a set of
    more than :data:`slideprep.preview.tally.CARDS` slides some get none.
    """
    # Not above: commands that make no page, --help among them, start without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("slideprep.preview", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # What cannot be seen is spelt out wherever a template shows text; markup is made of such text.
        finalize=lambda value: (
            value if isinstance(value, Markup) or not isinstance(value, str) else words.visible(value)
        ),
    )
    found = tally(preview.slides)
    shown = found.shown()
    style, script = _asset("page.css"), _asset("page.js")
    return environment.get_template("page.html", globals={"words": words}).generate(
        preview=preview,
        found=found,
        labels=_label_tally(preview, found),
        shown=len(shown),
        note=selection_note(found, shown),
        cards=((index, preview.slides[index]) for index in shown),
        policy=_policy(style, script),
        # Safe: both are this package's own files, without a character of the set.
        style=Markup(style),
        script=Markup(script),
    )


def _asset(name: str) -> str:
    return files("slideprep.preview").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded and nothing may run but the page's own style and script, named by their hashes."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _csp_hash(source: str) -> str:
    return "sha256-" + b64encode(sha256(source.encode("utf-8")).digest()).decode("ascii")


def _label_tally(preview: PreviewSet, found: Tally) -> list[tuple[str | None, int]]:
    """Slides per class in the index's order, then classes that are only on slides, then unlabelled slides."""
    order: list[str | None] = [
        *preview.classes,
        *sorted(set(found.classes) - {None, *preview.classes}, key=str),
        None,
    ]
    return [(name, found.classes.get(name, 0)) for name in order if found.classes.get(name)]
