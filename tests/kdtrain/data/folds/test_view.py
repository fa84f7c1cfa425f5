"""A set as a fold sees it: whose samples are where, read out of the tars as they are stored."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.fold_sets import write_fold_set
from kdtrain.data.folds.scan import make_folds, with_colours
from kdtrain.data.folds.view import Fold, left_out, view_of
from kdtrain.data.samples import SampleReader
from kdtrain.data.sets import samples_of
from kdtrain.data.stream import EvaluationStream, SampleStream, class_counts
from kdtrain.shards.cache import cache_settings
from kdtrain.shards.index import Index, read_index, union_of

SPLITS = ("train", "val", "test")
MAGNIFICATIONS = (10.0, 2.5)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """The small set."""
    return read_index(write_fold_set(tmp_path_factory.mktemp("sets") / "set"))


@pytest.fixture(scope="module")
def folds(index):
    """Three folds of it, with their colours."""
    return with_colours(make_folds(index, count=3), index, MAGNIFICATIONS)


@pytest.fixture(scope="module")
def views(index, folds) -> list[Index]:
    """The set as each fold sees it."""
    return [view_of(index, Fold(folds=folds, number=i, validates=True)) for i in (1, 2, 3)]


def samples_in(view: Index, split: str) -> list:
    """Every sample of a split, read at both magnifications."""
    stream = EvaluationStream(view, split, MAGNIFICATIONS)
    try:
        return list(stream)
    finally:
        stream.close()


def patients_in(view: Index, split: str) -> set[str]:
    """Whose samples come out of the tars."""
    return {sample.patient for sample in samples_in(view, split)}


def test_no_patient_is_in_two_splits_or_in_two_test_folds(views):
    """As the tars' own records say; every one of the eleven patients is tested once."""
    for view in views:
        train, val, test = (patients_in(view, split) for split in SPLITS)
        assert not train & val
        assert not train & test
        assert not val & test
        assert len(train | val | test) == 11
    tested = [patients_in(view, "test") for view in views]
    assert sum(map(len, tested)) == len(set.union(*tested)) == 11


def test_the_next_fold_validates(views):
    """Fold 1 validates on the patients of 2, 2 on those of 3, and 3 on those of 1; dev is the same."""
    for view, following in zip(views, [*views[1:], views[0]], strict=True):
        assert patients_in(view, "val") == patients_in(following, "test") == patients_in(view, "dev")


def test_without_validation_all_others_train(index, folds, views):
    """No val, no dev, and what would have validated is learnt from."""
    view = view_of(index, Fold(folds=folds, number=1, validates=False))
    assert set(view.document.sets) == {"train", "test", "aux1"}
    assert patients_in(view, "train") == patients_in(views[0], "train") | patients_in(views[0], "val")


def test_samples_are_those_of_the_stored_tars(index, views):
    """Key, label, pixels at both magnifications and record: each labelled sample once over a fold's splits."""
    stored = {}
    for split in SPLITS:
        stored |= {sample.key: sample for sample in samples_in(index, split)}
    seen = [sample for split in SPLITS for sample in samples_in(views[1], split)]
    assert sorted(sample.key for sample in seen) == sorted(stored)
    for sample in seen:
        original = stored[sample.key]
        assert (sample.label, sample.record, sample.shard) == (
            original.label,
            original.record,
            original.shard,
        )
        assert all((sample.images[m] == original.images[m]).all() for m in MAGNIFICATIONS)


def test_counts_and_sizes_are_those_of_what_is_read(views):
    """Samples, slides, patients, classes and image sizes of every split, without a tar."""
    for view in views:
        for split in (*SPLITS, "aux1"):
            samples = samples_in(view, split)
            entry = view.document.splits[split]
            assert samples_of(view, split) == entry.samples == len(samples)
            assert entry.patients == len({sample.patient for sample in samples})
            assert entry.slides == len({sample.slide for sample in samples})
            sizes = [s for shard in view.shards_of(split) for s in view.sizes_of(shard, 10.0)]
            assert sizes == [sample.sizes[10.0] for sample in samples]
            if entry.labelled:
                labels = [view.document.classes[sample.label] for sample in samples]
                assert class_counts(view, split) == {c: labels.count(c) for c in view.document.classes}


def test_an_unlabelled_slide_of_a_tested_patient_is_not_trained_on(index, folds, views):
    """aux1-0 is of P-test-1: where that patient is tested or validates, a student does not see it."""
    own = folds.patients["P-test-1"]
    for number, view in enumerate(views, start=1):
        held = own in (number, folds.next_to(number))
        assert ("P-test-1" in patients_in(view, "aux1")) == (not held)
        fold = Fold(folds=folds, number=number, validates=True)
        assert left_out(index, fold) == ({"aux1": 1} if held else {})


