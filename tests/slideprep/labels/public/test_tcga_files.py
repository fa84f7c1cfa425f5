"""Truths about the files that a manifest lists: which are slides, each once, and which are wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from slideprep.errors import UsageError
from slideprep.labels.public.sheet import Sheet, SheetRow
from slideprep.labels.public.tcga_files import (
    Choice,
    Listed,
    listed_in,
    manifest_of,
    sample_types,
    says_more,
    slide_kinds,
    slides_of,
)

ALL = Choice(samples=None, kinds=None)
SLIDE = "TCGA-AA-0001-01Z-00-DX1.svs"
OTHER = "TCGA-AA-0001-01Z-00-DX2.svs"


def table(header: str, *rows: str) -> Sheet:
    """A table of cells between bars."""
    lines = (SheetRow(line=line, cells=tuple(row.split("|"))) for line, row in enumerate(rows, 2))
    return Sheet(path=Path("m.txt"), columns=tuple(header.split("|")), rows=tuple(lines))


def reasons(*files: Listed, choice: Choice = ALL) -> list[str]:
    """Why files are left out."""
    return [item.reason for item in slides_of(files, choice)[1]]


@pytest.mark.parametrize(
    ("header", "md5"),
    [
        ("id|filename|md5|size|state", "ab"),
        ("File ID|File Name|MD5sum|Size|State", "ab"),
        ("id|file_name|data_format|size|state", ""),
    ],
    ids=["manifest", "sheet", "api-without-md5"],
)
def test_names_and_contents_are_found_under_their_columns(header: str, md5: str) -> None:
    """A manifest, a sample sheet and an answer of the GDC's API all list files."""
    assert listed_in(table(header, f"1|{SLIDE}|AB|9|released"), "LUAD") == [
        Listed(name=SLIDE, given="m.txt line 2", md5=md5, label="LUAD")
    ]


def test_another_table_is_no_manifest() -> None:
    """The message has its columns, those of a manifest, and where such a table belongs."""
    words = r"m\.txt is no GDC manifest: no column 'filename'.*'case_id', 'stage'; .* --clinical"
    with pytest.raises(UsageError, match=words):
        listed_in(table("case_id|stage", "1|I"))
    with pytest.raises(UsageError, match="no file below them"):
        listed_in(table("id|filename|md5|size|state"))


def test_only_a_table_with_more_columns_is_asked_for_classes() -> None:
    """A plain manifest has nothing but files."""
    assert not says_more(table("id|filename|md5|size|state"))
    assert says_more(table("File ID|File Name|Project ID"))


def test_a_manifest_of_what_is_kept_is_one_that_gdc_client_takes() -> None:
    """Five columns in their order, each file once; a table without a column of them gives none."""
    header = "size|id|filename|md5|state|more"
    manifest = table(
        header, f"9|u1|{SLIDE}|m1|released|x", f"9|u2|{OTHER}|m2|released|x", f"9|u1|{SLIDE}|m1|released|x"
    )
    assert manifest_of([table("id|filename", f"u1|{SLIDE}"), manifest], {SLIDE}) == (
        f"id\tfilename\tmd5\tsize\tstate\nu1\t{SLIDE}\tm1\t9\treleased\n"
    )
    assert manifest_of([table("id|filename", f"u1|{SLIDE}")], {SLIDE}) == ""
    assert manifest_of([manifest], set()) == ""


def test_a_file_counts_once() -> None:
    """Named again, in capitals or not, or with the content of one before: the first stays and the others say why."""
    files = [
        Listed(name=SLIDE, md5="1", given="first"),
        Listed(name=SLIDE.lower(), given="second"),
        Listed(name=OTHER, md5="1"),
    ]
    slides, others = slides_of(files, ALL)
    assert [slide.listed.given for slide in slides] == ["first"]
    assert [(item.reason, item.detail) for item in others] == [
        ("it was named before", "first"),
        ("a file before it has the same content (md5)", SLIDE),
    ]


def test_two_contents_of_one_name_are_both_left_out() -> None:
    """labels.csv could not tell which it means."""
    assert (
        reasons(Listed(name=SLIDE, md5="1"), Listed(name=SLIDE, md5="2"))
        == ["files of its name have different contents (md5)"] * 2
    )


def test_a_slide_of_two_classes_is_left_out() -> None:
    """Where two sources name it and give it different classes; of one class it counts once."""
    luad, lusc = Listed(name=SLIDE, label="LUAD"), Listed(name=SLIDE, label="LUSC")
    assert reasons(luad, lusc) == ["its sources are of different classes"] * 2
    assert reasons(luad, luad) == ["it was named before"]


@pytest.mark.parametrize("suffix", ["", ".svs", ".SVS", ".tiff", ".ome.tif", ".png"])
def test_a_slide_is_one_whatever_it_was_converted_to(suffix: str) -> None:
    """A name without a suffix is that of a folder of DICOM files."""
    assert reasons(Listed(name=f"TCGA-AA-0001-01Z-00-DX1{suffix}")) == []


@pytest.mark.parametrize("suffix", [".svs.xml", ".svs.partial", ".pdf", ".h5"])
def test_what_belongs_to_a_slide_is_none(suffix: str) -> None:
    """Annotations, half a download, a report, features."""
    assert reasons(Listed(name=f"TCGA-AA-0001-01Z-00-DX1{suffix}")) == [
        "its name is not that of a TCGA slide"
    ]


def test_tissue_is_asked_for_before_the_kind_of_slide() -> None:
    """A frozen slide of normal tissue is left out as normal; asked for, it is taken."""
    frozen = Listed(name="TCGA-AA-0001-11A-01-TS1.svs")
    assert reasons(frozen, choice=Choice()) == ["sample type 11 Solid Tissue Normal is not taken (--samples)"]
    assert reasons(frozen, choice=Choice(samples=("11",))) == [
        "slide kind TS (frozen, top of the portion) is not taken (--kinds)"
    ]
    assert reasons(frozen, choice=Choice(samples=("11",), kinds=("TS", "BS"))) == []


def test_codes_of_the_options() -> None:
    """Digits or letters, each once, in any case; or all."""
    assert sample_types("01, tp,NT") == ("01", "11")
    assert slide_kinds("dx,ts") == ("DX", "TS")
    assert (sample_types("All"), slide_kinds("all")) == (None, None)


@pytest.mark.parametrize("text", ["", "1", "tumour", "01,all", "21"])
def test_an_unknown_sample_type_is_refused(text: str) -> None:
    """The message names it and the types that slides have."""
    with pytest.raises(UsageError, match=r"--samples: .* is none that TCGA has; .* 11 Solid Tissue Normal"):
        sample_types(text)


def test_an_unknown_kind_is_refused() -> None:
    """The message names it and the four."""
    with pytest.raises(
        UsageError, match=r"--kinds: 'FFPE' is none .* DX \(diagnostic, paraffin-embedded\); TS"
    ):
        slide_kinds("FFPE,DX")
