"""The paper's two data protocols (sections 4.1 and 4.2), each as one command, with tenths of the patients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from e2e.builds import assert_verified, slideprep, write_labels, write_png
from fixtures.shard_reader import read_shard
from fixtures.slides import picture
from kdtrain.shards.index import Index, read_index
from kdtrain.shards.sample import Sample

CLASSES = ("coeliac", "non-specific duodenitis", "normal")
COELIAC = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5")
LUNG = ("--tissue", "annotations", "--objective", "20", "--magnifications", "10,5")


def _samples(index: Index, name: str) -> list[Sample]:
    """Every sample of a split or set, at 5x."""
    return [s for shard in index.shards_of(name) for s in read_shard(index, shard, magnification=5)]


@pytest.fixture(scope="module")
def coeliac(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Nine labelled patients of each class and fourteen without a label, one slide each."""
    folder = tmp_path_factory.mktemp("coeliac")
    (folder / "slides").mkdir()
    for number in range(41):
        image = np.roll(picture(160, 128), 3 * number, axis=1)
        write_png(folder / "slides" / f"case-{number:02}.png", np.ascontiguousarray(image))
    rows = [(f"case-{n:02}", CLASSES[n % 3] if n < 27 else "", f"patient-{n:02}") for n in range(41)]
    labels = write_labels(folder / "labels.csv", rows)
    run = slideprep(
        "build-shards", folder / "slides", "--labels", labels, "--out", folder / "out", *COELIAC,
        "--labelled-per-class", "6", "--dev-per-class", "2", "--aux", "6,14", "--workers", "0",
    )  # fmt: skip
    assert run.code == 0, run.said
    assert_verified(folder / "out")
    return read_index(folder / "out")


def test_coeliac_split_sizes(coeliac: Index) -> None:
    """Six patients a class are split 70/15/15, two more make the development set, 6 and 14 are unlabelled."""
    per_class = {name: split.per_class for name, split in coeliac.document.splits.items()}
    each = {"train": 4, "val": 1, "test": 1, "dev": 2}
    assert per_class == {
        **{name: dict.fromkeys(CLASSES, count) for name, count in each.items()},
        "aux1": None,
        "aux2_added": None,
    }
    assert {n: coeliac.document.splits[n].patients for n in ("aux1", "aux2_added")} == {
        "aux1": 6,
        "aux2_added": 8,
    }


def test_coeliac_sets_are_nested(coeliac: Index) -> None:
    """aux2 reads aux1 and what was added, 14 patients in all, and nothing twice."""
    assert tuple(coeliac.document.sets["aux2"]) == ("aux1", "aux2_added")
    first, second = ({s.record.patient for s in _samples(coeliac, name)} for name in ("aux1", "aux2"))
    assert len(first) == 6 and len(second) == 14 and first < second


def test_coeliac_labels(coeliac: Index) -> None:
    """Every labelled set carries classes, no auxiliary one does, and no patient is in two splits."""
    seen: set[str] = set()
    for name, split in coeliac.document.splits.items():
        samples = _samples(coeliac, name)
        assert all((s.label is not None) == split.labelled for s in samples)
        assert all((s.record.label is not None) == split.labelled for s in samples)
        patients = {s.record.patient for s in samples}
        assert not patients & seen
        seen |= patients
    assert len(seen) == 18 + 6 + 14


def _annotated(folder: Path, name: str, classes: list[str]) -> None:
    """A slide of 640 x 256 px with a rectangle of 200 x 160 px per class, and its GeoJSON."""
    number = int(name.removeprefix("lung-"))
    write_png(
        folder / "slides" / f"{name}.png",
        np.ascontiguousarray(np.roll(picture(640, 256), 7 * number, axis=0)),
    )
    features = []
    for place, class_name in enumerate(classes):
        x, y = 10 + 210 * place, 20
        ring = [[x, y], [x + 200, y], [x + 200, y + 160], [x, y + 160], [x, y]]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "annotation", "classification": {"name": class_name}},
            }
        )
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "annotations" / f"{name}.geojson").write_text(text)


@pytest.fixture(scope="module")
def lung(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Eight slides with annotated patterns, one of them Benign on each; six for training, two for testing."""
    folder = tmp_path_factory.mktemp("lung")
    (folder / "slides").mkdir()
    (folder / "annotations").mkdir()
    for number in range(8):
        _annotated(folder, f"lung-{number}", [["Solid", "Lepidic"][number % 2], "Acinar", "Benign"])
    run = slideprep(
        "build-shards", folder / "slides", "--annotations", folder / "annotations", "--out", folder / "out",
        *LUNG, "--exclude-class", "Benign", "--split", "6,0,2", "--workers", "0",
    )  # fmt: skip
    assert run.code == 0, run.said
    assert_verified(folder / "out")
    return read_index(folder / "out")


def test_lung_two_way_split(lung: Index) -> None:
    """Six patients train, two test, nobody validates; each slide gives its two patterns and Benign is gone."""
    assert tuple(lung.document.classes) == ("Acinar", "Lepidic", "Solid")
    assert {n: (s.patients, s.samples) for n, s in lung.document.splits.items()} == {
        "train": (6, 12),
        "test": (2, 4),
    }


def test_lung_regions(lung: Index) -> None:
    """A region is a polygon's bounding box, grown to whole pixels of the lowest magnification, with its class."""
    samples = [s for name in ("train", "test") for s in _samples(lung, name)]
    assert len(samples) == 16
    for sample in samples:
        region = sample.record.region
        number = int(sample.record.slide.removeprefix("lung-").removesuffix(".png"))
        pattern = [["Solid", "Lepidic"][number % 2], "Acinar"][round(region.x / 210)]
        assert sample.record.label == pattern
        assert (region.x % 4, region.y % 4) == (0, 0)
        assert region.width >= 200 and region.height >= 160 and region.width < 212
