"""Truths about names of TCGA: what is read out of them, and what is no name of a slide."""

from __future__ import annotations

import pytest

from slideprep.labels.public.barcode import KINDS, SAMPLE_TYPES, Barcode, of_cell, of_slide

UUID = "D4FF32CD-38CF-40EA-8213-45C2B100AC01"


@pytest.mark.parametrize(
    ("name", "sample", "kind", "slide", "uuid"),
    [
        (f"TCGA-05-4244-01Z-00-DX1.{UUID}.svs", "TCGA-05-4244-01Z", "DX", "TCGA-05-4244-01Z-00-DX1", UUID),
        (f"tcga-05-4244-01z-00-dx1.{UUID.lower()}.svs", "TCGA-05-4244-01Z", "DX", "TCGA-05-4244-01Z-00-DX1", UUID),
        ("TCGA-05-4244-11A-01-TSA.svs", "TCGA-05-4244-11A", "TS", "TCGA-05-4244-11A-01-TSA", ""),
        ("TCGA-05-4244-01A-02-BS", "TCGA-05-4244-01A", "BS", "TCGA-05-4244-01A-02-BS", ""),
        (f"TCGA-A2-A0T2-06A-0F-MS12_{UUID}.tif", "TCGA-A2-A0T2-06A", "MS", "TCGA-A2-A0T2-06A-0F-MS12", UUID),
        ("TCGA-05-4244-01Z-00-DX1.a remark.svs", "TCGA-05-4244-01Z", "DX", "TCGA-05-4244-01Z-00-DX1", ""),
    ],
    ids=["gdc", "small-letters", "letter-for-number", "no-number", "underscore", "remark"],
)  # fmt: skip
def test_a_slides_name_says_it_all(name: str, sample: str, kind: str, slide: str, uuid: str) -> None:
    """Patient, sample, kind and UUID are read in any case and given in capitals."""
    code = of_slide(name)
    assert code is not None
    assert (code.patient, code.sample, code.kind, code.slide, code.uuid) == (
        sample[:12],
        sample,
        kind,
        slide,
        uuid,
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "slide.svs",
        "TCGA-05-4244.svs",
        "TCGA-05-4244-01A-11R-A278-07.bam",
        "TCGA-05-4244-01Z-00-DX1-EXTRA.svs",
        "x-TCGA-05-4244-01Z-00-DX1.svs",
        "TCGA-05-424-01Z-00-DX1.svs",
        "C3L-00001-21.svs",
        "nationwidechildrens.org_clinical.TCGA-05-4244.xml",
    ],
)
def test_what_is_no_slides_name_is_none(name: str) -> None:
    """Patients, aliquots, other programmes and names with something before the barcode."""
    assert of_slide(name) is None


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        (" tcga-05-4244 ", Barcode(patient="TCGA-05-4244")),
        ("TCGA-05-4244, TCGA-05-4244", Barcode(patient="TCGA-05-4244")),
        ("TCGA-05-4244-01", Barcode(patient="TCGA-05-4244", sample_type="01")),
        ("TCGA-05-4244-01A", Barcode(patient="TCGA-05-4244", sample_type="01", vial="A")),
        ("TCGA-05-4244-01A-11R-A278-07", Barcode(patient="TCGA-05-4244", sample_type="01", vial="A")),
        ("TCGA-05-4244, TCGA-05-4245", None),
        ("TCGA-LUAD", None),
        ("4244", None),
        ("", None),
    ],
)
def test_a_cell_is_about_a_patient_a_sample_or_nothing(cell: str, code: Barcode | None) -> None:
    """A list of one and the same is that one; a list of two is about neither; a project is no patient."""
    assert of_cell(cell) == code


def test_normal_tissue_has_the_types_10_to_14() -> None:
    """Of the sample types that TCGA has, those are the ones whose definition says Normal."""
    normal = {code for code, (_, words) in SAMPLE_TYPES.items() if "Normal" in words}
    assert normal == {"10", "11", "12", "13", "14"}
    assert {t for t in SAMPLE_TYPES if Barcode(patient="P", sample_type=t).is_normal} == normal


def test_only_diagnostic_slides_are_not_frozen() -> None:
    """TS, MS and BS are frozen sections."""
    assert {kind for kind, words in KINDS.items() if "frozen" not in words} == {"DX"}
