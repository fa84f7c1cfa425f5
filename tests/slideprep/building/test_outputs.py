"""The files that describe a finished set: index, tables, statistics, regions."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fixtures.build_inputs import config, write_labels, write_slides
from fixtures.tars import images, members
from kdtrain.shards.index import read_index
from slideprep import ReadSettings, extract, open_slide
from slideprep.building.build import Built, build_shards
from slideprep.building.prepare import prepare
from slideprep.errors import InputError
from slideprep.preview.model import QUALITY
from slideprep.shards.format import key_for
from slideprep.shards.verify.verify import verify
from slideprep.tissue.annotation_files import read_annotations, regions_geojson
from slideprep.units import Box

SMALL = "small.png"
BROKEN = "broken, really.svs"
LABELLED = {f"slide{n}.png": ("gland" if n % 2 else "stroma") for n in range(6)}
UNLABELLED = [f"more{n}.png" for n in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of three splits and two auxiliary sets, with a slide that is too small and one that is no slide."""
    folder = tmp_path_factory.mktemp("outputs")
    slides = write_slides(folder / "slides", [*LABELLED, *UNLABELLED])
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(slides / SMALL)
    (slides / BROKEN).write_bytes(b"no slide\n\xff")
    rows = [{"slide": n, "label": c, "patient": f'"{n[:6]}", Eva'} for n, c in LABELLED.items()]
    write_labels(folder / "labels.csv", rows)
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> Built:
    """The set, as build-shards makes it."""
    settings = config(
        folder / "out",
        folder / "slides",
        labels=folder / "labels.csv",
        split="4,0,2",
        aux="1,5",
        save_regions=folder / "regions",
    )
    return build_shards(settings, prepare(settings), Console(file=io.StringIO()))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_set_obeys_the_contract(built: Built, folder: Path) -> None:
    """Every rule of the contract holds for a set with all kinds of splits, unions included."""
    report = verify(folder / "out", workers=1)
    assert [str(fault) for fault in report.faults] == []
    assert report.ok


def test_kdtrain_reads_the_index(built: Built, folder: Path) -> None:
    """The reader's half opens it: classes, splits, unions, sizes and statistics."""
    index = read_index(folder / "out")
    assert index.document.classes == ("gland", "stroma")
    assert {name: index.is_labelled(name) for name in index.document.sets} == {
        "train": True, "test": True, "aux1": False, "aux2_added": False, "aux2": False
    }  # fmt: skip
    assert {shard.split for shard in index.shards_of("aux2")} == {"aux1", "aux2_added"}
    assert {size for shard in index.shards_of("train") for size in index.sizes_of(shard, 10)} == {(80, 80)}
    assert index.statistics_of(5).pixels == 4 * 40 * 40


