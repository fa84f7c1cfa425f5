"""The report's figures: axes, marks, labels, themes, escaping."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from math import nan
from xml.etree import ElementTree

import pytest

from fixtures import reports
from kdtrain.pages import COLOURS, SERIES, SHADES, contrast, number, shade, text_width
from kdtrain.report.figures.axes import linear_axis, log_axis, plain
from kdtrain.report.figures.draw import chart_svg, drawing_notes
from kdtrain.report.figures.frame import NARROW, WIDE, Area, Size
from kdtrain.report.figures.marks import styles
from kdtrain.report.figures.point_labels import Mark, columns_of, place_labels
from kdtrain.report.model import Chart, Point, Series

SVG = "{http://www.w3.org/2000/svg}"


def chart(*series: Series, **changes: object) -> Chart:
    """A figure of lines on plain axes."""
    made = Chart(name="f", title="F", caption="", kind="lines", x_title="x", y_title="y", series=series)
    return replace(made, **changes)  # type: ignore[arg-type]


def line(label: str, *points: tuple[float, float], **changes: object) -> Series:
    """A series through these points."""
    return replace(Series(label=label, points=tuple(Point(x=x, y=y) for x, y in points)), **changes)  # type: ignore[arg-type]


def drawn(made: Chart, size: Size = WIDE) -> ElementTree.Element:
    """The drawing as a tree; one that is not well-formed fails."""
    return ElementTree.fromstring(chart_svg(made, size))


def texts(root: ElementTree.Element) -> list[str]:
    """All texts of a drawing, in order."""
    return [element.text or "" for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.05, "0.05"),
        (12.5, "12.5"),
        (100.0, "100"),
        (2000.0, "2000"),
        (20000.0, "20\u202f000"),
        (1e-05, "0.00001"),
    ],
)
def test_ticks_are_plain_decimals(value: float, shown: str) -> None:
    """A tick is never written as a power of ten."""
    assert plain(value) == shown


def test_linear_axis_has_round_ticks_that_hold_the_values() -> None:
    """Values from 77.7 to 88.6 get ticks every 2 from 76 to 90, and the first tick lies at the start."""
    axis = linear_axis(77.7, 88.6, 300, 0, most=6)
    assert axis.ticks == (76, 78, 80, 82, 84, 86, 88, 90)
    assert (axis.px(76), axis.px(90), axis.px(83)) == (300, 0, 150)


def test_an_axis_of_counts_has_whole_ticks() -> None:
    """Epochs 1 to 3 are ticked at 1, 2, 3 and never at 1.5."""
    assert linear_axis(1, 3, 0, 100, most=10, whole=True, fit=False).ticks == (1, 2, 3)


def test_an_axis_of_one_value_has_a_width() -> None:
    """A single value lies in the middle of an axis that has ticks around it."""
    assert linear_axis(5, 5, 0, 100, most=4).low < 5 < linear_axis(5, 5, 0, 100, most=4).high
    assert linear_axis(0, 0, 0, 100, most=4).px(0) == 50
    assert log_axis(2, 2, 0, 100, most=4).px(2) == pytest.approx(50)


def test_log_axis_sets_equal_ratios_at_equal_distances() -> None:
    """From 0.16 to 41 the ticks are 1, 2, 5 times powers of ten, and a factor of 4 is always as far."""
    axis = log_axis(0.16, 41, 0, 700, most=12)
    assert axis.ticks == (0.2, 0.5, 1, 2, 5, 10, 20, 50)
    assert axis.px(0.64) - axis.px(0.16) == pytest.approx(axis.px(40) - axis.px(10))
    assert log_axis(0.16, 41, 0, 300, most=5).ticks == (0.3, 1, 3, 10, 30)


def test_points_lie_where_their_values_say() -> None:
    """The point in the middle of both ranges is drawn half-way between the two ends of its line."""
    root = drawn(chart(line("a", (0, 0), (5, 5), (10, 10))))
    path = next(p.get("d", "") for p in root.iter(f"{SVG}path") if "l-s1" in p.get("class", ""))
    spots = [tuple(map(float, spot.split())) for spot in path[1:].split("L")]
    assert spots[1] == pytest.approx([(a + b) / 2 for a, b in zip(spots[0], spots[2], strict=True)], abs=0.11)
    assert spots[0][0] < spots[2][0]
    assert spots[0][1] > spots[2][1]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_long_legend_makes_the_figure_higher(size: Size) -> None:
    """Twelve lines have about as high a plot as two: the figure grows by the rows of its legend beyond the second."""

    def plot_px(root: ElementTree.Element) -> float:
        rules = [p.get("d", "") for p in root.iter(f"{SVG}path") if "l-rule" in p.get("class", "")]
        heights = [float(rule[1:].split("L")[0].split()[1]) for rule in rules]
        return max(heights) - min(heights)

    few, many = (
        drawn(chart(*(line(f"a line of some length {k}", (0, 0), (10, 10)) for k in range(n))), size)
        for n in (2, 12)
    )
    assert plot_px(few) - plot_px(many) <= size.font_px + 6
    assert int(many.get("height", "0")) > int(few.get("height", "0")) == size.height


def test_a_name_too_long_for_the_legend_is_cut_in_its_middle() -> None:
    """Its beginning and its end, where a number may stand, are shown within the figure; the numbers have it whole."""
    name = f"class {'x' * 500}, AUC 97.3"
    label = next(
        text
        for text in texts(drawn(chart(line(name, (0, 0), (1, 1)), line("b", (0, 1))), NARROW))
        if "…" in text
    )
    assert label.startswith("class xxx")
    assert label.endswith("xxx, AUC 97.3")
    assert text_width(label, NARROW.font_px) < NARROW.width - 30


def test_points_by_themselves_are_marked_beside_long_lines() -> None:
    """A line of thirty points has no markers, which would hide it; a point that no line joins has its own."""
    long = line("long", *((float(x), float(x % 3)) for x in range(30)))
    alone = line("alone", (7, 1), joined=False)
    titles = [title.text for title in drawn(chart(long, alone)).iter(f"{SVG}title")]
    assert titles == ["alone: 1"]
    unlisted = drawn(chart(long, line("other", (0, 1)), replace(alone, label="hidden", listed=False)))
    assert "hidden" not in texts(unlisted)


def test_an_axis_holds_what_it_is_asked_to() -> None:
    """Precisions from 60 to 80 % stand on an axis from 0 to 100."""
    root = drawn(chart(line("a", (0, 60), (1, 80)), y_holds=(0.0, 100.0)))
    assert {"0", "100"} <= set(texts(root))


def test_a_shared_column_is_labelled_once() -> None:
    """Each magnification of Figure 3 is written once, though four methods have a point there."""
    found = texts(drawn(reports.figure_3()))
    assert [found.count(f"{m:g}x") for m in (0.625, 1.25, 2.5, 5, 10)] == [1] * 5


def test_points_of_a_column_stand_side_by_side() -> None:
    """Four methods of one cost are set apart evenly around it; a point alone in its column stands on it."""
    assert drawing_notes(reports.figure_3()).startswith("Points of one dotted line are set side by side")
    assert drawing_notes(chart(line("a", (1, 1)), line("b", (1, 2)))) == ""
    columns = columns_of(reports.figure_3())
    shifts = [columns.shift(place, "5x", 4) for place in range(4)]
    assert shifts == pytest.approx([-10.2, -3.4, 3.4, 10.2])
    assert columns.shift(4, "10x", 4) == 0


def test_labels_stand_beside_points_that_share_no_column() -> None:
    """Where methods differ in cost, every point has its own label, and none of them touch."""
    series = [
        Series(
            label=name, points=tuple(Point(x=x * k, y=y + k, label=f"{x:g}x") for x, y in ((1, 5), (4, 9)))
        )
        for k, name in ((1, "a"), (2, "b"))
    ]
    root = drawn(chart(*series, x_log=True))
    spots = [
        (float(e.get("x", 0)), float(e.get("y", 0)))
        for e in root.iter(f"{SVG}text")
        if e.text in ("1x", "4x")
    ]
    assert len(spots) == 4
    for one, other in product(spots, spots):
        assert one == other or abs(one[0] - other[0]) > 12 or abs(one[1] - other[1]) > WIDE.font_px


def test_a_label_beside_a_point_keeps_off_its_interval() -> None:
    """A label is centred over a point without an interval, and stands to the right of one that has it."""
    marks = (
        Mark(x=100, y=100, top=100, bottom=100, label="1x"),
        Mark(x=300, y=100, top=20, bottom=180, label="2x"),
    )
    area = Area(left=0, top=0, right=400, bottom=200)
    free, blocked = (float(re.findall(r'x="([\d.]+)"', made)[0]) for made in place_labels(marks, area, WIDE))
    assert free == pytest.approx(100 - text_width("1x", WIDE.font_px) / 2, abs=0.1)
    assert blocked > 304


def test_the_reference_is_a_star_with_a_line_across() -> None:
    """The teacher is drawn in ink with a dashed line over the whole plot; other series are not."""
    found = styles(reports.figure_3().series)
    assert [style.shape for style in found][-1] == "star"
    assert "star" not in [style.shape for style in found[:-1]]
    dashes = [p for p in drawn(reports.figure_3()).iter(f"{SVG}path") if p.get("stroke-dasharray") == "5 4"]
    assert any("l-ink" in p.get("class", "") for p in dashes)


def test_series_differ_in_more_than_colour() -> None:
    """Six series have six colours and six marker shapes; twelve still differ in the pair of colour and filling."""
    found = styles([Series(label=str(k), points=()) for k in range(12)])
    assert len({style.colour for style in found[:6]}) == len({style.shape for style in found[:6]}) == 6
    assert len({(style.colour, style.hollow) for style in found}) == 12


def test_the_papers_numbers_are_thin_and_take_no_colour() -> None:
    """A series of the paper is thin and grey, and the reader's series keep their colours beside it."""
    paper, ours = styles([Series(label="p", points=(), paper=True), Series(label="o", points=())])
    assert (paper.colour, paper.hollow, ours.colour) == ("soft", True, "s1")
    assert paper.width < ours.width


