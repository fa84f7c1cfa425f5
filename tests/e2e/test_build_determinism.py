"""The same slides and settings give the same bytes, however, wherever and by whomever they are built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.builds import assert_verified, build, good_slides, shard_bytes, write_labels


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A set built in one process from a folder, and what it was built from."""

    folder: Path
    out: Path
    labels: Path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Twelve labelled slides, built without Ray."""
    folder = tmp_path_factory.mktemp("reference")
    good_slides(folder / "slides", 12)
    rows = [(f"slide-{n}", "ab"[n % 2], f"p{n // 2 * 2 + n % 2}") for n in range(12)]
    labels = write_labels(folder / "labels.csv", rows)
    assert build(folder / "slides", "--labels", labels, "--out", folder / "reference-set").code == 0
    assert_verified(folder / "reference-set")
    return Reference(folder=folder, out=folder / "reference-set", labels=labels)


def _preview(out: Path) -> str:
    """preview.html without its title, which is the folder's name."""
    return (out / "preview.html").read_text(encoding="utf-8").replace(out.name, "")


def assert_same(out: Path, reference: Reference) -> None:
    """Tars, index.json, sidecars and page are those of the reference."""
    assert shard_bytes(out) == shard_bytes(reference.out)
    for sidecar in ("slides.csv", "splits.csv", "failures.csv", "left_out.csv"):
        assert (out / sidecar).read_bytes() == (reference.out / sidecar).read_bytes()
    assert _preview(out) == _preview(reference.out)


@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize("workers", [1, 2])
def test_workers(tmp_path: Path, reference: Reference, workers: int) -> None:
    """One worker process, two and none write the same bytes."""
    out = tmp_path / "by-workers"
    run = build(reference.folder / "slides", "--labels", reference.labels, "--out", out, workers=workers)
    assert run.code == 0
    assert_same(out, reference)


def test_order_of_inputs(tmp_path: Path, reference: Reference) -> None:
    """Slides named one by one, last first, and rows of labels turned round give the same bytes."""
    slides = sorted((reference.folder / "slides").iterdir(), reverse=True)
    header, *rows = reference.labels.read_text().splitlines()
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert build(*slides, "--labels", labels, "--out", tmp_path / "reversed-set").code == 0
    assert_same(tmp_path / "reversed-set", reference)


def test_place(tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, another working folder than the workers' and another name of the set change nothing."""
    monkeypatch.chdir(reference.folder)
    given = ("slides", "--labels", "labels.csv", "--out", "elsewhere-set")
    assert build(*given, workers=2).code == 0
    assert_same(reference.folder / "elsewhere-set", reference)
    slides = len(list((reference.folder / "slides").iterdir()))
    assert len(list((reference.folder / "elsewhere-set" / ".slideprep" / "scans").iterdir())) == slides


def test_config_file(tmp_path: Path, reference: Reference) -> None:
    """Settings from a YAML file are the same settings."""
    config = tmp_path / "build.yaml"
    config.write_text(f"slides: [{reference.folder / 'slides'}]\nlabels: {reference.labels}\nseed: 0\n")
    assert build("--config", config, "--out", tmp_path / "from-file").code == 0
    assert_same(tmp_path / "from-file", reference)


def test_seed(tmp_path: Path, reference: Reference) -> None:
    """Another seed is another set."""
    run = build(
        reference.folder / "slides", "--labels", reference.labels, "--seed", "1", "--out", tmp_path / "seeded"
    )
    assert run.code == 0
    assert shard_bytes(tmp_path / "seeded") != shard_bytes(reference.out)
