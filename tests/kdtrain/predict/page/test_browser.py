"""A slide's page at work in a browser: it zooms, overlays and answers to mouse, touch and keys, and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.devtools import Browser, browser
from fixtures.slide_pages import PEAK_CELL, SQUARE, jpeg, slide_page
from kdtrain.predict.explain.colours import sequential
from kdtrain.predict.page.build import build_page

PEAK = (400 + (PEAK_CELL[1] * 32 + 0.5) * 4, 300 + (PEAK_CELL[0] * 32 + 0.5) * 4)
"""Level-0 pixels of the planted peak: the cell's centre in the image, four level-0 pixels to one of its pixels."""

# How much the map changes each pixel of the stage, as its centre of gravity and its sum, in device pixels.
CHANGE_BY_MAP = """(async () => {
  const canvas = document.getElementById("slide");
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const on = pixels();
  document.getElementById("map").click();
  await frame();
  const off = pixels();
  document.getElementById("map").click();
  await frame();
  let [sum, x, y] = [0, 0, 0];
  for (let at = 0; at < on.length; at += 4) {
    const change = Math.abs(on[at + 2] - off[at + 2]);
    sum += change;
    x += change * ((at / 4) % canvas.width + 0.5);
    y += change * (Math.floor(at / 4 / canvas.width) + 0.5);
  }
  return { sum, x: x / sum, y: y / sum };
})()"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file; each opens the page anew."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with planted things, as a file."""
    return written(tmp_path_factory.mktemp("page"), build_page(slide_page()))


def written(folder: Path, page: bytes) -> str:
    """Address of the page as a file."""
    (folder / "S1.html").write_bytes(page)
    return (folder / "S1.html").as_uri()


def show(tab: Browser, address: str, *, width: int = 1200, height: int = 800, **given: Any) -> None:
    """Open a page, without motion unless asked for, and wait until all of its first painting is there."""
    tab.open(address, width=width, height=height, **{"prefers_reduced_motion": "reduce", **given})
    tab.until("window.slideView && slideView.isStill")


def settled(tab: Browser) -> dict[str, Any]:
    """What is shown once nothing moves any more."""
    tab.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    tab.until("slideView.isStill")
    names = (
        "x",
        "y",
        "scale",
        "wholeScale",
        "method",
        "classIndex",
        "opacity",
        "mapShown",
        "outlines",
        "selected",
    )
    view = tab.ask("({" + ",".join(f"{name}: slideView.{name}" for name in names) + "})")
    assert isinstance(view, dict)
    return view


def window_place(tab: Browser, x: float, y: float) -> tuple[float, float]:
    """Where a level-0 place lies in the window, CSS pixels."""
    box = tab.ask("(({x, y}) => [x, y])(document.getElementById('slide').getBoundingClientRect())")
    place = tab.ask(f"slideView.screenFrom({x}, {y})")
    return box[0] + place[0], box[1] + place[1]


def pixel(tab: Browser, x: float, y: float) -> list[int]:
    """Red, green, blue of the stage at a level-0 place."""
    return list(
        tab.ask(f"""(() => {{
          const [x, y] = slideView.screenFrom({x}, {y}).map((place) => Math.floor(place * devicePixelRatio));
          return [...document.getElementById("slide").getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3);
        }})()""")
    )


def test_the_page_opens_whole_without_a_word_or_a_request(tab: Browser, address: str) -> None:
    """From a file, in a light and a dark browser: nothing on the console, nothing loaded, the whole slide in view."""
    grounds = []
    for scheme in ("light", "dark"):
        show(tab, address, prefers_color_scheme=scheme)
        tab.key("n")
        assert settled(tab)["selected"] == 0
        assert tab.complaints == []
        assert tab.requests == [address]
        grounds.append(tab.ask("getComputedStyle(document.body).backgroundColor"))
        tab.key("0")
        shown = settled(tab)
        assert (shown["x"], shown["y"], shown["scale"]) == (2000, 1500, shown["wholeScale"])
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]


@pytest.mark.parametrize(("ratio", "keys"), [(1, []), (2, ["n"]), (1, ["n", "+"])])
def test_a_peak_of_the_map_lies_where_its_cell_is(
    tab: Browser, address: str, ratio: float, keys: list[str]
) -> None:
    """The map's change of the picture has its centre at the planted cell, at every zoom and pixel density."""
    show(tab, address, ratio=ratio)
    choose(tab, "method", "grad-cam")
    for key in ["r", "]", "]", "]", "]", *keys]:
        tab.key(key)
    assert settled(tab)["opacity"] == 1
    found = tab.ask(CHANGE_BY_MAP)
    expected = [place * ratio for place in tab.ask(f"slideView.screenFrom({PEAK[0]}, {PEAK[1]})")]
    assert found["sum"] > 1000
    assert abs(found["x"] - expected[0]) < 1 and abs(found["y"] - expected[1]) < 1


