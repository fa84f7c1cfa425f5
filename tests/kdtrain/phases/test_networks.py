"""Which output stride a network is given: here, of runs of folds, whose results become one number."""

from __future__ import annotations

from pathlib import Path

from fixtures.fold_sets import write_fold_set
from kdtrain.config.phases import BaselineConfig, DistillConfig
from kdtrain.data.folds.scan import make_folds
from kdtrain.data.folds.view import Fold, view_of
from kdtrain.model.output_stride import median_shorter_side
from kdtrain.phases.networks import settled_stride
from kdtrain.shards.index import read_index


def test_all_folds_of_a_method_have_one_stride(tmp_path: Path) -> None:
    """Images of 32 and 64 px, half of each: the folds' own training images have medians of both, their networks one."""
    index = read_index(write_fold_set(tmp_path / "set", cells=((32, 32), (64, 64))))
    folds = make_folds(index, count=3)
    views = [view_of(index, Fold(folds=folds, number=i, validates=True), planned=True) for i in (1, 2, 3)]
    medians = {
        median_shorter_side([size for shard in view.shards_of("train") for size in view.sizes_of(shard, 2.5)])
        for view in views
    }
    assert medians == {32, 64}
    common = {"shards": index.directory, "out": tmp_path / "run", "magnification": 2.5}
    for config in (
        BaselineConfig(**common),
        DistillConfig(**common, teacher=tmp_path, train_on=("train", "aux1")),
        DistillConfig(**common, teacher=tmp_path, train_on=("aux1",)),
    ):
        assert {settled_stride(config, view) for view in views} == {4}
