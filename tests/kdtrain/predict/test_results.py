from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.locks import held_elsewhere
from fixtures.predictions import REGION
from fixtures.predictions import SLIDE as PLAIN
from kdtrain.errors import UsageError
from kdtrain.predict.answers.prediction import Failure, FastPrice
from kdtrain.predict.answers.request import Request
from kdtrain.predict.results import ResultsFolder, failures_csv, regions_csv, slides_csv

IDENTITY = {"bundle": {"name": "b", "sha256": "0" * 64}, "settings": {"fast": False}}
FIRST = replace(
    REGION,
    x=64,
    y=-3,
    width=1024.5,
    probabilities=(0.25, 0.75),
    outside=("larger than any image of the training data",),
)
PRICE = FastPrice(
    downsample=4.0,
    region=0,
    mean=0.5,
    bias=-0.1,
    largest=7.0,
    probabilities_level0=(0.5, 0.5),
    probabilities_fast=(0.4, 0.6),
)
SLIDE = replace(
    PLAIN,
    probabilities=(1 / 3, 2 / 3),
    regions=(FIRST, replace(REGION, index=2, key="a-00000000-r0002")),
    magnification=1.25,
    level=1,
    fast=PRICE,
    left_out=((3, "only 12 px"),),
    failed=((1, "a tile is damaged"),),
    warnings=("no mpp",),
)


def _rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_a_slide_reads_back_as_it_was(tmp_path: Path) -> None:
    """A kept result is the same to the last bit, for the content that it was made of."""
    folder = ResultsFolder(tmp_path / "out")
    folder.begin(IDENTITY)
    folder.save("a", "mark", SLIDE)
    assert folder.finished("a", "mark") == SLIDE
    assert folder.finished("a", "another mark") is None
    assert folder.finished("b", "mark") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"mark": "mark", "slide": 1}'])
def test_a_damaged_result_is_made_again(tmp_path: Path, damage: bytes) -> None:
    """What cannot be read counts as not there."""
    folder = ResultsFolder(tmp_path)
    folder.save("a", "mark", SLIDE)
    (tmp_path / "slides" / "a.json").write_bytes(damage)
    assert folder.finished("a", "mark") is None


def test_the_same_request_goes_on(tmp_path: Path) -> None:
    """A folder that was begun by the same request is taken."""
    ResultsFolder(tmp_path).begin(IDENTITY)
    ResultsFolder(tmp_path).begin(IDENTITY)


def test_another_request_is_refused_with_what_differs(tmp_path: Path) -> None:
    """Results of other settings are never mixed, and the message names the setting."""
    ResultsFolder(tmp_path).begin(IDENTITY)
    with pytest.raises(UsageError, match=r"settings\.fast: false there, true now"):
        ResultsFolder(tmp_path).begin({**IDENTITY, "settings": {"fast": True}})


def test_a_start_that_was_killed_while_it_began_is_no_foreign_folder(tmp_path: Path) -> None:
    """What kill -9 leaves of the first file that is written does not cost the folder."""
    (tmp_path / "predict.json.4711.partial").write_text("{")
    ResultsFolder(tmp_path).begin(IDENTITY)
    assert json.loads((tmp_path / "predict.json").read_bytes())["bundle"] == IDENTITY["bundle"]


