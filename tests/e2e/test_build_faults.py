"""Whatever is wrong with the input or the command: a message, an exit code, and nothing lost."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from e2e.builds import (
    assert_verified,
    build,
    everything,
    failures,
    good_slide,
    good_slides,
    huge_png,
    shard_bytes,
    slideprep,
    slides_written,
    write_labels,
    write_png,
)
from fixtures.slides import half_zero_tile, picture, write_jpeg_tiff


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    data = good_slide(path, 9).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _wrong_type(path: Path) -> None:
    path.write_text("Dear colleague, please find attached the slides.", encoding="utf-8")


def _absurdly_large(path: Path) -> None:
    huge_png(path, 60_000)


def _no_scale(path: Path) -> None:
    write_jpeg_tiff(path, picture(320, 256))


@pytest.mark.parametrize(
    ("damage", "suffix", "stage", "reason"),
    [
        (_empty, ".svs", "open", "empty (0 bytes)"),
        (_truncated, ".svs", "open", "truncated"),
        (_wrong_type, ".svs", "open", "no format that OpenSlide reads"),
        (_absurdly_large, ".png", "open", "60000 x 60000 px, over the limit"),
        (_no_scale, ".tiff", "magnification", "--objective"),
    ],
)
def test_unusable_slide(
    tmp_path: Path, damage: Callable[[Path], None], suffix: str, stage: str, reason: str
) -> None:
    """A slide that cannot be used is listed with its reason, and the others make a valid set."""
    good_slides(tmp_path / "slides", 2)
    damage(tmp_path / "slides" / f"bad{suffix}")
    run = build(tmp_path / "slides", "--out", tmp_path / "out")
    assert run.code == 3
    assert "1 input failed" in run.said and "failures.csv" in run.said
    (row,) = failures(tmp_path / "out")
    assert (row["slide"], row["region"], row["stage"]) == (f"bad{suffix}", "", stage)
    assert reason in row["reason"]
    assert slides_written(tmp_path / "out") == {"slide-0.svs", "slide-1.svs"}
    assert_verified(tmp_path / "out")


def test_slide_without_tissue(tmp_path: Path) -> None:
    """A slide of bare glass is listed with the remedy, and the slide with tissue is written."""
    glass = np.full((512, 640, 3), 243, np.uint8)
    tissue = glass.copy()
    tissue[80:440, 100:540] = (190, 120, 170)
    (tmp_path / "slides").mkdir()
    write_png(tmp_path / "slides" / "glass.png", glass)
    write_png(tmp_path / "slides" / "tissue.png", tissue)
    run = build(
        tmp_path / "slides",
        "--out",
        tmp_path / "out",
        "--tissue",
        "auto",
        "--objective",
        "20",
        "--mpp",
        "0.5",
    )
    assert run.code == 3
    (row,) = failures(tmp_path / "out")
    assert (row["slide"], row["stage"]) == ("glass.png", "tissue")
    assert "--tissue whole" in row["reason"]
    assert slides_written(tmp_path / "out") == {"tissue.png"}
    assert_verified(tmp_path / "out")


def test_damaged_tile_fails_its_region(tmp_path: Path) -> None:
    """A tile that the strict decoder refuses fails its region, and the list names slide, region and tile."""
    slides = good_slides(tmp_path / "slides", 3)
    half_zero_tile(slides[1], 7)
    run = build(tmp_path / "slides", "--out", tmp_path / "out")
    assert run.code == 3
    (row,) = failures(tmp_path / "out")
    assert (row["slide"], row["region"], row["stage"]) == ("slide-1.svs", "0", "read")
    assert "tile" in row["reason"] and "7" in row["reason"]
    assert slides_written(tmp_path / "out") == {"slide-0.svs", "slide-2.svs"}
    assert_verified(tmp_path / "out")


def test_magnification_finer_than_the_scan(tmp_path: Path) -> None:
    """A slide is never enlarged: at 40x a 20x scan is listed, and without any slide left no set is made."""
    good_slides(tmp_path / "slides", 2)
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--magnifications", "40,10")
    assert run.code != 0
    assert {row["slide"] for row in failures(tmp_path / "out")} == {"slide-0.svs", "slide-1.svs"}
    assert all("40" in row["reason"] for row in failures(tmp_path / "out"))
    assert not (tmp_path / "out" / "index.json").exists()


def test_labels_and_slides_that_do_not_match(tmp_path: Path) -> None:
    """A label without a slide and a slide without a label are named, and the rest is built."""
    good_slides(tmp_path / "slides", 4)
    labels = write_labels(
        tmp_path / "labels.csv",
        [("slide-0", "a", "p0"), ("slide-1", "a", "p1"), ("slide-2", "a", "p2"), ("gone", "a", "p9")],
    )
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--labels", labels)
    assert run.code == 0
    assert "1 row names a slide that is not in this run: 'gone'" in run.said
    assert "1 slide has no row in labels.csv" in run.said and "slide-3.svs" in run.said
    assert_verified(tmp_path / "out")


def test_class_with_one_patient(tmp_path: Path) -> None:
    """A class of one patient is trained on, and a warning says which splits it cannot reach."""
    good_slides(tmp_path / "slides", 5)
    rows = [(f"slide-{n}", "rare" if n == 4 else "common", f"p{n}") for n in range(5)]
    labels = write_labels(tmp_path / "labels.csv", rows)
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--labels", labels)
    assert run.code == 0
    assert (
        "warning: " in run.said
        and "class 'rare' has one patient only (train 1) and does not reach val and test" in run.said
    )
    assert_verified(tmp_path / "out")


def test_identical_file_in_two_splits(tmp_path: Path) -> None:
    """One file under two names and patients in two splits is refused before anything is written."""
    slides = good_slides(tmp_path / "slides", 3)
    (tmp_path / "slides" / "copy.svs").write_bytes(slides[0].read_bytes())
    rows = [
        ("slide-0", "a", "p0", "train"),
        ("slide-1", "a", "p1", "train"),
        ("slide-2", "a", "p2", "val"),
        ("copy", "a", "p3", "test"),
    ]
    labels = write_labels(tmp_path / "labels.csv", rows, columns="slide,label,patient,split")
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--labels", labels)
    assert run.code == 2
    assert "'slide-0.svs' of patient 'p0' in train" in run.said
    assert "'copy.svs' of patient 'p3' in test" in run.said
    assert not (tmp_path / "out").exists()


def test_same_name_in_two_folders(tmp_path: Path) -> None:
    """Two slides of one name are refused, and both paths are shown."""
    good_slides(tmp_path / "a", 1)
    good_slide(*good_slides(tmp_path / "b", 1), 5)
    run = build(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out")
    assert run.code == 2
    assert str(tmp_path / "a" / "slide-0.svs") in run.said and str(tmp_path / "b" / "slide-0.svs") in run.said


def _missing_slide(folder: Path) -> list[str]:
    return [str(folder / "nowhere.svs")]


def _empty_folder(folder: Path) -> list[str]:
    (folder / "empty").mkdir()
    return [str(folder / "empty")]


def _out_is_a_file(folder: Path) -> list[str]:
    (folder / "out").write_text("kept")
    return [str(folder / "slides")]


def _out_is_foreign(folder: Path) -> list[str]:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("kept")
    return [str(folder / "slides")]


def _bad_yaml(folder: Path) -> list[str]:
    (folder / "c.yaml").write_text("magnifications: [10, 5")
    return [str(folder / "slides"), "--config", str(folder / "c.yaml")]


def _unknown_key(folder: Path) -> list[str]:
    (folder / "c.yaml").write_text("magnification: [10, 5]")
    return [str(folder / "slides"), "--config", str(folder / "c.yaml")]


def _option(*words: str) -> Callable[[Path], list[str]]:
    return lambda folder: [str(folder / "slides"), *words]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda _: [], "slides is missing: name files"),
        (_missing_slide, "nowhere.svs"),
        (_empty_folder, "holds no slide"),
        (_out_is_a_file, "is a file; give a folder"),
        (_out_is_foreign, "is not empty and holds no shard set"),
        (_bad_yaml, "is not YAML"),
        (_unknown_key, "'magnification' is no setting of build-shards"),
        (_option("--magnifications", "ten"), "--magnifications"),
        (_option("--magnifications", "10,-5"), "must lie between 0 and 200"),
        (_option("--quality", "101"), "--quality"),
        (_option("--split", "0.7,0.7,0.7"), "sums to 2.1"),
        (_option("--workers", "-1"), "--workers"),
        (_option("--tissue", "annotations"), "needs --annotations"),
        (_option("--labels", "nowhere.csv"), "cannot read the labels nowhere.csv"),
        (_option("--aux", "9"), "asks for 9 patients"),
        (_option("--tissue", "some"), "'some' is not one of"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: Callable[[Path], list[str]], message: str) -> None:
    """What is wrong with the command itself is refused with exit code 2, and nothing is written or changed."""
    good_slides(tmp_path / "slides", 1)
    given = arguments(tmp_path)
    before = everything(tmp_path)
    run = slideprep("build-shards", "--tissue", "whole", "--out", tmp_path / "out", *given)
    assert run.code == 2
    assert message in run.said
    assert everything(tmp_path) == before


def test_out_that_cannot_be_made(tmp_path: Path) -> None:
    """Where the folder cannot be made, the message gives the system's reason and exit code 1."""
    good_slides(tmp_path / "slides", 1)
    (tmp_path / "file").write_text("kept")
    run = build(tmp_path / "slides", "--out", tmp_path / "file" / "out")
    assert run.code == 1
    assert "error: cannot write to" in run.said and "Not a directory" in run.said


