"""The folders under shards/ are what make_golden.py writes, and it knows nothing of the packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from webdataset import TarWriter

from fixtures.repository import SHARDS
from fixtures.tars import members
from slideprep.shards.format import TAR_MODE, TAR_OWNER, SampleRecord, dump_index, dump_json
from slideprep.shards.verify.index import load_index


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_rebuilt_sets_are_identical(tmp_path: Path) -> None:
    """make_golden.py writes the golden sets, caches and invalid sets byte for byte as they are stored."""
    subprocess.run([sys.executable, SHARDS / "make_golden.py", tmp_path], check=True)
    stored = _files(SHARDS)
    assert len(stored) > 100
    rebuilt = _files(tmp_path)
    assert rebuilt == {
        name: data
        for name, data in stored.items()
        if name.startswith(("golden/", "golden-1.1/", "golden-cache/", "invalid/"))
    }


def test_the_golden_sets_of_two_versions_have_the_same_tars(golden: Path) -> None:
    """1.2 changed the index and no byte of a tar."""
    earlier, here = _files(SHARDS / "golden-1.1"), _files(golden)
    assert earlier.pop("index.json") != here.pop("index.json")
    assert earlier == here


def test_builders_import_neither_package() -> None:
    """No script under shards/ imports slideprep or kdtrain, so the sets are a second opinion."""
    scripts = list(SHARDS.glob("*.py"))
    assert len(scripts) == 4
    for script in scripts:
        for node in ast.walk(ast.parse(script.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.split(".")[0] in {"slideprep", "kdtrain"}]


def test_writer_models_give_the_golden_json(golden: Path) -> None:
    """Every record of the golden set, read into the writer's model and dumped, gives the same bytes."""
    records = [data for name, data in _members(golden) if name.endswith(".json")]
    assert len(records) == 24
    for data in records:
        assert dump_json(SampleRecord.model_validate_json(data)) == data


def test_writer_model_gives_the_golden_index(golden: Path) -> None:
    """The golden index, read into the writer's model and dumped, gives the same bytes."""
    index, faults = load_index(golden)
    assert not faults
    assert index is not None
    assert dump_index(index) == (golden / "index.json").read_bytes()


def test_webdataset_writer_gives_the_golden_tars(golden: Path, tmp_path: Path) -> None:
    """TarWriter with the settings of the writer gives the golden tars byte for byte."""
    tars = sorted(golden.rglob("*.tar"))
    assert len(tars) == 18
    for tar in tars:
        samples: dict[str, dict[str, bytes | str]] = {}
        for name, data in members(tar).items():
            key, extension = name.split(".")
            samples.setdefault(key, {"__key__": key})[extension] = data
        out = tmp_path / "out.tar"
        with (
            out.open("wb") as stream,
            TarWriter(
                stream, encoder=False, user=TAR_OWNER, group=TAR_OWNER, mode=TAR_MODE, mtime=0
            ) as writer,
        ):
            for sample in samples.values():
                writer.write(sample)
        assert out.read_bytes() == tar.read_bytes()


def _members(folder: Path) -> list[tuple[str, bytes]]:
    return [member for tar in sorted(folder.rglob("*.tar")) for member in members(tar).items()]
