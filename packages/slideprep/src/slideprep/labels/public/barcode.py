"""What the name of a TCGA slide says: patient, sample, kind of slide, and the slide's UUID.

``TCGA-05-4244-01Z-00-DX1.d4ff32cd-38cf-40ea-8213-45c2b100ac01.svs`` is slide DX1 of portion 00 of vial Z of a sample of
type 01 of patient TCGA-05-4244. Barcodes are read in any case and given in capitals, as the GDC writes them. Source of
parts and codes: GDC Encyclopedia, "TCGA Barcode", and the GDC's code tables, "Sample Type Codes".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SAMPLE_TYPES = {
    "01": ("TP", "Primary Solid Tumor"),
    "02": ("TR", "Recurrent Solid Tumor"),
    "03": ("TB", "Primary Blood Derived Cancer - Peripheral Blood"),
    "04": ("TRBM", "Recurrent Blood Derived Cancer - Bone Marrow"),
    "05": ("TAP", "Additional - New Primary"),
    "06": ("TM", "Metastatic"),
    "07": ("TAM", "Additional Metastatic"),
    "08": ("THOC", "Human Tumor Original Cells"),
    "09": ("TBM", "Primary Blood Derived Cancer - Bone Marrow"),
    "10": ("NB", "Blood Derived Normal"),
    "11": ("NT", "Solid Tissue Normal"),
    "12": ("NBC", "Buccal Cell Normal"),
    "13": ("NEBV", "EBV Immortalized Normal"),
    "14": ("NBM", "Bone Marrow Normal"),
    "20": ("CELLC", "Control Analyte"),
    "40": ("TRB", "Recurrent Blood Derived Cancer - Peripheral Blood"),
    "50": ("CELL", "Cell Lines"),
    "60": ("XP", "Primary Xenograft Tissue"),
    "61": ("XCL", "Cell Line Derived Xenograft Tissue"),
}
"""Short letter code and definition of each sample type that has one."""

KINDS = {
    "DX": "diagnostic, paraffin-embedded",
    "TS": "frozen, top of the portion",
    "MS": "frozen, middle of the portion",
    "BS": "frozen, bottom of the portion",
}
"""Kinds of slides: the block that the diagnosis was made from, and sections beside what was sequenced."""

SUFFIXES = (
    "",
    ".svs",
    ".tif",
    ".tiff",
    ".ome.tif",
    ".ome.tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".dcm",
    ".png",
    ".jpg",
)
"""Of files that can be a slide: the GDC has SVS; others are what people convert them to. A DICOM folder has none."""

_PATIENT = r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}"
_UUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
_SLIDE = re.compile(
    rf"({_PATIENT})-([0-9]{{2}})([A-Z])-([A-Z0-9]{{2}})-([A-Z]{{2}})([A-Z0-9]{{0,3}})(?![A-Z0-9-])"
)
_NAME = re.compile(rf"{_SLIDE.pattern}(?:[._ ]({_UUID}))?(?:[._ ].*)?")
_SAMPLE = re.compile(rf"({_PATIENT})-([0-9]{{2}})([A-Z]?)(?:-.*)?")
_ONLY_PATIENT = re.compile(_PATIENT)


@dataclass(frozen=True, kw_only=True)
class Barcode:
    """What a TCGA name says, in capitals; what it does not say is empty.

    Attributes:
        patient: The first three parts: TCGA-05-4244.
        sample_type: Two digits: 01 is a primary tumour, 11 normal tissue beside one.
        vial: A letter; Z for most diagnostic slides, whatever the vials that were sequenced.
        kind: DX, TS, MS or BS.
        slide: The whole barcode of the slide.
        uuid: The slide's UUID from the file's name. It is not the file's, which the manifest has as ``id``.
    """

    patient: str
    sample_type: str = ""
    vial: str = ""
    kind: str = ""
    slide: str = ""
    uuid: str = ""

    @property
    def sample(self) -> str:
        """The barcode of the sample with its vial, or as far as it is known; empty where no sample is named."""
        return f"{self.patient}-{self.sample_type}{self.vial}" if self.sample_type else ""

    @property
    def is_normal(self) -> bool:
        """Whether the tissue is normal: sample types 10 to 14."""
        return self.sample_type in ("10", "11", "12", "13", "14")


def of_slide(name: str) -> Barcode | None:
    """What the name of a slide's file, or a slide's barcode, says; None where it is no TCGA slide's."""
    match = _NAME.fullmatch(name.strip().upper())
    if match is None:
        return None
    patient, sample_type, vial, portion, kind, number, uuid = match.groups()
    slide = f"{patient}-{sample_type}{vial}-{portion}-{kind}{number}"
    return Barcode(
        patient=patient, sample_type=sample_type, vial=vial, kind=kind, slide=slide, uuid=uuid or ""
    )


def of_cell(value: str) -> Barcode | None:
    """What a cell of a table is about: a slide, a sample (or what was made of one), or a patient; None of others.

    A list of one and the same (``TCGA-05-4244, TCGA-05-4244``, as in sample sheets) is that one.
    """
    text = value.strip()
    if text[:5].upper() != "TCGA-":  # nearly all cells of a wide table
        return None
    text = text.upper()
    parts = {part.strip() for part in text.split(",")}
    if len(parts) > 1:
        return None
    (text,) = parts
    if (slide := of_slide(text)) is not None:
        return slide
    if (sample := _SAMPLE.fullmatch(text)) is not None:
        patient, sample_type, vial = sample.groups()
        return Barcode(patient=patient, sample_type=sample_type, vial=vial)
    return Barcode(patient=text) if _ONLY_PATIENT.fullmatch(text) else None


def sample_words(code: str) -> str:
    """A sample type for a table or a sentence: '01 Primary Solid Tumor'."""
    return f"{code} {SAMPLE_TYPES[code][1]}" if code in SAMPLE_TYPES else code


def kind_words(kind: str) -> str:
    """A kind of slide for a sentence: 'DX (diagnostic, paraffin-embedded)'."""
    return f"{kind} ({KINDS[kind]})" if kind in KINDS else kind