@pytest.mark.parametrize("keys", [[], ["n"], ["n", "+", "+"]])
def test_what_a_region_shows_lies_where_it_is_on_the_slide(
    tab: Browser, address: str, keys: list[str]
) -> None:
    """The planted square is black just inside its edges and not outside, whichever resolution is shown."""
    show(tab, address)
    for key in ["r", "o", *keys]:
        tab.key(key)
    scale = settled(tab)["scale"]
    away = 1.5 / scale + 3
    left, top, right, lower = SQUARE
    for x, y in [(left, top), (right, top), (left, lower), (right, lower)]:
        towards = (1 if x == left else -1, 1 if y == top else -1)
        assert max(pixel(tab, x + towards[0] * away, y + towards[1] * away)) < 90
        assert min(pixel(tab, x - towards[0] * away, y + towards[1] * away)) > 150
        assert min(pixel(tab, x + towards[0] * away, y - towards[1] * away)) > 150


def test_neighbouring_tiles_meet_without_a_seam(tab: Browser, tmp_path: Path) -> None:
    """Enlarged, an edge from black to white between two tiles is as smooth as anywhere: grey on both sides of it."""
    page = slide_page()
    image = Image.new("L", (1200, 900), 255)
    image.paste(0, (0, 0, 512, 900))
    views = (replace(page.regions[0], display=jpeg(image), maps=()), page.regions[1])
    show(tab, written(tmp_path, build_page(replace(page, regions=views))))
    for key in ["n", *"++++++++", "ArrowLeft"]:
        tab.key(key)
    assert settled(tab)["scale"] == pytest.approx(3)
    per_display_pixel = 1600 / 1200
    edge = 400 + 512 * per_display_pixel
    greys = [pixel(tab, edge + away * per_display_pixel, 900)[1] for away in (-1.5, -0.2, 0.2, 1.5)]
    assert greys[0] < 10 < 25 < greys[1] < greys[2] < 230 < 245 < greys[3]


def test_tiles_are_decoded_when_they_are_looked_at(tab: Browser, address: str) -> None:
    """The whole slide needs fewer tiles than a region from near."""
    show(tab, address)
    few = tab.ask("slideView.tilesKept")
    for key in "n++":
        tab.key(key)
    settled(tab)
    assert few <= 3 < tab.ask("slideView.tilesKept")


def test_the_wheel_zooms_about_the_pointer(tab: Browser, address: str) -> None:
    """The place under the pointer stays there; the scale grows as the wheel turns away."""
    show(tab, address)
    before, at = settled(tab), window_place(tab, 1500, 1000)
    tab.mouse("Wheel", *at, deltaX=0, deltaY=-300)
    assert settled(tab)["scale"] > before["scale"] * 1.5
    # The browser tells a wheel's place in whole pixels.
    assert window_place(tab, 1500, 1000) == pytest.approx(at, abs=0.8)
    tab.mouse("Wheel", *at, deltaX=0, deltaY=600)
    assert settled(tab)["scale"] == pytest.approx(before["scale"])


def test_keys_move_and_zoom(tab: Browser, address: str) -> None:
    """Plus and minus zoom, pressed in motion as well; arrows move, Home shows the whole slide."""
    show(tab, address, prefers_reduced_motion="no-preference")
    whole = settled(tab)
    for key in "+++":
        tab.key(key)
    near = settled(tab)
    assert near["scale"] == pytest.approx(whole["scale"] * 1.6**3)
    tab.key("ArrowRight")
    tab.key("ArrowUp")
    moved = settled(tab)
    assert moved["x"] > near["x"] and moved["y"] < near["y"] and moved["scale"] == near["scale"]
    tab.key("-")
    assert settled(tab)["scale"] == pytest.approx(whole["scale"] * 1.6**2)
    tab.key("Home")
    assert settled(tab) == whole


