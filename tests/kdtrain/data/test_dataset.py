"""kdtrain.Dataset: what was stored, by number, whoever reads it and in whatever order."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import webdataset as wds
from PIL import Image
from torch.utils.data import DataLoader

from fixtures.training_runs import write_training_set
from kdtrain.data.dataset import Dataset
from kdtrain.data.samples import PairedSample
from kdtrain.errors import UsageError
from kdtrain.shards.cache import cache_settings
from kdtrain.shards.error import ShardError

BOTH = (10, 2.5)


@pytest.fixture(scope="module")
def stored(shards: Path) -> dict[tuple[str, float], tuple[np.ndarray, int]]:
    """What plain webdataset reads of the training split: pixels and label by key and magnification."""
    found = {}
    for magnification in BOTH:
        urls = sorted(map(str, (shards / f"{magnification:g}x").glob("train-*.tar")))
        for sample in wds.WebDataset(urls, shardshuffle=False):
            pixels = np.asarray(Image.open(io.BytesIO(sample["jpg"])))
            found[sample["__key__"], magnification] = (pixels, int(sample["cls"]))
    assert len(found) == 10
    return found


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
def test_an_epoch_is_every_stored_sample_once(stored, shards, workers, context):
    """Shuffled, in this process or two others, with the pixels and labels of the tars; 10x has four times the side."""
    dataset = Dataset(shards, magnifications=BOTH)
    first = dataset[0]  # the tars are open when workers are forked
    loader = DataLoader(
        dataset, batch_size=None, shuffle=True, num_workers=workers, multiprocessing_context=context
    )
    samples = list(loader)
    assert sorted(sample.key for sample in samples) == sorted({key for key, _ in stored})
    assert first.key in {sample.key for sample in samples}
    for sample in samples:
        assert sample.images[10].shape == (3, *(4 * side for side in sample.images[2.5].shape[1:]))
        for magnification, image in sample.images.items():
            pixels, label = stored[sample.key, magnification]
            assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels)
            assert (image.dtype, sample.label) == (torch.uint8, label)


def test_numbers_are_those_of_a_list(shards):
    """From either end, NumPy's too; iterating ends with the last; keys are in the same order."""
    dataset = Dataset(shards, magnifications=[2.5])
    keys = [sample.key for sample in dataset]
    assert len(dataset) == len(keys) == 5
    assert dataset.keys == tuple(keys)
    assert dataset[-5].key == dataset[np.int64(0)].key == keys[0]
    assert dataset[-1].key == dataset[4].key == keys[4]
    for number in (5, -6):
        with pytest.raises(
            IndexError, match=rf"no sample {number}: 'train' of .* has 5, so numbers go from 0 to 4"
        ):
            dataset[number]
    with pytest.raises(TypeError):
        dataset[0.5]


@pytest.mark.parametrize("split", ["train", "aux2", "train,aux1", "test"])
def test_labels_and_sizes_are_known_without_images(shards, split, monkeypatch):
    """Those of the samples, in order; None where a split has no labels; not one image is decoded or read for them."""
    samples = list(Dataset(shards, magnifications=BOTH, split=split))
    monkeypatch.setattr("kdtrain.data.samples.decode_sample", None)
    dataset = Dataset(shards, magnifications=[10], split=split)
    assert dataset.labels == tuple(sample.label for sample in samples)
    for magnification in BOTH:
        assert dataset.sizes(magnification) == tuple(sample.sizes[magnification] for sample in samples)
    with pytest.raises(ShardError, match="20x"):
        dataset.sizes(20)


@pytest.mark.parametrize(("content", "rule"), [(b"7", "F20 label"), (b"x", "F20 label")])
def test_a_label_that_is_none_is_named(tmp_path, content, rule):
    """A class number that the set lacks, or no number: the rule, the tar and the sample are named."""
    folder = write_training_set(tmp_path / "set")
    path = folder / "2.5x" / "train-000000.tar"
    data = bytearray(path.read_bytes())
    data[512:513] = content
    path.write_bytes(data)
    dataset = Dataset(folder, magnifications=[2.5])
    with pytest.raises(ShardError, match=rule):
        _ = dataset.labels


