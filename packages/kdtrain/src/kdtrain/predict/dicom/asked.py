"""Whether class maps as DICOM can be written at all: the library is there, and a slide is DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from kdtrain.errors import UsageError
from kdtrain.predict.dicom.header import is_dicom


def has_highdicom() -> bool:
    """Whether class maps can be written as DICOM."""
    return find_spec("highdicom") is not None


def require_dicom(slides: Sequence[tuple[str, Path | None]]) -> None:
    """Refuse to write class maps as DICOM where none could be written.

    Args:
        slides: Name and file of each; None of one in an object store, whose format is not known yet.

    Raises:
        UsageError: highdicom is not installed, or not one of the slides is DICOM.
    """
    if not has_highdicom():
        raise UsageError(
            "class maps as DICOM are written by highdicom, which is not installed; run pip install 'kdtrain[dicom]', "
            "or leave --dicom out"
        )
    if slides and not any(path is None or _may_be_dicom(path) for _, path in slides):
        name, _ = slides[0]
        raise UsageError(f"--dicom: slide '{name}': {no_dicom_words(name)}")


def _may_be_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:  # reading it will say why
        return True


def no_dicom_words(slide: str) -> str:
    """Why a slide of another format gets no class maps, and what to do."""
    stem = slide.rpartition(".")[0] or slide
    return (
        "it is no DICOM slide, and a class map as DICOM lies over the DICOM image of its slide, which it refers to; "
        f"convert the slide, e.g. by wsidicomizer -i '{slide}' -o '{stem}-dicom', and predict that folder"
    )
