"""What is known before a slide is opened: slides, labels, annotations, splits, copies, pseudonyms."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from fixtures.build_inputs import config, write_labels, write_slides
from slideprep.building.prepare import Prepared, prepare
from slideprep.errors import UsageError
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

NAMES = [f"Eva-{number}.png" for number in range(6)]
SQUARE = Box(x=0, y=0, width=80, height=80)
COLLECTION_ALONE = {
    "type": "Feature",
    "geometry": {"type": "GeometryCollection", "geometries": []},
    "properties": {"classification": {"name": "acinar"}},
}


def _labels(folder: Path, names: list[str] = NAMES, **columns: str) -> Path:
    rows = [
        {"slide": name, "label": "ab"[number % 2], "patient": f"Kern {number // 2}", **columns}
        for number, name in enumerate(names)
    ]
    return write_labels(folder / "labels.csv", rows)


def _annotate(folder: Path, stem: str, *classes: str | None) -> None:
    folder.mkdir(exist_ok=True)
    regions = [(SQUARE, name, None) for name in classes]
    (folder / f"{stem}.geojson").write_text(json.dumps(regions_geojson(regions)))


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """Six tiny slides."""
    return write_slides(tmp_path / "slides", NAMES)


def _prepare(tmp_path: Path, slides: Path, **options: Any) -> Prepared:
    return prepare(config(tmp_path / "out", slides, **options))


def test_labels_make_patients_classes_and_splits(tmp_path: Path, slides: Path) -> None:
    """Three patients of two slides each; both slides of a patient go into one split."""
    labels = write_labels(
        tmp_path / "labels.csv",
        [{"slide": name, "label": "a", "patient": f"p{n // 2}"} for n, name in enumerate(NAMES)],
    )
    prepared = _prepare(tmp_path, slides, labels=labels, split="2,0,1")
    assert prepared.plan.classes == ("a",)
    assert sorted(prepared.wanted) == NAMES
    by_patient: dict[str, set[str | None]] = {}
    for slide in prepared.plan.slides.values():
        by_patient.setdefault(slide.patient, set()).add(slide.split)
    assert sorted(map(len, by_patient.values())) == [1, 1, 1]
    assert sorted(split or "" for (split,) in by_patient.values()) == ["test", "train", "train"]


def test_without_labels_every_slide_is_auxiliary(tmp_path: Path, slides: Path) -> None:
    """A folder of slides alone is an unlabelled set."""
    prepared = _prepare(tmp_path, slides)
    assert {slide.split for slide in prepared.plan.slides.values()} == {"aux1"}
    assert prepared.plan.classes == ()


def test_annotated_classes_override_the_label(tmp_path: Path, slides: Path) -> None:
    """Regions name the classes; a class that is excluded, such as Benign, is none of the set's."""
    for stem in (name.removesuffix(".png") for name in NAMES):
        _annotate(tmp_path / "annotations", stem, "acinar", "solid", "Benign")
    prepared = _prepare(
        tmp_path,
        slides,
        tissue="annotations",
        annotations=tmp_path / "annotations",
        exclude_classes=("benign",),
        split="4,0,2",
    )
    assert prepared.plan.classes == ("acinar", "solid")
    assert [path.name for path in prepared.annotations.values()] == [f"Eva-{n}.geojson" for n in range(6)]
    assert {slide.split for slide in prepared.plan.slides.values()} == {"train", "test"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "has no annotation file"),
        ("{", "broken JSON"),
        (
            json.dumps(regions_geojson([(SQUARE, "Benign", None)])),
            "--exclude-class leaves out 1 region of Eva-0.geojson, which are all ('Benign' 1)",
        ),
        ("[]", "Eva-0.geojson holds no region: it is empty"),
        (json.dumps(COLLECTION_ALONE), "1 GeometryCollection geometry left out, only polygons are regions"),
        (
            json.dumps(regions_geojson([(SQUARE, "Ignore*", None)])),
            "1 annotation of class 'Ignore*' left out",
        ),
    ],
)
def test_a_slide_without_usable_annotations_fails_alone(
    tmp_path: Path, slides: Path, text: str | None, reason: str
) -> None:
    """It is listed with its reason and belongs to no split; the others are prepared."""
    for number in range(1, 6):
        _annotate(tmp_path / "annotations", f"Eva-{number}", "acinar")
    if text is not None:
        (tmp_path / "annotations" / "Eva-0.geojson").write_text(text)
    prepared = _prepare(
        tmp_path,
        slides,
        tissue="annotations",
        annotations=tmp_path / "annotations",
        exclude_classes=("Benign",),
    )
    assert [(f.slide, f.region, f.stage) for f in prepared.failures] == [("Eva-0.png", None, "annotations")]
    assert reason in prepared.failures[0].reason
    assert sorted(prepared.wanted) == NAMES[1:]