def test_an_annotations_class_goes_before_the_slides_label(tmp_path: Path) -> None:
    """On a slide of stroma, a region annotated as gland is gland, class number 0; one without a class is stroma."""
    slides = write_slides(tmp_path / "slides", ["a.png"])
    left, right = (Box(x=x, y=0, width=80, height=160) for x in (0, 80))
    regions = regions_geojson([(left, "gland", None), (right, None, None)])
    (tmp_path / "a.geojson").write_text(json.dumps(regions))
    settings = config(
        tmp_path / "out",
        slides,
        labels=write_labels(tmp_path / "labels.csv", [{"slide": "a.png", "label": "stroma"}]),
        tissue="annotations",
        annotations=tmp_path,
        split="1,0,0",
        classes=("gland", "stroma"),
        magnifications=(10.0,),
    )
    build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    stored = members(tmp_path / "out/10x/train-000000.tar")
    found = set()
    for name in (name for name in stored if name.endswith(".json")):
        record = json.loads(stored[name])
        region, number = record["region"], stored[name.replace(".json", ".cls")]
        found.add((region["x"], region["class"], record["label"], number))
    assert found == {(0, "gland", "gland", b"0"), (80, None, "stroma", b"1")}
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("magnification", ["10x", "5x"])
def test_statistics_are_numpys_over_the_training_images_before_encoding(
    built: Built, folder: Path, magnification: str
) -> None:
    """Mean and population standard deviation of every pixel of train as a PNG keeps it, and of nothing else."""
    settings = ReadSettings(magnifications=(10, 5), tissue="whole", objective=20.0, image_format="png")
    train = [row["slide"] for row in _rows(folder / "out" / "slides.csv") if row["split"] == "train"]
    pixels = []
    for name in train:
        with open_slide(folder / "slides" / name) as slide:
            for region in extract(slide, settings):
                pixels.append(region.images[float(magnification[:-1])].pixels.reshape(-1, 3))
    stored = sum(image.size // 3 for image in images(folder / "out", magnification, "train"))
    pixels = np.concatenate(pixels)
    assert len(pixels) == stored
    assert built.index.statistics_of == "unencoded"
    assert built.index.statistics is not None
    statistics = built.index.statistics[magnification]
    assert statistics.pixels == len(pixels)
    assert np.allclose(statistics.mean, pixels.mean(axis=0, dtype=np.float64), atol=1e-9)
    assert np.allclose(statistics.std, pixels.std(axis=0, dtype=np.float64), atol=1e-9)


def test_counts_add_up(built: Built) -> None:
    """Six labelled and three unlabelled slides are in the set, one failed, one region was left out."""
    counts = built.index.counts
    assert (counts.slides, counts.patients, counts.regions) == (9, 9, 9)
    assert (counts.slides_failed, counts.regions_left_out) == (1, 1)


def test_what_failed_and_what_was_left_out_are_two_tables(built: Built, folder: Path) -> None:
    """failures.csv is for faults, left_out.csv for rules; commas in names and reasons are quoted."""
    (failure,) = _rows(folder / "out" / "failures.csv")
    assert (failure["slide"], failure["region"], failure["stage"]) == (BROKEN, "", "open")
    assert BROKEN in failure["reason"]
    left_out = {row["slide"]: row for row in _rows(folder / "out" / "left_out.csv")}
    assert (left_out[SMALL]["region"], left_out[SMALL]["stage"]) == ("0", "layout")
    assert left_out[SMALL]["reason"].startswith("only 10 px")


def test_slides_csv_has_a_row_per_slide(built: Built, folder: Path) -> None:
    """Labels, splits and scales as they were used; quotes and commas in a patient's name come back."""
    rows = {row["slide"]: row for row in _rows(folder / "out" / "slides.csv")}
    assert set(rows) == {*LABELLED, *UNLABELLED, SMALL, BROKEN}
    row = rows["slide1.png"]
    assert (row["patient"], row["label"], row["regions"]) == ('"slide1", Eva', "gland", "1")
    assert (row["width"], row["objective"], row["objective_source"], row["mpp"]) == (
        "160",
        "20.0",
        "'--objective",
        "",
    )
    assert rows["more0.png"]["label"] == rows[BROKEN]["width"] == ""


def test_regions_csv_has_a_row_per_region(built: Built, folder: Path) -> None:
    """Place, fate and quality of every region; none of one that was not read. slides.csv has its slide's worst."""
    rows = {row["slide"]: row for row in _rows(folder / "out" / "regions.csv")}
    assert set(rows) == {*LABELLED, *UNLABELLED, SMALL}
    row = rows["slide1.png"]
    assert (row["region"], row["key"], row["status"]) == ("0", key_for("slide1.png", 0), "written")
    assert [row[name] for name in ("x", "y", "width", "height")] == ["0", "0", "160", "160"]
    assert all(0 <= float(row[name]) <= 1 for name in ("ink", "folds", "bubbles"))
    slides = {row["slide"]: row for row in _rows(folder / "out" / "slides.csv")}
    assert [slides["slide1.png"][name] for name in QUALITY] == [row[name] for name in QUALITY]
    assert rows[SMALL]["status"] == "left out"
    assert [rows[SMALL][name] for name in QUALITY] == [""] * 4


def test_splits_csv_counts_slides_by_class_and_set(built: Built, folder: Path) -> None:
    """The paper's table: two slides of each class in train, one in test."""
    text = (folder / "out" / "splits.csv").read_text(encoding="utf-8")
    header, *rows = list(csv.reader(io.StringIO(text)))
    train = header.index("train")
    counts = {tuple(row[:2]): row[train] for row in rows}
    assert [count for key, count in counts.items() if "gland" in key] == ["2", "2", "2"]


def test_saved_regions_come_back_as_annotations(built: Built, folder: Path) -> None:
    """The exported GeoJSON is read by --annotations, with the same boxes."""
    (region,) = read_annotations(folder / "regions" / "slide0.png.geojson").regions
    assert region.box(width_l0=160, height_l0=160) == Box(x=0, y=0, width=160, height=160)
    assert region.name == "r0"


def test_the_preview_shows_every_slide(built: Built, folder: Path) -> None:
    """Also those that failed."""
    page = (folder / "out" / "preview.html").read_text(encoding="utf-8")
    assert [name for name in (*LABELLED, *UNLABELLED, SMALL, BROKEN) if name not in page] == []


def test_nothing_else_lies_in_the_folder(built: Built, folder: Path) -> None:
    """Tars, index, sidecars, and the builder's workspace without partial shards."""
    out = folder / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        ".slideprep", "10x", "5x", "failures.csv", "index.json", "left_out.csv", "preview.html", "regions.csv",
        "slides.csv", "splits.csv",
    ]  # fmt: skip
    assert not list(out.rglob("*.partial"))


