"""The report's page: what it says, what it links, what it may load, what it escapes."""

from __future__ import annotations

import csv
import io
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from fixtures import reports
from fixtures.html_tree import Element, parse
from fixtures.reading_aloud import misnamed, repeated_landmarks
from fixtures.slide_pages import jpeg
from kdtrain.report.figures.draw import chart_svg
from kdtrain.report.files.csv import chart_csv, confusion_csv, gallery_csv, wide_table_csv
from kdtrain.report.files.latex import table_latex
from kdtrain.report.model import Block, Cell, Confusion, Paragraph, Report, Row, Section, Table
from kdtrain.report.page.page import render_page, write_page
from kdtrain.report.page.parts import bodies, chart_numbers, shaded

HOSTILE = "<b>&\"'</script><img src=x onerror=alert(1)>"


def report(*blocks: Block, **changes: object) -> Report:
    """A report of one section with these blocks."""
    made = Report(
        title="T",
        subtitle="",
        synthetic=False,
        warnings=(),
        answer=(),
        sections=(Section(name="part", title="Part", blocks=blocks),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def page(*blocks: Block, **changes: object) -> Element:
    """The parsed page of these blocks."""
    return parse(render_page(report(*blocks, **changes)))


@pytest.fixture(scope="module")
def paper() -> str:
    """The page of a report like the paper's, with short curves."""
    return render_page(reports.paper_report(seeds=2, epochs=30))


@pytest.fixture(scope="module")
def root(paper: str) -> Element:
    """It as a tree."""
    return parse(paper)


def content(link: Element) -> str:
    """What a download link saves."""
    head, _, data = link.attributes["href"].partition(",")
    return b64decode(data).decode() if head.endswith(";base64") else unquote(data)


def links(element: Element) -> dict[str, Element]:
    """Download links below an element, by file name."""
    return {a.attributes["download"]: a for a in element.all("a") if "download" in a.attributes}


def test_every_cell_of_a_table_is_there(root: Element) -> None:
    """Table 4 on the page has every number, interval, note and number of the paper, in order."""
    rows = [row for row in root.by_id("all-methods").one("tbody").all("tr") if row.all("td")]
    shown = [[cell.text for cell in row.all("td")] for row in rows]
    printed = [[reports.printed(0.625, metric, method) for method in range(4)] for metric in range(4)]
    wanted = [[f"{text} ±0.8 over 2 seeds the paper {text}" for text in row] for row in printed]
    assert [[text.replace(" (bold)", "") for text in row] for row in shown] == wanted
    assert len([row for row in root.by_id("all-methods").all("tr") if row.all("td", "n")]) == 16


def test_rows_and_columns_have_headings(root: Element) -> None:
    """Column, row and group headings say what they head; the table is named by its title, described by its caption."""
    table = root.by_id("all-methods").one("table")
    assert [th.text for th in table.all("th") if th.attributes["scope"] == "colgroup"] == [
        "Labelled training set",
        "Auxiliary sets",
    ]
    assert [th.text for th in table.all("th") if th.attributes["scope"] == "col"] == [
        "Metric",
        *reports.METHODS,
    ]
    assert [th.text for th in table.all("th") if th.attributes["scope"] == "rowgroup"] == [
        "0.625x",
        "1.25x",
        "2.5x",
        "5x",
    ]
    assert root.by_id(table.attributes["aria-labelledby"]).text == "Baseline and KD"
    assert root.by_id(table.attributes["aria-describedby"]).text.startswith("Test set, percentages")


def test_best_is_bold_and_said(root: Element) -> None:
    """The best of each row is bold, and a screen reader is told; no other cell is."""
    bold = [b.text for b in root.by_id("all-methods").all("b")]
    assert bold[:4] == ["83.17 (bold)", "66.83 (bold)", "67.21 (bold)", "69.29 (bold)"]
    assert len(bold) == 16


def test_columns_of_words_are_set_left_and_of_numbers_right() -> None:
    """A column is flush right only if it holds numbers; of words, only long ones may break."""
    cells = (Cell(text="12", value=12.0), Cell(text="1 × cpu"), Cell(text="1 × a device of a long name"))
    table = Table(
        name="t",
        title="t",
        caption="",
        corner="Run",
        columns=("GFLOPs", "Device", "State"),
        rows=(Row(heading="a", cells=cells),),
    )
    assert [td.attributes.get("class") for td in page(table).one("tbody").all("td")] == ["n", "short", None]


def test_a_title_row_heads_the_rows_below_it() -> None:
    """Rows before the first title have none; a title without rows stands by itself."""
    plain, title, last = (
        Row(heading="a", cells=(Cell(text="1"),)),
        Row(heading="T"),
        Row(heading="U"),
    )
    assert bodies((plain, title, plain, plain, last)) == (
        (None, (plain,)),
        (title, (plain, plain)),
        (last, ()),
    )
    assert bodies(()) == ()


def test_answer_and_warnings_come_before_any_number(paper: str) -> None:
    """The result and what limits it are read before the first table."""
    places = [paper.index(text) for text in ('class="answer"', "1 of 81 runs is missing", "<table")]
    assert places == sorted(places)


def test_synthetic_slides_are_named_as_such(root: Element) -> None:
    """A report on generated slides says so at its top; another does not speak of it."""
    assert root.one("p", "synthetic").text == "Synthetic slides: generated images, not tissue."
    assert "Synthetic" not in page().one("body").text


def test_what_belongs_together_stays_on_one_line() -> None:
    """No line of text breaks between "95" and "%", or within an option that a reader is to type."""
    made = page(answer=("95 % interval",), warnings=("pass its folder as --train-on <x>",))
    assert made.one("div", "answer").one("p").content == ["95\u00a0% interval"]
    assert made.one("span", "opt").text == "--train-on"
    assert made.one("section", "warnings").one("li").text == "pass its folder as --train-on <x>"


def test_navigation_leads_to_every_section(root: Element) -> None:
    """Each link of the contents has a target on the page, and each section a link."""
    targets = [a.attributes["href"] for a in root.one("nav").all("a")]
    assert targets[0] == "#top"
    assert targets[1:] == [
        f"#{s.attributes['id']}" for s in root.one("main").all("section") if "id" in s.attributes
    ]
    for target in [a.attributes["href"] for a in root.all("a") if a.attributes["href"].startswith("#")]:
        assert root.by_id(target[1:])


def test_ids_are_unique_also_where_names_are_not() -> None:
    """Blocks and sections of the same name, or named as the template's own parts, get ids of their own."""
    table = reports.settings("x")
    named = replace(table, name="top")
    made = report(
        table,
        table,
        named,
        sections=(
            Section(name="main", title="A", blocks=(table, named)),
            Section(name="main", title="B", blocks=(table, table)),
        ),
    )
    found = [e.attributes["id"] for e in parse(render_page(made)).all() if "id" in e.attributes]
    assert len(found) == len(set(found))
    assert {"main-2", "main-3", "settings-x", "settings-x-2", "top-2"} <= set(found)


def test_references_within_the_page_have_targets(root: Element) -> None:
    """Every id named by aria-labelledby or aria-describedby exists once."""
    for element in root.all():
        for key in ("aria-labelledby", "aria-describedby"):
            for name in element.attributes.get(key, "").split():
                assert root.by_id(name)


def test_headings_are_in_order(root: Element) -> None:
    """One first-level heading, and no level is skipped on the way down."""
    levels = [int(e.tag[1]) for e in root.all() if re.fullmatch(r"h\d", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_landmarks(root: Element) -> None:
    """The page has one banner, one navigation with a name, one main part, one footer."""
    body = root.one("body")
    assert [len(body.all(tag)) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
    assert body.one("nav").attributes["aria-label"] == "Contents"
    assert root.one("html").attributes["lang"] == "en"


def test_downloads_of_a_table(root: Element) -> None:
    """A table's links save the same CSV and LaTeX as the files beside the report."""
    found = links(root.by_id("all-methods"))
    assert list(found) == ["all-methods.csv", "all-methods-long.csv", "all-methods.tex"]
    table = reports.table_4(seeds=2)
    assert content(found["all-methods.csv"]) == wide_table_csv(table)
    assert content(found["all-methods.tex"]) == table_latex(table)
    long = list(csv.DictReader(io.StringIO(content(found["all-methods-long.csv"]))))
    assert len(long) == 64
    assert (long[0]["part"], long[0]["value"], long[0]["low"]) == ("0.625x", "79.11", "77.74")


def test_downloads_of_a_figure(root: Element) -> None:
    """A figure's links save its points and its drawing."""
    found = links(root.by_id("accuracy-against-cost"))
    assert content(found["accuracy-against-cost.csv"]) == chart_csv(reports.figure_3())
    assert content(found["accuracy-against-cost.svg"]) == chart_svg(reports.figure_3())


def test_every_table_and_figure_can_be_downloaded(root: Element) -> None:
    """No figure element of the page is without a CSV, and no two links save under one name."""
    figures = root.all("figure")
    assert len(figures) > 40
    assert all(any(name.endswith(".csv") for name in links(figure)) for figure in figures)
    names = [a.attributes["download"] for a in root.all("a") if "download" in a.attributes]
    assert len(names) == len(set(names))


def test_awkward_text_survives_a_download() -> None:
    """Commas, quotes, line breaks, percent signs, hashes and other alphabets come back from the link as they were."""
    name = 'a,"b"\n50 % #1 組織 &amp; <x>'
    made = Confusion(name="c", title="c", caption="", classes=(name, "y"), counts=((1, 2), (3, 4)))
    (link,) = links(page(made)).values()
    assert content(link) == confusion_csv(made)
    assert name in next(csv.reader(io.StringIO(content(link))))


def test_figures_have_a_name_and_their_numbers(root: Element) -> None:
    """Every drawing is an image with a name, and a table of its numbers stands beside it."""
    for svg in root.all("svg"):
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-label"]
    numbers = root.by_id("accuracy-against-cost").one("details", "numbers")
    assert [td.text for td in numbers.one("tbody").one("tr").all("td")] == [
        "0.625x",
        "0.1613",
        "79.11",
        "77.74 to 80.54",
    ]


def test_long_lines_are_summed_up() -> None:
    """A figure of many points has a row per line: points, first, last, least, greatest."""
    loss, _ = reports.curves("KD", 5.0, seeds=1, epochs=100)
    (row,) = chart_numbers(loss).rows
    values = [point.y for point in loss.series[0].points]
    assert row == ("seed 0", "100", *(f"{v:.4g}" for v in (values[0], values[-1], min(values), max(values))))


def test_figures_that_follow_each_other_are_small_multiples(root: Element) -> None:
    """Figure 3 is drawn for wide and narrow windows; many curves only small, side by side."""
    assert len(root.by_id("accuracy-against-cost").all("svg")) == 2
    curves = root.by_id("curves")
    assert len(curves.one("div", "multiples").all("figure")) == len(curves.all("svg")) == 32


def test_confusions_of_many_classes_stand_alone() -> None:
    """Matrices of few classes stand side by side; those of six have the width of the page each."""
    for classes, groups in (("abcde", 1), ("abcdef", 0)):
        counts = tuple((1,) * len(classes) for _ in classes)
        made = [
            Confusion(name=name, title=name, caption="", classes=tuple(classes), counts=counts)
            for name in "xy"
        ]
        assert len(page(*made).all("div", "multiples")) == groups


def test_a_folded_section_is_closed_and_keeps_its_heading(root: Element) -> None:
    """A folded section shows its heading and opens on demand, without script."""
    details = root.by_id("curves").one("details", "folded")
    assert "open" not in details.attributes
    assert details.one("summary").one("h2").text == "Training curves"


def test_confusion_is_shaded_by_row() -> None:
    """The shade is the part of the true class, in tenths; an empty row has none; a rare mistake is not called none."""
    made = Confusion(name="c", title="c", caption="", classes=("a", "b"), counts=((3, 1), (0, 0)))
    assert shaded(made) == (((3, 8, "75 %"), (1, 2, "25 %")), ((0, 0, ""), (0, 0, "")))
    assert shaded(replace(made, counts=((1, 299), (0, 1))))[0][0] == (1, 0, "<1 %")
    cells = page(made).one("tbody").all("td")
    assert [(td.text, td.attributes["class"]) for td in cells[:2]] == [("3 75 %", "n q8"), ("1 25 %", "n q2")]


def test_a_picture_says_what_it_is_of(tmp_path: Path) -> None:
    """Its image lies in the page; answer, probability and key stand below it, and a link to its slide's card."""
    made = page(reports.gallery(jpeg(Image.new("RGB", (8, 6)))))
    first, second = made.by_id("surest-errors").all("li")
    image = first.one("img")
    assert image.attributes["src"].startswith("data:image/jpeg;base64,")
    assert image.attributes["alt"] == "Normal, answered Celiac Sprue: slide-7-0a1b2c3d-r0001"
    assert (image.attributes["width"], image.attributes["height"]) == ("8", "6")
    assert first.one("p", "said").text == "Normal, answered Celiac Sprue, 97 %"
    assert first.one("p", "beside").text == "Teacher at 10x: Normal, 55 %"
    assert first.one("code").content == ["slide-7-0a1b2c3d-r0001"]
    assert first.one("a").attributes["href"] == "./../my%20shards/preview.html#slide-7"
    assert second.all("img") == second.all("a") == []
    assert second.one("div", "none").text == "No image: cut off"
    assert second.one("p", "said").text.endswith("over 99 %")
    assert [h.text for h in made.by_id("surest-errors").all("h4")] == [
        "True class Normal",
        "True class Celiac Sprue",
    ]
    (link,) = links(made.by_id("surest-errors")).values()
    assert content(link) == gallery_csv(reports.gallery())
    assert (
        content(link)
        .splitlines()[1]
        .startswith("slide-7-0a1b2c3d-r0001,slide 7.svs,Normal,Celiac Sprue,0.97")
    )


@pytest.mark.parametrize(
    "path", ["javascript:alert(1)", "//example.com/x", 'a"><img src=x>', "data:text/html,x", "a?b#c"]
)
def test_whatever_a_path_is_called_a_link_leads_to_a_path(path: str) -> None:
    """No address of a card is a script, another host or markup."""
    gallery = reports.gallery()
    picture = replace(gallery.rows[0].pictures[0], card=path)
    made = page(replace(gallery, rows=(replace(gallery.rows[0], pictures=(picture,)),)))
    address = made.by_id("surest-errors").one("a").attributes["href"]
    assert re.fullmatch(r"\./[\w./%~-]*#slide-7", address)
    assert unquote(address) == f"./{path}#slide-7"


def test_images_are_allowed_where_there_is_a_gallery() -> None:
    """The policy lets images that the page itself holds be shown, on a page that has some; on others none at all."""
    for made, allowed in ((report(reports.gallery()), True), (report(), False)):
        assert ("img-src data:;" in render_page(made)) is allowed


def test_a_page_can_be_read_aloud(root: Element) -> None:
    """Every control is called what is seen of it, and no two landmarks sound alike."""
    assert misnamed(root) == []
    assert repeated_landmarks(root) == []


def test_the_papers_number_stands_beside_the_name(root: Element) -> None:
    """A table or figure has a name of its own as its title, and what it is in the paper in small below it."""
    found = root.by_id("all-methods")
    assert (found.one("h3").text, found.one("p", "in-paper").text) == (
        "Baseline and KD",
        "Table 4 of the paper",
    )
    assert root.by_id("accuracy-against-cost").one("p", "in-paper").text == "Figure 3 of the paper"
    assert root.by_id("table-differences").all("p", "in-paper") == []


def test_figures_that_belong_together_stand_in_twos() -> None:
    """A section says whether two or three of its figures stand in a row; they are small then, however few."""
    loss, _ = reports.curves("KD", 5.0, seeds=1, epochs=3)
    for per_row, pairs in ((2, 1), (3, 0)):
        section = Section(name="s", title="S", blocks=(loss,) * 2, per_row=per_row)
        made = parse(render_page(report(sections=(section,))))
        assert len(made.all("div", "pair")) == pairs
        assert len(made.all("div", "multiples")) == 1


def test_landmarks_have_names_of_their_own(root: Element) -> None:
    """No two parts of the page that scroll are called the same: of a figure, its numbers are another than itself."""
    named = [div.attributes["aria-labelledby"] for div in root.all("div", "scroll")]
    texts = [root.by_id(name).text for name in named]
    assert len(texts) == len(set(texts)) > 30


def test_a_group_of_columns_without_a_title_is_no_heading() -> None:
    """A heading without words would be read as one."""
    table = replace(reports.differences(), groups=(("", 1), ("Students", 2)))
    row = page(table).one("tr", "groups")
    assert [th.text for th in row.all("th")] == ["Students"]
    assert [td.attributes.get("colspan") for td in row.all("td")] == [None, "1"]


def test_hostile_names_are_text() -> None:
    """A class, run or title may hold any characters: none of them is a tag, an attribute or a control character."""
    figure = reports.figure_3()
    label = replace(figure.series[0], label=HOSTILE)
    blocks = (
        Paragraph(text=HOSTILE, warning=True),
        replace(reports.settings("s"), title=HOSTILE, caption=HOSTILE, corner=HOSTILE, columns=(HOSTILE,)),
        replace(figure, title=HOSTILE, caption=HOSTILE, name=HOSTILE, series=(label, *figure.series[1:])),
        Confusion(
            name=HOSTILE, title=HOSTILE, caption=HOSTILE, classes=(HOSTILE, "\u202e"), counts=((1, 0), (0, 1))
        ),
    )
    made = render_page(
        report(*blocks, title=HOSTILE, subtitle=HOSTILE, warnings=(HOSTILE,), answer=(HOSTILE,))
    )
    tree = parse(made)
    assert len(tree.all("script")) == 1
    assert tree.all("img") == []
    assert tree.one("h1").text == HOSTILE
    assert "\u202e" not in made
    assert tree.one("th", "n").text


def test_a_policy_names_style_and_script_by_hash(paper: str, root: Element) -> None:
    """Nothing may load or run but the page's own style and script, and no element carries either."""
    policy = next(m.attributes["content"] for m in root.all("meta") if "http-equiv" in m.attributes)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (only,) = re.findall(rf"<{tag}>(.*?)</{tag}>", paper, re.DOTALL)
        digest = b64encode(sha256(only.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"<[^>]+\s(style|on\w+)=", paper)


def test_nothing_is_loaded_from_elsewhere(paper: str, root: Element) -> None:
    """Every address on the page is a fragment of it, holds its own content, or is a link to a page beside it."""
    for element in root.all():
        for key in ("src", "href", "xlink:href", "action", "srcset"):
            if key in element.attributes:
                beside = r"|\./" if element.tag == "a" else ""
                assert re.match(
                    rf"#|data:(text/csv|image/svg\+xml|image/jpeg|application/x-tex)[;,]{beside}",
                    element.attributes[key],
                )
    assert set(re.findall(r"https?://[^\"'\s)<]+|url\([^)]*\)|@import", paper)) == {
        "http://www.w3.org/2000/svg"
    }


def test_the_same_report_gives_the_same_page(paper: str) -> None:
    """The page holds no date and nothing drawn by chance."""
    assert render_page(reports.paper_report(seeds=2, epochs=30)) == paper


def test_a_whole_report_stays_below_two_megabytes() -> None:
    """4 magnifications, 4 methods, 5 seeds and curves of 100 epochs fit in a page that can be mailed."""
    assert len(render_page(reports.paper_report(seeds=5, epochs=100)).encode()) < 2_000_000


def test_an_empty_report_is_a_page() -> None:
    """A report without sections still has a title and well-formed markup."""
    assert page(sections=()).one("h1").text == "T"


def test_writing_replaces_an_earlier_page(tmp_path: Path) -> None:
    """The page is written whole under its name, over an earlier one, and nothing else is left."""
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    made = report(Paragraph(text="組織"))
    write_page(made, path)
    assert path.read_bytes() == render_page(made).encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]
