"""folds.json: read back as it was written; a file that is damaged, of another set, or somebody's work, is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures.fold_sets import write_fold_set
from kdtrain.data.folds.document import check_set, read_folds, write_folds
from kdtrain.data.folds.scan import make_folds, with_colours
from kdtrain.errors import UsageError
from kdtrain.shards.index import Index, read_index


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    """The small set."""
    return read_index(write_fold_set(tmp_path_factory.mktemp("sets") / "set"))


@pytest.fixture
def file(index, tmp_path) -> Path:
    """Three folds of it."""
    path = tmp_path / "folds.json"
    write_folds(path, with_colours(make_folds(index, count=3), index, [2.5]))
    return path


def test_it_reads_back(index, file):
    """Folds, colours and digest."""
    folds = read_folds(file)
    assert folds == with_colours(make_folds(index, count=3), index, [2.5])
    check_set(folds, index, what="folds")


def _edited(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content.update(format="folds"),
        lambda content: content.update(count=1),
        lambda content: content.update(count=4),
        lambda content: content.pop("patients"),
        lambda content: content["patients"].update({"P-pair": 9}),
        lambda content: content["patients"].pop("P-pair"),
        lambda content: content["slides"].pop(),
        lambda content: content["colours"]["2.5x"].pop(),
        lambda content: content["colours"]["2.5x"][0].update(pixels=0),
        lambda content: content["samples"]["val-000000"][0].__setitem__(1, -1),
        lambda content: content.update(samples=[[[]]]),
    ],
)
def test_a_damaged_file_is_refused_with_what_to_do(file, edit):
    """Parts that are missing, of another kind, or that contradict each other."""
    _edited(file, edit)
    with pytest.raises(UsageError, match=r"is damaged .*delete it and run its 'kdtrain sweep' command again"):
        read_folds(file)


def test_what_is_no_json_or_not_there_is_refused(tmp_path):
    """With where such a file lies."""
    (tmp_path / "folds.json").write_text("folds")
    with pytest.raises(UsageError, match="is damaged"):
        read_folds(tmp_path / "folds.json")
    with pytest.raises(UsageError, match=r"cannot be read .*it lies in the folder of the sweep"):
        read_folds(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda content: content.update(shard_set_sha256="0" * 64), "is of another shard set than"),
        (lambda content: content["samples"].pop("train-000001"), "of train-000001 it has other samples"),
        (lambda content: content["samples"]["aux1-000000"].pop(), "of aux1-000000 it has other samples"),
        (
            lambda content: content["samples"]["val-000000"][0].__setitem__(1, 7),
            "of val-000000 it has other samples",
        ),
        (lambda content: content["samples"]["aux1-000000"][0].__setitem__(1, 0), "damaged|of aux1-000000"),
    ],
)
def test_folds_that_are_not_of_the_set_are_refused(index, file, edit, said):
    """Another set, or samples that it does not have."""
    _edited(file, edit)
    with pytest.raises(UsageError, match=said):
        check_set(read_folds(file), index, what="--folds folds.json")
