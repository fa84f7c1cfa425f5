"""What is read of a set to split its patients: records and not pixels, which splits, and the same image twice."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.fold_sets import write_fold_set
from fixtures.shard_sets import write_set
from kdtrain.data.folds.scan import level_counts, make_folds, patients_of, with_colours
from kdtrain.errors import UsageError
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import read_index


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The small set."""
    return read_index(write_fold_set(tmp_path_factory.mktemp("sets") / "set"))


def test_all_labelled_splits_take_part(index):
    """Eleven patients of train, val and test; of aux1 it is known whose its slides are, and no fold is for them."""
    folds = make_folds(index, count=3)
    assert folds.splits == ("test", "train", "val")
    assert len(folds.patients) == 11
    assert {"P-aux1-1", "P-aux1-2"} & set(folds.patients) == set()
    assert set(folds.samples) == {"train-000000", "train-000001", "val-000000", "test-000000", "aux1-000000"}


def test_only_the_splits_that_are_named(index):
    """The test split of the set is left for another day."""
    folds = make_folds(index, count=2, splits=["val", "train"])
    assert set(folds.patients) == patients_of(index, "train") | patients_of(index, "val")


def test_the_digest_is_of_who_is_where_and_not_of_colours(index):
    """Colours follow from the set; another seed or number of folds is another digest."""
    folds = make_folds(index, count=3)
    assert with_colours(folds, index, [2.5]).sha256 == folds.sha256
    others = {make_folds(index, count=3, seed=1).sha256, make_folds(index, count=2).sha256}
    assert folds.sha256 not in others
    assert len(others) == 2


def test_colours_that_are_known_are_not_read_again(index, monkeypatch):
    """A method added at another magnification reads that one alone."""
    first = with_colours(make_folds(index, count=3), index, [2.5])
    both = with_colours(first, index, [2.5, 10.0])
    assert both.colours["2.5x"] == first.colours["2.5x"]
    monkeypatch.setattr("kdtrain.data.folds.scan.EvaluationStream", None)
    assert with_colours(both, index, [10.0, 2.5]) is both


def test_levels_are_counted_band_by_band():
    """An image higher than a band: every pixel once, by channel."""
    image = np.zeros((2500, 2, 3), dtype=np.uint8)
    image[..., 1] = 255
    image[0, 0] = (7, 7, 7)
    counts = level_counts(image)
    assert counts.sum(axis=1).tolist() == [5000, 5000, 5000]
    assert (counts[0, 0], counts[0, 7], counts[1, 255], counts[1, 7]) == (4999, 1, 4999, 1)


def test_an_image_of_two_patients_is_refused(tmp_path):
    """A copied slide under another name and patient would be learnt from in one fold and tested in another."""

    def same(path, members):
        first = next(member.data for member in members if member.name.endswith(".jpg"))
        for member in members:
            if member.name.endswith(".jpg") and len(members) > 3:
                object.__setattr__(member, "data", first)
        return members

    shards = write_set(tmp_path / "set", {"train": [4]}, cells=((32, 32),), edit_members=same)
    with pytest.raises(
        UsageError, match=r"slide 'train-0.svs' of patient 'P-train-0' and slide 'train-1.svs' of"
    ):
        make_folds(read_index(shards), count=2)


@pytest.mark.parametrize(
    ("splits", "error", "said"),
    [
        (["aux1"], UsageError, "'aux1' is no labelled split of the set; there is test, train, val"),
        (["tset"], ShardError, "no split or set 'tset' here"),
    ],
)
def test_splits_that_cannot_be_tested_are_refused(index, splits, error, said):
    """Without labels there is nothing to measure."""
    with pytest.raises(error, match=said):
        make_folds(index, count=2, splits=splits)
