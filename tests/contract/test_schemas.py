"""The JSON Schemas describe what the writer's models accept, no more and no less."""

from __future__ import annotations

import copy
import json
import tarfile
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from fixtures.repository import SHARDS
from slideprep.shards.format import Index, SampleRecord


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((SHARDS / name).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _records() -> list[Any]:
    records = []
    for path in sorted((SHARDS / "golden").rglob("*.tar")):
        with tarfile.open(path) as tar:
            records += [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]  # type: ignore[arg-type]
    return records


def _mutants(document: Any) -> Iterator[tuple[str, Any]]:
    """Each field removed, replaced by something of a wrong kind, and each object with a field too many."""
    for path in _paths(document):
        for name, value in (
            ("text", "?!"),
            ("negative", -3),
            ("null", None),
            ("fraction", 0.25),
            ("list", [[]]),
        ):
            mutant = copy.deepcopy(document)
            _parent(mutant, path)[path[-1]] = value
            yield f"{path} {name}", mutant
        mutant = copy.deepcopy(document)
        parent = _parent(mutant, path)
        del parent[path[-1]]
        yield f"{path} removed", mutant
        if isinstance(parent, dict):
            parent["Something Else"] = 1
            yield f"{path} added", mutant


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def _model_accepts(model: type[Index] | type[SampleRecord], document: Any) -> bool:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError:
        return False
    return True


def test_schemas_accept_the_golden_set() -> None:
    """index.json and all 24 records of the golden set fit their schemas."""
    _validator("index.schema.json").validate(json.loads((SHARDS / "golden" / "index.json").read_text()))
    records = _records()
    assert len(records) == 24
    for record in records:
        _validator("sample.schema.json").validate(record)


def test_index_schema_refuses() -> None:
    """An index without its grid does not fit the schema."""
    document = json.loads((SHARDS / "invalid" / "F02-index-schema" / "index.json").read_text())
    assert not _validator("index.schema.json").is_valid(document)


def test_schemas_and_models_agree() -> None:
    """Hundreds of damaged records and indices are accepted by both schema and model, or by neither."""
    index = json.loads((SHARDS / "golden" / "index.json").read_text())
    index["shards"] = index["shards"][:1]
    index["splits"] = {"train": index["splits"]["train"]}
    cases: list[tuple[str, type[Index] | type[SampleRecord], Any]] = [
        ("sample.schema.json", SampleRecord, _records()[-1]),
        ("index.schema.json", Index, index),
    ]
    for schema, model, document in cases:
        validator = _validator(schema)
        verdicts = []
        for name, mutant in _mutants(document):
            verdicts.append(validator.is_valid(mutant))
            assert verdicts[-1] == _model_accepts(model, mutant), f"{schema}: {name}"
        assert verdicts.count(False) > 200
        assert verdicts.count(True) > 10
