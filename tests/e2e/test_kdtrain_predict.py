"""``kdtrain predict`` from slides to tables, as a person would run it."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from highdicom import imread
from highdicom.seg import segread
from pydicom import dcmread

import kdtrain as package
import slideprep
from docs.pages import ROOT, blocks
from fixtures.bundles import CLASSES, SETTINGS, Made, make_bundle
from fixtures.commands import run_of
from fixtures.dicom_slides import PATIENT, hospital_slide
from fixtures.modes import unshared, usual_umask
from fixtures.real_data import real
from fixtures.slides import half_zero_tile, picture, write_jpeg_tiff, write_svs
from fixtures.training_runs import kdtrain
from kdtrain.bundle.runtime import Inference
from kdtrain.bundle.runtime_onnx import OnnxRuntime
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache.view import TeacherView
from kdtrain.errors import UsageError
from kdtrain.phases import cache_writer
from kdtrain.predict import explaining, slides
from kdtrain.predict import run as prediction_run
from kdtrain.predict.answers.classify import decoded
from kdtrain.predict.answers.prediction import SlideError
from kdtrain.predict.answers.request import ReadOptions
from kdtrain.predict.answers.slide_images import SlideImages
from kdtrain.predict.dicom import asked
from kdtrain.predict.read_images import read_slide
from kdtrain.shards.index import read_index
from slideprep.cli.main import main as slideprep_command
from slideprep.regions.extraction import Extraction


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Slides of another place, with their labels."""

    slides: tuple[Path, ...]
    labels: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six slides, a set, a network, a bundle."""
    return make_bundle(tmp_path_factory.mktemp("made"))


def rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("backend", ["pytorch", "onnx"])
def test_slides_are_said_to_be_what_their_shards_are(made: Made, tmp_path: Path, backend: str) -> None:
    """Predicting the slides of the test split gives the probabilities that evaluation found in its shards."""
    done = kdtrain(
        "predict",
        made.bundle,
        *made.slides[4:],
        "--out",
        tmp_path / "out",
        "--backend",
        backend,
        "--workers",
        0,
    )
    assert done.code == 0, done.said
    expected = {row["key"]: row for row in rows(made.run / "evaluation-test" / "predictions.csv")}
    found = {row["key"]: row for row in rows(tmp_path / "out" / "regions.csv")}
    assert len(found) == 2
    assert set(found) == set(expected)
    for key, row in found.items():
        for name in ("p_gland", "p_stroma"):
            assert float(row[name]) == pytest.approx(float(expected[key][name]), abs=2e-6)
    assert rows(tmp_path / "out" / "failures.csv") == []


@pytest.fixture(scope="module")
def elsewhere(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """Four slides of another laboratory: scanned at 40x, of half the density, their classes in another order."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "slides").mkdir()
    slides = []
    for number in range(4):
        pale = (255 * np.sqrt(np.roll(picture(640, 512), 31 * number + 7, axis=1) / 255)).astype(np.uint8)
        slides.append(write_svs(folder / "slides" / f"other-{number}.svs", pale, mpp=0.25, objective=40))
    labels = folder / "labels.csv"
    rows = [f"{path.name},{('stroma', 'gland')[n // 2]},q{n},test" for n, path in enumerate(slides)]
    labels.write_text("\n".join(["slide,label,patient,split", *rows]) + "\n", encoding="utf-8")
    return Elsewhere(slides=tuple(slides), labels=labels)


def outside_set(elsewhere: Elsewhere, out: Path, classes: str) -> Path:
    """Their shard set."""
    told = ("--labels", elsewhere.labels, "--classes", classes, "--out", out)
    built = run_of(slideprep_command, "build-shards", *elsewhere.slides, *told, *SETTINGS)
    assert built.code == 0, built.said
    return out


def numbers(levels: object) -> list[float]:
    """Every number below, in order."""
    if isinstance(levels, dict):
        return [one for key in sorted(levels) for one in numbers(levels[key])]
    if isinstance(levels, list):
        return [one for part in levels for one in numbers(part)]
    return [float(levels)] if isinstance(levels, int | float) else []


