"""The preview page: structure, coordinates, escaping, determinism, self-containment."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import replace
from errno import ENOSPC
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from fixtures.browser import opened
from fixtures.devtools import browser
from fixtures.html_tree import Element, parse
from fixtures.reading_aloud import landmarks, misnamed, name_of, repeated_landmarks
from slideprep.preview.model import PreviewQuality
from slideprep.preview.page import (
    PreviewRegion,
    PreviewSet,
    PreviewSlide,
    PreviewTable,
    preview_pieces,
    render_preview,
    write_preview,
)
from slideprep.preview.tally import CARDS, tally
from slideprep.preview.words import number, scale_bar_um, visible
from slideprep.units import Box


def thumbnail(width: int = 8, height: int = 6) -> bytes:
    """A plain pink JPEG."""
    file = BytesIO()
    Image.new("RGB", (width, height), (225, 160, 195)).save(file, "JPEG")
    return file.getvalue()


def region(name: str = "r0", x: int = 100, **changes: object) -> PreviewRegion:
    """A written region of 400 × 300 level-0 px at (x, 200)."""
    made = PreviewRegion(
        box=Box(x=x, y=200, width=400, height=300), name=name, sizes=((10.0, 200, 150), (5.0, 100, 75))
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def slide(name: str = "A7", **changes: object) -> PreviewSlide:
    """A good slide of 2000 × 1500 px, 20x, 0.5 µm/px, with one region."""
    made = PreviewSlide(
        name=name,
        patient="p1",
        label="Normal",
        split="train",
        reader="OpenSlide 4.0.1",
        vendor="aperio",
        width_l0=2000,
        height_l0=1500,
        mpp=0.5,
        mpp_source="slide",
        objective=20.0,
        objective_source="slide",
        thumbnail_jpeg=thumbnail(),
        regions=(region(),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def preview(*slides: PreviewSlide, **changes: object) -> PreviewSet:
    """A set of these slides."""
    return replace(PreviewSet(title="set", slides=slides), **changes)  # type: ignore[arg-type]


def page(*slides: PreviewSlide, **changes: object) -> Element:
    """The parsed page of these slides."""
    return parse(render_preview(preview(*slides, **changes)))


def cards(root: Element) -> list[Element]:
    """The slides' cards in page order."""
    return root.all("article", "card")


def test_one_card_per_slide() -> None:
    """Every slide has exactly one card, whose id is the slide's position in the set."""
    found = cards(page(slide("a"), slide("b"), slide("c")))
    assert [(card.attributes["id"], card.one("h3").text) for card in found] == [
        ("slide-0", "a"),
        ("slide-1", "b"),
        ("slide-2", "c"),
    ]


def test_empty_set_has_a_page() -> None:
    """A set without slides still gives a well-formed page that says 0 slides."""
    root = page()
    assert cards(root) == []
    assert root.one("p", "shown").text == "0 slides"


def test_failures_come_first_then_warnings() -> None:
    """Cards are ordered failures, warnings, rest, each in the set's own order."""
    found = cards(
        page(
            slide("fine"),
            slide("warned", warnings=("faint tissue",)),
            slide("broken", failures=("truncated",)),
            slide("partly", regions=(region(), region("r1", status="failed", reason="damaged tile"))),
        )
    )
    assert [card.one("h3").text for card in found] == ["broken", "partly", "warned", "fine"]
    assert [card.one("div", "marks").text for card in found] == [
        "Partly failed",
        "Partly failed",
        "Warning",
        "",
    ]


def test_overlay_is_in_level0_pixels() -> None:
    """The overlay's user space is the slide's level 0 and each outline has its region's own coordinates."""
    overlay = cards(page(slide(regions=(region(), region("r1", x=900)))))[0].one("svg", "overlay")
    assert overlay.attributes["viewbox"] == "0 0 2000 1500"
    outlines = [rect.attributes for rect in overlay.all("rect")]
    assert [[o[key] for key in ("x", "y", "width", "height")] for o in outlines] == [
        ["100", "200", "400", "300"],
        ["900", "200", "400", "300"],
    ]
    casing = overlay.one("path", "casing").attributes["d"]
    assert casing == "M100 200h400v300h-400zM900 200h400v300h-400z"


