"""What a JPEG's header says, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from slideprep.slides.readers.tile_codecs import read_jpeg_header

JPEG = simplejpeg.encode_jpeg(np.full((24, 40, 3), 200, np.uint8), quality=90)


def test_size_and_colours() -> None:
    """The header gives rows, columns and the stored colours."""
    height, width, colours = read_jpeg_header(JPEG)
    assert (height, width, colours.upper()) == (24, 40, "YCBCR")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kept", [2, 20, 60, 160])
def test_a_header_that_breaks_off_is_refused(kept: int, strict: bool) -> None:
    """Zeros in place of the rest of the header are a ValueError, whatever the decoder calls it."""
    with pytest.raises(ValueError, match=r"\w"):
        read_jpeg_header(JPEG[:kept] + bytes(len(JPEG) - kept), strict=strict)