def test_a_part_is_read_at_its_own_positions(views):
    """By shard and position, as a program does: sample i of a part is that of the stream."""
    reader = SampleReader(views[0], "train", [2.5])
    try:
        keys = [reader.read(s, i, 2.5).key for s in reader.shards for i in range(s.samples)]
    finally:
        reader.close()
    assert keys == [sample.key for sample in samples_in(views[0], "train")]


def test_a_set_of_several_splits_has_each_sample_once(views):
    """A student on train and aux1 together."""
    joined, name = union_of(views[0], ["train", "aux1"])
    keys = [sample.key for sample in samples_in(joined, name)]
    assert len(keys) == len(set(keys)) == samples_of(joined, name)


def test_keys_are_those_of_the_part(views):
    """By shard, in stored order, from headers alone."""
    reader = SampleReader(views[0], "train", [2.5])
    try:
        keys = [key for shard in range(len(reader.shards)) for key in reader.keys(shard)]
    finally:
        reader.close()
    assert keys == [sample.key for sample in samples_in(views[0], "train")]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_an_epoch_over_ranks_has_each_sample_once_and_can_be_gone_on_with(views, world_size):
    """All ranks together see the fold's training samples once; from the second group on, the same as before."""
    whole, resumed = [], []
    for rank in range(world_size):
        stream = SampleStream(
            views[0], "train", MAGNIFICATIONS, labelled=True, rank=rank, world_size=world_size, accumulate=1
        )
        groups = [[s.key for s in group.samples()] for group in stream.epoch(0)]
        whole += [key for group in groups for key in group]
        later = [[s.key for s in group.samples()] for group in stream.epoch(0, start_group=1)]
        stream.close()
        assert later == groups[1:]
        resumed.append(later)
    assert sorted(whole) == sorted(sample.key for sample in samples_in(views[0], "train"))


def test_colours_are_of_the_training_patients_alone(views, index):
    """Mean and standard deviation over every pixel of the fold's training images, and of no other."""
    for view in views:
        for magnification in MAGNIFICATIONS:
            pixels = np.concatenate(
                [s.images[magnification].reshape(3, -1).numpy() for s in samples_in(view, "train")], axis=1
            ).astype(np.float64)
            found = view.statistics_of(magnification)
            assert found.pixels == pixels.shape[1]
            np.testing.assert_allclose(found.mean, pixels.mean(axis=1), rtol=1e-12)
            np.testing.assert_allclose(found.std, pixels.std(axis=1), rtol=1e-9)
    assert len({view.statistics_of(10.0).mean for view in views}) == 3


def test_the_formula_is_that_of_the_set(tmp_path):
    """Colour sums of the stored training split give the statistics of decoded images that a writer wrote."""
    index = read_index(write_fold_set(tmp_path / "set", statistics_of="decoded"))
    folds = with_colours(make_folds(index, count=2, splits=["train"]).model_copy(), index, MAGNIFICATIONS)
    found = folds.statistics("10x", (1, 2))
    assert found is not None
    stored = index.statistics_of(10.0)
    assert found.pixels == stored.pixels
    np.testing.assert_allclose(found.mean, stored.mean, atol=1e-6)
    np.testing.assert_allclose(found.std, stored.std, atol=1e-6)


def test_a_set_behind_a_url_is_split_and_read_alike(tmp_path, views):
    """The same folds and the same samples, through a cache of its own, with shards fetched ahead."""
    fsspec = pytest.importorskip("fsspec")
    url = "memory://bucket/folds"
    fsspec.filesystem("memory").put(str(write_fold_set(tmp_path / "set")), url, recursive=True)
    there = read_index(url, cache_settings(tmp_path / "cache", 1))
    folds = with_colours(make_folds(there, count=3), there, MAGNIFICATIONS)
    view = view_of(there, Fold(folds=folds, number=1, validates=True))
    for split in ("train", "val", "test", "aux1"):
        assert [s.key for s in samples_in(view, split)] == [s.key for s in samples_in(views[0], split)]
    assert view.document.statistics == views[0].document.statistics
    stream = SampleStream(view, "train", MAGNIFICATIONS, accumulate=2)
    assert sum(len(group.samples()) for group in stream.epoch(0)) == samples_of(view, "train")
    stream.close()