def test_bars_start_at_zero_or_are_no_bars() -> None:
    """Values near 0 are bars that stand on the axis' 0; far from it they are markers: their axis starts elsewhere."""
    near, far = drawn(reports.ablation(start=5.0)), drawn(reports.ablation(start=62.0))
    bars = [r for r in near.iter(f"{SVG}rect") if "f-s" in r.get("class", "")]
    feet = {round(float(r.get("y", 0)) + float(r.get("height", 0))) for r in bars}
    assert (len(bars), len(feet), "0" in texts(near)) == (16, 1, True)
    assert [r for r in far.iter(f"{SVG}rect") if "f-s" in r.get("class", "")] == []
    assert "0" not in texts(far)


def test_groups_of_bars_follow_x() -> None:
    """Groups stand in the order of x, also if the first series lacks the first group."""
    late = Series(label="a", points=(Point(x=2, y=1, label="2x"),))
    both = Series(label="b", points=(Point(x=1, y=1, label="1x"), Point(x=2, y=1, label="2x")))
    found = texts(drawn(chart(late, both, kind="bars")))
    assert found.index("1x") < found.index("2x")


def test_intervals_are_drawn_for_points_that_have_them() -> None:
    """Seventeen points with intervals give seventeen capped lines; a point without one gives none."""
    capped = re.compile(r'd="M[^"L]+L[^"M]+M[^"]+M')
    assert len(capped.findall(chart_svg(reports.figure_3()))) == 17
    assert capped.findall(chart_svg(chart(line("a", (1, 1), (2, 2))))) == []