def test_a_class_to_leave_out_that_is_misspelt_is_refused(tmp_path: Path, slides: Path) -> None:
    """'Begnin' would leave Benign among the classes: the classes that were perhaps meant are named."""
    for number in range(6):
        _annotate(tmp_path / "annotations", f"Eva-{number}", "acinar", "Benign")
    options: dict[str, Any] = {"tissue": "annotations", "annotations": tmp_path / "annotations"}
    with pytest.raises(
        UsageError, match=r"--exclude-class 'Begnin' is the class of no annotation, and 'Benign' would"
    ):
        _prepare(tmp_path, slides, exclude_classes=("Begnin",), **options)
    prepared = _prepare(tmp_path, slides, exclude_classes=("Necrosis", "benign", "Ignore*"), **options)
    (told,) = [warning for warning in prepared.warnings if "--exclude-class" in warning]
    assert told == (
        "--exclude-class 'Necrosis' is the class of no annotation, so nothing is left out by it; the classes are "
        "'Benign', 'acinar'"
    )


def test_classes_that_qupath_ignores_are_none(tmp_path: Path, slides: Path) -> None:
    """Ignore* and classes derived from it are not among the classes of the set."""
    for number in range(6):
        _annotate(
            tmp_path / "annotations",
            f"Eva-{number}",
            "acinar",
            "Ignore*",
            "Tumor: Region*",
            "Ignore*: Positive",
        )
    options: dict[str, Any] = {"tissue": "annotations", "annotations": tmp_path / "annotations"}
    assert _prepare(tmp_path, slides, **options).plan.classes == ("acinar",)


def test_a_missing_annotation_folder_is_wrong_usage(tmp_path: Path, slides: Path) -> None:
    """One wrong path is not reported once per slide."""
    with pytest.raises(UsageError, match=r"--annotations .* is not a folder"):
        _prepare(tmp_path, slides, tissue="annotations", annotations=tmp_path / "none")


def test_a_copy_in_another_split_is_found_before_any_work(tmp_path: Path, slides: Path) -> None:
    """The same file under two names and patients, in train and test, is refused with both names."""
    (slides / "copy.png").write_bytes((slides / NAMES[0]).read_bytes())
    rows = [
        {"slide": NAMES[0], "label": "a", "patient": "p0", "split": "train"},
        {"slide": "copy.png", "label": "a", "patient": "p1", "split": "test"},
    ]
    with pytest.raises(
        UsageError, match=r"'Eva-0\.png' of patient 'p0' in train; 'copy\.png' of patient 'p1' in test"
    ):
        _prepare(tmp_path, slides, labels=write_labels(tmp_path / "labels.csv", rows))


def test_no_slides_are_asked_for(tmp_path: Path) -> None:
    """A command without slides says what can be given."""
    with pytest.raises(UsageError, match=r"name files, folders"):
        prepare(config(tmp_path / "out", []))


def test_nothing_is_written(tmp_path: Path, slides: Path) -> None:
    """Preparing makes no folder and no file."""
    _prepare(tmp_path, slides, labels=_labels(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "slides"]


def test_pseudonyms_replace_names_but_not_splits(tmp_path: Path, slides: Path) -> None:
    """Everything but the names is as without pseudonyms, and the mapping leads back."""
    plain = _prepare(tmp_path, slides, labels=_labels(tmp_path), split="1,1,1")
    mapping = tmp_path / "mapping.csv"
    hidden = _prepare(tmp_path, slides, labels=_labels(tmp_path), split="1,1,1", pseudonymise=mapping)
    with mapping.open(newline="") as file:
        back = {row["pseudonym"]: row["name"] for row in csv.DictReader(file)}
    assert {(back[s.name], back[s.patient], s.label, s.split) for s in hidden.plan.slides.values()} == {
        (s.name, s.patient, s.label, s.split) for s in plain.plan.slides.values()
    }
    assert set(hidden.entries) == set(hidden.files) == set(hidden.plan.slides)


def test_pseudonymised_failures_and_warnings_name_nobody(tmp_path: Path, slides: Path) -> None:
    """Neither a slide nor a patient nor a path is in what goes into the set's files."""
    _annotate(tmp_path / "annotations", "Eva-1", "acinar")
    (tmp_path / "annotations" / "Eva-2.geojson").write_text("{")
    (slides / "Eva-scan.dcm").write_bytes(b"no dicom")
    prepared = _prepare(
        tmp_path,
        slides,
        labels=_labels(tmp_path),
        tissue="annotations",
        annotations=tmp_path / "annotations",
        pseudonymise=tmp_path / "mapping.csv",
    )
    assert len(prepared.failures) >= 5
    said = repr((prepared.failures, prepared.warnings, prepared.plan, dict(prepared.entries)))
    assert [name for name in ("Eva", "Kern", str(slides)) if name in said] == []


def test_files_that_nothing_reads_are_counted(tmp_path: Path, slides: Path) -> None:
    """Slides of another format in the folder are no failures; the run's warnings count them."""
    (slides / "x.vsi").write_bytes(b"x")
    prepared = _prepare(tmp_path, slides)
    assert prepared.failures == ()
    assert prepared.warnings[0].startswith("files passed over: 1 .vsi")
