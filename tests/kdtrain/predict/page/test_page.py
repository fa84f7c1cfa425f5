"""A slide's page as a document: what it says, that names cannot break it, its size, and that it is always the same."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.html_tree import Element, parse
from fixtures.reading_aloud import landmarks, misnamed, repeated_landmarks
from fixtures.slide_pages import CLASSES, jpeg, one_cell, slide_page
from kdtrain.predict.page.build import build_page
from kdtrain.predict.page.glossary import TERMS
from kdtrain.predict.page.tiles import RegionView, SlidePage
from kdtrain.predict.page.words import CAUTION, percent


def tree_of(page: SlidePage, **given: Any) -> Element:
    """The page as elements."""
    return parse(build_page(page, **given).decode("utf-8").replace("<!DOCTYPE html>", "", 1))


def data_of(page: SlidePage, **given: Any) -> dict[str, Any]:
    """What the page's script reads."""
    return dict(json.loads(tree_of(page, **given).by_id("slide-data").raw_text))


@pytest.fixture(scope="module")
def tree() -> Element:
    """The page of two regions."""
    return tree_of(slide_page())


def test_the_answer_stands_in_words(tree: Element) -> None:
    """Slide, class, confidence of slide and regions, sizes in millimetres, network and backend stand in the page."""
    assert tree.one("h1").text == "S1"
    assert tree.one("p", "verdict").text == "inflamed 40.0 % confidence"
    bars = [row.text for row in tree.one("table", "bars").one("tbody").all("tr")]
    assert bars == ["normal35.0 %", "inflamed40.0 %", "atypical25.0 %"]
    rows = [
        [cell.text for cell in body.one("tr").all() if cell.tag in ("th", "td")]
        for body in tree.by_id("regions").all("tbody")
    ]
    assert rows[0] == ["0", "inflamed 0.80 × 0.60 mm", "10.0 %", "70.0 %", "20.0 %", "0.75"]
    assert rows[1][0] == "1" and rows[1][1].startswith("normal !") and rows[1][-1] == "–"
    facts = {row.one("dt").text: row.one("dd").text for row in tree.by_id("panel").all("dl")[0].all("div")}
    assert (facts["Network"], facts["Computed by"]) == ("student-5x", "onnxruntime on cpu")
    assert facts["Slide"] == "4 000 × 3 000 px; 2.00 × 1.50 mm, 0.5 µm per px; 20x objective"
    assert facts["Images"] == "regions are shown at up to 15x"
    assert CAUTION in tree.one("footer").text and "no diagnosis" in tree.one("section", "answer").text


