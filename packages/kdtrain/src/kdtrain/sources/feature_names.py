r"""Which file of features belongs to which slide: names in, pairs out. Reads nothing.

A slide is called as the set has it, ``case7.svs``. Its features are ``case7.h5`` in TRIDENT and CLAM, which cut the
suffix off, or ``case7.svs.h5``; for ``case7.ome.tif`` also ``case7.ome.h5``. Case matters, as it does in file names;
accents may be composed or not.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdtrain.errors import UsageError
from kdtrain.text import readable

SUFFIX = ".h5"
SHOWN = 8
"""Names that a message lists."""
_SLIDE_SUFFIX = re.compile(r"(\.ome)?\.[a-z][a-z0-9]{1,6}$", re.IGNORECASE)
"""As slideprep cuts it off: 'a.1.svs' is 'a.1', and a folder '1.2.840' keeps its dots."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Slides and their files.

    Attributes:
        files: By slide, in the order of the slides.
        without: Slides that have none.
        spare: Names of files that belong to no slide.
    """

    files: Mapping[str, Path]
    without: tuple[str, ...]
    spare: tuple[str, ...]


def slide_stem(slide: str) -> str:
    """A slide's name without its suffix, as its features are called after it."""
    return _SLIDE_SUFFIX.sub("", slide) or slide


def feature_files(folder: Path) -> list[Path]:
    """The h5 files of a folder, sorted by name; hidden ones are no features (macOS makes ``._case7.h5``).

    Raises:
        UsageError: It is no folder, or holds none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the folder that holds one {SUFFIX} file a slide")
    found = sorted(p for p in folder.iterdir() if p.suffix == SUFFIX and p.name[0] != "." and p.is_file())
    if not found:
        raise UsageError(
            f"{folder} holds no {SUFFIX} file; give the folder of the features themselves, such as TRIDENT's "
            "features_uni_v2 or CLAM's h5_files"
        )
    return found


def match(files: Sequence[Path], slides: Iterable[str]) -> Matched:
    """Give each slide its file.

    Args:
        files: Of one folder.
        slides: Names, each once.

    Raises:
        UsageError: Two files fit a slide, or a file two slides.
    """
    slides = list(slides)
    by_name = {_spelled(path.name.removesuffix(SUFFIX)): path for path in files}
    found: dict[str, Path] = {}
    claims: defaultdict[Path, list[str]] = defaultdict(list)
    for slide in slides:
        fitting = [by_name[name] for name in _names(slide) if name in by_name]
        if len(fitting) > 1:
            raise UsageError(
                f"slide '{slide}' has {len(fitting)} files of features, {name_list([p.name for p in fitting])} in "
                f"{fitting[0].parent}, and they may differ; keep one"
            )
        for path in fitting:
            found[slide] = path
            claims[path].append(slide)
    for path, claimants in claims.items():
        if len(claimants) > 1:
            raise UsageError(
                f"{path} fits {len(claimants)} slides, {name_list(claimants)}, whose names differ in their suffix "
                f"alone; rename it after the one it is of, such as {claimants[0]}{SUFFIX}, and give the other its own"
            )
    return Matched(
        files=found,
        without=tuple(slide for slide in slides if slide not in found),
        spare=tuple(readable(path.name) for path in files if path not in claims),
    )


def nearly(slide: str, names: Iterable[str]) -> str | None:
    """The name among others that is a slide's but for case, spaces and signs."""
    likeness = {_likeness(slide), _likeness(slide_stem(slide))}
    return next((name for name in names if _likeness(name.removesuffix(SUFFIX)) in likeness), None)


def name_list(names: Sequence[str], most: int = SHOWN) -> str:
    """Names for a message, the first few of many."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _names(slide: str) -> list[str]:
    """What a slide's features may be called, without ``.h5``."""
    whole = _spelled(slide)
    return list(dict.fromkeys([whole, PurePosixPath(whole).stem, slide_stem(whole)]))


def _spelled(name: str) -> str:
    r"""A name as slideprep spells a slide's: bytes that are no UTF-8, and controls, as ``\xe9``; accents composed."""
    shown = "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" else c for c in readable(name))
    return unicodedata.normalize("NFC", shown)


def _likeness(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())