def test_a_sample_says_where_it_is_from(shards):
    """Class names, slide, patient, record and sizes; all magnifications unless some are asked for."""
    dataset = Dataset(str(shards))
    sample = dataset[1]
    assert (dataset.magnifications, tuple(sample.images)) == (BOTH, BOTH)
    assert dataset.classes[sample.label] == sample.record.label == "stroma"
    assert (sample.slide, sample.patient, sample.shard) == ("train-1.svs", "P-train-1", "train-000000")
    assert sample.sizes == {10: (160, 128), 2.5: (40, 32)}
    assert sample.record.split == "train"


@pytest.mark.parametrize(
    ("split", "shards_in_order"),
    [
        ("aux2", ["aux1-000000", "aux1-000000", "aux1-000001", "added-000000", "added-000000"]),
        ("train, dev", ["train-000000"] * 3 + ["train-000001"] * 2 + ["dev-000000"] * 2),
        ("aux1,aux2", ["aux1-000000", "aux1-000000", "aux1-000001", "added-000000", "added-000000"]),
    ],
)
def test_sets_and_several_splits_are_joined(shards, split, shards_in_order):
    """As --train-on takes them: what is in two of them comes once, and unlabelled samples have no label."""
    samples = list(Dataset(shards, magnifications=[2.5], split=split))
    assert [sample.shard for sample in samples] == shards_in_order
    assert all((sample.label is None) == (sample.shard[0] == "a") for sample in samples)


def mirrored(sample: PairedSample) -> PairedSample:
    """Left and right exchanged, at every magnification."""
    return replace(sample, images={m: image.flip(-1) for m, image in sample.images.items()})


def test_a_transform_gets_all_images_of_a_sample(shards):
    """Here it mirrors both; lists of samples are what ``collate_fn=list`` gives."""
    plain = Dataset(shards, magnifications=BOTH)
    batches = list(
        DataLoader(Dataset(shards, magnifications=BOTH, transform=mirrored), batch_size=2, collate_fn=list)
    )
    assert list(map(len, batches)) == [2, 2, 1]
    for number, sample in enumerate(sample for batch in batches for sample in batch):
        for magnification in BOTH:
            assert torch.equal(sample.images[magnification].flip(-1), plain[number].images[magnification])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"magnifications": ()},
            UsageError,
            r"magnifications=\(\) names no magnification; .* has the .* 10x, 2\.5x",
        ),
        (
            {"split": " ,"},
            UsageError,
            r"split=' ,' names no split; .* splits and sets added, aux1, aux2, dev, test",
        ),
        ({"magnifications": (5,)}, ShardError, "no 5x here; there is 10x, 2.5x"),
        ({"split": "train,trian"}, ShardError, "no split or set 'trian' here; there is added, aux1"),
    ],
)
def test_what_the_set_lacks_is_refused_at_once(shards, options, error, message):
    """With what was given and what there is."""
    with pytest.raises(error, match=message):
        Dataset(shards, **options)


def test_a_damaged_sample_is_named_from_a_worker_too(tmp_path):
    """Rule, file and key, within torch's RuntimeError from a worker; other samples are read all the same."""
    folder = write_training_set(tmp_path / "set")
    tar = folder / "2.5x" / "train-000000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data.replace(b"\xff\xd8\xff", bytes(3), 1))
    dataset = Dataset(folder, magnifications=[2.5])
    with pytest.raises(ShardError, match="rule F21 image-header"):
        dataset[0]
    assert dataset[1].key == dataset.keys[1]
    with pytest.raises(RuntimeError, match=rf"(?s){dataset.keys[0]}.*rule F21 image-header"):
        next(iter(DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork")))


def test_a_set_behind_a_url_gives_the_same(shards, tmp_path):
    """Through the shard cache, which must hold all that may be asked for."""
    fsspec.filesystem("memory").put(str(shards), "/bucket/dataset", recursive=True)
    url = "memory://bucket/dataset"
    there = Dataset(url, magnifications=BOTH, cache=cache_settings(tmp_path))
    here = Dataset(shards, magnifications=BOTH)
    assert there.keys == here.keys
    for one, other in zip(there, here, strict=True):
        assert all(torch.equal(one.images[m], other.images[m]) for m in BOTH)
    with pytest.raises(UsageError, match=r"--shard-cache-gb 1e-05: 'train' of memory://bucket/dataset"):
        Dataset(url, cache=cache_settings(tmp_path, 1e-5))