def test_bars_are_as_long_as_probabilities(tree: Element) -> None:
    """Each bar has its probability's part of the width, and one row is marked as the answer."""
    table = tree.one("table", "bars")
    assert [bar.attributes["width"] for bar in table.all("rect")] == ["35.00", "40.00", "25.00"]
    assert [row.one("th").text for row in table.all("tr", "most")] == ["inflamed"]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0.0 %"),
        (1e-5, "< 0.1 %"),
        (0.0005, "0.1 %"),
        (0.741, "74.1 %"),
        (0.99999, "> 99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_no_probability_is_rounded_to_certainty(share: float, words: str) -> None:
    """0 and 100 % are said of nothing else."""
    assert percent(share) == words


def test_what_decides_trust_stands_above_the_answer(tree: Element) -> None:
    """Before the answer stand, one under the other, training, likeness, maps and quality, each with what is said."""
    first = [part.attributes["class"] for part in tree.by_id("first").all("section")]
    assert first == ["trust", "answer"]
    assert [item.one("b").text for item in tree.one("section", "trust").all("li")] == [
        "Fine: Trained on slides of tissue",
        "Caution: Unlike the slides it was trained on",
        "Fine: The maps agree",
        "Not known: Quality not measured",
    ]
    assert tree.one("li", "caution").one("p").text == "Region 1: It is bluer than every training image."


def test_what_is_seen_is_heard_and_parts_are_told_apart(tree: Element) -> None:
    """Every control's name holds the words seen in it, no two landmarks sound alike, and each word is explained."""
    assert (misnamed(tree), repeated_landmarks(tree)) == ([], [])
    assert [role for role, _ in landmarks(tree)].count("region") == 8
    assert {("region", "Regions"), ("region", "Table of regions")} < set(landmarks(tree))
    terms = [term.text for term in tree.one("details", "glossary").all("dt")]
    assert terms == [term for term, _ in TERMS] and {"Region", "Confidence", "Occlusion", "Focus"} < set(
        terms
    )


@pytest.mark.parametrize(
    ("calibrated", "words"), [(True, "is calibrated: it"), (False, "is not calibrated: it"), (None, "")]
)
def test_confidence_says_whether_it_is_calibrated(calibrated: bool | None, words: str) -> None:
    """Under the confidence of the classes, where it is known."""
    text = tree_of(replace(slide_page(), calibrated=calibrated)).by_id("panel").text
    assert words in text and ("calibrated: it" in text) is (calibrated is not None)


def test_names_cannot_break_the_page() -> None:
    """Quotes, tags, ends of scripts and marks of writing direction are shown as what they are."""
    name, classes = "</script><b>\"'&amp; ü\u202e", ("a<!--", "b</script>", "ü & é")
    tree = tree_of(slide_page(slide=name, classes=classes))
    assert tree.one("h1").text == "</script><b>\"'&amp; ü\\u202e"
    assert tree.one("details").one("b").text == "Occlusion"
    assert [option.text for option in tree.by_id("class").all("option")][:2] == list(classes[:2])
    assert json.loads(tree.by_id("slide-data").raw_text)["classes"] == list(classes)
    assert len(tree.all("script")) == 2


def test_the_same_input_gives_the_same_bytes() -> None:
    """Twice built, a page is the same."""
    assert build_page(slide_page()) == build_page(slide_page())


def test_nothing_is_loaded_and_only_the_own_style_and_script_run(tree: Element) -> None:
    """The policy names style and script by hash and allows nothing else; no asset holds an address."""
    policy = tree.all("meta")[1].attributes["content"]
    hashes = [
        b64encode(sha256(element.raw_text.encode()).digest()).decode()
        for element in (tree.one("style"), tree.all("script")[1])
    ]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert all(
        not {"src", "href", "style"} & set(element.attributes) for element in tree.all() if element.tag != "a"
    )
    assert [link.attributes["href"] for link in tree.all("a")] == ["#panel"]
    assets = list(files("kdtrain.predict.page").joinpath("assets").iterdir())
    assert len(assets) > 8
    assert not [item.name for item in assets if re.search(r"https?:|url\(|@import", item.read_text("utf-8"))]


def test_every_control_has_a_name(tree: Element) -> None:
    """Buttons, choices, the slider and the slide itself can be heard."""
    labels = {label.attributes.get("for") for label in tree.all("label")}
    for button in tree.all("button"):
        assert button.attributes.get("aria-label") or button.text
    for control in [*tree.all("select"), tree.by_id("opacity")]:
        assert control.attributes["id"] in labels
    assert tree.by_id("slide").attributes["aria-label"] == "Slide S1"
    assert tree.by_id("slide").attributes["tabindex"] == "0"


def test_maps_keep_their_values_and_places() -> None:
    """256 steps from lowest to highest: each value comes back within 1/510 of the range, with its cells' centres."""
    found = data_of(slide_page())["regions"][0]["maps"]
    assert [(each["method"], each["classIndex"]) for each in found] == [
        ("grad-cam", 1),
        ("grad-cam", 0),
        ("occlusion", 1),
    ]
    for given, written in zip(slide_page().regions[0].maps, found, strict=True):
        steps = np.frombuffer(b64decode(written["values"]), np.uint8).reshape(
            written["rows"], written["columns"]
        )
        values = written["low"] + steps / 255 * (written["high"] - written["low"])
        assert np.abs(values - given.values).max() <= (written["high"] - written["low"]) / 510 + 1e-6
        assert (written["first"], written["step"]) == ([0.5, 0.5], [32, 32])


def test_a_scale_spans_all_regions() -> None:
    """The largest distance from 0 of a method and class on the slide is its scale; below 0 makes it signed."""
    page = slide_page()
    doubled = replace(page.regions[0].maps[2], values=page.regions[0].maps[2].values * -4)
    views = (page.regions[0], replace(page.regions[1], maps=(doubled,)))
    scales = data_of(replace(page, regions=views))["scales"]
    assert {"method": "occlusion", "classIndex": 1, "top": 4.0, "signed": True} in scales
    assert {"method": "grad-cam", "classIndex": 1, "top": 1.0, "signed": False} in scales


def test_a_flat_map_is_no_error() -> None:
    """A map of nothing but zeros has a scale of 1 and zeros as its values."""
    flat = replace(one_cell("grad-cam", 1, (0, 0)), values=np.zeros((9, 12), np.float32))
    page = slide_page()
    data = data_of(replace(page, regions=(replace(page.regions[0], maps=(flat,)), page.regions[1])))
    assert data["regions"][0]["maps"][0]["low"] == data["regions"][0]["maps"][0]["high"] == 0
    assert {"method": "grad-cam", "classIndex": 1, "top": 1.0, "signed": False} in data["scales"]


def test_values_that_are_no_numbers_are_refused() -> None:
    """A NaN in a map raises and names the map."""
    page, broken = slide_page(), one_cell("grad-cam", 1, (0, 0), low=float("nan"))
    with pytest.raises(ValueError, match=r"grad-cam, class 1\) holds values that are no finite numbers"):
        build_page(replace(page, regions=(replace(page.regions[0], maps=(broken,)), page.regions[1])))


def test_the_page_begins_with_the_class_of_the_slide(tree: Element) -> None:
    """Occlusion of the predicted class, the better pointer, is chosen first; classes without any map cannot be."""
    options = tree.by_id("class").all("option")
    assert [(option.attributes["value"], option.text) for option in options] == [
        ("0", "normal"),
        ("1", "inflamed"),
        ("-1", "predicted class of each region"),
    ]
    chosen = [option.text for name in ("class", "method") for option in tree.by_id(name).all("option")
              if "selected" in option.attributes]  # fmt: skip
    assert chosen == ["inflamed", "Occlusion (by hiding places)"]
    page = slide_page()
    cam_only = tuple(replace(view, maps=view.maps[:1]) for view in page.regions)
    assert data_of(replace(page, regions=cam_only))["firstChoice"] == {"method": "grad-cam", "classIndex": 1}


def test_a_page_without_maps_and_scale_says_so() -> None:
    """No map: no controls of one. No microns per pixel: sizes in pixels and no scale bar."""
    page = slide_page(mpp=None, objective=None)
    bare = replace(page, regions=tuple(replace(view, maps=(), agreement=None) for view in page.regions))
    tree = tree_of(bare)
    ids = {element.attributes.get("id") for element in tree.all()}
    assert not ids & {"class", "method", "opacity", "map", "bar"}
    assert "No heat map was computed" in tree.one("section", "map").text
    assert "1 600 × 1 200 px" in tree.by_id("regions").text
    assert "Maps agree" not in tree.by_id("regions").text


def noisy_page() -> SlidePage:
    """Images that do not compress."""
    rng = np.random.default_rng(0)
    page = slide_page()
    shown = [
        jpeg(Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8))) for side in (1200, 600)
    ]
    views = tuple(replace(view, display=image) for view, image in zip(page.regions, shown, strict=True))
    return replace(page, regions=views)


