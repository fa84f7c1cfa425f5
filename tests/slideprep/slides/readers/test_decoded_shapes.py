"""A decoder that gives other pixels than its header announced: a refusal, with assertions or without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.slides import picture, slide_file, write_jp2k_svs, write_svs
from slideprep.errors import SlideReadError
from slideprep.slides.overview import read_level
from slideprep.slides.readers import jpeg2000, tile_codecs
from slideprep.slides.readers.choose import open_reader


@pytest.mark.parametrize(
    ("write", "library", "function"),
    [
        (write_svs, tile_codecs.simplejpeg, "decode_jpeg"),
        (write_jp2k_svs, jpeg2000.imagecodecs, "jpeg2k_decode"),
    ],
    ids=["JPEG", "JPEG 2000"],
)
def test_other_pixels_than_announced_are_refused(
    write: Callable[..., Path], library: Any, function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tile is named as damaged, with what its decoder gave."""
    path = write(tmp_path / "a.svs", picture(150, 130))
    with open_reader(slide_file(path)) as slide:
        monkeypatch.setattr(library, function, lambda *_, **__: np.zeros((7, 5, 3), np.uint8))
        with pytest.raises(SlideReadError, match=r"is damaged: it was decoded to \(7, 5, 3\)"):
            read_level(slide, 0)
