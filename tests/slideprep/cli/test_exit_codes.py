"""What becomes of errors at the command line."""

from __future__ import annotations

import ctypes

import pytest

from slideprep.cli.exit_codes import FAILED, exit_codes


class Slow:
    """An argument whose conversion is interrupted."""

    @classmethod
    def from_param(cls, _: object) -> object:
        """As a person's Ctrl-C in the middle of it."""
        raise KeyboardInterrupt


def test_an_interruption_inside_of_ctypes_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """What ctypes wraps into an error of its own ends the command with a message all the same."""
    function = ctypes.CDLL(None).abs
    function.argtypes = [Slow]
    with pytest.raises(SystemExit) as ended, exit_codes("what is finished is kept"):
        function(1)
    assert ended.value.code == FAILED
    assert capsys.readouterr().err == "error: interrupted; what is finished is kept\n"


def test_other_errors_of_ctypes_are_not_hidden() -> None:
    """A fault of the program stays one."""
    with pytest.raises(ctypes.ArgumentError, match="wrong type"), exit_codes("kept"):
        raise ctypes.ArgumentError("argument 1: TypeError: wrong type")
