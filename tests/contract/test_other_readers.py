"""Programs that know only SHARD_FORMAT.md can read a set: plain webdataset, and thirty lines of Python."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset as wds
from PIL import Image


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_plain_webdataset_reads_pairs(golden: Path) -> None:
    """Two webdataset streams, 10x and 2.5x, zip into pairs: the same keys, fields one quarter in size."""

    def stream(magnification: str) -> Any:
        urls = [str(golden / magnification / f"train-{n:06d}.tar") for n in range(2)]
        return wds.WebDataset(urls, shardshuffle=False).map(
            lambda s: {
                "key": s["__key__"],
                "size": Image.open(io.BytesIO(s["jpg"])).size,
                "label": int(s["cls"]),
                "record": json.loads(s["json"]),
            }
        )

    pairs = list(zip(stream("10x"), stream("2.5x"), strict=True))
    assert len(pairs) == 3
    for teacher, student in pairs:
        assert teacher["key"] == student["key"] == student["record"]["key"]
        assert teacher["label"] == student["label"]
        assert teacher["size"] == (4 * student["size"][0], 4 * student["size"][1])
        assert teacher["record"]["region"] == student["record"]["region"]


def test_a_reader_in_thirty_lines(golden: Path) -> None:
    """With tarfile and json alone, the set aux2 yields its two samples in the sizes that the index states."""
    index = json.loads((golden / "index.json").read_text())
    assert index["format"] == "slideprep-shards"
    assert index["version"][0] == 1
    found = []
    for split in index["sets"]["aux2"]:
        for shard in (s for s in index["shards"] if s["split"] == split):
            with tarfile.open(golden / shard["files"]["5x"]["path"]) as tar:
                members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
            keys = list(dict.fromkeys(name.split(".")[0] for name in members))
            for key, (columns, rows) in zip(keys, shard["cells"], strict=True):
                size = Image.open(io.BytesIO(members[f"{key}.jpg"])).size
                assert size == (columns * index["grid"]["5x"], rows * index["grid"]["5x"])
                found.append((json.loads(members[f"{key}.json"])["slide"], size))
    assert found == [("aux-6.svs", (64, 64)), ("Fall ü 7.svs", (80, 64))]
