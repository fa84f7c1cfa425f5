"""Plain JPEG and PNG: what is warned of beside their pixels, and values that are refused."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fixtures.slides import picture, slide_file
from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers.choose import open_reader

PICTURE = picture(90, 300)


def test_a_grey_image_is_said_to_be_grey(tmp_path: Path) -> None:
    """The record of a grey PNG and a grey JPEG tells that they have no colour."""
    Image.fromarray(PICTURE[..., 1]).save(tmp_path / "a.png")
    Image.fromarray(PICTURE[..., 1]).save(tmp_path / "a.jpg")
    for name in ("a.png", "a.jpg"):
        with open_reader(slide_file(tmp_path / name)) as slide:
            assert slide.warnings == [
                "The image is grey, one sample a pixel; red, green and blue are made equal."
            ]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_dark_grey_image_is_refused(tmp_path: Path, name: str) -> None:
    """A grey image without bright glass, as a channel of fluorescence is one, is no stained slide."""
    Image.fromarray(PICTURE[..., 1] // 4).save(tmp_path / name)
    with pytest.raises(SlideOpenError, match=f"'{name}' .* it is grey and dark .* as fluorescence is"):
        open_reader(slide_file(tmp_path / name))


def test_twelve_bits_in_sixteen_are_refused(tmp_path: Path) -> None:
    """A PNG whose brightest value is 4080 of 65 535 would be nearly black."""
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(PICTURE.astype(np.uint16) << 4))
    with pytest.raises(SlideOpenError, match=r"no value seen is above 4080 of 65,535, as where 12 bits"):
        open_reader(slide_file(tmp_path / "a.png"))


@pytest.mark.parametrize(("opaque_rows", "says"), [(0, None), (60, "About 80%"), (200, "")])
def test_transparent_images_do_not_become_white_in_silence(
    tmp_path: Path, opaque_rows: int, says: str | None
) -> None:
    """All of 300 rows transparent: refused; 240: warned of; 100: as it should be."""
    alpha = np.zeros((300, 90, 1), np.uint8)
    alpha[:opaque_rows] = 255
    Image.fromarray(np.concatenate([PICTURE, alpha], axis=2)).save(tmp_path / "a.png")
    if says is None:
        with pytest.raises(SlideOpenError, match="every pixel of it is transparent"):
            open_reader(slide_file(tmp_path / "a.png"))
        return
    with open_reader(slide_file(tmp_path / "a.png")) as slide:
        expected = [f"{says} of the pixels looked at are transparent; they are shown as background."]
        assert slide.warnings == (expected if says else [])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_exif_orientation_is_warned_of(tmp_path: Path, name: str) -> None:
    """What a viewer would turn and slideprep does not is said; an upright picture has no warning."""
    for orientation, warnings in (
        (1, []),
        (6, ["The EXIF orientation (6) is not followed: the picture is read as it is stored."]),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(PICTURE).save(tmp_path / name, exif=exif)
        with open_reader(slide_file(tmp_path / name)) as slide:
            assert slide.warnings == warnings


def test_damaged_exif_turns_nothing(tmp_path: Path) -> None:
    """An EXIF part cut to its first bytes is passed over."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    at = data.index(b"Exif\0\0") + 6
    (tmp_path / "a.jpg").write_bytes(data[:at] + b"\xff" * 20 + data[at + 20 :])
    with open_reader(slide_file(tmp_path / "a.jpg")) as slide:
        assert slide.warnings == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA"])
def test_a_damaged_png_is_said_to_be_damaged(tmp_path: Path, mode: str) -> None:
    """A grey or transparent PNG that lost its end fails where pixels are read, as every other does."""
    Image.fromarray(PICTURE).convert(mode).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with open_reader(slide_file(tmp_path / "a.png")) as slide, pytest.raises(SlideReadError, match="damaged"):
        read_level(slide, 0)
