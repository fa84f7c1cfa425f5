"""Hear what the decoders inside OpenSlide warn of: a warning means pixels that are not those of the file.

OpenSlide turns the errors of its decoders into its own, and the warnings of libjpeg as well. Those of OpenJPEG, libpng
and libtiff it drops, unless the environment variable OPENSLIDE_DEBUG holds ``decoding`` when the library is loaded:
then they go to standard error, from where they are read here. So import this module before ``openslide``: where
OpenSlide was loaded earlier and without the variable, nothing is heard.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

_VARIABLE, _OPTION = "OPENSLIDE_DEBUG", "decoding"
_STDERR = 2
_LINE = re.compile(rb"\n?(?:\([^()\n]*:\d+\): )?OpenSlide-[A-Z]+ \*\*: (?:[\d:.]+: )?(.*)\n")
"""As GLib writes it; the program's name, its number and the time depend on its version and its environment."""
_ABOUT_PIXELS = re.compile(r"(OpenJPEG|PNG) warning: |libtiff warning: (?!_?TIFF)")
"""libtiff's functions that read directories bear its name; they warn of tags that they do not know: no harm."""

_lock = threading.RLock()


def ask_for_warnings() -> None:
    """Make OpenSlide, loaded after this, report what its decoders warn of."""
    options = os.environ.get(_VARIABLE, "").split(",")
    if _OPTION not in options:
        os.environ[_VARIABLE] = ",".join([*filter(None, options), _OPTION])


@contextmanager
def decoder_warnings() -> Iterator[list[str]]:
    """Collect what is warned of inside the block, about pixels; the list is filled when the block ends.

    Standard error is redirected meanwhile, for the whole process; what others wrote there follows when the block ends.
    One thread at a time. Where standard error is closed, as in a daemon, it leads nowhere from then on: its number
    could be given to a slide's file otherwise.
    """
    heard: list[str] = []
    with _lock:
        kept = _standard_error()  # first, or the file below could be given its number
        with _unnamed_file() as caught:
            try:
                with _redirected(caught.fileno(), kept):
                    yield heard
            finally:
                heard += _take(caught.fileno())


def _unnamed_file() -> IO[bytes]:
    """A temporary file, in memory where the system has that: a full disk must not swallow a warning."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("openslide-warnings"), "w+b")
    return tempfile.TemporaryFile()


def _standard_error() -> int:
    """A second descriptor of standard error, or of the null device where it is closed."""
    try:
        return os.dup(_STDERR)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere == _STDERR:
            return os.dup(nowhere)
        os.dup2(nowhere, _STDERR)
        return nowhere


@contextmanager
def _redirected(to: int, kept: int) -> Iterator[None]:
    """Standard error goes to one descriptor inside the block, and to ``kept``, which is closed, after it."""
    with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
        if sys.stderr is not None:
            sys.stderr.flush()
    os.dup2(to, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


def _take(file: int) -> list[str]:
    """OpenSlide's lines about pixels; what else was written goes on to standard error."""
    size = os.fstat(file).st_size
    if size == 0:
        return []
    text = os.pread(file, size, 0)
    rest = _LINE.sub(b"", text)
    with suppress(OSError):  # nobody reads it
        while rest:
            rest = rest[os.write(_STDERR, rest) :]
    lines = [line.decode(errors="replace") for line in _LINE.findall(text)]
    return [line for line in lines if _ABOUT_PIXELS.match(line)]