def test_points_without_a_place_are_left_out_and_counted() -> None:
    """A value that is no number, and one at 0 on a logarithmic axis, are left out and said to be; the rest is drawn."""
    made = chart(line("a", (0, 1), (1, nan), (2, 3)), x_log=True)
    assert drawing_notes(made).endswith("no place for them: 2 points; the numbers have them.")
    assert "nan" not in chart_svg(made)


@pytest.mark.parametrize("kind", ["lines", "bars"])
def test_a_figure_without_points_says_so(kind: str) -> None:
    """A chart with nothing to draw is a drawing that says it."""
    assert texts(drawn(chart(line("a"), kind=kind))) == ["No points to show."]


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_names_are_escaped(size: Size) -> None:
    """A name of a class or run is text, whatever is in it, also a control character."""
    made = chart(line('<b>&"\x07', (1, 1)), line("b", (2, 2)), title='<i>"', x_title="<x>", y_title="]]>")
    root = drawn(made, size)
    assert '<b>&"\\u0007' in texts(root)
    assert root.get("aria-label", "").startswith('<i>". ]]> against <x>')


@pytest.mark.parametrize(("size", "of"), list(product((WIDE, NARROW), range(4))))
def test_texts_stay_inside_the_drawing(size: Size, of: int) -> None:
    """No text of any figure is cut off at an edge."""
    loss, _ = reports.curves("KD (ADv2)", 0.625, seeds=5, epochs=100)
    made = (reports.figure_3(), reports.ablation(), reports.ablation(start=5.0), loss)[of]
    for element in drawn(made, size).iter(f"{SVG}text"):
        width = text_width(element.text or "", size.font_px)
        start = (
            float(element.get("x", 0))
            - {"start": 0, "middle": 0.5, "end": 1}[element.get("text-anchor", "start")] * width
        )
        assert -1 <= start <= start + width <= size.width + 1, element.text
        assert size.font_px * 0.7 <= float(element.get("y", 0)) <= size.height - 2, element.text


