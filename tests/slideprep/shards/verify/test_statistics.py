"""How far statistics of pixels before encoding may be from those of decoded images, and that no encoding goes on."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fixtures.repository import GOLDEN
from slideprep.shards.models import ImageEncoding, ImageFormat, Index, StatisticsOf
from slideprep.shards.verify.statistics import statistics_tolerance


def _tolerance(image_format: ImageFormat, quality: int | None, statistics_of: StatisticsOf | None) -> float:
    index = Index.model_validate_json((GOLDEN / "index.json").read_bytes())
    image = ImageEncoding(format=image_format, quality=quality)
    return statistics_tolerance(index.model_copy(update={"image": image, "statistics_of": statistics_of}))


@pytest.mark.parametrize(
    ("image_format", "quality", "statistics_of", "levels"),
    [
        ("jpeg", 100, "unencoded", 2),
        ("jpeg", 95, "unencoded", 3),
        ("jpeg", 50, "unencoded", 12),
        ("jpeg", 10, "unencoded", 52),
        ("webp", 95, "unencoded", 16),
        ("webp", None, "unencoded", 0.01),
        ("png", None, "unencoded", 0.01),
        ("jpeg", 95, "decoded", 0.01),
        ("jpeg", 95, None, 0.01),
    ],
)
def test_the_tolerance_is_the_documents(
    image_format: ImageFormat, quality: int | None, statistics_of: StatisticsOf | None, levels: float
) -> None:
    """2 or 15 grey levels and 10 for each unit of libjpeg's scale; a hundredth where nothing is lost."""
    assert _tolerance(image_format, quality, statistics_of) == pytest.approx(levels)


def _hard_pictures() -> list[NDArray[np.uint8]]:
    """One colour that rounds badly, noise of its colours, noise of grey, and white beside black."""
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), (200, 161, 190))
    noise = np.clip(flat + rng.normal(0, 40, (64, 64, 3)), 0, 255)
    grain = flat + rng.normal(0, 3, (64, 64, 1))
    squares = np.where(np.indices((64, 64)).sum(axis=0)[:, :, None] % 2, 255, 0).repeat(3, axis=2)
    return [picture.round().astype(np.uint8) for picture in (flat, noise, grain, squares)]


@pytest.mark.parametrize("quality", [100, 95, 75, 30])
@pytest.mark.parametrize("image_format", ["jpeg", "webp"])
def test_no_encoding_moves_statistics_beyond_the_tolerance(image_format: ImageFormat, quality: int) -> None:
    """Of pictures that are hard to encode, mean and deviation stay within it, by Pillow's encoders."""
    for picture in _hard_pictures():
        data = io.BytesIO()
        subsampling = {"subsampling": 0} if image_format == "jpeg" else {}
        Image.fromarray(picture).save(data, image_format, quality=quality, **subsampling)
        decoded = np.asarray(Image.open(data).convert("RGB"))
        moved = [
            abs(measure(decoded, axis=(0, 1)) - measure(picture, axis=(0, 1)))
            for measure in (np.mean, np.std)
        ]
        assert np.max(moved) < _tolerance(image_format, quality, "unencoded")
