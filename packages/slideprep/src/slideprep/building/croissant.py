"""A finished set in, its description for catalogues and other libraries out: croissant.json, with samples.json.

Croissant is JSON-LD of the vocabulary https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html. There is one
RecordSet a magnification ("10x": key, image, label, split, slide, patient), one of all samples without images
("samples"), and the names of splits and of classes; a set without labels has no "classes", since Croissant allows no
list of nothing. Images come out of the tars by name; what is known of them is joined from samples.json, because readers
of Croissant open no JSON member of a tar.

A set has these files only where ``slideprep croissant`` wrote them; changes of the set then keep them true. They name
slides and patients as the set does. What its owner says (name, licence, citation) is kept, and so is whatever a person
added at the top of croissant.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slideprep.building.finished import Finished
from slideprep.errors import UsageError
from slideprep.shards.format import (
    CROISSANT,
    IMAGE_EXTENSIONS,
    INDEX_NAME,
    SAMPLES,
    Index,
    magnification_name,
)
from slideprep.storage.store import Store

FORMAT = "http://mlcommons.org/croissant/1.0"
EXPECTED = ("citeAs", "datePublished", "license", "url")
"""What catalogues and the checker look for, and only the owner knows."""
_MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_COLUMNS = ("key", "split", "label", "slide", "patient")
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
            *(
                "fileSet",
                "format",
                "includes",
                "isLiveDataset",
                "jsonPath",
                "key",
                "md5",
                "parentField",
                "path",
            ),
            *(
                "recordSet",
                "references",
                "regex",
                "repeated",
                "replace",
                "samplingRate",
                "separator",
                "source",
            ),
            *("subField", "transform"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
"""The vocabulary's own, which its checker compares word by word."""


def samples_json(finished: Finished) -> bytes:
    """The samples in the order of the shards: key, split, label (null where the split has none), slide, patient."""
    patients = {name: slide.patient for name, slide in finished.prepared.plan.slides.items()}
    samples = finished.samples
    rows = [
        (key, record.split, samples[key].label, samples[key].slide, patients[samples[key].slide])
        for record in sorted(finished.records, key=lambda record: (record.split, record.number))
        for key in record.keys
    ]
    lines = (json.dumps(dict(zip(_COLUMNS, row, strict=True)), ensure_ascii=False) for row in rows)
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def croissant_json(index: Index, index_bytes: bytes, samples: bytes, said: Mapping[str, Any]) -> bytes:
    """The description.

    Args:
        index: The set's index.
        index_bytes: And its bytes.
        samples: Bytes of samples.json.
        said: Other properties of the dataset: its name, and what its owner says.
    """
    magnifications = [magnification_name(m) for m in index.magnifications]
    shown = ", ".join(magnifications)
    document = {
        "version": "1.0.0",
        "description": f"Regions of whole-slide histology images at {shown}, paired by key: WebDataset tars of the "
        "slideprep shard format.",
        **said,
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": FORMAT,
        "distribution": [
            _file(INDEX_NAME, index_bytes),
            _file(SAMPLES, samples),
            *(part for name in magnifications for part in _distribution(index, name)),
        ],
        "recordSet": [
            _names("splits", index.splits, "cr:Split"),
            *([_names("classes", index.classes, "sc:Enumeration")] if index.classes else []),
            _record_set("samples", [_known("samples", column) for column in _COLUMNS]),
            *(_images(index, name) for name in magnifications),
        ],
    }
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def said_of(store: Store) -> dict[str, Any] | None:
    """What croissant.json says now, in a set that has one; None in one that has none.

    Raises:
        UsageError: It is damaged.
    """
    if store.stat(CROISSANT) is None:
        return None
    try:
        said = json.loads(store.read(CROISSANT))
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or said.get("@type") != "sc:Dataset":
        raise UsageError(
            f"{CROISSANT} of {store.place} is no description of a dataset, so what it says cannot be kept; restore it, "
            "or remove it and write another with 'slideprep croissant'"
        )
    return said


def write_croissant(store: Store, finished: Finished, index: Index, index_bytes: bytes, said: Any) -> None:
    """Write both files, which are true of each other."""
    samples = samples_json(finished)
    store.write(SAMPLES, samples)
    store.write(CROISSANT, croissant_json(index, index_bytes, samples, said))


def _file(path: str, content: bytes) -> dict[str, Any]:
    return _file_object(path, len(content), hashlib.sha256(content).hexdigest(), "application/json")


def _file_object(path: str, size: int, sha256: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _distribution(index: Index, name: str) -> Iterator[dict[str, Any]]:
    """The tars of a magnification, and the images in them; a tar without a sample has none."""
    for shard in index.shards:
        file = shard.files[name]
        yield _file_object(file.path, file.bytes, file.sha256, "application/x-tar")
    yield {
        "@type": "cr:FileSet",
        "@id": f"{name}-images",
        "name": f"{name}-images",
        "containedIn": [{"@id": shard.files[name].path} for shard in index.shards if shard.samples],
        "encodingFormat": _MEDIA_TYPES[index.image.format],
        "includes": f"*.{IMAGE_EXTENSIONS[index.image.format]}",
    }


def _images(index: Index, name: str) -> dict[str, Any]:
    """The records of a magnification."""
    images = {"fileSet": {"@id": f"{name}-images"}}
    extension = IMAGE_EXTENSIONS[index.image.format]
    # The extension is optional because a reader applies the expression to its own result once more.
    key = {
        **_field(name, "key"),
        "source": {
            **images,
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": rf"^([^.]+)(?:\.{extension})?$"},
        },
        "references": _column("key"),
    }
    image = {
        **_field(name, "image", "sc:ImageObject"),
        "source": {**images, "extract": {"fileProperty": "content"}},
    }
    return _record_set(name, [key, image, *(_known(name, column) for column in _COLUMNS[1:])])


def _record_set(name: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/key"},
        "field": list(fields),
    }


def _field(record_set: str, name: str, kind: str | list[str] = "sc:Text") -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": kind}


def _known(record_set: str, column: str) -> dict[str, Any]:
    kind = ["sc:Text", "cr:Split"] if column == "split" else "sc:Text"
    return {**_field(record_set, column, kind), "source": _column(column)}


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": SAMPLES}, "extract": {"jsonPath": f"$[*].{name}"}}


def _names(record_set: str, names: Any, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "dataType": kind,
        "key": {"@id": f"{record_set}/name"},
        "field": [_field(record_set, "name")],
        "data": [{f"{record_set}/name": name} for name in names],
    }