def test_drag_and_double_click(tab: Browser, address: str) -> None:
    """A drag moves the slide with the pointer; a double click zooms in about its place."""
    show(tab, address)
    tab.key("+")
    settled(tab)
    start = window_place(tab, 2000, 1500)
    tab.mouse("Pressed", *start, button="left", clickCount=1)
    tab.mouse("Moved", start[0] + 60, start[1] - 40, button="left", buttons=1)
    tab.mouse("Released", start[0] + 60, start[1] - 40, button="left", clickCount=1)
    before = settled(tab)
    assert window_place(tab, 2000, 1500) == pytest.approx((start[0] + 60, start[1] - 40), abs=0.01)
    tab.click(*start, times=2)
    assert settled(tab)["scale"] == pytest.approx(before["scale"] * 2.5)


def test_fingers_drag_and_pinch(tab: Browser, address: str) -> None:
    """One finger moves the slide, two that part zoom in, and what lies between them stays between them."""
    show(tab, address, width=390, height=844, ratio=2)
    before = settled(tab)
    x, y = window_place(tab, 2000, 1500)
    tab.touch("Start", (x - 20, y), (x + 20, y))
    tab.touch("Move", (x - 40, y), (x + 40, y))
    tab.touch("Move", (x - 60, y), (x + 60, y))
    tab.touch("End")
    near = settled(tab)
    assert near["scale"] == pytest.approx(before["scale"] * 3, rel=0.02)
    assert window_place(tab, 2000, 1500) == pytest.approx((x, y), abs=3)
    tab.touch("Start", (x, y))
    tab.touch("Move", (x - 30, y + 10))
    tab.touch("End")
    moved = settled(tab)
    assert moved["x"] == pytest.approx(near["x"] + 30 / near["scale"], abs=6 / near["scale"])
    assert tab.ask("scrollY") == 0


def test_opacity_goes_down_to_nothing(tab: Browser, address: str) -> None:
    """At 100 % the peak has a colour of the table's end, at 0 % the picture is as without a map; the slider follows."""
    show(tab, address)
    choose(tab, "method", "grad-cam")
    tab.key("r")
    for _ in range(4):
        tab.key("]")
    assert settled(tab)["opacity"] == 1
    strong = pixel(tab, *PEAK)
    for _ in range(10):
        tab.key("[")
    assert settled(tab)["opacity"] == 0
    none = pixel(tab, *PEAK)
    assert tab.ask("document.getElementById('opacity').value") == "0"
    assert tab.ask("document.getElementById('percent').textContent") == "0\u00a0%"
    tab.key("o")
    assert settled(tab)["mapShown"] is False
    assert pixel(tab, *PEAK) == none
    # The tip of a single cell lies between two pixels of the map's picture.
    assert np.abs(sequential(np.linspace(0.8, 1, 20)) - np.array(strong)).max(axis=1).min() < 8
    assert none == pytest.approx([220, 220, 220], abs=6)


def choose(tab: Browser, name: str, value: str) -> None:
    """Choose in a list, as a reader does."""
    box = f"document.getElementById('{name}')"
    tab.ask(f"({box}.value = '{value}', {box}.dispatchEvent(new Event('change')))")


def test_class_and_method_choose_the_map(tab: Browser, address: str) -> None:
    """Another class shows another map with its own legend; a method that says "against" has a legend with two ends."""
    show(tab, address)
    assert settled(tab)["method"] == "occlusion"
    choose(tab, "method", "grad-cam")
    tab.key("r")
    settled(tab)
    first = pixel(tab, *PEAK)
    choose(tab, "class", "0")
    settled(tab)
    assert pixel(tab, *PEAK) != first
    assert tab.ask("document.getElementById('for').textContent") == "for normal →"
    assert tab.ask("document.getElementById('partly').textContent") == ""
    choose(tab, "class", "1")
    choose(tab, "method", "occlusion")
    shown = settled(tab)
    assert (shown["method"], shown["classIndex"]) == ("occlusion", 1)
    assert tab.ask("[...document.querySelectorAll('.ticks span')].map((s) => s.textContent)") == [
        "-1",
        "0",
        "1",
    ]
    assert tab.ask("document.getElementById('against').textContent") == "← against inflamed"
    assert "how much less sure of inflamed" in tab.ask("document.getElementById('meaning').textContent")
    assert tab.ask("document.getElementById('partly').textContent") == "1 of 2 regions have this map."
    choose(tab, "class", "0")
    settled(tab)
    assert tab.ask("document.getElementById('none').hidden") is False


