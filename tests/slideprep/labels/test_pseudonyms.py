"""Pseudonyms are stable, cannot be guessed, and leave no name behind."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from fixtures.slides import slide_file
from slideprep.errors import UsageError
from slideprep.labels.pseudonyms import Pseudonyms
from slideprep.slides.files import redacted, shown_reason


def test_the_same_file_gives_the_same_pseudonyms(tmp_path: Path) -> None:
    """A later run with the mapping, and with further slides, calls everybody as before."""
    first = Pseudonyms(tmp_path / "map.csv")
    known = first.of("slide", "Müller, Eva.svs"), first.of("patient", "Eva")
    first.save()
    later = Pseudonyms(tmp_path / "map.csv")
    later.of("slide", "another.svs")
    later.save()
    latest = Pseudonyms(tmp_path / "map.csv")
    assert (latest.of("slide", "Müller, Eva.svs"), latest.of("patient", "Eva")) == known


def test_another_file_gives_other_pseudonyms(tmp_path: Path) -> None:
    """The salt is random: nobody finds a name by trying names."""
    one, two = (Pseudonyms(tmp_path / name).of("slide", "a.svs") for name in ("1.csv", "2.csv"))
    assert re.fullmatch(r"slide-[0-9a-f]{12}", one)
    assert one != two


def test_a_slide_and_a_patient_of_one_name_have_two_pseudonyms(tmp_path: Path) -> None:
    """Kind and name together decide."""
    pseudonyms = Pseudonyms(tmp_path / "map.csv")
    assert pseudonyms.of("slide", "7")[-12:] != pseudonyms.of("patient", "7")[-12:]


def test_the_mapping_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """The way back to the names has mode 600, also when it is written again."""
    pseudonyms = Pseudonyms(tmp_path / "map.csv")
    pseudonyms.of("slide", "a.svs")
    for _ in range(2):
        pseudonyms.save()
        assert stat.S_IMODE((tmp_path / "map.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "kind,name,pseudonym\n", "slide,label\na,b\n", "kind,name,pseudonym\nsalt,,x\na\n"]
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    """labels.csv given by mistake is not overwritten."""
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"--pseudonymise .*labels\.csv is no mapping .* or a new file name"):
        Pseudonyms(path)
    assert path.read_text() == text


NAMES = {"Eva Kern.1.svs": "slide-aaa", "7": "patient-bbb", "17": "patient-ccc", "a": "patient-ddd"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("slide 'Eva Kern.1.svs' is empty", "slide 'slide-aaa' is empty"),
        ("Eva Kern.1.geojson, feature 3", "slide-aaa.geojson, feature 3"),
        ("copy it again (/data/clinic/Eva Kern.1.svs)", "copy it again (.svs)"),
        ("looked in /data/clinic", "looked in its folder"),
        ("patients 7 and 17 of 177 (70 %)", "patients patient-bbb and patient-ccc of 177 (70 %)"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_names_stems_and_paths_are_replaced(text: str, shown: str) -> None:
    """Whole names only, so that '7' stays in '177', and pseudonyms that were put in are not searched again."""
    assert redacted(text, NAMES, [Path("/data/clinic/Eva Kern.1.svs")]) == shown


def test_a_reason_is_shown_with_the_pseudonym(tmp_path: Path) -> None:
    """Messages of a slide's reader lose name, path and the names of its other files; without a pseudonym all stays."""
    file = slide_file(tmp_path / "Eva.mrxs", tmp_path / "Kern.dat")
    text = f"slide 'Eva.mrxs' lacks Kern.dat and Eva.xml ({tmp_path}/Eva.mrxs)"
    shown = shown_reason(text, file, "slide-aaa", tmp_path / "Eva.xml")
    assert shown == "slide 'slide-aaa' lacks .dat and .xml (.mrxs)"
    assert shown_reason(text, file, "Eva.mrxs") == text


def test_names_that_look_like_formulas_come_back(tmp_path: Path) -> None:
    """The mapping shows no formula to a spreadsheet program, and gives every name its pseudonym again."""
    names = ["=1+1", "+a", "-b", "@c", "\td", "\re", "'=f", "\uff1dg", 'h"', "i,j", "k\nl"]
    first = Pseudonyms(tmp_path / "m.csv")
    given = {name: first.of("patient", name) for name in names}
    first.save()
    assert Pseudonyms(tmp_path / "m.csv").known("patient") == given
    assert not [
        line for line in (tmp_path / "m.csv").read_text().splitlines() if ",=" in line or ",@" in line
    ]