@pytest.mark.parametrize("status", ["written", "left out", "failed"])
def test_outline_tells_the_region_status(status: str) -> None:
    """An outline's class is the region's status; only a failed region is crossed."""
    group = cards(page(slide(regions=(region(status=status, reason="why"),))))[0].one("g", "region")
    assert status.replace(" ", "-") in str(group.attributes["class"]).split()
    assert len(group.all("path", "cross")) == (status == "failed")
    assert ("why" in group.one("title").text) == (status != "written")


def test_hover_text_lists_the_size_at_each_magnification() -> None:
    """A region's title names its level-0 box and its size at every magnification."""
    title = cards(page(slide()))[0].one("title").raw_text
    assert title.splitlines() == [
        "r0",
        "level 0: 400 × 300 px at (100, 200)",
        "10×: 200 × 150 px",
        "5×: 100 × 75 px",
    ]


def test_scale_bar_has_its_length_in_level0_pixels() -> None:
    """2000 px at 0.5 µm are 1 mm; the bar is the longest round length in 0.4 of that, 200 µm or 400 px."""
    scale = cards(page(slide()))[0].one("g", "scale")
    assert scale.one("text").text == "200 µm"
    assert str(scale.one("path", "bar").attributes["d"]).endswith("h400.0")


@pytest.mark.parametrize(("longest", "bar"), [(1.0, 1), (1.99, 1), (4.9, 2), (5000.0, 5000), (0.3, 0.2)])
def test_scale_bar_lengths_are_1_2_or_5(longest: float, bar: float) -> None:
    """The bar is the longest of 1, 2, 5 × 10^k that fits."""
    assert scale_bar_um(longest) == pytest.approx(bar)


def test_no_scale_bar_without_mpp() -> None:
    """A slide without mpp has no scale bar, and the card says so."""
    card = cards(page(slide(mpp=None, mpp_source=None)))[0]
    assert card.all("g", "scale") == []
    assert "mpp unknown" in card.text


def test_missing_thumbnail_shows_the_reason() -> None:
    """A slide without a thumbnail has a placeholder with its first failure, and no image."""
    card = cards(page(slide(thumbnail_jpeg=None, regions=(), failures=("file is truncated",))))[0]
    assert card.all("img") == []
    assert "file is truncated" in card.one("span", "no-image").text
    assert card.one("div", "marks").text == "Failed"


def test_what_is_seen_is_heard_and_parts_are_told_apart() -> None:
    """Every control's name holds the words seen in it, no two landmarks sound alike, what scrolls can be reached."""
    columns = PreviewTable(caption="Slides by split", header=("Class", "train"), rows=(("Normal", "1"),))
    broken = slide("b", thumbnail_jpeg=None, regions=(), failures=("file is truncated",))
    root = page(slide("a"), broken, slide("c", mpp=None), table=columns, settings={"tissue": "auto"})
    assert (misnamed(root), repeated_landmarks(root)) == ([], [])
    names = {name_of(link, root) for card in cards(root) for link in card.all("a", "frame")}
    assert names == {
        "Enlarge overview of a, 1 region outlined, scale bar 200 µm",
        "Enlarge b No image file is truncated",
        "Enlarge overview of c, 1 region outlined",
    }
    tables = [("region", "Slides by split"), ("region", "Regions of a"), ("region", "Regions of c")]
    assert set(tables) < set(landmarks(root))
    scrolled = [box for box in root.all("div") if box.attributes.get("class") in ("scroll", "about")]
    assert len(scrolled) == 5
    assert all((box.attributes["role"], box.attributes["tabindex"]) == ("region", "0") for box in scrolled)


def test_thumbnail_is_embedded_unchanged() -> None:
    """The image on the page is the given JPEG, byte for byte."""
    source = str(cards(page(slide()))[0].one("img").attributes["src"])
    assert b64decode(source.removeprefix("data:image/jpeg;base64,")) == thumbnail()


