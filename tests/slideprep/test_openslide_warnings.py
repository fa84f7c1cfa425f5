"""What OpenSlide's decoders warn of is heard, and nobody else's words are lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slideprep.openslide_warnings import ask_for_warnings, decoder_warnings

LINE = "\n(process:1): OpenSlide-WARNING **: 12:00:00.000: {}\n"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("OpenJPEG warning: Stream does not end with EOC", True),
        ("PNG warning: IDAT: CRC error", True),
        ("libtiff warning: PackBitsDecode: Discarding 3 bytes to avoid buffer overrun", True),
        ("libtiff warning: TIFFReadDirectory: Unknown field with tag 65000", False),
        ("libtiff warning: _TIFFVSetField: Bad value", False),
    ],
)
def test_warnings_about_pixels_are_heard(capfd: pytest.CaptureFixture[str], said: str, heard: bool) -> None:
    """A decoder's warning is collected; one about a tag is dropped; neither is printed."""
    with decoder_warnings() as found:
        os.write(2, LINE.format(said).encode())
    assert found == ([said] if heard else [])
    assert capfd.readouterr().err == ""


def test_other_words_are_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """What something else writes to standard error meanwhile comes out afterwards, in order."""
    with decoder_warnings() as found:
        os.write(2, b"one\n" + LINE.format("OpenJPEG warning: x").encode() + b"two\n")
    assert found == ["OpenJPEG warning: x"]
    assert capfd.readouterr().err == "one\ntwo\n"


def test_standard_error_is_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception inside the block leaves standard error where it was."""
    with pytest.raises(KeyError), decoder_warnings():
        raise KeyError
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_without_standard_error() -> None:
    """A program whose standard error is closed reads slides all the same."""
    program = (
        "import os; os.close(2)\n"
        "from slideprep.openslide_warnings import decoder_warnings\n"
        "with decoder_warnings() as heard:\n"
        "    pass\n"
        "print(heard)"
    )
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == "[]\n"


def test_other_options_of_openslide_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user asked OpenSlide to report is still reported."""
    monkeypatch.setenv("OPENSLIDE_DEBUG", "search")
    ask_for_warnings()
    ask_for_warnings()
    assert os.environ["OPENSLIDE_DEBUG"] == "search,decoding"
