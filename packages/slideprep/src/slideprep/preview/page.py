"""`preview.html`: one self-contained page on which a person checks a shard set before training on it.

In: a :class:`PreviewSet`, thumbnails included. Out: one HTML file that needs no network, works without script (script
adds filters, sorting and the enlarged view), and is the same byte for byte for the same set: it holds no date.
It is written slide by slide, and of a large set it shows a selection, so that a browser can open it and memory stays
small. What is drawn is the plan and its outcome, not the images in the shards; `slideprep verify` checks those.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Template

from slideprep.preview import html
from slideprep.preview.card import card
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
        for piece in preview_pieces(preview):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def render_preview(preview: PreviewSet) -> str:
    """The whole page as one string; :func:`write_preview` is the way for many slides."""
    return "".join(preview_pieces(preview))


def preview_pieces(preview: PreviewSet) -> Iterator[str]:
    """The page in pieces: what comes before the slides, one card per slide, what comes after them.

    Cards come failures first, then warnings, then in the set's order; ``id="slide-<position in the set>"``. Of a set of
    more than :data:`slideprep.preview.tally.CARDS` slides some get none.
    """
    before, after = _page().split("<!-- slides -->")
    found = tally(preview.slides)
    shown = found.shown()
    yield Template(before).substitute(_parts(preview, found, shown))
    for index in shown:
        yield card(index, preview.slides[index], synthetic=preview.synthetic)
    yield Template(after).substitute(script=_asset("page.js"))


def _page() -> str:
    return _asset("page.html")


def _asset(name: str) -> str:
    return files("slideprep.preview").joinpath("assets", name).read_text(encoding="utf-8")


def _parts(preview: PreviewSet, found: Tally, shown: Sequence[int]) -> dict[str, str]:
    style, script = _asset("page.css"), _asset("page.js")
    note = selection_note(found, shown)
    settings = html.definitions(preview.settings.items())
    return {
        "policy": _policy(style, script),
        "style": style,
        "title": html.text(preview.title),
        "synthetic": '<p class="synthetic">Synthetic slides: generated images, not tissue.</p>'
        if preview.synthetic
        else "",
        "subtitle": _subtitle(preview),
        "counts": html.counts(found),
        "split_check": html.split_check(found),
        "split_table": html.table(preview.table) if preview.table else "",
        "size_table": html.size_table(found),
        "settings": _folded("Settings", settings) if settings else "",
        "versions": _folded("Versions", html.definitions(preview.tool_versions.items()))
        if preview.tool_versions
        else "",
        "splits": html.options(found.splits, everything="all splits"),
        "labels": html.options(_label_tally(preview, found), everything="all labels"),
        "total": html.counted(len(shown), "slide"),
        "selection": f'<p class="check">{html.text(note)}</p>' if note else "",
    }


def _subtitle(preview: PreviewSet) -> str:
    parts = []
    if preview.magnifications:
        parts.append("magnifications " + ", ".join(html.times(m) for m in preview.magnifications))
    if preview.classes:
        parts.append("classes " + ", ".join(preview.classes))
    return html.text("; ".join(parts))


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded and nothing may run but the page's own style and script, named by their hashes."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_csp_hash(style)}'; script-src '{_csp_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _csp_hash(source: str) -> str:
    return "sha256-" + b64encode(sha256(source.encode("utf-8")).digest()).decode("ascii")


def _folded(name: str, pairs: str) -> str:
    return f'<details class="pairs"><summary>{name}</summary><dl>{pairs}</dl></details>'


def _label_tally(preview: PreviewSet, found: Tally) -> list[tuple[str | None, int]]:
    """Slides per class in the index's order, then classes that are only on slides, then unlabelled slides."""
    order: list[str | None] = [
        *preview.classes,
        *sorted(set(found.classes) - {None, *preview.classes}, key=str),
        None,
    ]
    return [(name, found.classes.get(name, 0)) for name in order if found.classes.get(name)]
