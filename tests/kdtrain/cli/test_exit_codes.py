"""What becomes of errors at the command line."""

from __future__ import annotations

import ctypes

import pytest

from kdtrain.cli.exit_codes import FAILED, exit_codes


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ctypes.ArgumentError("argument 2: KeyboardInterrupt: ")], ids=repr
)
def test_an_interruption_says_what_is_kept(capsys: pytest.CaptureFixture[str], error: BaseException) -> None:
    """Also where it came while a library's argument was converted, which ctypes wraps into an error of its own."""
    with pytest.raises(SystemExit) as ended, exit_codes("slides that were finished are kept"):
        raise error
    assert ended.value.code == FAILED
    assert capsys.readouterr().err == "error: interrupted; slides that were finished are kept\n"


def test_other_errors_of_ctypes_are_not_hidden() -> None:
    """A fault of the program stays one."""
    with pytest.raises(ctypes.ArgumentError, match="wrong type"), exit_codes():
        raise ctypes.ArgumentError("argument 1: TypeError: wrong type")
