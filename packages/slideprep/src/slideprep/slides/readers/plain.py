"""Read plain PNG, JPEG and TIFF images: one level, no scale except what a TIFF plausibly says.

JPEG up to 200 megapixels is decoded whole and strictly, so damage is refused, and kept until the slide is closed.
Everything else streams through libvips, with every warning an error. Pixels are as stored: EXIF orientation is not
followed, which a warning says, and ICC profiles are not applied, so that boxes and annotations fit what is in the file.
Grey becomes RGB and 16 bits become 8 (with warnings), transparency is laid on white; CMYK and floating-point images are
refused, and so are values that no stained slide has (:mod:`slideprep.slides.readers.tiff_values`). A TIFF's tags and
values have been looked at before it comes here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from slideprep.errors import SlideOpenError, SlideReadError
from slideprep.slides.reader import STRIP_ROWS, ClosingSlide, grid_cells, levels_from_sizes
from slideprep.slides.readers.plain_looks import exif_of_jpeg, png_warnings, refuse_values, turned
from slideprep.slides.readers.stated_scale import StatedScale, stated_scale
from slideprep.slides.readers.tiff_check import GREY
from slideprep.slides.readers.tiff_pages import directory_is_complete
from slideprep.slides.readers.tiff_values import grey_values
from slideprep.slides.readers.tile_codecs import read_jpeg_header
from slideprep.units import Pixels

if TYPE_CHECKING:
    from slideprep.slides.files import SlideFile

JPEG_LIMIT_PX = 200_000_000
"""Largest JPEG decoded in memory: 600 MB."""

PLAIN_LIMIT_PX = 2_000_000_000
"""Largest plain image: beyond it every region would mean decoding gigabytes from the top."""

_WHITE = (255, 255, 255)
_COPY_AGAIN = "copy it again from its source"


def open_jpeg(file: SlideFile) -> PlainSlide:
    """Open a plain JPEG, with the strict decoder up to 200 megapixels, through libvips above.

    Raises:
        SlideOpenError: The header is damaged, the image is CMYK, or it has more than 2 gigapixels.
    """
    data = file.path.read_bytes()
    try:
        height, width, colours = read_jpeg_header(data)
    except ValueError as error:
        raise SlideOpenError(f"slide '{file.name}' is a damaged JPEG: {error}; {_COPY_AGAIN}") from error
    if colours.upper() not in ("YCBCR", "RGB", "GRAY"):
        raise SlideOpenError(_unsupported(file.name, f"its colours are {colours}"))
    if width * height > JPEG_LIMIT_PX:
        return open_vips(file)
    slide = _StrictJpeg(file.name, width, height, data)
    slide.warnings += turned(exif_of_jpeg(data))
    if colours.upper() == "GRAY":
        slide.warnings.append(GREY)
        slide.refuse_dark()
    return slide


def open_plain_tiff(file: SlideFile) -> PlainSlide:
    """Open a TIFF that OpenSlide does not know.

    Raises:
        SlideOpenError: As :func:`open_vips`; and where the chain of pages breaks off, for then OpenSlide does not
            recognise a slide either, and libvips would read what is left of it without a word.
    """
    if not directory_is_complete(file.path):
        raise SlideOpenError(
            f"slide '{file.name}' is a TIFF whose list of pages breaks off: it is truncated, {_COPY_AGAIN} "
            f"({file.path})"
        )
    return open_vips(file)


def open_vips(file: SlideFile) -> PlainSlide:
    """Open a plain image through libvips.

    Raises:
        SlideOpenError: libvips cannot read it, its pixels are of no supported kind, or it has over 2 gigapixels.
    """
    import pyvips

    try:
        image = _load(file.path)
        _check_kind(file.name, image)
    except pyvips.Error as error:
        raise SlideOpenError(
            f"slide '{file.name}' cannot be opened: libvips says '{_one_line(error)}'; it is probably truncated or "
            f"damaged, {_COPY_AGAIN} ({file.path})"
        ) from error
    slide = _Streamed(file, image)
    if slide.vendor != "tiff" and image.get_typeof("exif-data"):
        slide.warnings += turned(image.get("exif-data"))
    if slide.vendor == "png":
        slide.warnings += png_warnings(file.name, image, lambda: _load(file.path))
    return slide


def _load(path: Path) -> Any:
    import pyvips

    pyvips.cache_set_max(0)  # a cached image would be shown again after its file was replaced
    try:
        str(path).encode()
    except UnicodeEncodeError:  # pyvips hands over names as UTF-8, and a file's name need not be any
        pass
    else:
        return pyvips.Image.new_from_file(str(path), access="sequential", fail_on="warning")
    with path.open("rb") as stream:
        source = pyvips.Source.new_from_descriptor(stream.fileno())  # keeps a descriptor of its own
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="warning")


def _one_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _unsupported(name: str, what: str) -> str:
    return f"slide '{name}' is not an 8-bit or 16-bit RGB or grey image ({what}); convert it to 8-bit RGB"


def _check_kind(name: str, image: Any) -> None:
    if image.width * image.height > PLAIN_LIMIT_PX:
        raise SlideOpenError(
            f"slide '{name}' is a plain image of {image.width} x {image.height} px, over the limit of "
            f"{PLAIN_LIMIT_PX / 1e9:g} gigapixels, because it can only be read from the top; convert it to a tiled, "
            "pyramidal TIFF"
        )
    if image.format not in ("uchar", "ushort"):
        raise SlideOpenError(_unsupported(name, f"its pixels are of type {image.format}"))
    if image.interpretation not in ("srgb", "rgb", "b-w", "rgb16", "grey16"):
        raise SlideOpenError(_unsupported(name, f"its colours are {image.interpretation}"))
    if image.bands - int(image.hasalpha()) not in (1, 3):
        raise SlideOpenError(_unsupported(name, f"it has {image.bands} channels"))


def _rgb8(image: Any) -> Any:
    """A pipeline that makes 8-bit RGB of an image that passed :func:`_check_kind`."""
    deep = image.format == "ushort"
    if image.hasalpha():
        image = image.flatten(background=[65535 if deep else 255] * (image.bands - 1))
    if deep:
        # the high byte, whatever the tags say of colour: no gamma, no guess at a smaller range
        image = (image >> 8).cast("uchar")
    return image if image.bands == 3 else image.bandjoin([image, image])


class PlainSlide(ClosingSlide):
    """A plain image as a slide of one level; see :class:`slideprep.slides.reader.Slide`."""

    reader: str

    def __init__(
        self, name: str, vendor: str, width: int, height: int, scale: StatedScale | None = None
    ) -> None:
        """Record what is known of the image."""
        self.name = name
        self.vendor = vendor
        self.levels = levels_from_sizes([(width, height)])
        self.mpp = scale.mpp if scale else None
        self.objective = scale.objective if scale else None
        self.background = _WHITE
        self.scale_doubts = scale.doubts if scale else ()
        self.warnings = list(self.scale_doubts)

    def keep_levels(self, indices: Sequence[int]) -> None:
        """Nothing to do: there is one level."""

    def strips(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """Read a box of the image; see :meth:`slideprep.slides.reader.Slide.strips`."""
        size = self.levels[level]
        assert 0 <= x < x + width <= size.width, f"columns {x}+{width} outside the width {size.width}"
        assert 0 <= y < y + height <= size.height, f"rows {y}+{height} outside the height {size.height}"
        return self._strips(x, y, width, height)

    @abstractmethod
    def _strips(self, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        """The strips of a box that lies inside the image."""

    def coarse_strips(self, level: int, reduction: float) -> tuple[int, Iterator[Pixels]]:
        """Strips of the whole image, not reduced."""
        size = self.levels[level]
        return 1, self.strips(level, 0, 0, size.width, size.height)


class _StrictJpeg(PlainSlide):
    """A JPEG decoded whole at the first read, and kept: reading ten regions decodes once."""

    reader = "jpeg"

    def __init__(self, name: str, width: int, height: int, data: bytes) -> None:
        super().__init__(name, "jpeg", width, height)
        self._data = data
        self._image: Pixels | None = None

    def _strips(self, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        image = self._decoded()
        for _, top, bottom in grid_cells(y, y + height, STRIP_ROWS):
            yield image[top:bottom, x : x + width].copy()

    def _decoded(self) -> Pixels:
        if self._image is None:
            try:
                self._image = simplejpeg.decode_jpeg(self._data, strict=True)
            except ValueError as error:
                raise SlideReadError(
                    f"slide '{self.name}' is a damaged JPEG: {error}; {_COPY_AGAIN}"
                ) from error
        return self._image

    def refuse_dark(self) -> None:
        """Refuse, by SlideOpenError, a grey image without bright glass."""
        with suppress(SlideReadError):  # damage is said where pixels are read
            refuse_values(self.name, grey_values(8, self._decoded()[::3, ::3, 0] / 255))

    def close(self) -> None:
        self._image = None
        self._data = b""


class _Streamed(PlainSlide):
    """An image read by libvips from the top, 256 rows at a time."""

    reader = "libvips"

    def __init__(self, file: SlideFile, image: Any) -> None:
        vendor = str(image.get("vips-loader")).removesuffix("_source").removesuffix("load")
        super().__init__(file.name, vendor, image.width, image.height, _tiff_scale(image, vendor))
        self._path = file.path
        if image.format == "ushort":
            self.warnings.append("The image has 16 bits per channel; the upper 8 are used.")

    def _strips(self, x: int, y: int, width: int, height: int) -> Iterator[Pixels]:
        import pyvips

        try:
            # a fresh pipeline per call: a sequential one cannot go back to the top
            region = pyvips.Region.new(_rgb8(_load(self._path)))
            for _, top, bottom in grid_cells(y, y + height, STRIP_ROWS):
                data = region.fetch(x, top, width, bottom - top)
                yield np.frombuffer(data, np.uint8).reshape(bottom - top, width, 3)
        except pyvips.Error as error:
            raise SlideReadError(
                f"slide '{self.name}' is damaged or truncated: libvips says '{_one_line(error)}'; {_COPY_AGAIN}"
            ) from error

    def close(self) -> None:
        """Nothing is held between reads: each call of ``strips`` opens the file for itself."""


def _tiff_scale(image: Any, vendor: str) -> StatedScale:
    """The scale of a TIFF, by its description and by resolution tags that have a unit; of other images none."""
    properties: dict[str, str] = {}
    if vendor == "tiff":
        properties |= {
            "openslide.level[0].width": str(image.width),
            "openslide.level[0].height": str(image.height),
        }
        if image.get_typeof("image-description"):
            properties["tiff.ImageDescription"] = str(image.get("image-description"))
        if image.get_typeof("resolution-unit") and image.xres > 0 and image.yres > 0:
            # libvips keeps pixels per millimetre
            properties |= {
                "openslide.mpp-x": repr(1000 / image.xres),
                "openslide.mpp-y": repr(1000 / image.yres),
            }
    return stated_scale(properties)
