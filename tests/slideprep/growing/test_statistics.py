"""Colour statistics of sets that change: exact without what was removed, and of one kind all a set's life."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fixtures.build_inputs import write_labels, write_slides
from fixtures.commands import invoked
from fixtures.tars import images
from kdtrain.shards.index import read_index
from slideprep.building import plan
from slideprep.cli.main import main
from slideprep.shards.format import Index, statistics_from_sums
from slideprep.shards.verify.verify import verify

TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5", "--workers", "0")
ROWS = [
    {"slide": f"s{n}.png", "label": "ab"[n % 2], "patient": f"P{n}", "split": "test" if n == 3 else "train"}
    for n in range(5)
]
NEW = "s4.png"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``out``, a set of four slides with one shard in train, and a fifth slide for it."""
    monkeypatch.setattr(plan, "SHARDS_WANTED", 1)
    write_slides(tmp_path / "slides", [row["slide"] for row in ROWS])
    build(tmp_path, "out", [row for row in ROWS if row["slide"] != NEW])
    return tmp_path


def build(folder: Path, out: str, rows: list[dict[str, str]]) -> None:
    """Build a set of some of the slides."""
    labels = write_labels(folder / "labels.csv", rows)
    slides = [folder / "slides" / row["slide"] for row in rows]
    built = invoked(
        main, "build-shards", *slides, "--labels", labels, *TINY, "--quality", "60", "--out", folder / out
    )
    assert built.exit_code == 0, built.output


def as_1_1(out: Path) -> None:
    """Make a set what version 1.1 wrote: index, and the record of train's shard with its sums."""
    record_path = out / ".slideprep" / "shards" / "train-000000.json"
    record, index = (json.loads(path.read_bytes()) for path in (record_path, out / "index.json"))
    del record["sample_sums"], index["statistics_of"]
    index["version"] = [1, 1]
    record["sums"] = {name: decoded_sums(out, name) for name in ("10x", "5x")}
    index["statistics"] = {
        name: statistics_from_sums(**sums).model_dump(mode="json") for name, sums in record["sums"].items()
    }
    record_path.write_text(json.dumps(record))
    (out / "index.json").write_text(json.dumps(index))


def decoded_sums(out: Path, magnification: str) -> dict[str, object]:
    """NumPy's sums over the images of train as they decode."""
    pixels = np.concatenate([image.reshape(-1, 3) for image in images(out, magnification, "train")]).astype(
        int
    )
    sums, squares = pixels.sum(axis=0).tolist(), (pixels**2).sum(axis=0).tolist()
    return {"pixels": len(pixels), "sums": tuple(sums), "squares": tuple(squares)}


def index_of(folder: Path) -> Index:
    """The set's index, after ``verify`` found the set sound: decoded statistics to 0.01 grey levels."""
    report = verify(folder / "out")
    assert report.ok, [str(fault) for fault in report.faults]
    return Index.model_validate_json((folder / "out" / "index.json").read_bytes())


def test_a_set_that_shrinks_has_the_statistics_of_a_set_without(folder: Path) -> None:
    """To the last digit, although the shard held other slides too; nothing is decoded for it."""
    assert index_of(folder).splits["train"].shards == 1
    assert invoked(main, "remove-slides", folder / "out", "s0.png").exit_code == 0
    assert invoked(main, "remove-slides", folder / "out", "s2.png").exit_code == 0
    build(folder, "never", [row for row in ROWS if row["slide"] in ("s1.png", "s3.png")])
    never = Index.model_validate_json((folder / "never" / "index.json").read_bytes())
    index = index_of(folder)
    assert (index.statistics, index.statistics_of) == (never.statistics, "unencoded")


def test_an_earlier_set_that_grows_keeps_statistics_of_decoded_images(folder: Path) -> None:
    """The new shard's sums are of decoded images too, --update-statistics counts both, and the index says which."""
    as_1_1(folder / "out")
    before = index_of(folder)
    assert (before.version, before.statistics_of) == ((1, 1), None)
    assert read_index(folder / "out").statistics_of(5).pixels == 3 * 40 * 40
    write_labels(folder / "labels.csv", ROWS)
    added = invoked(
        main,
        "add-slides",
        folder / "out",
        folder / "slides",
        "--labels",
        folder / "labels.csv",
        "--workers",
        "0",
    )
    assert added.exit_code == 0, added.output
    after = index_of(folder)
    assert (after.version, after.statistics_of, after.statistics_shards) == ((1, 2), "decoded", (0,))
    assert after.statistics == before.statistics
    assert invoked(main, "add-slides", folder / "out", "--update-statistics").exit_code == 0
    followed = index_of(folder)
    assert (followed.statistics_of, followed.statistics_shards) == ("decoded", None)
    assert followed.statistics == {
        name: statistics_from_sums(**decoded_sums(folder / "out", name)) for name in ("10x", "5x")
    }


def test_an_earlier_set_that_shrinks_keeps_statistics_of_decoded_images(folder: Path) -> None:
    """What is left is decoded again, since an earlier record has no sums of single samples."""
    as_1_1(folder / "out")
    assert invoked(main, "remove-slides", folder / "out", "s0.png").exit_code == 0
    index = index_of(folder)
    assert (index.version, index.statistics_of) == ((1, 2), "decoded")
    assert index.statistics == {
        name: statistics_from_sums(**decoded_sums(folder / "out", name)) for name in ("10x", "5x")
    }