def test_other_settings_into_the_same_folder(tmp_path: Path) -> None:
    """A finished set is never mixed: other settings are refused by name and no byte changes."""
    good_slides(tmp_path / "slides", 2)
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 0
    before = everything(tmp_path / "out")
    run = build(tmp_path / "slides", "--out", tmp_path / "out", "--quality", "80")
    assert run.code == 2
    assert "settings.quality: 95 there, 80 now" in run.said
    assert everything(tmp_path / "out") == before


def test_another_slide_into_the_same_folder(tmp_path: Path) -> None:
    """A slide that came later makes another set: it is refused by name."""
    slides = good_slides(tmp_path / "slides", 2)
    assert build(slides[0], "--out", tmp_path / "out").code == 0
    run = build(*slides, "--out", tmp_path / "out")
    assert run.code == 2
    assert "slides.slide-1.svs: absent there" in run.said


def test_finished_set_again(tmp_path: Path) -> None:
    """The command of a finished set says so and touches nothing."""
    good_slides(tmp_path / "slides", 2)
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 0
    before = everything(tmp_path / "out")
    run = build(tmp_path / "slides", "--out", tmp_path / "out")
    assert run.code == 0 and "nothing to do" in run.said
    assert everything(tmp_path / "out") == before


@pytest.mark.parametrize("damage", ["tar-cut", "tar-gone", "index-cut", "index-gone", "failures-gone"])
def test_damaged_set_is_completed(tmp_path: Path, damage: str) -> None:
    """A file of a finished set that is cut short or gone is made again by the same command."""
    good_slides(tmp_path / "slides", 2)
    out = tmp_path / "out"
    assert build(tmp_path / "slides", "--out", out).code == 0
    wanted = shard_bytes(out)
    name, _, how = damage.partition("-")
    victim = {
        "tar": out / "5x" / "aux1-000001.tar",
        "index": out / "index.json",
        "failures": out / "failures.csv",
    }
    if how == "cut":
        victim[name].write_bytes(victim[name].read_bytes()[:100])
    else:
        victim[name].unlink()
    run = build(tmp_path / "slides", "--out", out)
    assert run.code == 0, run.said
    assert shard_bytes(out) == wanted
    assert_verified(out)


def test_two_builds_at_once(tmp_path: Path) -> None:
    """A second build on a folder is refused while the first holds it, and goes on when the first has ended."""
    good_slides(tmp_path / "slides", 1)
    lock = tmp_path / "out" / ".slideprep" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        run = build(tmp_path / "slides", "--out", tmp_path / "out")
        assert run.code == 2
        assert "another build is writing to" in run.said
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 0


def test_failed_input_repaired(tmp_path: Path) -> None:
    """A slide that failed, once repaired, joins the set when index.json is deleted as the message says."""
    slides = good_slides(tmp_path / "slides", 3)
    whole = slides[1].read_bytes()
    half_zero_tile(slides[1], 7)
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 3
    again = build(tmp_path / "slides", "--out", tmp_path / "out")
    assert again.code == 3 and "delete" in again.said and "index.json" in again.said
    slides[1].write_bytes(whole)
    (tmp_path / "out" / "index.json").unlink()
    assert build(tmp_path / "slides", "--out", tmp_path / "out").code == 0
    assert slides_written(tmp_path / "out") == {"slide-0.svs", "slide-1.svs", "slide-2.svs"}
    assert_verified(tmp_path / "out")
