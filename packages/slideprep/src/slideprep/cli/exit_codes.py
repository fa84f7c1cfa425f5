"""What becomes of errors at the command line: a message and an exit code.

0: all done. 1: failed. 2: wrong usage or configuration, found before any work. 3: finished, but some inputs failed and
are listed in failures.csv.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from slideprep.cli.foreign import about_options
from slideprep.errors import SlideprepError, UsageError
from slideprep.text import for_terminal

DONE, FAILED, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3


@contextmanager
def exit_codes(kept: str) -> Iterator[None]:
    """Turn errors into messages and exit codes; a termination signal into an interruption.

    Args:
        kept: What a person who interrupted the command wants to know.
    """

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except UsageError as error:
        _stop(error, WRONG_USAGE)
    except SlideprepError as error:
        _stop(error, FAILED)
    except KeyboardInterrupt:
        _stop(f"interrupted; {kept}", FAILED)
    except ctypes.ArgumentError as error:
        # What Ctrl-C becomes while ctypes converts an argument of one of OpenSlide's functions.
        if "KeyboardInterrupt" not in str(error):
            raise
        _stop(f"interrupted; {kept}", FAILED)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _stop(message: object, code: int) -> NoReturn:
    click.echo(for_terminal(f"error: {message}"), err=True)
    if (told := about_options(str(message))) is not None:
        click.echo(told, err=True)
    sys.exit(code)
