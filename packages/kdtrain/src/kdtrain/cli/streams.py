"""Standard output and error that may be full, closed or read by nobody: said once, never as a trace.

What a command says on standard error goes with its work and is no reason to end it: what cannot be written there is
dropped. What it says on standard output is its answer: where that is lost, the command ends with 1 and a sentence, or
without one where a reader such as ``head`` has had enough. What a terminal's encoding lacks is printed as an escape.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from kdtrain.text import on_terminal

_OUT, _ERR = 1, 2
FAILED = 1


class Program(click.Group):
    """Commands whose answers may be lost."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command; see :class:`click.Group`."""
        with kept_streams():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, with what click says of a wrong option or value spelled out: a glob may have typed a hostile name."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            said = error.format_message()
            if on_terminal(said) == said:
                raise
            raise click.UsageError(on_terminal(said), ctx=error.ctx) from None


class AnswerLostError(Exception):
    """Standard output cannot be written to. No OSError: those speak of files, and are taken for them."""


class _Answer(io.FileIO):
    """Raises once; what comes after a loss is dropped, also when Python ends and writes what it has left."""

    lost = False

    def write(self, data: Any) -> int:
        if not self.lost:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.lost = True
                raise AnswerLostError(error.errno, error.strerror) from None
        return memoryview(data).nbytes


class _Remarks(io.FileIO):
    """Drops what cannot be written."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return memoryview(data).nbytes


@contextmanager
def kept_streams() -> Iterator[None]:
    """Let a program run on such streams; those that a caller has put in place only learn to write escapes."""
    before = sys.stdout, sys.stderr
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        for stream in before:
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        yield
        return
    _open_closed()
    for stream in before:
        with suppress(OSError):
            stream and stream.flush()
    sys.stderr = _text(_Remarks(_ERR, "w", closefd=False), sys.stderr)
    sys.stdout = _text(_Answer(_OUT, "w", closefd=False), sys.stdout)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except AnswerLostError as error:
        number, reason = error.args
        if number != errno.EPIPE:
            click.echo(
                f"error: standard output cannot be written to ({reason}), so the answer of this command is lost; send "
                "it elsewhere, and run the same command again",
                err=True,
            )
        sys.exit(FAILED)
    finally:
        sys.stdout, sys.stderr = before


def _open_closed() -> None:
    """Give closed descriptors to nobody: the next file that is opened would get one, and what is printed with it."""
    for number, mode in (
        (_OUT, os.O_RDONLY),
        (_ERR, os.O_WRONLY),
    ):  # what is printed to a file to read is lost
        try:
            os.fstat(number)
        except OSError:
            taken = os.open(os.devnull, mode)
            if taken != number:
                os.dup2(taken, number)
                os.close(taken)


def _text(raw: io.FileIO, like: TextIO | None) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == _ERR,
        write_through=raw.fileno() == _ERR,
    )
