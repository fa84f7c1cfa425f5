"""Whether a DICOM whole-slide file is a stained slide in colour, which is all that can be read here.

In: a file's tags, by pydicom's names. Out: why it cannot be read, and what to do. OpenSlide refuses some of these kinds
in words that sound like damage, and of several optical paths it shows the first or the last, as they are organised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KIND_TAGS = (
    "BitsAllocated",
    "NumberOfOpticalPaths",
    "OpticalPathSequence",
    "PhotometricInterpretation",
    "SamplesPerPixel",
    "TotalPixelMatrixFocalPlanes",
)


def refusal(tags: Mapping[str, Any]) -> str | None:
    """Why a file is none that can be read, to follow its name; or None.

    Args:
        tags: :data:`KIND_TAGS` and their values, None where the file lacks one.
    """
    planes = int(tags["TotalPixelMatrixFocalPlanes"] or 1)
    if planes > 1:
        return f"holds {planes} focal planes, and nothing says which one is the slide; export the sharpest one alone"
    paths = list(tags["OpticalPathSequence"] or ())
    count = max(int(tags["NumberOfOpticalPaths"] or 1), len(paths))
    if count > 1:
        return (
            f"holds {count} optical paths{_names(paths)}, and nothing says which one is the slide; export one of them "
            "alone"
        )
    samples, colours = int(tags["SamplesPerPixel"] or 3), str(tags["PhotometricInterpretation"] or "")
    if colours.startswith("PALETTE"):
        return "has palette colours; export it in RGB"
    if samples != 3:
        return (
            f"has {samples} sample a pixel ({colours or 'of unknown meaning'}), as a fluorescence channel has, and "
            "only stained slides in colour are read; export it in RGB"
        )
    bits = int(tags["BitsAllocated"] or 8)
    return f"has {bits} bits a sample; export it with 8" if bits != 8 else None


def _names(paths: Sequence[Any]) -> str:
    """What the paths are called, where they are."""
    found = [
        str(path.get("OpticalPathDescription") or path.get("OpticalPathIdentifier") or "?") for path in paths
    ]
    return f" ({', '.join(found)})" if found else ""
