"""With ``--pseudonymise`` nothing in the set leads back to a patient; the mapping stays outside."""

from __future__ import annotations

import csv
from pathlib import Path

from e2e.builds import assert_verified, build, everything, failures, good_slides, shard_bytes, write_labels
from fixtures.slides import half_zero_tile


def _named_input(folder: Path) -> list[str | Path]:
    """Slides that carry their patients' names: one good, one damaged, one empty, one without a patient's row."""
    slides = good_slides(folder / "Ward Seven", 4)
    half_zero_tile(slides[1], 3)
    slides[2].write_bytes(b"")
    names = ["Ada Byron.svs", "Grace Hopper.svs", "Emmy Noether.svs", "Lise Meitner.svs"]
    for path, name in zip(slides, names, strict=True):
        path.rename(path.with_name(name))
    rows = [(name, "a", f"MRN-55{number}") for number, name in enumerate(names[:3])]
    return [folder / "Ward Seven", "--labels", write_labels(folder / "labels.csv", rows)]


def _leaks(out: Path, words: list[str]) -> list[tuple[str, str]]:
    return [
        (path, word)
        for path, data in everything(out).items()
        for word in words
        if word.encode() in data or word in path
    ]


def test_no_name_in_the_set(tmp_path: Path) -> None:
    """No slide name, stem, patient or folder is in any file of the set, its workspace included, nor on the screen."""
    words = ["Ada", "Byron", "Grace", "Hopper", "Noether", "Meitner", "MRN-55", "Ward Seven", str(tmp_path)]
    mapping = tmp_path / "secret" / "names.csv"
    arguments = [*_named_input(tmp_path), "--pseudonymise", mapping]
    run = build(*arguments, "--split", "3,0,0", "--out", tmp_path / "out")
    assert run.code == 3
    assert {row["stage"] for row in failures(tmp_path / "out")} == {"open", "read"}
    assert _leaks(tmp_path / "out", words) == []
    assert [word for word in words[:-1] if word in run.said] == []
    assert_verified(tmp_path / "out")


def test_same_mapping_same_pseudonyms(tmp_path: Path) -> None:
    """The mapping names every slide and patient, and with it a second set has the same bytes."""
    mapping = tmp_path / "names.csv"
    arguments = [*_named_input(tmp_path), "--pseudonymise", mapping, "--split", "3,0,0"]
    assert build(*arguments, "--out", tmp_path / "first").code == 3
    kept = mapping.read_bytes()
    with mapping.open(newline="") as file:
        real = {row["name"] for row in csv.DictReader(file) if row["kind"] in ("slide", "patient")}
    assert {"Ada Byron.svs", "Lise Meitner.svs", "MRN-550", "MRN-552"} <= real
    assert build(*arguments, "--out", tmp_path / "second").code == 3
    assert mapping.read_bytes() == kept
    assert shard_bytes(tmp_path / "first") == shard_bytes(tmp_path / "second")
