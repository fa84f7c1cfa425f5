"""One slide by its path or address, and its files here for as long as it is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slideprep.discover import SlideFile, discover
from slideprep.errors import InputError, UsageError
from slideprep.pseudonyms import shown_reason
from slideprep.slide_cache import fetched, forget
from slideprep.storage.access import Access


def find_slide(path: str | Path) -> SlideFile:
    """The only slide that a path or address leads to.

    Args:
        path: A slide, the folder of a DICOM series, or the address of either.

    Raises:
        UsageError: There is no slide, or more than one.
        InputError: What is there looks like a slide and is not usable.
    """
    slides, rejected = discover([path])
    if not slides:
        raise InputError("; ".join(item.reason for item in rejected))
    if len(slides) > 1:
        raise UsageError(f"{path} holds {len(slides)} slides ({slides[0].name}, ...); name one of them")
    return slides[0]


@contextmanager
def fetched_for_once(file: SlideFile, access: Access) -> Iterator[SlideFile]:
    """A slide as local files for the length of a block; what had to be fetched is removed afterwards.

    Args:
        file: The slide.
        access: How one in an object store is reached.

    Raises:
        InputError: As it was raised in the block, with addresses in place of local copies.
        OutputError: The store does not answer, or the scratch folder is full.
    """
    if file.remote is None:
        yield file
        return
    with ExitStack() as afterwards, fetched(file, access) as local:
        afterwards.callback(forget, local)
        try:
            yield local
        except InputError as error:
            error.args = (shown_reason(str(error), local, local.name),)
            raise
