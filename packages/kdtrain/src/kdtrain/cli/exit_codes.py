"""What a command prints and returns when it raises. In: an exception. Out: a message on standard error, a code."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from kdtrain.errors import TrainingError, UsageError
from kdtrain.screen import say
from kdtrain.shards.error import ShardError

FAILED, WRONG_USAGE = 1, 2


@contextmanager
def exit_codes(kept: str = "run the same command again to go on from the last checkpoint") -> Iterator[None]:
    """Turn the errors of a command's body into messages on standard error and exit codes 1 and 2.

    Args:
        kept: What a person who interrupted the command wants to know.
    """
    try:
        yield
    except UsageError as error:
        _stop(error, WRONG_USAGE)
    except ShardError as error:
        _stop(error, WRONG_USAGE if error.rule == "request" else FAILED)
    except TrainingError as error:
        _stop(error, FAILED)
    except KeyboardInterrupt:
        _stop(f"interrupted; {kept}", FAILED)
    except ctypes.ArgumentError as error:
        # What Ctrl-C becomes while ctypes converts an argument of one of OpenSlide's functions.
        if "KeyboardInterrupt" not in str(error):
            raise
        _stop(f"interrupted; {kept}", FAILED)
    except BrokenPipeError:
        _stop("what read the output, or a process of this run, is gone; run the same command again", FAILED)
    except OSError as error:
        fault = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or error
        _stop(f"{fault}; make room or check permissions, then run the same command again", FAILED)


def _stop(message: object, code: int) -> NoReturn:
    say(f"error: {message}", err=True)
    sys.exit(code)
