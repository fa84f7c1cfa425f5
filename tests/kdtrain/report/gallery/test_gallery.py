"""The surest errors: which they are, where their images come from, and what is said where there are none."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fixtures.report_runs import predictions, rights, write_run
from fixtures.shard_sets import CLASSES, write_set
from kdtrain.data.samples import SampleReader
from kdtrain.evaluation.predictions import Prediction
from kdtrain.report.build import build_report
from kdtrain.report.gallery.cards import find_cards
from kdtrain.report.gallery.surest import ClassMistakes, Mistake, bounded
from kdtrain.report.gallery.thumbnails import MOST_BYTES, SIDE_PX, read_thumbnails, thumbnail
from kdtrain.report.model import Gallery, Paragraph, Picture, Report
from kdtrain.shards.index import read_index
from kdtrain.shards.locations import Url

DRAWS = 50


def said_of(shards: Path, answers: Sequence[tuple[int, float]], split: str = "test") -> list[Prediction]:
    """What a network said of a split's samples: for each in order the answered class and its probability."""
    reader = SampleReader(read_index(shards), split, [2.5])
    places = [(shard, k) for shard in reader.shards for k in range(shard.samples)]
    samples = [reader.read(shard, k, 2.5) for shard, k in places]
    reader.close()
    classes = len(CLASSES)
    return [
        Prediction(
            key=sample.key,
            slide=sample.record.slide,
            patient=sample.record.patient,
            label=sample.label or 0,
            probabilities=tuple(p if k == answer else (1 - p) / (classes - 1) for k in range(classes)),
        )
        for sample, (answer, p) in zip(samples, answers, strict=True)
    ]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Six samples of two classes in turn, in two tars."""
    return write_set(tmp_path / "shards", {"train": [1], "test": [4, 2]})


ANSWERS = ((1, 0.8), (1, 0.9), (1, 0.95), (1, 0.7), (0, 0.6), (1, 0.99))
"""Of the classes 0 1 0 1 0 1: the first two of class 0 are given to 1, the second more surely; all else is right."""


def run_on(shards: Path, folder: Path, answers: Sequence[tuple[int, float]] = ANSWERS, **more: Any) -> Path:
    """A run that was evaluated on the set."""
    said = said_of(shards, answers)
    given: dict[str, Any] = {"phase": "distill", "magnification": 10.0, **more}
    return write_run(folder, said=said, classes=CLASSES, evaluated_on=read_index(shards).sha256, **given)


def errors(report: Report) -> Sequence[Any]:
    """Blocks of the section."""
    return next((one.blocks for one in report.sections if one.name == "errors"), ())


def made(*runs: Path, **options: Any) -> Report:
    """The report."""
    return build_report([str(run) for run in runs], iterations=DRAWS, **options)


def pictures_of(report: Report) -> Mapping[str, Sequence[Picture]]:
    """Of the only gallery, by true class."""
    (gallery,) = errors(report)
    assert isinstance(gallery, Gallery)
    return {row.title: row.pictures for row in gallery.rows}


def test_the_surest_errors_of_every_class(shards: Path, tmp_path: Path) -> None:
    """By true class the surest first, with answer, probability, key, slide, and what the teacher says."""
    teacher = run_on(shards, tmp_path / "t", [(0, 0.75)] * 6, phase="teacher", magnification=10.0)
    student = run_on(shards, tmp_path / "s", magnification=2.5)
    report = made(teacher, student, shards=shards)
    (gallery,) = errors(report)
    first, second = pictures_of(report)[CLASSES[0]]
    assert (first.answered, first.probability) == (CLASSES[1], pytest.approx(0.95))
    assert (second.answered, second.probability) == (CLASSES[1], pytest.approx(0.8))
    assert first.beside == f"Teacher at 10x: {CLASSES[0]}, 75 %"
    assert (first.slide, first.key.startswith("test-2-")) == ("test-2.svs", True)
    assert gallery.title == "KD at 2.5x: its surest errors"
    assert [row.note for row in gallery.rows] == [
        "2 of 3 samples given to another class, all shown.",
        "All 3 samples answered rightly.",
    ]


def test_six_of_a_class_are_shown_and_seeds_are_averaged(tmp_path: Path) -> None:
    """Of eight wrong samples the surest six; where a second seed is right on one, the mean of both is right on it."""
    first, second = rights(16, 8), rights(16, 8)
    second[0] = True
    runs = []
    for seed, right in enumerate((first, second)):
        said = [
            Prediction(**{**vars(one), "probabilities": (0.1, 0.9) if one.predicted else (0.9, 0.1)})
            if seed
            else one
            for one in predictions([*right, *[False] * 8])
        ]
        runs.append(write_run(tmp_path / f"{seed}", "baseline", 1, said, seed=seed))
    report = made(*runs, gallery="keys")
    (gallery,) = errors(report)
    assert [row.note for row in gallery.rows] == [
        "7 of 12 samples given to another class, the surest 6 shown.",
        "8 of 12 samples given to another class, the surest 6 shown.",
    ]
    assert "k0000" not in {picture.key for row in gallery.rows for picture in row.pictures}
    assert "of 2 seeds, the mean decides" in gallery.caption


def test_many_classes_share_the_room() -> None:
    """Of 12 samples in all, two classes keep their six, four three each, and of 14 the twelve surest one each."""

    def shown(classes: int) -> list[int]:
        mistakes = [
            ClassMistakes(
                samples=9,
                wrong=6,
                surest=tuple(
                    Mistake(
                        key=f"k{k}", slide="s", truth=n, answered=0, probability=0.5 + n / 100, beside=None
                    )
                    for k in range(6)
                ),
            )
            for n in range(classes)
        ]
        mistakes.append(ClassMistakes(samples=3, wrong=0, surest=()))
        return [len(one.surest) for one in bounded(mistakes, most=12)]

    assert shown(2) == [6, 6, 0]
    assert shown(4) == [3, 3, 3, 3, 0]
    assert shown(14) == [0, 0, *[1] * 12, 0]


def test_a_network_without_errors_says_so(shards: Path, tmp_path: Path) -> None:
    """There is nothing to look at, and the page does not leave that open."""
    run = run_on(shards, tmp_path / "s", [(k % 2, 0.9) for k in range(6)])
    assert errors(made(run, shards=shards)) == (
        Paragraph(text="KD at 10x is right on all 6 tissue samples."),
    )


def test_thumbnails_are_of_the_sample_and_small(shards: Path, tmp_path: Path) -> None:
    """Each is a JPEG of a few KB whose colours are those of the sample in the shards, no larger than its bound."""
    picture = pictures_of(made(run_on(shards, tmp_path / "s"), shards=shards))[CLASSES[0]][0]
    reader = SampleReader(read_index(shards), "test", [2.5])
    stored = reader.read(reader.shards[0], 2, 2.5)
    assert stored.key == picture.key
    image = Image.open(io.BytesIO(picture.jpeg))
    assert image.size == picture.size_px
    assert max(image.size) <= SIDE_PX
    assert len(picture.jpeg) <= MOST_BYTES
    assert stored.image is not None
    mean = np.asarray(image).mean(axis=(0, 1))
    assert mean == pytest.approx(stored.image.mean(axis=(0, 1)), abs=6)


@pytest.mark.parametrize(("network", "width"), [(10.0, 128), (2.5, 32)])
def test_no_more_is_shown_than_the_network_saw(shards: Path, network: float, width: int) -> None:
    """A sample of 128 px at 10x and 32 px at 2.5x is shown at the magnification of the network, not above it."""
    key = said_of(shards, ANSWERS)[0].key
    found, reasons = read_thumbnails(read_index(shards), [key], split="test", magnification=network)
    assert (found[key].size_px[0], reasons) == (width, {})


def test_a_large_noisy_image_becomes_a_small_one() -> None:
    """Noise, which no JPEG makes small, is taken at a lower quality; the longest side is the bound."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 1400, 3), dtype=np.uint8)
    small = thumbnail(Image.fromarray(noise))
    assert small.size_px == (SIDE_PX, SIDE_PX // 2)
    assert len(small.jpeg) <= MOST_BYTES


def test_samples_of_folds_are_found_in_any_split(shards: Path) -> None:
    """A key that is stored in another split than the one that was asked for is found; one that is nowhere is told."""
    key = said_of(shards, [(0, 0.9)], "train")[0].key
    found, reasons = read_thumbnails(read_index(shards), [key, "absent"], split="test", magnification=10)
    assert list(found) == [key]
    assert reasons == {"absent": "no tar of the set has its key"}


def test_a_damaged_tar_costs_its_own_images_alone(shards: Path, tmp_path: Path) -> None:
    """The report is made; the sample of the damaged tar has the broken rule in the place of its image, and no path."""
    answers = [*ANSWERS[:5], (0, 0.6)]
    run = run_on(shards, tmp_path / "s", answers)
    for folder in ("10x", "2.5x"):
        tar = shards / folder / "test-000001.tar"
        data = bytearray(tar.read_bytes())
        data[100:108] = b"damaged!"
        tar.write_bytes(bytes(data))
    shown = pictures_of(made(run, shards=shards))
    assert all(picture.jpeg for picture in shown[CLASSES[0]])
    (lost,) = shown[CLASSES[1]]
    assert lost.jpeg == b""
    assert "(rule F11 tar-whole)" in lost.why_none
    assert str(tmp_path) not in lost.why_none


def test_where_there_are_no_shards_the_page_says_why(shards: Path, tmp_path: Path) -> None:
    """Not found where they were; changed since; asked to be left out: keys are there, images not, and the reason is."""
    away = write_run(tmp_path / "a", "baseline", 1, predictions(rights(8, 2)))
    (gallery,) = errors(made(away))
    assert "No thumbnails: the shard set that the runs were evaluated on was not found where it was then" in (
        gallery.caption
    )
    others = {"other_settings": {"shards": str(shards)}}
    changed = write_run(tmp_path / "c", "baseline", 1, predictions(rights(8, 2)), more=others)
    (gallery,) = errors(made(changed))
    assert "another one lies, or it has been changed since" in gallery.caption
    (shards / "10x/test-000000.tar").unlink()
    (gallery,) = errors(made(changed))
    assert "cannot be read: the index names this file, but it is not there (rule F07" in gallery.caption
    assert str(tmp_path) not in gallery.caption


def test_images_and_keys_can_be_refused(shards: Path, tmp_path: Path) -> None:
    """'keys' shows no image and leads nowhere, 'none' has no gallery at all, though the shards are there."""
    (shards / "preview.html").write_text('<article class="card ok" id="slide-7" data-name="test-2.svs">')
    run = run_on(shards, tmp_path / "s")
    shown = pictures_of(made(run, shards=shards, gallery="keys", folder=tmp_path))[CLASSES[0]]
    assert [(one.jpeg, one.card) for one in shown] == [(b"", "")] * 2
    assert (
        "No thumbnails, as it was asked for." in errors(made(run, shards=shards, gallery="keys"))[0].caption
    )
    assert errors(made(run, shards=shards, gallery="none")) == ()


def test_shards_behind_a_url_are_not_fetched_unasked(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a set in object storage the keys are shown, and how to have the images; no tar is asked for."""
    import fsspec

    storage = fsspec.filesystem("memory")
    storage.put(f"{shards}/", "/gallery-set", recursive=True)
    monkeypatch.setenv("KDTRAIN_SHARD_CACHE", str(tmp_path / "cache"))
    run = run_on(shards, tmp_path / "s")
    (gallery,) = errors(made(run, shards=Url("memory://gallery-set")))
    assert "--gallery images fetches those that hold these" in gallery.caption
    assert not (tmp_path / "cache").exists()
    shown = pictures_of(made(run, shards=Url("memory://gallery-set"), gallery="images"))[CLASSES[0]]
    assert all(one.jpeg for one in shown)


CARD = (
    '<article class="card warning" id="slide-{number}"\n data-index="{number}" data-status="warning" '
    'data-name="{name}" data-patient="p">'
)


def test_pictures_lead_to_their_slides_in_the_preview(shards: Path, tmp_path: Path) -> None:
    """By the card's id on the page beside the index; a slide of which a large set's page has no card has no link."""
    (shards / "preview.html").write_text(CARD.format(number=7, name="test-2.svs"))
    run = run_on(shards, tmp_path / "s")
    report = made(run, shards=shards, folder=tmp_path / "pages" / "deep")
    first, second = pictures_of(report)[CLASSES[0]]
    assert (first.card, first.card_id) == ("../../shards/preview.html", "slide-7")
    assert (second.card, second.card_id) == ("", "")


def test_cards_are_found_by_the_slides_own_names(tmp_path: Path) -> None:
    """A name with signs of HTML is the name, not its escapes; no page, no cards; nor of an address."""
    assert find_cards(tmp_path, tmp_path).ids == {}
    page = CARD.format(number=1, name="a &lt;b&gt; &#34;c&#34; &amp; d.svs")
    (tmp_path / "preview.html").write_text(page + CARD.format(number=12, name="e.svs"))
    assert find_cards(tmp_path, tmp_path).ids == {'a <b> "c" & d.svs': "slide-1", "e.svs": "slide-12"}
    assert find_cards(Url("s3://bucket/set"), tmp_path).page == ""