def test_card_says_size_scan_reader_and_magnifications() -> None:
    """The card holds the facts a person checks: size, scan with sources, what was written, reader."""
    facts = {
        pair.one("dt").text: pair.one("dd").text.replace("\u202f", " ")
        for pair in cards(page(slide()))[0].one("dl", "facts").all("div")
    }
    assert facts == {
        "Size": "2 000 × 1 500 px, 1.00 × 0.750 mm",
        "Scan": "20× (slide), 0.5 µm/px (slide)",
        "Written": "1 region, 4 % of the slide, at 10, 5×",
        "Reader": "OpenSlide 4.0.1, aperio",
    }


HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\u202egpj.\x00\x1b\udcff é 組織"


def test_hostile_text_stays_text() -> None:
    """Markup, quotes and control characters in any text field add no element or attribute to the page."""
    hostile = page(
        slide(
            HOSTILE,
            patient=HOSTILE,
            label=HOSTILE,
            split=HOSTILE,
            reader=HOSTILE,
            vendor=HOSTILE,
            mpp_source=HOSTILE,
            objective_source=HOSTILE,
            warnings=(HOSTILE,),
            failures=(HOSTILE,),
            regions=(region(HOSTILE, class_name=HOSTILE, status="failed", reason=HOSTILE),),
        ),
        title=HOSTILE,
        classes=(HOSTILE,),
        settings={HOSTILE: HOSTILE},
        tool_versions={HOSTILE: HOSTILE},
        table=PreviewTable(caption=HOSTILE, header=(HOSTILE,), rows=((HOSTILE,),)),
    )
    assert len(hostile.all("script")) == 1
    assert len(hostile.all("img")) == 1
    shown = cards(hostile)[0].one("h3").text
    assert shown == "</script><img src=x onerror=alert(1)>\"'&\\u202egpj.\\u0000\\u001b\\udcff é 組織"


def test_undecodable_names_can_be_written(tmp_path: Path) -> None:
    """A file name that is not valid UTF-8 does not stop the page from being written."""
    write_preview(preview(slide("scan-\udce9")), tmp_path / "preview.html")
    assert "scan-\\udce9" in (tmp_path / "preview.html").read_text(encoding="utf-8")


def test_braces_are_not_placeholders() -> None:
    """Text that looks like a template's placeholder is shown as given."""
    root = page(slide("{{ 7 * 7 }}"), title="{% raw %} {# {{ policy }}")
    assert root.one("h1").text == "{% raw %} {# {{ policy }}"
    assert cards(root)[0].one("h3").text == "{{ 7 * 7 }}"


def test_same_set_same_bytes() -> None:
    """Rendering twice gives the same page: it holds no date and no address of an object."""
    made = preview(slide("a", warnings=("w",)), slide("b"), settings={"seed": "0"})
    assert render_preview(made) == render_preview(made)


def test_page_grows_by_the_same_amount_per_slide() -> None:
    """Each further hundred of alike slides costs the same, so thousands stay within reach."""
    sizes = [len(render_preview(preview(*[slide(f"s{i:03}") for i in range(n)]))) for n in (100, 200, 300)]
    assert sizes[2] - sizes[1] == pytest.approx(sizes[1] - sizes[0], rel=0.01)
    assert (sizes[1] - sizes[0]) / 100 < 4000 + len(b64encode(thumbnail()))


def test_slides_are_asked_for_one_by_one() -> None:
    """A slide is asked for when the cards before it have been given out: one thumbnail is in memory at a time."""
    asked: list[int] = []

    class Slides(list[PreviewSlide]):
        def __getitem__(self, position: int) -> PreviewSlide:  # type: ignore[override]
            asked.append(position)
            return super().__getitem__(position)

    pieces = preview_pieces(preview(slides=Slides([slide("a"), slide("b"), slide("c")])))
    assert [list(asked) for piece in pieces if "<article" in piece] == [[0], [0, 1], [0, 1, 2]]