def test_a_pseudonymised_set_holds_no_name(tmp_path: Path) -> None:
    """No byte of any file under DIR, the builder's own included, is a slide's or patient's name or a path."""
    slides = write_slides(tmp_path / "slides", [f"Evamaria{n}.png" for n in range(4)])
    (slides / "Evamaria-broken.svs").write_bytes(b"no slide")
    rows = [
        {"slide": f"Evamaria{n}.png", "label": "ab"[n % 2], "patient": f"Kernberger{n}"} for n in range(4)
    ]
    settings = config(
        tmp_path / "out",
        slides,
        labels=write_labels(tmp_path / "labels.csv", rows),
        split="2,0,2",
        pseudonymise=tmp_path / "mapping.csv",
    )
    finished = build_shards(settings, prepare(settings), Console(file=io.StringIO())).finished
    assert len(finished.all_failures) == 1
    assert finished.all_failures[0].slide.startswith("slide-")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 10
    told = [
        (path.name, name)
        for path in files
        for name in (b"Evamaria", b"evamaria", b"Kernberger", str(slides).encode())
        if name in path.read_bytes() or name.decode() in path.name
    ]
    assert told == []


def test_a_set_of_generated_slides_says_so(tmp_path: Path) -> None:
    """Also under pseudonyms; one real slide among them makes the set real."""
    write_slides(tmp_path / "slides", ["synthetic-0.png", "synthetic-1.png"])
    settings = config(tmp_path / "out", tmp_path / "slides", pseudonymise=tmp_path / "map.csv")
    assert build_shards(settings, prepare(settings), Console(file=io.StringIO())).index.synthetic
    write_slides(tmp_path / "slides", ["real.png"], side_px=200)
    settings = config(tmp_path / "mixed", tmp_path / "slides")
    assert not build_shards(settings, prepare(settings), Console(file=io.StringIO())).index.synthetic


def test_tissue_left_out_is_in_the_table_and_drawn(tmp_path: Path) -> None:
    """A piece of 0.03 mm² beside a region is the slide's r1, in left_out.csv, in preview.html and in the counts."""
    pixels = np.full((300, 300, 3), 250, np.uint8)
    pixels[40:140, 40:140] = pixels[200:210, 220:232] = (150, 60, 120)
    (tmp_path / "slides").mkdir()
    Image.fromarray(pixels).save(tmp_path / "slides" / "a.png")
    settings = config(
        tmp_path / "out", tmp_path / "slides", tissue="auto", mpp=16.0, magnifications=(20.0, 10.0)
    )
    built = build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    (row,) = _rows(tmp_path / "out" / "left_out.csv")
    assert (row["slide"], row["region"], row["stage"]) == ("a.png", "1", "tissue")
    assert row["reason"].endswith("smaller than 0.05 mm²")
    assert (built.index.counts.regions, built.index.counts.regions_left_out) == (1, 1)
    page = (tmp_path / "out" / "preview.html").read_text(encoding="utf-8")
    assert '<g class="region left-out" data-region="r1">' in page