def test_text_is_legible_on_a_phone() -> None:
    """On a window of 390 pixels with the page's margins of 16, the narrow drawing's text is at least 11 pixels high."""
    assert NARROW.font_px * (390 - 2 * 16) / NARROW.width >= 11


def test_a_drawing_holds_no_style_and_no_id() -> None:
    """Nothing in a drawing can collide on a page or be refused by its policy, and nothing is loaded."""
    made = chart_svg(reports.figure_3())
    assert not re.search(r"\s(style|id|href|on\w+)=", made)
    assert re.findall(r"https?://[^\"]+", made) == ["http://www.w3.org/2000/svg"]


def test_the_same_chart_gives_the_same_text() -> None:
    """Drawing twice gives the same bytes, and a figure is a few kilobytes."""
    first, second = (chart_svg(reports.figure_3()) for _ in range(2))
    assert first == second
    assert len(first) < 20_000


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_can_be_told_from_their_ground(theme: int) -> None:
    """Text has a contrast of 4.5 to 1 on every ground it stands on, lines and markers of 3 to 1 (WCAG 2.2 AA)."""
    ground = {name: pair[theme] for name, pair in COLOURS.items()}
    for name, on in product(("ink", "soft", "accent"), ("paper", "fill")):
        assert contrast(ground[name], ground[on]) >= 4.5, (name, on)
    assert contrast(ground["warning"], ground["warning-fill"]) >= 4.5
    assert contrast(ground["ink"], ground["warning-fill"]) >= 4.5
    for name in SERIES:
        assert contrast(ground[name], ground["paper"]) >= 3, name
    for step in range(SHADES + 1):
        assert contrast(ground["ink"], shade(step, theme)) >= 4.5, step


