"""``kdtrain cache-teacher --from`` a folder of h5 files, as a person runs it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from fixtures.commands import Run
from fixtures.features import TRIDENT, write_folder, write_h5
from fixtures.training_runs import kdtrain
from kdtrain.phases import cache_writer

SLIDES = ("aux1-0.svs", "aux1-1.svs", "aux1-2.svs", "added-0.svs", "added-1.svs", "dev-0.svs", "dev-1.svs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of aux2 and dev; nobody changes it."""
    return write_folder(tmp_path_factory.mktemp("features") / "uni", SLIDES)


def cache(folder: Path, shards: Path, out: Path, *options: object) -> Run:
    """Write a cache of two views for a student at 2.5x with output stride 8."""
    common = ("--shards", shards, "--out", out, "--magnification", 2.5, "--train-on", "aux2", "--views", 2)
    return kdtrain("cache-teacher", "--from", folder, *common, "--output-stride", 8, "--workers", 0, *options)


def digests(folder: Path) -> dict[str, str]:
    """Of cache.json and every tar."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("[!.]*"))}


@pytest.fixture(scope="module")
def cached(folder: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache; nobody changes it."""
    out = tmp_path_factory.mktemp("caches") / "cache"
    done = cache(folder, shards, out)
    assert done.code == 0, done.said
    assert "teacher: features at 10x; 3 channels, no logits" in done.said
    return out


def test_the_record_says_that_the_map_was_turned(cached: Path) -> None:
    """The teacher by its content, no classes, and what the draws were done to."""
    said = json.loads((cached / "cache.json").read_text())
    assert (said["version"], said["augments"], said["classes"], said["channels"]) == ([2, 0], "map", None, 3)
    assert said["teacher"]["kind"] == "features"
    assert said["teacher"]["settings"] == {
        "slides": 7,
        "slides_without": 0,
        "regions": 7,
        "regions_without": 0,
    }
    assert {tuple(shard["sources"]) for shard in said["shards"]} == {("2.5x",)}


def test_shuffled_rows_give_the_same_cache(folder: Path, shards: Path, cached: Path, tmp_path: Path) -> None:
    """Files in another folder, under another name, with rows in another order: the same bytes in every file."""
    for path in folder.glob("*.h5"):
        with h5py.File(path) as file:
            order = np.random.default_rng(7).permutation(len(file["coords"]))
            datasets = {name: file[name][:][order] for name in ("coords", "features")}
        write_h5(tmp_path / "virchow" / f"{path.stem}.svs.h5", datasets, {**TRIDENT, "name": path.stem})
    done = cache(tmp_path / "virchow", shards, tmp_path / "out")
    assert done.code == 0, done.said
    assert digests(tmp_path / "out") == digests(cached)


def test_a_killed_command_goes_on_to_the_same_bytes(
    folder: Path, shards: Path, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at its third sample and run again, it ends with the files of one that was not."""
    original, seen = cache_writer.encode_view, []

    def stopped(*arguments: object) -> bytes:
        seen.append(arguments)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_writer, "encode_view", stopped)
    assert cache(folder, shards, tmp_path / "out").code == 1
    assert not (tmp_path / "out" / "cache.json").exists()
    monkeypatch.setattr(cache_writer, "encode_view", original)
    done = cache(folder, shards, tmp_path / "out")
    assert done.code == 0, done.said
    assert digests(tmp_path / "out") == digests(cached)


def test_other_features_are_not_mixed_into_a_cache(shards: Path, cached: Path, tmp_path: Path) -> None:
    """The same command over files of other content is refused by what the record says of them."""
    other = write_folder(tmp_path / "uni", SLIDES, size=(1216, 1280))
    done = cache(other, shards, cached)
    assert done.code == 2
    assert "caches are never mixed" in done.said
    assert "teacher.sha256" in done.said


def test_a_dry_run_writes_nothing(folder: Path, shards: Path, tmp_path: Path) -> None:
    """It says what was found, and what the cache takes."""
    done = cache(folder, shards, tmp_path / "out", "--dry-run")
    assert done.code == 0, done.said
    assert "teacher: features at 10x" in done.said
    assert "nothing was written" in done.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tile-px", 224), "--tile-px says how a network is asked"),
        (("--teacher-magnification", 20), "--teacher-magnification says how a network is asked"),
        (("--precision", "bf16"), "--precision says how a network is asked"),
        (("--magnification", 10, "--patch-size-level0", 100), "says that its patches are 64 level-0 pixels"),
        (("--train-on", "train"), "7 of 7 slides have no features"),
    ],
)
def test_what_does_not_fit_is_found_before_any_work(
    folder: Path, shards: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    """Exit code 2, and no folder is made."""
    done = cache(folder, shards, tmp_path / "out", *options)
    assert done.code == 2
    assert words in done.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "function", "remedy"),
    [
        ("aux1-0.h5", "", "give the folder that holds one a slide: --from {folder}"),
        ("mine.py", "", "give --from mine:FUNCTION, and run kdtrain in {folder}"),
        ("mine.py", ":tokens", "give --from mine:tokens, and run kdtrain in {folder}"),
        ("net.pth", "", "write a function that loads them, and give it as module:function"),
        ("net.safetensors", "", "write a function that loads them, and give it as module:function"),
    ],
)
def test_a_file_of_another_kind_is_told_how_it_is_given(
    shards: Path, tmp_path: Path, name: str, function: str, remedy: str
) -> None:
    """Nobody is asked for a magnification first, nor told that the file is a damaged ONNX file."""
    (tmp_path / name).write_bytes(b"of another kind")
    done = cache(tmp_path / f"{name}{function}", shards, tmp_path / "out")
    assert done.code == 2
    assert remedy.format(folder=tmp_path) in done.said
    assert not (tmp_path / "out").exists()


def test_a_network_is_not_told_of_features(shards: Path, tmp_path: Path) -> None:
    """Options of h5 files beside an ONNX file are refused, before it is looked for."""
    for option in (("--missing-share", 0.2), ("--patches", tmp_path), ("--patch-size-level0", 512)):
        done = cache(
            tmp_path / "absent.onnx", shards, tmp_path / "out", "--teacher-magnification", 10, *option
        )
        assert done.code == 2
        assert f"{option[0]} is said of features on disk" in done.said


def test_slides_without_features_are_said_and_counted(folder: Path, shards: Path, tmp_path: Path) -> None:
    """Above the share they are refused, and with a larger one they are cached without a cell that counts."""
    few = write_folder(tmp_path / "few", SLIDES[1:])
    assert "1 of 7 slides have no features" in cache(few, shards, tmp_path / "out").said
    done = cache(few, shards, tmp_path / "out", "--missing-share", 0.2)
    assert done.code == 0, done.said
    assert "'aux1-0.svs'; their regions are cached without a cell that counts" in done.said
    said = json.loads((tmp_path / "out" / "cache.json").read_text())
    assert said["teacher"]["settings"]["slides_without"] == 1
