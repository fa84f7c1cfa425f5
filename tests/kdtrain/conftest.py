"""What several modules train on, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures.teacher_caches import cached
from fixtures.training_runs import evaluated, exported, trained, write_training_set


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with every kind of split, of images of three sizes; nobody changes it."""
    return write_training_set(tmp_path_factory.mktemp("sets") / "set")


@pytest.fixture(scope="session")
def teacher(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished teacher at 10x, at the paper's output stride; nobody changes it."""
    return trained("teacher", shards, tmp_path_factory.mktemp("runs") / "teacher", "--output-stride", 32)


@pytest.fixture(scope="session")
def teacher_cache(shards: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three views of aux2 and one of dev, at 2.5x; nobody changes it."""
    return cached(shards, teacher, tmp_path_factory.mktemp("caches") / "cache")


@pytest.fixture(scope="session")
def evaluated_teacher(shards: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the teacher that was measured on the test split; nobody changes it."""
    return evaluated(shutil.copytree(teacher, tmp_path_factory.mktemp("evaluated") / "teacher"), shards)


@pytest.fixture(scope="session")
def bundle(evaluated_teacher: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher's bundle; nobody changes it."""
    return exported(evaluated_teacher, tmp_path_factory.mktemp("bundles") / "bundle", "--shards", shards)