def test_contrast_of_black_on_white() -> None:
    """Black on white is 21 to 1, and a colour on itself 1 to 1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#0072b2", "#0072b2") == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(12.34, "12.3"), (7.0, "7"), (-0.04, "0"), (-0.4, "-0.4"), (-10.0, "-10")]
)
def test_coordinates_are_short(value: float, shown: str) -> None:
    """A coordinate has at most one decimal, and never a negative zero."""
    assert number(value) == shown


def front_chart() -> Chart:
    """Twelve points close together on a rising front, as many dominated ones below, and a teacher."""

    def points(below: float, *, front: bool) -> tuple[Point, ...]:
        return tuple(
            Point(
                x=2.0**k,
                y=50 + 3 * k - below,
                low=45 + 3 * k - below,
                high=55 + 3 * k - below,
                label=f"2.5x s{k}",
                short=str(k + 1) if front else "",
                quiet=not front,
            )
            for k in range(12)
        )

    teacher = Series(
        label="Teacher",
        points=(Point(x=9000, y=90, low=86, high=94, label="10x"),),
        reference=True,
        band=True,
    )
    usual = Series(label="KD, stride 32", points=points(0, front=False)[:3])
    others = Series(
        label="KD, other shapes", points=points(9, front=False), joined=False, looks_as="KD, stride 32"
    )
    front = Series(label="Front", points=points(0, front=True), steps=True)
    return chart(teacher, usual, others, front, x_log=True)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_every_point_of_a_front_has_its_number(size: Size) -> None:
    """Over the intervals, where nothing else is, and no two touch."""
    labels = [
        (float(e.get("x", 0)), float(e.get("y", 0)), e.text or "")
        for e in drawn(front_chart(), size).iter(f"{SVG}text")
        if (e.text or "").isdigit() and int(e.text or "") <= 12 and e.get("text-anchor") is None
    ]
    assert sorted(int(words) for _, _, words in labels) == list(range(1, 13))
    for one, other in product(labels, labels):
        if one < other:
            apart = other[0] - one[0] >= text_width(one[2], size.font_px)
            assert apart or abs(other[1] - one[1]) >= size.font_px - 0.2, (one, other)


def test_a_front_is_steps_and_the_teacher_a_band() -> None:
    """A path of level and upright pieces in ink; a rectangle from the interval's end to its other end."""
    root = drawn(front_chart())
    steps = [e for e in root.iter(f"{SVG}path") if "H" in e.get("d", "") and e.get("fill") == "none"]
    assert [e.get("stroke") for e in steps] == [COLOURS["ink"][0]]
    assert steps[0].get("d", "").count("V") == 11
    ground, band = root.iter(f"{SVG}rect")
    assert float(band.get("width", 0)) < float(ground.get("width", 0))
    assert band.get("fill") == COLOURS["fill"][0]


def test_other_shapes_look_as_their_line_does() -> None:
    """One colour and marker, no line, and the next series takes the next colour."""
    first, others, second = styles(
        (line("KD", (1, 1)), line("other", (1, 1), joined=False, looks_as="KD"), line("Baseline", (1, 1)))
    )
    assert others == first
    assert second.colour != first.colour
    lone = chart(line("a", (1, 1), (2, 2), joined=False))
    coloured = [e for e in drawn(lone).iter(f"{SVG}path") if e.get("stroke") == COLOURS["s1"][0]]
    assert coloured == []


def test_points_of_one_place_are_told_apart_without_a_common_label() -> None:
    """Points of two series with one label and one x stand side by side, and the note says why."""
    place = Point(x=1, y=1, low=0, high=2, label="2.5x s8", quiet=True)
    two = chart(
        Series(label="a", points=(place,), joined=False), Series(label="b", points=(place,), joined=False)
    )
    assert "Points of one shape and magnification are set side by side" in drawing_notes(two)
    assert columns_of(two).shift(0, "2.5x s8", 4) < 0 < columns_of(two).shift(1, "2.5x s8", 4)
    assert columns_of(two).shift(2, "2.5x s8", 4) == 0


def test_values_that_are_equal_but_for_rounding_have_an_axis() -> None:
    """75 and the next number above it, as a mean over seeds may give: an axis around them, not a division by 0."""
    axis = linear_axis(75.0, 75.00000000000001, 300, 20, most=6)
    assert axis.low < 75 < axis.high
    assert len(set(axis.ticks)) == len(axis.ticks)