def test_nothing_is_loaded_from_elsewhere() -> None:
    """Every address on the page is a data URI or a fragment of the page itself."""
    root = page(slide(), slide("b", thumbnail_jpeg=None))
    for tag in ("img", "a", "script", "link", "image", "use", "iframe"):
        for element in root.all(tag):
            for key in ("src", "href", "xlink:href"):
                assert re.match(r"data:image/jpeg;base64,|#", element.attributes.get(key) or "#")
    rendered = render_preview(preview(slide()))
    addresses = set(re.findall(r"https?://[^\"'\s)]+|url\([^)]*\)|@import", rendered))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the SVG namespace is a name, not an address"


def test_policy_names_the_style_and_script_by_hash() -> None:
    """The policy forbids everything but data images and the page's own style and script, so no attribute styles."""
    root = page(slide())
    policy = next(str(m.attributes["content"]) for m in root.all("meta") if "http-equiv" in m.attributes)
    for tag in ("style", "script"):
        digest = b64encode(sha256(root.one(tag).raw_text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"<[^>]+\s(style|on\w+)=", render_preview(preview(slide())))


def test_header_counts() -> None:
    """The header counts slides, patients, regions, megapixels; a slide that failed and was warned of counts in both."""
    root = page(
        slide("a", regions=(region(), region("r1", status="left out", sizes=()))),
        slide("b", patient="p2", regions=(region(status="failed", sizes=()),), warnings=("w",)),
        slide("c", patient="p2", warnings=("w",)),
    )
    shown = {count.one("dt").text: count.one("dd").text for count in root.all("div", "count")}
    assert shown == {
        "slides": "3",
        "patients": "2",
        "regions written": "2",
        "region left out": "1",
        "region failed": "1",
        "slide with failures": "1",
        "slides with warnings": "2",
        "megapixels at 10×": "0.0600",
    }


def test_size_table_names_the_largest_image() -> None:
    """Per magnification: images, megapixels, and the largest image with its slide; regions not written do not count."""
    large = region(sizes=((10.0, 3000, 1000),))
    lost = region("r1", status="failed", sizes=((10.0, 9000, 9000),))
    (sizes,) = tally(
        (slide("a", regions=(region(sizes=((10.0, 1000, 1000),)),)), slide("b", regions=(large, lost)))
    ).sizes
    assert (sizes.magnification, sizes.images, sizes.megapixels) == (10.0, 2, 4.0)
    assert (sizes.largest_px, sizes.largest_slide, sizes.median_megapixels) == ((3000, 1000), "b", 1.0)


def test_a_large_set_shows_some_of_its_slides() -> None:
    """Of 2 600 slides 1 000 are shown: every warning, since there are few, and of failures and others what fits."""
    failed = [slide(f"f{n}", failures=("x",)) for n in range(600)]
    warned = [slide(f"w{n}", warnings=("x",)) for n in range(50)]
    fine = [slide(f"s{n}") for n in range(1950)]
    root = page(*fine, *warned, *failed)
    cards = [card.attributes["class"].split()[1] for card in root.all("article", "card")]
    assert len(cards) == CARDS
    assert [cards.count(state) for state in ("failed", "warning", "ok")] == [600, 50, 350]
    assert cards == sorted(cards, key=["failed", "warning", "ok"].index)
    (note,) = [check.text for check in root.all("p", "check") if "are shown" in check.text]
    assert note.startswith("1,000 of the 2,600 slides are shown: 600 of the 600 with failures, 50 of the 50")
    assert "slides.csv" in note
    assert root.one("p", "shown").text == "1 000 slides"
    assert {"2 600"} <= {count.one("dd").text for count in root.all("div", "count")}


def test_states_share_the_cards() -> None:
    """Where every state has more slides than it may show, failures get 40 % of the cards, the others 30 % each."""
    states = [slide(f"f{n}", failures=("x",)) for n in range(30)]
    states += [slide(f"w{n}", warnings=("x",)) for n in range(30)] + [slide(f"s{n}") for n in range(30)]
    found = tally(states)
    assert [
        sum(found.states[at] == state for at in found.shown(10)) for state in ("failed", "warning", "ok")
    ] == [
        4,
        3,
        3,
    ]
    assert found.shown(90) == list(range(90))


def test_slides_are_drawn_by_name() -> None:
    """Which slides are shown does not depend on their order: a set that is described again shows the same ones."""
    names = [f"s{n}" for n in range(50)]
    drawn = [
        {order[at] for at in tally([slide(name) for name in order]).shown(10)}
        for order in (names, names[::-1])
    ]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 10


def test_a_patient_in_two_splits_is_named() -> None:
    """A leak between splits is stated with the patient and the splits, and its absence is stated too."""
    assert page(slide("a"), slide("b")).one("p", "check").text == "No patient is in two splits."
    leak = page(slide("a"), slide("b", split="test")).one("p", "check")
    assert leak.text == "Patients in more than one split: p1 (test, train)."


def test_overlapping_regions_cover_their_union() -> None:
    """Area in regions counts an overlap once and leaves out what lies beyond the slide or was not written."""
    half = Box(x=0, y=0, width=1000, height=1500)
    shifted = Box(x=500, y=0, width=1000, height=1500)
    beyond = Box(x=1900, y=0, width=1000, height=1500)
    regions = tuple(region(f"r{i}", box=box) for i, box in enumerate((half, shifted, beyond)))
    assert slide(regions=regions).covered_fraction == pytest.approx(0.75 + 0.05)
    assert slide(regions=(region(box=half, status="failed"),)).covered_fraction == 0


def test_a_slide_with_nothing_written_is_a_warning() -> None:
    """No region written and no failure recorded is never shown as fine; a region left out beside others is."""
    assert slide(regions=()).status == "warning"
    assert slide(regions=(region(status="left out", reason="Benign"),)).status == "warning"
    assert slide(regions=(region(), region("r1", status="left out", reason="Benign"))).status == "ok"


def test_filters_offer_splits_and_labels_with_counts() -> None:
    """The filters list each split and label with its number of slides, unassigned ones last, classes in index order."""
    root = page(
        slide("a", split=None, label=None),
        slide("b", label="Celiac Sprue"),
        slide("c", regions=(region(class_name="Solid"),)),
        classes=("Solid", "Celiac Sprue"),
    )
    selects = {
        select.attributes["id"]: [o.text for o in select.all("option")] for select in root.all("select")
    }
    assert selects["split"] == ["all splits", "train (2)", "none (1)"]
    assert selects["label"] == ["all labels", "Solid (1)", "Celiac Sprue (1)", "none (1)"]


def test_synthetic_slides_say_so_everywhere() -> None:
    """A synthetic set is marked in the header and on every card; a real one nowhere."""
    root = page(slide("a"), slide("b"), synthetic=True)
    assert "Synthetic" in root.one("p", "synthetic").text
    assert all("Synthetic" in card.text for card in cards(root))
    assert "Synthetic" not in page(slide("a")).one("body").text


def test_split_table_and_settings_are_shown() -> None:
    """The split table's cells and the resolved options appear as given."""
    counts = PreviewTable(
        caption="Slides by split", header=("Class", "train"), rows=(("Normal", "1 182 (70)"),)
    )
    root = page(slide(), table=counts, settings={"tissue": "auto"})
    table = root.one("section", "tables").one("table")
    assert [cell.text for cell in table.all("th") + table.all("td")] == [
        "Class",
        "train",
        "Normal",
        "1 182 (70)",
    ]
    assert root.one("details", "pairs").one("dl").text == "tissueauto"


def test_write_replaces_the_page_and_leaves_no_partial(tmp_path: Path) -> None:
    """Writing gives the rendered page under its name, replaces an older one, and leaves nothing else."""
    path = tmp_path / "preview.html"
    path.write_text("old")
    made = preview(slide("組織"))
    write_preview(made, path)
    assert path.read_bytes() == render_preview(made).encode("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the error is raised and the page that was there is untouched."""
    path = tmp_path / "preview.html"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("slideprep.preview.page.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_preview(preview(slide()), path)
    assert path.read_text() == "old"


def test_script_runs_under_the_policy(tmp_path: Path) -> None:
    """In a browser, the address of a slide opens its enlarged view and the filters appear: no hash is wrong."""
    path = tmp_path / "preview.html"
    write_preview(preview(slide("first"), slide("second", failures=("truncated",))), path)
    document, _ = opened(f"{path.as_uri()}#slide-0", tmp_path / "profile")
    root = parse(document)
    dialog = root.one("dialog")
    assert "open" in dialog.attributes
    assert (dialog.one("h2").text, dialog.one("div", "large-bar").one("p").text) == ("first", "2 of 2")
    assert "hidden" not in root.one("form").attributes


def measured(name: str, focus: float | None, ink: float) -> PreviewSlide:
    """A slide of one region of that quality, and a better one."""
    good = PreviewQuality(focus=0.9, ink=0, folds=0, bubbles=0)
    bad = PreviewQuality(focus=focus, ink=ink, folds=0.004, bubbles=0)
    return slide(name, regions=(region(quality=good), region("r1", x=900, quality=bad)))


def test_quality_is_on_the_card_and_in_the_table() -> None:
    """The card says the worst of each number over the slide's regions, the table what each region has."""
    card = cards(page(measured("a", 0.41, 0.25)))[0]
    assert card.one("div", "worst").text == "Worstfocus 0.41, ink 0.25, folds <0.01, bubbles 0"
    rows = [[cell.text for cell in row.all("td")][-4:] for row in card.all("tr")[1:]]
    assert rows == [["0.90", "0", "0", "0"], ["0.41", "0.25", "<0.01", "0"]]
    assert "focus 0.41, ink 0.25, folds <0.01, bubbles 0" in card.all("title")[1].text


def test_quality_that_nobody_measured_is_not_shown() -> None:
    """Sets of earlier versions have no numbers, and their pages no columns for them."""
    card = cards(page(slide("a")))[0]
    assert "focus" not in card.text.lower()
    assert card.all("div", "worst") == []
    assert "data-focus" not in card.attributes


def test_slides_are_filtered_and_sorted_by_quality(tmp_path: Path) -> None:
    """In a browser: blurred slides first, most ink first, reversed, beyond a limit; unknown ones last and in none."""
    path = tmp_path / "preview.html"
    slides = (measured("b", 0.5, 0.1), measured("a", 0.3, 0.0), slide("none"), measured("c", 0.4, 0.3))
    write_preview(preview(*slides), path)
    shown = "Array.from(document.querySelectorAll('.card:not([hidden]) h3'), (h) => h.textContent).join(' ')"
    with browser(tmp_path / "profile") as tab:
        tab.open(path.as_uri(), width=1200, height=900)

        def after(**values: str) -> str:
            for name, value in values.items():
                tab.ask(f"document.getElementById('{name}').value = '{value}'")
            frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            tab.ask("document.getElementById('controls').dispatchEvent(new Event('input'))")
            tab.ask(frame)
            return str(tab.ask(shown))

        assert after(sort="focus") == "a c b none"
        assert after(sort="ink") == "c b a none"
        tab.ask("document.getElementById('reverse').click()")
        assert after() == "a b c none"
        assert after(measure="focus", limit="0.45") == "a c"
        assert after(measure="ink", limit="0.1") == "c"
        assert after(measure="ink", limit="") == "a b c none"
        assert tab.complaints == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (46000, "46\u202f000"),
        (7, "7"),
        (12.0, "12.0"),
        (0.4993, "0.499"),
        (1642.4, "1\u202f642"),
        (99.99, "100"),
    ],
)
def test_numbers(value: float, shown: str) -> None:
    """Counts are grouped by thousands, measures have three significant digits."""
    assert number(value) == shown


def test_text_keeps_ordinary_unicode() -> None:
    """Letters of any script pass unchanged; only what cannot be seen is spelt out."""
    assert visible("Gewebe-Übersicht 組織 α") == "Gewebe-Übersicht 組織 α"
    assert visible("a\u200bb") == "a\\u200bb"