def test_each_region_may_show_its_own_class(tab: Browser, address: str) -> None:
    """The last choice shows region 0's map of "inflamed" and region 1's of "normal", each where its cell is."""
    show(tab, address)
    choose(tab, "method", "grad-cam")
    tab.key("r")
    own = (2400 + 64.5 * 4, 1600 + 64.5 * 4)
    choose(tab, "class", "0")
    settled(tab)
    assert pixel(tab, *PEAK)[0] - pixel(tab, *PEAK)[2] < 10 < pixel(tab, *own)[0] - pixel(tab, *own)[2]
    choose(tab, "class", "-1")
    assert settled(tab)["classIndex"] == -1
    for place in (PEAK, own):
        red, _, blue = pixel(tab, *place)
        assert abs(red - blue) > 10
    assert tab.ask("document.getElementById('for').textContent") == "for the predicted class →"


def test_paper_has_its_scale_bar_in_the_picture(tab: Browser, address: str) -> None:
    """Before printing the bar is drawn into the slide's picture, and afterwards it is gone."""
    show(tab, address)
    darkest = """(() => {
      const canvas = document.getElementById("slide");
      return Math.min(...canvas.getContext("2d").getImageData(0, canvas.height - 40, 60, 40).data.filter(
        (value, at) => at % 4 === 0));
    })()"""
    tab.key("n")
    settled(tab)
    tab.ask("dispatchEvent(new Event('beforeprint'))")
    assert tab.ask(darkest) < 40
    tab.ask("dispatchEvent(new Event('afterprint'))")
    assert tab.ask(darkest) > 150


def test_a_place_is_read_off(tab: Browser, address: str) -> None:
    """Under the pointer stand level-0 pixels, millimetres, the region and what each method says there."""
    show(tab, address)
    tab.key("n")
    tab.key("+")
    settled(tab)
    tab.mouse("Moved", *window_place(tab, *PEAK))
    settled(tab)
    words = tab.ask(
        "[...document.querySelectorAll('#place span')].map((s) => s.textContent.replaceAll('\\u00a0', ' '))"
    )
    assert words[0].startswith("x 1\u20092") and words[0].endswith(" px")
    assert [float(part) for part in words[1].removesuffix(" mm").split(", ")] == pytest.approx(
        [PEAK[0] / 2000, PEAK[1] / 2000], abs=0.002
    )
    assert words[2] == "region 0"
    assert float(words[3].removeprefix("Occlusion ")) > 0.95
    assert float(words[4].removeprefix("Grad-CAM ")) > 0.95


def test_regions_are_reached_by_keys_rows_and_the_slide(tab: Browser, address: str) -> None:
    """N and P go through regions in turn, a row goes to its region, a click on the slide marks the row."""
    show(tab, address)
    tab.key("n")
    first = settled(tab)
    assert (first["selected"], first["x"], first["y"]) == (0, 1200, 900)
    tab.key("p")
    last = settled(tab)
    assert (last["selected"], last["x"], last["y"]) == (1, 2800, 2000)
    assert tab.ask("document.getElementById('said').textContent") == "Region 1: normal 60.0 %"
    tab.key("0")
    settled(tab)
    tab.ask("document.querySelector('[data-region=\"0\"] button').focus()")
    tab.key("Enter")
    assert settled(tab) == first
    tab.key("0")
    settled(tab)
    tab.click(*window_place(tab, 2500, 1700))
    assert settled(tab)["selected"] == 1
    marked = "[...document.querySelectorAll('#regions .selected')].map((row) => row.dataset.region)"
    assert tab.ask(marked) == ["1"]


def test_the_table_sorts_by_a_class(tab: Browser, address: str) -> None:
    """A class's heading puts its most probable region first, and last when pressed again."""
    show(tab, address)
    order = "[...document.querySelectorAll('#regions tbody')].map((row) => Number(row.dataset.region))"
    press = "document.querySelector('[data-column=\"0\"] button').click()"
    assert tab.ask(order) == [0, 1]
    tab.ask(press)
    assert tab.ask(order) == [1, 0]
    assert tab.ask("document.querySelector('[data-column=\"0\"]').ariaSort") == "descending"
    tab.ask(press)
    assert tab.ask(order) == [0, 1]


def test_keys_leave_fields_and_the_page_alone(tab: Browser, address: str) -> None:
    """In the slider an arrow moves the slider; below the slide an arrow does not move the slide."""
    show(tab, address)
    tab.key("+")
    before = settled(tab)
    tab.ask("document.getElementById('opacity').focus()")
    tab.key("ArrowRight")
    tab.key("n")
    after = settled(tab)
    assert after["opacity"] == pytest.approx(before["opacity"] + 0.01)
    assert (after["x"], after["selected"]) == (before["x"], None)
    tab.ask("document.querySelector('#regions button').focus()")
    tab.key("ArrowDown")
    assert settled(tab)["y"] == before["y"]


