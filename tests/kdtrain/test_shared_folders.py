"""Whoever shares a folder can use what is written there: the umask alone decides who may read and change it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fixtures.modes import outside_the_group, umask, unshared, usual_umask
from fixtures.teacher_caches import cached
from fixtures.training_runs import evaluated, kdtrain, trained
from kdtrain.bundle.export import _write
from kdtrain.files import write_atomically

pytest.importorskip("deepspeed", reason="needs DeepSpeed")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture
def group_folder(tmp_path: Path) -> Path:
    """A folder of a group that passes its group on, of another group than this process's where that is allowed."""
    folder = tmp_path / "group"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, -1, 4711)
    folder.chmod(0o2775)
    return folder


def test_a_group_works_on_runs_caches_bundles_and_reports(shards, group_folder):
    """Under umask 002 all that a run, a cache, a measurement, a bundle and a report leave is the group's to change."""
    with umask(0o002):
        run = trained("teacher", shards, group_folder / "run", "--logger", "tensorboard")
        evaluated(run, shards)
        cached(shards, run, group_folder / "cache")
        _write(group_folder / "bundle", {"bundle.json": b"{}"})
        report = kdtrain("report", run, "--out", group_folder / "report.html", "--iterations", 100)
    assert report.code == 0, report.said
    assert len(list(group_folder.rglob("*"))) > 30
    assert unshared(group_folder, 0o002) == {}
    assert outside_the_group(group_folder) == []


def test_others_can_read_what_is_written_under_the_usual_umask(
    teacher, teacher_cache, evaluated_teacher, bundle
):
    """Under umask 022 everyone reads and the owner alone changes: weights and checkpoints too."""
    for folder in (teacher, teacher_cache, evaluated_teacher, bundle):
        assert list(folder.rglob("*.safetensors")) or folder == teacher_cache
        assert unshared(folder, usual_umask()) == {}


@pytest.mark.parametrize(("mask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600), (0o007, 0o660)])
def test_a_file_that_is_written_whole_has_the_rights_of_any_other(tmp_path, mask, mode):
    """The one function that all tables, records and weights go through asks for 0666 and takes off the umask."""
    with umask(mask):
        write_atomically(tmp_path / "new" / "file", b"x")
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == mode
    assert unshared(tmp_path, mask) == {}
