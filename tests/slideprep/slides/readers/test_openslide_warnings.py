"""What OpenSlide's decoders warn of is heard, and nobody else's words are lost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slideprep.slides.readers.openslide_warnings import ask_for_warnings, decoder_warnings

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
    """Where standard error is closed warnings are heard all the same, and its number is given to no other file."""
    program = (
        "import os; os.close(2)\n"
        "from slideprep.slides.readers.openslide_warnings import decoder_warnings\n"
        "with decoder_warnings() as heard:\n"
        f"    os.write(2, {LINE.format('PNG warning: x').encode()!r})\n"
        "with open('/dev/zero', 'rb') as slide:\n"
        "    print(heard, slide.fileno() > 2)"
    )
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == "['PNG warning: x'] True\n"


def test_standard_error_that_nobody_reads() -> None:
    """A broken pipe loses words and nothing else: neither the warning nor the block."""
    program = (
        "import os, sys; read, write = os.pipe(); os.dup2(write, 2); os.close(read)\n"
        "from slideprep.slides.readers.openslide_warnings import decoder_warnings\n"
        "sys.stderr = open(2, 'w', closefd=False); sys.stderr.write('unflushed')\n"
        "with decoder_warnings() as heard:\n"
        f"    os.write(2, b'other' + {LINE.format('PNG warning: x').encode()!r})\n"
        "print(heard, flush=True); os._exit(0)"
    )
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == "['PNG warning: x']\n"


def test_blocks_inside_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    """Each block hears what is warned of in it alone, and other words come out in the end."""
    with decoder_warnings() as outer:
        os.write(2, LINE.format("PNG warning: outer").encode())
        with decoder_warnings() as inner:
            os.write(2, b"one\n" + LINE.format("PNG warning: inner").encode())
        os.write(2, b"two\n")
    assert (outer, inner) == (["PNG warning: outer"], ["PNG warning: inner"])
    assert capfd.readouterr().err == "one\ntwo\n"


@pytest.mark.parametrize(
    "before",
    [
        "(process:12): OpenSlide-WARNING **: 12:00:00.000: ",
        "(a name.py:12): OpenSlide-WARNING **: ",
        "OpenSlide-CRITICAL **: 12:00:00.000: ",
    ],
)
def test_every_form_of_a_line_is_heard(capfd: pytest.CaptureFixture[str], before: str) -> None:
    """GLib names the program where another library set a name, and leaves out parts as its environment says."""
    with decoder_warnings() as found:
        os.write(2, f"\n{before}PNG warning: x\n".encode())
    assert found == ["PNG warning: x"]
    assert capfd.readouterr().err == ""


def test_other_options_of_openslide_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user asked OpenSlide to report is still reported."""
    monkeypatch.setenv("OPENSLIDE_DEBUG", "search")
    ask_for_warnings()
    ask_for_warnings()
    assert os.environ["OPENSLIDE_DEBUG"] == "search,decoding"
