"""``kdtrain features`` over a set: kdtrain/predict/vectors. Over slides: tests/e2e/test_kdtrain_predict.py."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from fixtures.commands import Run
from fixtures.training_runs import kdtrain
from kdtrain import load_network
from kdtrain.augment import IDENTITY
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import SampleReader
from kdtrain.predict.vectors import folder as vectors_folder
from kdtrain.shards.index import read_index
from kdtrain.sources.feature_check import FeatureSettings, check_features
from kdtrain.sources.features import FeatureSource


def features(network: Path, shards: Path, out: Path, *options: object) -> Run:
    """Run the command over a set."""
    return kdtrain("features", network, "--shards", shards, "--out", out, "--workers", 0, *options)


def digests(folder: Path) -> dict[str, str]:
    """Of every h5 file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}


@pytest.fixture(scope="module")
def cells(teacher: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of aux2 by the teacher's run; nobody changes it."""
    out = tmp_path_factory.mktemp("features") / "cells"
    done = features(teacher, shards, out, "--cells", "--split", "aux2")
    assert done.code == 0, done.said
    assert "5 slides" in done.said
    return out


def test_cells_are_the_networks_map_at_its_places(cells: Path, teacher: Path, shards: Path) -> None:
    """Vectors are the map that the network gives from Python; places follow from the record alone."""
    network = load_network(teacher)
    stride = network.network.output_stride
    reader = SampleReader(read_index(shards), "aux2", [10.0])
    sample = reader.load(SampleRef(0, 1))
    reader.close()
    map_CHW = network.module(network.normalise([sample.images[10.0]])).feature_map_BCHW[0].detach().numpy()
    with h5py.File(cells / f"{Path(sample.slide).stem}.h5") as file:
        found, coords = file["features"][:], file["coords"][:]
        side = int(file["coords"].attrs["patch_size_level0"])
    region, factor = sample.record.region, 20 / 10  # the scan is one of 20x
    assert side == stride * factor
    _, rows, columns = map_CHW.shape
    assert len(coords) == rows * columns
    for number, (x, y) in enumerate(coords.tolist()):
        row, column = divmod(number, columns)
        assert (x, y) == (region.x + column * stride * factor, region.y + row * stride * factor)
        np.testing.assert_allclose(found[number], map_CHW[:, row, column], rtol=0, atol=1e-6)


def test_what_it_writes_is_a_teachers_features(cells: Path, teacher: Path, shards: Path) -> None:
    """Read back and laid on a student's grid of the same cells, the map is the network's own."""
    index = read_index(shards)
    stride = load_network(teacher).network.output_stride
    # At 10x with the teacher's stride, cells of student and teacher are the same.
    checked = check_features(FeatureSettings(folder=cells), index, ["aux2"], 2.5)
    source = FeatureSource(checked, output_stride=stride)
    reader = SampleReader(index, "aux2", [10.0])
    sample = reader.load(SampleRef(0, 0))
    reader.close()
    network = load_network(teacher)
    map_CHW = network.module(network.normalise([sample.images[10.0]])).feature_map_BCHW[0].detach().numpy()
    (view,) = source.views(sample, [IDENTITY], sample.sizes[10.0])
    assert view.valid_HW is not None
    assert view.valid_HW.all()
    np.testing.assert_allclose(view.maps["laid"].numpy(), map_CHW, rtol=0, atol=1e-5)
    assert source.entry.magnification == 10


def test_a_region_is_what_the_last_layer_sees(
    cells: Path, teacher: Path, shards: Path, tmp_path: Path
) -> None:
    """The mean of its cells, with its box; of every split where none is named."""
    done = features(teacher, shards, tmp_path / "regions")
    assert done.code == 0, done.said
    assert "18 vectors of " in done.said
    for path in sorted(cells.glob("*.h5")):
        with h5py.File(path) as of_cells, h5py.File(tmp_path / "regions" / path.name) as region:
            mean = of_cells["features"][:].mean(axis=0, keepdims=True)
            np.testing.assert_allclose(region["features"][:], mean, rtol=0, atol=1e-5)
            assert region["boxes_level0"][0].tolist()[:2] == [96, 64]


def test_a_killed_command_goes_on_to_the_same_bytes(
    cells: Path, teacher: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a shard it leaves whole files and no note of that shard; again, nothing is missing."""
    out, original, written = tmp_path / "out", vectors_folder.write_vectors, []

    def stopped(path: Path, *rest: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        original(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(vectors_folder, "write_vectors", stopped)
    assert features(teacher, shards, out, "--cells", "--split", "aux2").code == 1
    assert sorted(digests(out)) == sorted(written)
    monkeypatch.setattr(vectors_folder, "write_vectors", original)
    again = features(teacher, shards, out, "--cells", "--split", "aux2")
    assert again.code == 0, again.said
    assert "1 shards or slides were there already" in again.said
    assert digests(out) == digests(cells)


def test_a_file_that_is_gone_is_written_again(
    cells: Path, teacher: Path, shards: Path, tmp_path: Path
) -> None:
    """The shard that it came from is read once more."""
    out = tmp_path / "out"
    assert features(teacher, shards, out, "--cells", "--split", "aux2").code == 0
    (out / "added-1.h5").unlink()
    assert (
        "2 shards or slides were there" in features(teacher, shards, out, "--cells", "--split", "aux2").said
    )
    assert digests(out) == digests(cells)


def test_other_vectors_are_never_mixed(cells: Path, teacher: Path, shards: Path, tmp_path: Path) -> None:
    """Another network, kind of vector or type, or a folder of something else."""
    (tmp_path / "own.txt").touch()
    for out, options, words in (
        (cells, (), "cells: true there, false here"),
        (cells, ("--cells", "--dtype", "float16"), "dtype"),
        (tmp_path, ("--cells",), "holds no vectors of this command"),
    ):
        done = features(teacher, shards, out, *options)
        assert done.code == 2
        assert "--out" in done.said
        assert words in done.said or "never mixed" in done.said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give slides, or a set by --shards"),
        (("a.svs", "--shards", "set"), "not both"),
        (("a.svs", "--split", "test"), "--split is one of a set"),
        (("--shards", "set", "--layout", "stamp"), "add --cells"),
        (("a.svs", "--cells"), "holds neither run.json nor bundle.json"),
    ],
)
def test_wrong_usage_is_found_before_any_work(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, and no folder is made."""
    done = kdtrain("features", tmp_path, *arguments, "--out", tmp_path / "out")
    assert done.code == 2
    assert words in done.said
    assert not (tmp_path / "out").exists()


def test_a_run_is_pytorchs(teacher: Path, shards: Path, tmp_path: Path) -> None:
    """ONNX Runtime computes bundles alone."""
    done = features(teacher, shards, tmp_path / "out", "--backend", "onnx")
    assert done.code == 2
    assert "which has no ONNX file; leave --backend out" in done.said


def test_slides_without_a_file_of_their_own_are_listed(
    teacher: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slides of one name but for the suffix: the second is in failures.csv, and the code is 3."""
    monkeypatch.setattr(vectors_folder, "file_name", lambda slide: "same.h5")
    done = features(teacher, shards, tmp_path / "out", "--split", "added")
    assert done.code == 3
    assert "'added-1.svs' would have the file same.h5 of slide 'added-0.svs'" in done.said
    assert (
        "added-1.svs,,network,\"slide 'added-1.svs' would" in (tmp_path / "out" / "failures.csv").read_text()
    )
    assert list(digests(tmp_path / "out")) == ["same.h5"]
