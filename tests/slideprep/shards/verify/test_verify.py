"""How verify works, beyond the rules that tests/contract holds it to: images, speed settings, garbage."""

from __future__ import annotations

import io
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from fixtures.repository import GOLDEN
from slideprep.shards.verify import image as verify_image
from slideprep.shards.verify.image import PixelSums, decode, image_header
from slideprep.shards.verify.verify import verify


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy of the golden set, to be damaged."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "set"))


def _picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (600, 40, 3), dtype=np.uint8)


def _encode(pixels: NDArray[np.uint8], image_format: str) -> memoryview:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format, lossless=True)
    return memoryview(buffer.getvalue())


def _sums_by_hand(pixels: NDArray[np.uint8]) -> PixelSums:
    flat = [[int(value) for value in pixel] for pixel in pixels.reshape(-1, 3)]
    return PixelSums(
        pixels=len(flat),
        sums=tuple(sum(pixel[c] for pixel in flat) for c in range(3)),
        squares=tuple(sum(pixel[c] ** 2 for pixel in flat) for c in range(3)),
    )


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_sums_of_lossless_images_are_exact(image_format: str) -> None:
    """The sums of a PNG or lossless WebP are those of the pixels that went in, added in plain Python."""
    pixels = _picture()
    data = _encode(pixels, image_format)
    assert image_header(data, image_format) == ("RGB", (40, 600))
    assert decode(data, image_format, pixels=24_000) == _sums_by_hand(pixels)


def test_large_jpegs_in_strips_give_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG beyond the limit, decoded in strips, gives exactly the sums of the whole decode."""
    data = _encode(_picture(), "jpeg")
    whole = decode(data, "jpeg", pixels=24_000)
    monkeypatch.setattr(verify_image, "WHOLE_LIMIT_PX", 0)
    assert decode(data, "jpeg", pixels=24_000) == whole
    assert whole == _sums_by_hand(np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("image_format", ["jpeg", "png", "webp"])
def test_cut_images_are_refused(image_format: str) -> None:
    """An image that lacks its last third does not decode."""
    data = _encode(_picture(), image_format)
    with pytest.raises(ValueError, match=r"\w"):
        decode(data[: len(data) * 2 // 3], image_format, pixels=24_000)


def test_cut_jpegs_are_refused_in_strips_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path for large JPEGs refuses one that lacks its last third."""
    monkeypatch.setattr(verify_image, "WHOLE_LIMIT_PX", 0)
    data = _encode(_picture(), "jpeg")
    with pytest.raises(ValueError, match=r"\w"):
        decode(data[: len(data) * 2 // 3], "jpeg", pixels=24_000)


def test_sixteen_bit_png_is_refused() -> None:
    """A PNG of 16 bits per channel is not 8-bit RGB, though its header looks alike otherwise."""
    data = pyvips.Image.black(8, 8, bands=3).copy(interpretation="rgb16").cast("ushort").pngsave_buffer()
    with pytest.raises(ValueError, match="16 bits per channel, not 8"):
        image_header(memoryview(data), "png")


def test_quick_reads_no_member(golden: Path) -> None:
    """Quick finds a changed byte by its checksum, and says that the content was not looked at."""
    tar = golden / "10x" / "val-000000.tar"
    tar.write_bytes(tar.read_bytes()[:-1] + b"x")
    report = verify(golden, quick=True)
    assert [(fault.rule, fault.path) for fault in report.faults] == [
        ("F09 file-checksum", "10x/val-000000.tar")
    ]
    assert "the content of the tars (quick)" in report.unchecked


def test_report_does_not_depend_on_workers(golden: Path) -> None:
    """One worker and three find the same faults in the same order, and progress ends at the last tar."""
    for name in ("10x/val-000000.tar", "5x/test-000000.tar", "2.5x/train-000001.tar"):
        path = golden / name
        path.write_bytes(path.read_bytes()[:2000])
    seen: list[tuple[int, int]] = []
    alone = verify(golden)
    assert alone == verify(golden, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 18) for n in range(1, 19)]
    assert {fault.path for fault in alone.faults} == {
        "10x/val-000000.tar",
        "5x/test-000000.tar",
        "2.5x/train-000001.tar",
    }


def test_sidecars_are_no_foreign_files(golden: Path) -> None:
    """The preview, the tables and the builder's workspace may lie in the folder; another file may not."""
    (golden / ".slideprep").mkdir()
    for name in ("preview.html", "failures.csv", "slides.csv", "splits.csv", ".slideprep/lock"):
        (golden / name).write_text("")
    assert verify(golden).ok
    (golden / "notes.txt").write_text("")
    assert [fault.path for fault in verify(golden).faults] == ["notes.txt"]


def test_a_workspace_without_an_index_is_an_unfinished_set(tmp_path: Path) -> None:
    """The report says how to finish the build, and that nothing was checked."""
    (tmp_path / ".slideprep").mkdir()
    report = verify(tmp_path)
    assert [fault.rule for fault in report.faults] == ["F01 index-present"]
    assert "run the same build-shards command again" in report.faults[0].message
    assert report.unchecked


def test_garbage_is_always_a_fault_and_never_a_crash(tmp_path: Path) -> None:
    """Whatever bytes change in index or tars, verify returns a report that is not clean."""
    rng = random.Random(0)
    for case in range(40):
        folder = Path(shutil.copytree(GOLDEN, tmp_path / str(case)))
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for path in rng.sample(files, 3):
            data = bytearray(path.read_bytes())
            for _ in range(rng.choice([1, 4, 40])):
                at = rng.randrange(len(data.rstrip(b"\0")))
                data[at] ^= rng.randrange(1, 256)
            path.write_bytes(data)
        assert not verify(folder).ok
