"""Every page that we make, with names of a stranger wherever a text can stand, in a browser: they are shown, as names.

Nothing of them runs, nothing is asked for, no dialog opens; the browser has no word of complaint, which it would have
if the page's Content-Security-Policy had stopped what the page should not have held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from PIL import Image

from fixtures import strangers
from fixtures.devtools import Browser, browser
from fixtures.slide_pages import jpeg, slide_page
from kdtrain.predict.page.build import build_page
from kdtrain.report.model import (
    Cell,
    Chart,
    Confusion,
    Gallery,
    Paragraph,
    Picture,
    PictureRow,
    Point,
    Report,
    Row,
    Section,
    Series,
    Table,
)
from kdtrain.report.page.page import render_page
from kdtrain.text import visible
from slideprep.preview.page import PreviewRegion, PreviewSet, PreviewSlide, PreviewTable, render_preview
from slideprep.units import Box

OPENED = "Page.javascriptDialogOpening"
_MANY = ("a",) * len(strangers.MARKUP)
"""So many texts that each name is among them, whatever stands before."""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all pages."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def prediction_page(names: Iterator[str]) -> bytes:
    """A slide's page: slide, classes, reader, warnings, bundle and backend are names."""
    page = slide_page(outside=("a",), warnings=_MANY, failed=((4, "d"),), left_out=((5, "e"),))
    return build_page(strangers.everywhere(page, names, keep=frozenset({"method"})))


def report_page(names: Iterator[str]) -> bytes:
    """A report: titles, methods, classes, cells, axes and warnings are names."""
    table = Table(
        name="t",
        title="t",
        caption="c",
        corner="c",
        columns=("a", "b"),
        groups=(("g", 2),),
        rows=(Row(heading="h"), *(Row(heading="h", cells=(cell(), cell())) for _ in _MANY)),
    )
    points = tuple(Point(x=x, y=x, label="p") for x in (1.0, 2.0))
    charts = tuple(
        Chart(
            name="f",
            title="f",
            caption="c",
            kind=kind,
            x_title="x",
            y_title="y",
            series=(Series(label="s", points=points), Series(label="r", points=points, reference=True)),
        )
        for kind in ("lines", "bars")
    )
    confusion = Confusion(name="m", title="m", caption="c", classes=("a", "b"), counts=((1, 2), (3, 4)))
    blocks = (Paragraph(text="p"), table, *charts, confusion, gallery())
    report = Report(
        title="t",
        subtitle="s",
        synthetic=True,
        warnings=_MANY,
        answer=_MANY,
        sections=(
            Section(name="n", title="t", blocks=blocks),
            Section(name="m", title="u", blocks=blocks, folded=True),
        ),
    )
    return render_page(strangers.everywhere(report, names, keep=frozenset({"kind"}))).encode()


def gallery() -> Gallery:
    """Pictures with and without an image, each with all that a picture may have."""
    image = jpeg(Image.new("RGB", (8, 6)))
    pictures = tuple(
        Picture(
            key="k",
            slide="s",
            truth="t",
            answered="a",
            probability=0.9,
            beside="b",
            jpeg=data,
            size_px=(8, 6),
            why_none="w",
            card="c",
            card_id="i",
        )
        for data in (image, b"") * len(_MANY)
    )
    return Gallery(
        name="g", title="g", caption="c", rows=(PictureRow(title="t", note="n", pictures=pictures),)
    )


def cell() -> Cell:
    """A cell with all that a cell may have."""
    return Cell(text="1 (2-3)", value=1.0, low=2.0, high=3.0, best=True, note="n", paper="p")


def preview_page(names: Iterator[str]) -> bytes:
    """A shard set's preview: slides, patients, classes, splits, readers, messages and settings are names."""
    region = PreviewRegion(
        box=Box(x=100, y=200, width=400, height=300),
        name="r0",
        class_name="c",
        reason="why",
        sizes=((10.0, 200, 150),),
    )
    slide = PreviewSlide(
        name="s",
        patient="p",
        label="l",
        split="train",
        reader="r",
        vendor="v",
        width_l0=2000,
        height_l0=1500,
        mpp=0.5,
        mpp_source="s",
        objective=20.0,
        objective_source="s",
        thumbnail_jpeg=jpeg(Image.new("RGB", (8, 6))),
        regions=(region, region),
        warnings=_MANY,
        failures=("f",),
    )
    preview = PreviewSet(
        title="t",
        slides=(slide, slide, slide),
        magnifications=(10.0,),
        classes=("a", "b"),
        table=PreviewTable(caption="c", header=("a", "b"), rows=(("x", "y"),)),
        settings={"k": "v"},
        tool_versions={"t": "1"},
    )
    return render_preview(strangers.everywhere(preview, names, keep=frozenset({"status"}))).encode()


USED = {
    "prediction": "for (const b of document.querySelectorAll('button')) if (b.id !== 'help') b.click();"
    "for (const s of document.querySelectorAll('select')) for (let i = 0; i < s.options.length; i++)"
    " { s.selectedIndex = i; s.dispatchEvent(new Event('change')); }",
    "report": "for (const d of document.querySelectorAll('details')) d.open = true;",
    "preview": "for (const d of document.querySelectorAll('details')) d.open = true;"
    "document.querySelector('a.frame').click(); document.getElementById('next').click();"
    "for (const s of document.querySelectorAll('select')) for (let i = 0; i < s.options.length; i++)"
    " { s.selectedIndex = i; s.dispatchEvent(new Event('change', {bubbles: true})); }"
    "document.getElementById('controls').reset();",
}
"""What a person does with each: whatever a script makes of names, it makes then."""


@pytest.mark.parametrize(
    ("kind", "made"),
    [("prediction", prediction_page), ("report", report_page), ("preview", preview_page)],
    ids=["prediction", "report", "preview"],
)
def test_names_are_shown_and_do_nothing(
    tab: Browser, tmp_path: Path, kind: str, made: Callable[[Iterator[str]], bytes]
) -> None:
    """Opened from a file and used, the page has run nothing, asked for nothing, and shows every name as it is."""
    page = tmp_path / "page.html"
    page.write_bytes(made(cycle(strangers.MARKUP)))
    tab.open(page.as_uri(), width=1200, height=800)
    tab.ask(f"(() => {{ {USED[kind]} }})()")
    tab.ask("new Promise((done) => setTimeout(done, 200))")
    assert tab.ask("window.pwned === undefined && window.length === 0")
    assert tab.ask("document.querySelectorAll('iframe, object, base, link, [href^=javascript]').length") == 0
    assert [address for address in tab.requests if not address.startswith("data:")] == [page.as_uri()]
    assert tab.complaints == [] and OPENED not in [method for method, _ in tab.said]
    shown = " ".join(tab.ask("document.body.textContent").split())
    assert [name for name in strangers.MARKUP if " ".join(visible(name).split()) not in shown] == []


def test_the_browser_would_notice(tab: Browser, tmp_path: Path) -> None:
    """The same names in a page that escapes nothing run, ask for something, and are complained of."""
    page = tmp_path / "page.html"
    page.write_text('<body title="' + "".join(strangers.MARKUP[2:5]), encoding="utf-8")
    tab.open(page.as_uri(), width=1200, height=800)
    tab.until("window.pwned !== undefined")
    assert len(tab.requests) > 1