def test_a_page_keeps_to_its_size() -> None:
    """The finest level of the larger region is left out first, the page is below its limit and says what it lacks."""
    page = noisy_page()
    whole = len(build_page(page))
    limited = build_page(page, size_limit_bytes=whole * 6 // 10)
    assert whole * 2 // 10 < len(limited) <= whole * 6 // 10
    tree = parse(limited.decode("utf-8").replace("<!DOCTYPE html>", "", 1))
    levels = [
        region["levels"][0]["reduction"]
        for region in json.loads(tree.by_id("slide-data").raw_text)["regions"]
    ]
    assert levels == [2, 1]
    assert (
        "regions are shown at up to 15x; to keep this page small, region 0 shown at up to 7.5x" in tree.text
    )


def test_tiles_of_a_page_are_its_images() -> None:
    """A region's finest tiles lie in the page, and the page's overview is the one given."""
    page = slide_page()
    data = data_of(page)
    finest = data["regions"][0]["levels"][0]
    assert (finest["reduction"], finest["columns"], len(finest["tiles"])) == (1, 3, 6)
    last = Image.open(BytesIO(b64decode(finest["tiles"][-1])))
    assert last.size == (1200 - 2 * 512 + 1, 900 - 512 + 1)
    assert b64decode(data["overview"]) == page.overview


def test_colours_are_the_callers() -> None:
    """A colour table has 256 rows of what the function given says."""
    data = data_of(
        slide_page(), colours=lambda at: np.rint(np.stack([at, 1 - at, 0 * at], -1) * 255).astype(np.uint8)
    )
    table = np.frombuffer(b64decode(data["colours"]["sequential"]), np.uint8).reshape(256, 3)
    assert table[0].tolist() == [0, 255, 0] and table[-1].tolist() == [255, 0, 0]


def test_many_regions_make_a_page() -> None:
    """Three hundred regions are three hundred rows."""
    page = slide_page()
    regions = tuple(replace(page.prediction.regions[0], index=number) for number in range(300))
    views = tuple(RegionView(prediction=region, maps=page.regions[0].maps) for region in regions)
    many = replace(page, prediction=replace(page.prediction, regions=regions), regions=views)
    tree = tree_of(many)
    assert len(tree.by_id("regions").all("tbody")) == 300
    assert "the slide's overview only" in tree.text


def test_views_must_be_those_of_the_prediction() -> None:
    """A page whose views are of other regions is refused, with both lists."""
    page = slide_page()
    with pytest.raises(ValueError, match=r"views of \[1, 0\] for regions \[0, 1\]"):
        replace(page, regions=page.regions[::-1])


def test_classes_are_in_the_order_of_the_bundle(tree: Element) -> None:
    """Columns of the table are the classes as given."""
    heads = [head.text.removeprefix("Sort by ") for head in tree.by_id("regions").one("thead").all("th")]
    assert heads == ["No", "Class, field size", *CLASSES, "Maps agree"]
