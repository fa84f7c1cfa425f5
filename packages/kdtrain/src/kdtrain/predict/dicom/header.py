"""A slide's file in, what class maps need of its DICOM header out: runs in the process that reads the slide.

A slide from an object store lies on that process's disk alone, so what is needed crosses with the images: patient,
study, specimen and place, some kilobytes. Pixels, positions of tiles and colour profiles stay behind.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LAST_TAG_NEEDED = (
    0x52009229  # SharedFunctionalGroupsSequence; the list of tiles and the pixels come after it
)
_BULKY = ("OpticalPathSequence", "IconImageSequence", "SimpleFrameList")
_MAGIC = b"DICM"


UNREADABLE = Exception
"""What pydicom raises on damaged files: its errors share no base class, and the built-in ones come out as well."""


@contextmanager
def quietly() -> Iterator[None]:
    """Say nothing of what pydicom and highdicom remark.

    Of an odd value they show the value, and in a header that may be the patient's name: a log or a terminal is no place
    for it.
    """
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [(logger, logger.disabled) for logger in loggers]
    children = [
        one
        for name, one in logging.root.manager.loggerDict.items()
        if isinstance(one, logging.Logger) and name.startswith(("pydicom.", "highdicom."))
    ]
    before += [(logger, logger.disabled) for logger in children]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger, _ in before:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in before:
                logger.disabled = disabled


def is_dicom(path: Path) -> bool:
    """Whether a file begins as a DICOM file does (PS3.10, 7.1).

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(132)[128:] == _MAGIC


def dicom_header(path: Path) -> bytes | None:
    """The header of a slide's file as a DICOM file without pixels.

    Args:
        path: The file of the slide's largest level.

    Returns:
        None of a file that is no DICOM; nothing where the header cannot be read.

    Raises:
        OSError: The file cannot be read.
    """
    from pydicom.filereader import read_partial  # comes with slideprep, which a bundle's network does without

    if not is_dicom(path):
        return None
    try:
        with quietly(), path.open("rb") as file:
            return _written(read_partial(file, stop_when=lambda tag, _vr, _length: tag > _LAST_TAG_NEEDED))
    except OSError:
        raise
    except UNREADABLE:
        return b""


def _written(header: Any) -> bytes:
    for keyword in _BULKY:
        if keyword in header:
            del header[keyword]
    buffer = io.BytesIO()
    header.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