def test_one_command_predicts_into_a_folder_at_a_time(tmp_path: Path) -> None:
    """The second is told of the first; the next one takes away what a killed one was writing, and nothing else."""
    folder = tmp_path / "out"
    ResultsFolder(folder).begin(IDENTITY)
    with (
        held_elsewhere(folder / "kdtrain.lock", "kdtrain predict", folder) as other,
        pytest.raises(UsageError, match=rf"another 'kdtrain predict' writes to .* \(process {other.pid} on"),
        ResultsFolder(folder).sole_writer(),
    ):
        pass
    for part in ("slides", "explanations/a"):
        (folder / part).mkdir(parents=True)
        (folder / part / "x.json.4711.partial").write_text("{")
        (folder / part / "mine.partial").write_text("")
    with ResultsFolder(folder).sole_writer():
        pass
    names = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert names == ["mine.partial", "mine.partial", "predict.json"]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    """Nothing of a person's is written over."""
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(UsageError, match="not empty and holds no predictions"):
        ResultsFolder(tmp_path).begin(IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_slides_table() -> None:
    """One line a slide, probabilities to the last bit, and what is odd about it."""
    (row,) = _rows(slides_csv([SLIDE], SLIDE.classes))
    assert (row["slide"], row["predicted"], float(row["p_gland"])) == ("a.svs", "stroma", 1 / 3)
    assert (row["regions"], row["regions_left_out"], row["regions_failed"]) == ("2", "1", "1")
    assert (row["magnification"], row["mpp"], row["level"]) == ("1.25", "0.5", "1")
    assert row["outside"] == "region 0: larger than any image of the training data"
    assert row["warnings"] == "no mpp"


def test_regions_table() -> None:
    """One line a region, with its box on level 0."""
    first, second = _rows(regions_csv([SLIDE], SLIDE.classes))
    assert (first["region"], second["region"]) == ("0", "2")
    assert [first[name] for name in ("x", "y", "width", "height")] == ["64", "-3", "1024.5", "512.0"]
    assert (first["predicted"], first["p_stroma"]) == ("stroma", "0.75")


def test_failures_table() -> None:
    """A slide as a whole has no region's number."""
    whole = Failure(slide="b.svs", region=None, stage="open", reason="it is empty, truly")
    (row,) = _rows(failures_csv([whole]))
    assert row == {"slide": "b.svs", "region": "", "stage": "open", "reason": "it is empty, truly"}


def test_order_of_slides_changes_no_byte(tmp_path: Path) -> None:
    """Tables are sorted, in whatever order slides were finished."""
    other = replace(SLIDE, slide="B.svs")
    failures = [Failure(slide=name, region=None, stage="read", reason="r") for name in ("z", "y")]
    for name, slides, failed in (
        ("one", [SLIDE, other], failures),
        ("two", [other, SLIDE], failures[::-1]),
    ):
        ResultsFolder(tmp_path / name).finish(IDENTITY, slides, failed, SLIDE.classes)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["failures.csv", "predictions.csv", "predictions.json", "regions.csv"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_json_holds_everything(tmp_path: Path) -> None:
    """predictions.json names the bundle, the settings, every slide and every failure."""
    ResultsFolder(tmp_path).finish(IDENTITY, [SLIDE], [], SLIDE.classes)
    content = json.loads((tmp_path / "predictions.json").read_bytes())
    assert content["bundle"] == IDENTITY["bundle"]
    assert content["settings"] == IDENTITY["settings"]
    (slide,) = content["slides"]
    assert (slide["predicted"], slide["fast"]["mean"], slide["regions"][1]["index"]) == ("stroma", 0.5, 2)


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    """A folder whose name no encoding explains stands in a reason byte by byte, alike in every file."""
    failure = Failure(slide="a.svs", region=None, stage="read", reason="see caf\udce9/a.svs")
    ResultsFolder(tmp_path).finish(IDENTITY, [], [failure], SLIDE.classes)
    assert r"see caf\xe9/a.svs" in (tmp_path / "failures.csv").read_text("utf-8")
    kept = json.loads((tmp_path / "predictions.json").read_text("utf-8"))
    assert kept["failures"][0]["reason"] == r"see caf\xe9/a.svs"


def test_no_table_computes(tmp_path: Path) -> None:
    """Slides, classes and reasons that begin like formulas are texts in every table; coordinates stay numbers."""
    name = "=HYPERLINK(1)"
    slide = replace(SLIDE, slide=name, classes=("+a", "-b"), outside=("@c",), warnings=("\td",))
    failure = Failure(slide="-e", region=None, stage="read", reason="=f")
    ResultsFolder(tmp_path).finish(IDENTITY, [slide], [failure], slide.classes)
    found = {
        path.name: list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
        for path in tmp_path.glob("*.csv")
    }
    cells = [cell for rows in found.values() for row in rows for cell in row if cell]
    assert {cell for cell in cells if cell[0] in "=+-@\t"} == {"-3"}
    assert {"'=HYPERLINK(1)", "'-b", "'\td", "'-e", "'=f"} <= set(cells)


def test_pictures_of_what_a_slide_was_before_are_removed(tmp_path: Path) -> None:
    """A slide that changed keeps no picture of a class that it is not said to be any more, and all other files."""
    folder = ResultsFolder(tmp_path)
    place = folder.explanation("a")
    place.mkdir(parents=True)
    names = ("overlay-grad-cam-gland.png", "overlay-grad-cam-stroma.png", "page.html", "notes.txt")
    for name in names:
        (place / name).touch()
    folder.forget_other_pictures("a", frozenset())
    assert {path.name for path in place.iterdir()} == set(names)
    folder.forget_other_pictures("a", {"overlay-grad-cam-stroma.png", "page.html"})
    assert {path.name for path in place.iterdir()} == set(names[1:])


def test_a_folder_from_before_class_maps_goes_on() -> None:
    """What nobody asked for is not among the settings, with which a folder of an earlier version is compared."""
    plain = Request(bundle=Path("b"), slides=("s",))
    assert "dicom" not in plain.record
    assert replace(plain, dicom=False).record == {**plain.record, "dicom": False}


def test_a_slide_whose_page_is_gone_is_not_finished(tmp_path: Path) -> None:
    """Where explanations are asked for, a result alone is not everything."""
    folder = ResultsFolder(tmp_path)
    folder.save("a", "mark", SLIDE)
    assert folder.holds("a", explained=False)
    assert not folder.holds("a", explained=True)
    folder.explanation("a").mkdir(parents=True)
    (folder.explanation("a") / "page.html").touch()
    assert folder.holds("a", explained=True)