def test_a_bundle_is_measured_elsewhere_as_its_run_is(
    made: Made, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """On the same images evaluate RUN, evaluate BUNDLE and predict --labels agree to 1e-6, and say what is shifted."""
    few = ("--workers", 0, "--iterations", 10_000)
    same = outside_set(elsewhere, tmp_path / "same", "gland,stroma")
    run = shutil.copytree(made.run, tmp_path / "run")
    done = kdtrain("evaluate", run, "--shards", same, *few)
    assert done.code == 0, done.said
    # The same slides, with the classes numbered the other way round.
    other = outside_set(elsewhere, tmp_path / "other", "stroma,gland")
    done = kdtrain("evaluate", made.bundle, "--shards", other, "--out", tmp_path / "measured", *few)
    assert done.code == 0, done.said
    assert "scanned at 40x, the training slides at 20x" in done.said
    said = kdtrain(
        *("predict", made.bundle, *elsewhere.slides, "--labels", elsewhere.labels),
        *("--out", tmp_path / "out", "--workers", 0),
    )
    assert said.code == 0, said.said
    assert "scanned at 40x, the training slides at 20x" in said.said
    folders = (run / "evaluation-test", tmp_path / "measured", tmp_path / "out" / "evaluation")
    measured = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert len(numbers(measured[0]["levels"])) > 200
    for one in measured[1:]:
        assert one["classes"] == measured[0]["classes"] == ["gland", "stroma"]
        assert numbers(one["levels"]) == pytest.approx(numbers(measured[0]["levels"]), abs=1e-6)
    assert measured[1]["shift"]["level0_objectives"]["here"] == {"40": 4}
    assert measured[1]["shift"]["stain"]["density_red"]["shift"] < -1
    assert numbers(measured[2]["shift"]) == pytest.approx(numbers(measured[1]["shift"]), abs=1e-9)
    assert (folders[1] / "roc.csv").read_text().startswith("level,class,threshold,")
    for page in (folder / "validation.html" for folder in folders[1:]):
        assert "The slides were scanned at 40x, those of training at 20x." in page.read_text(encoding="utf-8")
    assert not (tmp_path / "out" / "evaluation" / "kdtrain.lock").exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("evaluate", "BUNDLE", "--shards", "SET"), "is a bundle, which is sealed"),
        (
            ("evaluate", "BUNDLE", "--shards", "SET", "--out", "BUNDLE/inside"),
            "is in the bundle, which is sealed",
        ),
        (("evaluate", "BUNDLE", "--shards", "SET", "--out", "SET"), "holds no evaluation of a bundle"),
        (
            ("evaluate", "BUNDLE", "--shards", "SET", "--out", "NEW", "--probe"),
            "--probe measures the features of a RUN",
        ),
        (("evaluate", "BUNDLE", "--shards", "SET", "--out", "NEW", "--split", "dev"), "dev"),
        (("evaluate", "RUN", "--shards", "SET", "--out", "NEW"), "--out is for a bundle"),
        (
            ("predict", "BUNDLE", "SLIDE", "--labels", "LABELS"),
            "has the class Gland, and the network knows gland, stroma",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(
    made: Made, tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    """Nothing is written into a bundle or over something else, and a class that the network does not know is named."""
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label\nslide-0.svs,Gland\n", encoding="utf-8")
    places = {
        "SET": made.shards,
        "RUN": made.run,
        "NEW": tmp_path / "new",
        "SLIDE": made.slides[0],
        "LABELS": labels,
    }
    told = [
        str(made.bundle / "inside") if one == "BUNDLE/inside" else places.get(one, one) for one in command
    ]
    done = kdtrain(*(made.bundle if one == "BUNDLE" else one for one in told))
    assert words in done.said, done.said
    assert done.code in (1, 2)
    assert not (tmp_path / "new").exists()
    assert not (made.bundle / "inside").exists()


def test_slides_without_a_label_are_predicted_and_not_measured(made: Made, tmp_path: Path) -> None:
    """One of two has a class: one slide is measured, the other only predicted; without any class nothing is."""
    labels = tmp_path / "labels.csv"
    labels.write_text("slide,label\nslide-0.svs,gland\nslide-1.svs,\n", encoding="utf-8")
    told = ("predict", made.bundle, *made.slides[:2], "--labels", labels, "--workers", 0)
    done = kdtrain(*told, "--json")
    assert done.code == 0, done.said
    document = json.loads(done.said)
    assert document["evaluation"]["slides"] == {"measured": 1, "without_label": 1, "labelled_but_failed": 0}
    assert len(document["slides"]) == 2
    labels.write_text("slide,objective\nslide-0.svs,20\n", encoding="utf-8")
    assert "evaluation" not in json.loads(kdtrain(*told, "--json").said)


def test_the_network_sees_the_pixels_of_the_shard(made: Made) -> None:
    """Every slide of the set, read anew, gives what training's reader decodes from its tar, to the last grey level."""
    document = package.load_bundle(made.bundle).document
    settings = slides.read_settings(document.slides, ReadOptions())
    found, _ = slides.discovered([str(path) for path in made.slides])
    read = {}
    for file in found:
        images = read_slide(slides.read_job(file, settings, 2.5, ReadOptions(), None))
        assert isinstance(images, SlideImages)
        read.update({region.key: decoded(region) for region in images.regions})
    index = read_index(made.shards)
    samples = [s for split in ("train", "test") for s in EvaluationStream(index, split, [2.5])]
    assert {sample.key for sample in samples} == set(read)
    for sample in samples:
        assert np.array_equal(read[sample.key], sample.images[2.5].permute(1, 2, 0).numpy())


def test_a_slide_is_the_mean_of_its_regions(made: Made, tmp_path: Path) -> None:
    """predictions.csv sums up regions.csv as evaluation does."""
    kdtrain("predict", made.bundle, made.slides[0], "--out", tmp_path / "out")
    regions = rows(tmp_path / "out" / "regions.csv")
    (slide,) = rows(tmp_path / "out" / "predictions.csv")
    assert slide["slide"] == "slide-0.svs"
    mean = np.mean([float(row["p_gland"]) for row in regions])
    assert float(slide["p_gland"]) == pytest.approx(mean, abs=1e-12)


def test_the_gpu_script_predicts_on_each_device(made: Made) -> None:
    """Its step (benchmarks/_gpu_steps.py) asks for a slide by every device named, and compares with the first."""
    sys.path.append(str(ROOT / "benchmarks"))
    try:
        from _gpu_steps import predictions  # type: ignore[import-not-found]
    finally:
        sys.path.pop()
    (found,) = predictions(made.bundle, made.slides[-1], ["cpu"])
    assert (found["device"], found["from_cpu"]) == ("cpu", 0)
    assert found["seconds"] > 0


@pytest.mark.usefixtures("shared_ray")
def test_workers_change_no_byte(made: Made, tmp_path: Path) -> None:
    """Two processes that read slides give the files of none."""
    for workers in (0, 2):
        done = kdtrain(
            "predict", made.bundle, *made.slides, "--out", tmp_path / str(workers), "--workers", workers
        )
        assert done.code == 0, done.said
    assert files(tmp_path / "0") == files(tmp_path / "2")


def test_the_same_command_goes_on(made: Made, tmp_path: Path) -> None:
    """What is finished is not predicted again, what is missing is, and the result is that of one go."""
    arguments = ("predict", made.bundle, *made.slides, "--workers", 0, "--out")
    kdtrain(*arguments, tmp_path / "whole")
    kdtrain(*arguments, tmp_path / "parts")
    whole = files(tmp_path / "whole")
    kept, lost, *_ = sorted((tmp_path / "parts" / "slides").iterdir())
    stamp = kept.stat().st_mtime_ns
    lost.unlink()
    for name in ("predictions.csv", "regions.csv", "failures.csv", "predictions.json"):
        (tmp_path / "parts" / name).unlink()
    assert kdtrain(*arguments, tmp_path / "parts").code == 0
    assert files(tmp_path / "parts") == whole
    assert kept.stat().st_mtime_ns == stamp


def test_bad_slides_are_listed_and_the_others_completed(made: Made, tmp_path: Path) -> None:
    """A damaged tile, an empty file and no image at all cost exit code 3 and a line each."""
    damaged = write_svs(tmp_path / "damaged.svs", picture(320, 256))
    half_zero_tile(damaged, 3)
    (tmp_path / "empty.svs").write_bytes(b"")
    (tmp_path / "letter.svs").write_text("Dear colleague")
    bad = (damaged, tmp_path / "empty.svs", tmp_path / "letter.svs")
    done = kdtrain("predict", made.bundle, *bad, made.slides[0], "--out", tmp_path / "out", "--workers", 0)
    assert done.code == 3, done.said
    assert [row["slide"] for row in rows(tmp_path / "out" / "predictions.csv")] == ["slide-0.svs"]
    listed = {row["slide"]: row for row in rows(tmp_path / "out" / "failures.csv")}
    assert {name: row["stage"] for name, row in listed.items()} == {
        "damaged.svs": "read",
        "empty.svs": "open",
        "letter.svs": "open",
    }
    assert "empty (0 bytes)" in listed["empty.svs"]["reason"]


def test_a_name_that_is_not_utf_8_is_spelled_out(made: Made, tmp_path: Path) -> None:
    """The slide is predicted like any other; tables and pages show the bytes of its name."""
    odd = tmp_path / os.fsdecode(b"caf\xe9.svs")
    try:
        shutil.copy(made.slides[0], odd)
    except OSError:
        pytest.skip("this file system refuses such names itself")
    given = (odd, made.slides[1], "--explain", "--occlusion-passes", 0)
    done = kdtrain("predict", made.bundle, *given, "--out", tmp_path / "out", "--workers", 0)
    assert done.code == 0, done.said
    assert [row["slide"] for row in rows(tmp_path / "out" / "predictions.csv")] == [
        r"caf\xe9.svs",
        "slide-1.svs",
    ]
    pages = [path.read_text("utf-8") for path in (tmp_path / "out").rglob("page.html")]
    assert sum(r"<h1>caf\xe9.svs</h1>" in page for page in pages) == 1 and len(pages) == 2
    with slideprep.open_slide(odd) as slide:
        for source in (odd, slide):
            assert package.load_bundle(made.bundle).predict(source).slide == r"caf\xe9.svs"


@pytest.mark.parametrize("order", [("z", "a"), ("a", "z")])
def test_what_is_printed_is_what_is_written(made: Made, tmp_path: Path, order: tuple[str, str]) -> None:
    """--json prints predictions.json, failures in its order, and nothing else."""
    for name in order:
        (tmp_path / f"{name}.dcm").write_bytes(b"no slide")
    half_zero_tile(write_svs(tmp_path / "m.svs", picture(320, 256)), 3)
    given = (*(tmp_path / f"{name}.dcm" for name in order), tmp_path / "m.svs", made.slides[0])
    done = kdtrain("predict", made.bundle, *given, "--out", tmp_path / "out", "--workers", 0, "--json")
    assert done.code == 3, done.said
    written = (tmp_path / "out" / "predictions.json").read_text("utf-8")
    assert done.said == " ".join(written.split())
    assert [row["slide"] for row in rows(tmp_path / "out" / "failures.csv")] == ["a.dcm", "m.svs", "z.dcm"]


def test_a_failing_disk_costs_the_others_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the operating system in the middle of a slide is that slide's."""

    def broken(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Extraction, "read", broken)
    done = kdtrain("predict", made.bundle, *made.slides[:2], "--out", tmp_path / "out", "--workers", 0)
    assert done.code == 3, done.said
    (row,) = rows(tmp_path / "out" / "failures.csv")
    assert (row["slide"], row["stage"]) == ("slide-0.svs", "read")
    assert "Input/output error; check the disk" in row["reason"]


def test_a_slide_too_large_for_memory_costs_the_others_nothing(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed under its own stage, and the rest is predicted."""
    ask = OnnxRuntime.infer

    def first_is_too_large(self: OnnxRuntime, images: np.ndarray) -> Inference:
        monkeypatch.setattr(OnnxRuntime, "infer", ask)
        raise MemoryError("not enough for 40 x 32 px")

    monkeypatch.setattr(OnnxRuntime, "infer", first_is_too_large)
    done = kdtrain("predict", made.bundle, *made.slides[:2], "--out", tmp_path / "out", "--workers", 0)
    assert done.code == 3, done.said
    (row,) = rows(tmp_path / "out" / "failures.csv")
    assert row["stage"] == "memory"
    assert "not enough for 40 x 32 px" in row["reason"]
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 1


def test_nothing_predicted_is_a_failure(made: Made, tmp_path: Path) -> None:
    """Exit code 1, and the reason, where not one slide could be predicted."""
    (tmp_path / "empty.svs").write_bytes(b"")
    done = kdtrain("predict", made.bundle, tmp_path / "empty.svs")
    assert done.code == 1
    assert "empty (0 bytes)" in done.said


def test_another_magnification_is_refused_unless_asked_for(made: Made, tmp_path: Path) -> None:
    """A slide whose pixels are half as large is another scale: the network never saw it."""
    finer = write_svs(tmp_path / "finer.svs", picture(320, 256), mpp=0.25)
    refused = kdtrain("predict", made.bundle, finer, "--out", tmp_path / "a")
    assert refused.code == 1
    assert "outside the data that the network was trained on" in refused.said
    assert rows(tmp_path / "a" / "failures.csv")[0]["stage"] == "outside"
    warned = kdtrain("predict", made.bundle, finer, "--outside", "warn", "--out", tmp_path / "b")
    assert warned.code == 0, warned.said
    assert "µm" in rows(tmp_path / "b" / "predictions.csv")[0]["outside"]


def test_labels_csv_corrects_a_slide(made: Made, tmp_path: Path) -> None:
    """Its column mpp comes before what the file says, and a changed correction makes the slide anew."""
    wrong = write_svs(tmp_path / "wrong.svs", picture(320, 256), mpp=0.25)
    labels = tmp_path / "labels.csv"
    out = tmp_path / "out"
    command = ("predict", made.bundle, wrong, "--labels", labels, "--out", out)
    for mpp in ("0.5", "0.51"):
        labels.write_text(f"slide,mpp\nwrong.svs,{mpp}\n")
        assert kdtrain(*command).code == 0
        assert rows(out / "predictions.csv")[0]["mpp"] == mpp


def test_another_stain_is_warned_of_or_refused(made: Made, tmp_path: Path) -> None:
    """A grey slide is predicted with a warning, and not at all under --outside refuse."""
    grey = write_svs(tmp_path / "grey.svs", np.full((256, 320, 3), 90, np.uint8))
    warned = kdtrain("predict", made.bundle, grey, "--out", tmp_path / "a")
    assert warned.code == 0, warned.said
    assert "stain" in rows(tmp_path / "a" / "predictions.csv")[0]["outside"]
    assert kdtrain("predict", made.bundle, grey, "--outside", "refuse").code == 1


def test_fast_reads_a_coarser_level_and_says_what_it_changes(made: Made, tmp_path: Path) -> None:
    """With a pyramid, pixels come from the nearest finer level, and the difference is stated; without one, level 0."""
    pyramid = write_jpeg_tiff(tmp_path / "pyramid.tiff", picture(512, 512), levels=3)
    options = ("--objective", 20, "--mpp", 0.5, "--outside", "warn", "--fast", "--json")
    done = kdtrain("predict", made.bundle, pyramid, *options)
    assert done.code == 0, done.said
    (slide,) = json.loads(done.said)["slides"]
    assert slide["level"] > 0
    assert slide["fast"]["downsample"] <= 8
    assert 0 < slide["fast"]["mean"] < 20
    for way in ("level0", "fast"):
        assert sum(slide["fast"][f"probabilities_{way}"]) == pytest.approx(1)
    (flat,) = json.loads(kdtrain("predict", made.bundle, made.slides[0], "--fast", "--json").said)["slides"]
    assert (flat["level"], flat["fast"]) == (0, None)


def test_fast_on_a_slide_whose_level_0_is_damaged(made: Made, tmp_path: Path) -> None:
    """The level that is read is whole, so the slide is predicted; that nothing could be measured is said."""
    pyramid = write_jpeg_tiff(tmp_path / "pyramid.tiff", picture(512, 512), levels=3)
    for tile in range(64):
        half_zero_tile(pyramid, tile)
    options = ("--objective", 20, "--mpp", 0.5, "--outside", "warn", "--fast", "--json")
    done = kdtrain("predict", made.bundle, pyramid, *options)
    assert done.code == 0, done.said
    (slide,) = json.loads(done.said)["slides"]
    assert slide["level"] > 0
    assert slide["fast"] is None
    assert any("could not be measured" in text for text in slide["warnings"])


def test_annotations_are_a_slide_s_own(made: Made, tmp_path: Path) -> None:
    """Outlines are found by the slide's name, one file a slide: two are refused before any work, none is listed."""
    folder = tmp_path / "outlines"
    folder.mkdir()
    outline = [[0, 0], [320, 0], [320, 256], [0, 256], [0, 0]]
    drawn = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [outline]}, "properties": {}}
    (folder / "slide-0.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [drawn]}))
    command = ("predict", made.bundle, *made.slides[:2], "--tissue", "annotations", "--annotations", folder)
    done = kdtrain(*command, "--out", tmp_path / "out", "--workers", 0)
    assert done.code == 3, done.said
    assert [row["slide"] for row in rows(tmp_path / "out" / "regions.csv")] == ["slide-0.svs"]
    assert "no annotation file" in rows(tmp_path / "out" / "failures.csv")[0]["reason"]
    shutil.copy(folder / "slide-0.geojson", folder / "slide-0.svs.geojson")
    refused = kdtrain(*command, "--out", tmp_path / "other", "--workers", 0)
    assert refused.code == 2, refused.said
    assert "keep one" in refused.said
    assert not (tmp_path / "other").exists()


def test_python_says_the_same(made: Made) -> None:
    """load_bundle(...).predict gives a path, and a slide that is open, the same answer."""
    bundle = package.load_bundle(made.bundle)
    by_path = bundle.predict(made.slides[5])
    with slideprep.open_slide(made.slides[5]) as slide:
        assert bundle.predict(slide) == by_path
    assert by_path.label in bundle.classes
    assert sum(by_path.probabilities) == pytest.approx(1)


@pytest.mark.parametrize("page", ["README.md", "docs/predict.md"])
def test_the_example_of_the_page_runs(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    """The Python of README and guide works as it stands, given a bundle and a slide of those names."""
    (example,) = [block for block in blocks(ROOT / page) if block.language == "python"]
    for name, target in (("bundles/student", made.bundle), ("slides/case7.svs", made.slides[0])):
        link = tmp_path / name
        link.parent.mkdir()
        link.symlink_to(target)
    monkeypatch.chdir(tmp_path)
    exec(compile(example.text, page, "exec"), {})
    assert capsys.readouterr().out.split()[0] in CLASSES


def test_python_raises_what_is_wrong_with_a_slide(made: Made, tmp_path: Path) -> None:
    """A slide that cannot be read is an exception with the reason."""
    (tmp_path / "empty.svs").write_bytes(b"")
    with pytest.raises(SlideError, match="empty"):
        package.load_bundle(made.bundle).predict(tmp_path / "empty.svs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--explain",), "add --out DIR"),
        (("--dicom",), "add --out DIR"),
        (("--dicom", "--out", "OUT"), "--dicom: slide 'slide-0.svs': it is no DICOM slide"),
        (("--annotations", "."), "is read only where regions are annotated"),
        (("--tissue", "annotations"), "add --annotations FOLDER"),
        (("--device", "cuda"), "no GPU"),
        (
            ("--annotations", __file__, "--tissue", "annotations", "--out", "OUT"),
            "give the folder that holds",
        ),
        (("--labels", "absent.csv", "--out", "OUT"), "cannot read the labels"),
        (("--page-mb", "nan", "--out", "OUT"), "nan is not in the range 0<x<=10000"),
        (("--display-magnification", "inf", "--out", "OUT"), "inf is not in the range 0<x<=200"),
        (("--explain-class", "benign", "--out", "OUT"), "is no class of the bundle; it knows gland, stroma"),
    ],
)
def test_wrong_usage_is_found_before_any_work(
    made: Made, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 2, what is wrong and what to do, and nothing written."""
    given = [tmp_path / "out" if argument == "OUT" else argument for argument in arguments]
    done = kdtrain("predict", made.bundle, made.slides[0], *given)
    assert done.code == 2, done.said
    assert words in done.said
    assert not (tmp_path / "out").exists()


def test_explanations_lie_beside_the_tables(made: Made, tmp_path: Path) -> None:
    """Every slide gets a page, pictures and files for QuPath, the same bytes each time."""
    for name in ("a", "b"):
        done = kdtrain(
            *("predict", made.bundle, made.slides[0], "--out", tmp_path / name),
            *("--explain", "--occlusion-passes", 4),
        )
        assert done.code == 0, done.said
    (folder,) = (tmp_path / "a" / "explanations").iterdir()
    label = rows(tmp_path / "a" / "predictions.csv")[0]["predicted"]
    assert {path.name for path in folder.iterdir()} == {
        "page.html",
        "regions.geojson",
        *(
            f"overlay-{method}-{label}{end}"
            for method in ("grad-cam", "occlusion")
            for end in (".png", ".ome.tif")
        ),
    }
    assert files(tmp_path / "a") == files(tmp_path / "b")
    # Each region is as good to see as the set's table says of it, and the page says what was measured.
    document = json.loads((tmp_path / "a" / "predictions.json").read_text("utf-8"))
    quality = {region["key"]: region["quality"] for region in document["slides"][0]["regions"]}
    told = {row["key"]: row for row in rows(made.shards / "regions.csv") if row["slide"] == "slide-0.svs"}
    assert quality == {
        key: {name: float(row[name]) if row[name] else None for name in ("focus", "ink", "folds", "bubbles")}
        for key, row in told.items()
    }
    assert "Quality not measured" not in (folder / "page.html").read_text("utf-8")
    assert unshared(tmp_path, usual_umask()) == {}


def test_the_real_slide_and_its_dicom_twin_agree(made: Made, tmp_path: Path) -> None:
    """The Aperio file and the DICOM series of one scan get the same regions and nearly the same probabilities.

    The series gets class maps of its whole matrix of 2,220 x 2,967 px, in its study; the file is told to have none.
    """
    svs, dicom = real("slides", "CMU-1-Small-Region.svs"), real("slides", "cmu-1-small-region_dicom")
    done = kdtrain(
        *("predict", made.bundle, svs, dicom, "--workers", 0, "--outside", "warn"),
        *("--out", tmp_path / "o", "--dicom"),
    )
    assert done.code == 3, done.said
    (failure,) = rows(tmp_path / "o" / "failures.csv")
    assert (failure["slide"], failure["stage"]) == ("CMU-1-Small-Region.svs", "dicom")
    (segmentation,) = tmp_path.glob("o/dicom/*/classes.dcm")
    labels = segread(segmentation).get_total_pixel_matrix(combine_segments=True)
    step = 2967 / labels.shape[0]
    assert labels.shape == (-(-2967 // round(step)), -(-2220 // round(step)))
    assert (
        segread(segmentation).StudyInstanceUID == dcmread(dicom / "level-0-frames-0-30.dcm").StudyInstanceUID
    )
    one, two = rows(tmp_path / "o" / "predictions.csv")
    assert float(one["p_gland"]) == pytest.approx(float(two["p_gland"]), abs=0.01)
    boxes: dict[str, list[tuple[str, ...]]] = {}
    for row in rows(tmp_path / "o" / "regions.csv"):
        boxes.setdefault(row["slide"], []).append(tuple(row[name] for name in ("x", "y", "width", "height")))
    first, second = boxes.values()
    assert first == second


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM slide with a patient; it is called as its folder."""
    folder = tmp_path_factory.mktemp("hospital") / "case"
    folder.mkdir()
    return hospital_slide(folder / "level-0.dcm", picture(320, 256))


def test_class_maps_as_dicom_alone_name_the_patient(
    made: Made, hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for, a DICOM slide has them and another is listed, both predicted; no other file, nor screen, has a name.

    The same command again asks about the listed one alone, and makes maps that are gone to the same bytes. Where labels
    are given, no slide counts as one that the network could not be asked about.
    """
    failed: list[set[str]] = []
    monkeypatch.setattr(prediction_run, "validated", lambda *given: failed.append(given[-1]))
    out = tmp_path / "out"
    command = ("predict", made.bundle, hospital, made.slides[4], "--objective", 20, "--workers", 0, "--dicom")
    done = kdtrain(*command, "--out", out)
    assert done.code == 3, done.said
    assert [row["slide"] for row in rows(out / "predictions.csv")] == ["case", "slide-4.svs"]
    (failure,) = rows(out / "failures.csv")
    assert (failure["slide"], failure["stage"]) == ("slide-4.svs", "dicom")
    assert "wsidicomizer -i 'slide-4.svs' -o 'slide-4-dicom'" in failure["reason"]
    (folder,) = (out / "dicom").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        *(f"probability-{name}.dcm" for name in CLASSES),
        "classes.dcm",
    }
    named = [text.encode() for text in PATIENT.values() if len(text) > 1]
    for path in (path for path in out.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert all(text in content for text in named) if path.parent == folder else not _any(named, content)
    assert not _any(named, done.said.encode())
    assert "with the patient's name where the slide has it" in done.said
    before = files(out)
    (folder / "classes.dcm").unlink()
    assert kdtrain(*command, "--out", out).code == 3
    assert files(out) == before
    assert failed == [set(), set()]


def _any(parts: list[bytes], content: bytes) -> bool:
    return any(part in content for part in parts)


def test_class_maps_say_what_the_network_says(made: Made, hospital: Path, tmp_path: Path) -> None:
    """From Python too; a place of the region holds the softmax of its cell's logits, whose mean the region's are."""
    bundle = package.load_bundle(made.bundle)
    prediction = bundle.predict(hospital, objective=20, dicom=tmp_path)
    probable = imread(tmp_path / "probability-stroma.dcm").get_total_pixel_matrix()
    (region,) = prediction.regions
    assert probable.min() > 0
    assert (region.x, region.y, region.width, region.height) == (0, 0, 320, 256)
    # A cell is 4 px of an image at an eighth, 4 pixels of the map, and its centre lies in the first of them.
    cells = probable[::4, ::4]
    assert (probable.shape, cells.shape, len(np.unique(probable))) == ((32, 40), (8, 10), 80)
    mean = np.log(cells / (1 - cells)).mean()  # of two classes the logits' difference
    assert 1 / (1 + np.exp(-mean)) == pytest.approx(prediction.probabilities[1], rel=1e-4)


def test_explained_dicom_slides_have_class_maps_unless_told_otherwise(
    made: Made, hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the explanation where it is possible; where it is not, a remark says why and nothing has failed."""
    monkeypatch.setattr(explaining, "explain_slide", lambda *_: frozenset())  # pictures are tested elsewhere
    (tmp_path / "placeless").mkdir()
    lacking = {"FrameOfReferenceUID": None, "SeriesInstanceUID": "1.2.3.4.5"}
    placeless = hospital_slide(tmp_path / "placeless" / "level-0.dcm", picture(320, 256), **lacking)
    command = ("predict", made.bundle, "--objective", 20, "--workers", 0, "--occlusion-passes", 0)
    done = kdtrain(*command, hospital, placeless, "--out", tmp_path / "a")
    assert done.code == 0, done.said
    assert len(list(tmp_path.glob("a/dicom/*/classes.dcm"))) == 1
    remarks = {row["slide"]: row["warnings"] for row in rows(tmp_path / "a" / "predictions.csv")}
    assert "no class maps as DICOM" not in remarks["case"]
    assert "no class maps as DICOM: slide 'placeless'" in remarks["placeless"]
    done = kdtrain(*command, hospital, "--no-dicom", "--out", tmp_path / "b")
    assert done.code == 0, done.said
    assert not (tmp_path / "b" / "dicom").exists()


def test_without_highdicom_the_extra_is_named(
    made: Made, hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where class maps are asked for, before any work; where they are not, nobody misses them."""
    monkeypatch.setattr(asked, "has_highdicom", lambda: False)
    done = kdtrain("predict", made.bundle, hospital, "--dicom", "--out", tmp_path / "out")
    assert (done.code, (tmp_path / "out").exists()) == (2, False)
    assert "run pip install 'kdtrain[dicom]', or leave --dicom out" in done.said
    with pytest.raises(UsageError, match=r"kdtrain\[dicom\]"):
        package.load_bundle(made.bundle).predict(hospital, dicom=tmp_path / "out")


def test_vectors_of_slides_are_those_of_their_set(made: Made, tmp_path: Path) -> None:
    """A slide is read as the set was built: its h5 file is that of the set to the byte; a bad one is listed."""
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide")
    common = ("--cells", "--workers", 0, "--out")
    of_set = kdtrain("features", made.run, "--shards", made.shards, *common, tmp_path / "set")
    of_slides = kdtrain("features", made.run, *made.slides, bad, *common, tmp_path / "slides")
    assert of_set.code == 0, of_set.said
    assert of_slides.code == 3, of_slides.said
    names = sorted(path.name for path in (tmp_path / "slides").glob("*.h5"))
    assert names == [f"{slide.stem}.h5" for slide in made.slides]
    for name in names:
        assert (tmp_path / "slides" / name).read_bytes() == (tmp_path / "set" / name).read_bytes()
    assert [row["slide"] for row in rows(tmp_path / "slides" / "failures.csv")] == ["bad.svs"]
    of_bundle = kdtrain("features", made.bundle, *made.slides[:1], *common, tmp_path / "bundle")
    assert of_bundle.code == 0, of_bundle.said
    with h5py.File(tmp_path / "bundle" / names[0]) as one, h5py.File(tmp_path / "set" / names[0]) as other:
        assert one["coords"][:].tolist() == other["coords"][:].tolist()
        np.testing.assert_allclose(one["features"][:], other["features"][:], rtol=0, atol=1e-4)
    (tmp_path / "labels.csv").write_text("slide,mpp\nslide-0.svs,0.9\n")
    finer = ("--labels", tmp_path / "labels.csv", *common, tmp_path / "finer")
    refused = kdtrain("features", made.bundle, *made.slides[:1], *finer)
    assert (refused.code, "lies outside the data" in refused.said) == (1, True), refused.said
    taken = kdtrain("features", made.bundle, *made.slides[:1], *finer, "--outside", "warn")
    assert taken.code == 0, taken.said
    (tmp_path / "slides" / names[0]).unlink()
    again = kdtrain("features", made.run, *made.slides, *common, tmp_path / "slides")
    assert (again.code, "5 shards or slides were there already" in again.said) == (0, True), again.said


def test_features_on_disk_become_a_student_that_predicts(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """h5 files, cache (stopped once), a student without classes, probe, classifier, evaluation, bundle, prediction."""
    shards = ("--shards", made.shards, "--workers", 0)
    h5, cache, student, classifier = (tmp_path / name for name in ("h5", "cache", "student", "classifier"))
    written = kdtrain("features", made.run, *shards, "--cells", "--out", h5)
    assert written.code == 0, written.said

    caching = ("cache-teacher", "--from", h5, *shards, "--magnification", 2.5, "--train-on", "train")
    caching = (*caching, "--validate-on", "none", "--views", 2, "--output-stride", 16, "--out", cache)
    original = cache_writer.encode_view

    def stopped(view: TeacherView, what: str) -> bytes:
        if "v001.st" in what:
            raise KeyboardInterrupt
        return original(view, what)

    monkeypatch.setattr(cache_writer, "encode_view", stopped)
    assert kdtrain(*caching).code == 1
    monkeypatch.setattr(cache_writer, "encode_view", original)
    cached = kdtrain(*caching)
    assert cached.code == 0, cached.said

    quick = ("--epochs", 1, "--accumulate", 2, "--logger", "none", "--validate-on", "none")
    distilled = kdtrain(
        *("distill", *shards, "--teacher-cache", cache, "--magnification", 2.5, "--train-on", "train"),
        *(*quick, "--hint", "cosine", "--output-stride", 16, "--model", "resnet10", "--width", 0.25),
        *("--out", student),
    )
    assert distilled.code == 0, distilled.said
    probed = kdtrain("evaluate", student, *shards, "--probe", "--split", "train", "--iterations", 50)
    assert probed.code == 0, probed.said
    own = kdtrain("features", student, *made.slides[:1], "--workers", 0, "--out", tmp_path / "own")
    assert own.code == 0, own.said

    tuned = kdtrain(
        "finetune", *shards, "--student", student, *quick, "--train-on", "train", "--out", classifier
    )
    assert tuned.code == 0, tuned.said
    measured = kdtrain("evaluate", classifier, *shards, "--iterations", 50)
    assert measured.code == 0, measured.said
    exported = kdtrain("export", classifier, "--shards", made.shards, "--out", tmp_path / "bundle")
    assert exported.code == 0, exported.said
    predicted = kdtrain("predict", tmp_path / "bundle", *made.slides[:1], "--workers", 0, "--outside", "warn")
    assert predicted.code == 0, predicted.said
    assert "slide-0.svs" in predicted.said