def _two_of_three_inked(tmp_path: Path) -> Path:
    slides = write_slides(tmp_path / "slides", ["a.png", "b.png", "c.png"])
    for name in ("a.png", "b.png"):
        Image.new("RGB", (160, 160), (40, 70, 170 + ord(name[0]) % 2)).save(slides / name)
    return slides


def test_regions_beyond_a_limit_are_left_out_and_told(tmp_path: Path) -> None:
    """With --max-ink, inked slides are in left_out.csv with rule and number, in preview.html and in the counts."""
    settings = config(tmp_path / "out", _two_of_three_inked(tmp_path), mpp=4.0, max_ink=0.5)
    built = build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    rows = _rows(tmp_path / "out" / "left_out.csv")
    assert [(row["slide"], row["region"], row["stage"], row["reason"]) for row in rows] == [
        (name, "0", "quality", "ink 1 is above --max-ink 0.5") for name in ("a.png", "b.png")
    ]
    assert (built.index.counts.regions, built.index.counts.regions_left_out) == (1, 2)
    assert built.index.config["max_ink"] == 0.5
    statuses = {row["slide"]: row["status"] for row in _rows(tmp_path / "out" / "regions.csv")}
    assert statuses == {"a.png": "left out", "b.png": "left out", "c.png": "written"}
    page = (tmp_path / "out" / "preview.html").read_text(encoding="utf-8")
    assert page.count("r0 left out: ink 1 is above --max-ink 0.5") == 2
    assert verify(tmp_path / "out", workers=1).ok


def test_nothing_is_left_out_unasked(tmp_path: Path) -> None:
    """The same slides without a limit are all written; their ink is in regions.csv all the same."""
    settings = config(tmp_path / "out", _two_of_three_inked(tmp_path), mpp=4.0)
    built = build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    assert (built.index.counts.regions, built.index.counts.regions_left_out) == (3, 0)
    ink = {row["slide"]: float(row["ink"]) for row in _rows(tmp_path / "out" / "regions.csv")}
    assert (ink["a.png"], ink["c.png"] < 0.5) == (1, True)


def test_limits_that_no_region_meets_are_an_error(tmp_path: Path) -> None:
    """No empty set is written: the error says why, where the numbers are, and what to do."""
    settings = config(tmp_path / "out", _two_of_three_inked(tmp_path), mpp=4.0, min_focus=9)
    (tmp_path / "slides/a.png").unlink()
    (tmp_path / "slides/b.png").unlink()
    with pytest.raises(
        InputError, match=r"1 region of 1 slide lie.* beyond the limits.*left_out.csv.*new --out"
    ):
        build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    assert not (tmp_path / "out/index.json").exists()
    assert "is below --min-focus 9" in (tmp_path / "out/left_out.csv").read_text()


def test_a_region_without_a_class_is_a_failed_region_not_a_failed_slide(tmp_path: Path) -> None:
    """In a labelled split an annotation without a class is listed; the slide's other regions are written."""
    slides = write_slides(tmp_path / "slides", ["a.png"])
    (tmp_path / "annotations").mkdir()
    corners = [[0, 0], [160, 0], [160, 160], [0, 160], [0, 0]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [corners]},
            "properties": {"objectType": "annotation", **named},
        }
        for named in ({"classification": {"name": "acinar"}}, {})
    ]
    path = tmp_path / "annotations" / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    settings = config(
        tmp_path / "out", slides, tissue="annotations", annotations=tmp_path / "annotations", split="1,0,0"
    )
    done = build_shards(settings, prepare(settings), Console(file=io.StringIO()))
    assert [(f.slide, f.region, f.stage) for f in done.finished.all_failures] == [("a.png", 1, "label")]
    assert (done.index.counts.regions, done.index.counts.regions_left_out) == (1, 1)
    assert done.index.counts.slides_failed == 0
    assert verify(tmp_path / "out", workers=1).ok