def test_help_lists_the_keys(tab: Browser, address: str) -> None:
    """A question mark opens the list; while it is open, keys do nothing to the slide."""
    show(tab, address)
    tab.key("?")
    assert tab.ask("document.getElementById('keys').open") is True
    tab.key("n")
    assert settled(tab)["selected"] is None
    tab.ask("document.getElementById('close').click()")
    assert tab.ask("document.getElementById('keys').open") is False


def test_who_wants_no_motion_gets_none(tab: Browser, address: str) -> None:
    """With reduced motion a region is shown at once; without, the view is first under way."""
    for wish, is_there in [("reduce", True), ("no-preference", False)]:
        show(tab, address, prefers_reduced_motion=wish)
        assert tab.ask("(document.getElementById('next').click(), slideView.x === 1200)") is is_there
        assert settled(tab)["x"] == 1200


def test_scale_bar_and_magnification_follow_the_zoom(tab: Browser, address: str) -> None:
    """The bar is as long as its words say; 20x is a screen pixel per level-0 pixel."""
    show(tab, address)
    for _ in range(3):
        tab.key("+")
        scale = settled(tab)["scale"]
        number, unit = tab.ask("document.getElementById('length').textContent").split("\u00a0")
        um = float(number) * (1000 if unit == "mm" else 1)
        wide = tab.ask("document.getElementById('bar').getBoundingClientRect().width")
        assert 40 < wide <= 120 and wide == pytest.approx(um / 0.5 * scale, abs=0.1)
        shown = tab.ask("document.getElementById('magnification').textContent")
        assert float(shown.removesuffix("x")) == pytest.approx(20 * scale, rel=0.06)


def test_the_small_map_goes_where_it_is_pressed(tab: Browser, address: str) -> None:
    """It is away while the whole slide is in view; a press in its middle goes to the middle of the slide."""
    show(tab, address)
    assert tab.ask("document.getElementById('mini').hidden") is True
    tab.key("n")
    settled(tab)
    x, y, width, height = tab.ask(
        "(({x, y, width, height}) => [x, y, width, height])(document.getElementById('mini').getBoundingClientRect())"
    )
    tab.click(x + width / 2, y + height / 2)
    shown = settled(tab)
    assert (shown["x"], shown["y"]) == pytest.approx((2000, 1500), abs=40)


def test_a_phone_shows_all_of_it(tab: Browser, address: str) -> None:
    """At 390 pixels nothing sticks out, what to know and the answer stand above the slide, buttons are large enough."""
    show(tab, address, width=390, height=844, ratio=2)
    assert tab.ask("document.documentElement.scrollWidth") <= 390
    tops = tab.ask(
        "['.trust', '.verdict', '#slide', '#class', '#regions']"
        ".map((n) => document.querySelector(n).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops) and tops[0] >= 0
    sizes = tab.ask(
        "[...document.querySelectorAll('.tools button')].map((b) => b.getBoundingClientRect())"
        ".map((box) => Math.min(box.width, box.height))"
    )
    assert len(sizes) == 8 and min(sizes) >= 40


def test_a_slide_without_regions_can_still_be_looked_at(tab: Browser, tmp_path: Path) -> None:
    """No table, no map: zoom works, keys for regions do nothing, and the console stays silent."""
    page = slide_page()
    bare = replace(page, prediction=replace(page.prediction, regions=()), regions=())
    show(tab, written(tmp_path, build_page(bare)))
    for key in "np+":
        tab.key(key)
    shown = settled(tab)
    assert shown["selected"] is None and shown["scale"] > shown["wholeScale"]
    assert tab.complaints == []


def test_a_page_with_nothing_but_probabilities_works(tab: Browser, tmp_path: Path) -> None:
    """No maps, no images of regions, no microns per pixel: zoom and regions work, and the console stays silent."""
    page = slide_page(mpp=None)
    bare = replace(
        page, regions=tuple(replace(v, maps=(), display=None, agreement=None) for v in page.regions)
    )
    show(tab, written(tmp_path, build_page(bare)))
    for key in "n+o[]r":
        tab.key(key)
    shown = settled(tab)
    assert shown["selected"] == 0 and shown["scale"] > shown["wholeScale"]
    assert tab.complaints == []
