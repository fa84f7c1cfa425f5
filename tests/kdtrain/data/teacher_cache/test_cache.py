"""A teacher cache as it is read: what it holds, what is refused of it by which rule, and which run it fits."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from jsonschema import Draft202012Validator

from fixtures.repository import SHARDS
from fixtures.sources import Means, source_cached
from fixtures.teacher_caches import VIEWS, distil, edit_json, flip_bit, offset_of
from kdtrain.augment import AugmentSettings, draw
from kdtrain.data.samples import LoadedSample
from kdtrain.data.stream import EvaluationStream
from kdtrain.data.teacher_cache.document import DOCUMENTS, to_json
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.data.teacher_cache.record import draw_entry, draw_of, read_record
from kdtrain.data.teacher_cache.tar import writing
from kdtrain.data.teacher_cache.view import TeacherView, ViewShape, decode_view, encode_view, map_size
from kdtrain.errors import NotFiniteError, TrainingError, UsageError
from kdtrain.model.resnet import build_model
from kdtrain.phases.teacher_views import ViewMaker
from kdtrain.shards.error import ShardError
from kdtrain.shards.index import Index, read_index
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

SCHEMA = json.loads((SHARDS / "teacher-cache.schema.json").read_text())
TAR = "aux1-000000.tar"
"""Of two samples with three views each."""


@pytest.fixture
def cache(teacher_cache, tmp_path) -> Path:
    """One that may be damaged."""
    return Path(shutil.copytree(teacher_cache, tmp_path / "cache"))


@pytest.fixture(scope="session")
def source_cache(shards, tmp_path_factory) -> Path:
    """Of a teacher that is no run and gives no logits; nobody changes it."""
    out = tmp_path_factory.mktemp("caches") / "source"
    source_cached(shards, out, Means())
    return out


def samples(index: Index, split: str) -> list[LoadedSample]:
    """Of a split, at both magnifications, in stored order."""
    return list(EvaluationStream(index, split, [10, 2.5]))


def keys(index: Index) -> list[str]:
    """Of the shard that TAR is of."""
    return [sample.key for sample in samples(index, "aux1")][:2]


def read(folder: Path, shards: Path, view: int = 1) -> None:
    """Read a view of the second sample of TAR."""
    index = read_index(shards)
    shard = index.shards_of("aux1")[0]
    reader = CacheReader(open_cache(folder), index)
    try:
        reader.load(shard, 1, view, key=keys(index)[1])
    finally:
        reader.close()


# What is in it


def test_views_are_the_draws_of_the_first_epochs(teacher_cache, shards, teacher):
    """Each view has the draw of its epoch in an online run of the seed, and the teacher's outputs for that draw."""
    index, trained_one = read_index(shards), load_trained(teacher, what="--teacher")
    reader = CacheReader(open_cache(teacher_cache), index)
    maker = ViewMaker(trained_one, precision="fp32", device=torch.device("cpu"), output_stride=32)
    shard = index.shards_of("aux1")[0]
    turned = set()
    for position, sample in enumerate(samples(index, "aux1")[:2]):
        for view in range(VIEWS):
            found = reader.load(shard, position, view, key=sample.key)
            assert found.draw == draw(AugmentSettings(), seed=0, epoch=view, key=sample.key)
            assert reader.turned(shard)[view][position] == str(found.draw.quarter_turns % 2)
            turned.add(found.draw.quarter_turns % 2)
            (wanted,) = maker.views(sample, [found.draw], sample.sizes[2.5])
            assert torch.equal(found.view.logits_K, wanted.logits_K)
            assert all(torch.equal(found.view.maps[how], x.half()) for how, x in wanted.maps.items())
    assert turned == {0, 1}


def test_samples_that_choose_are_not_augmented(teacher_cache, shards):
    """The development split has one view a sample, whose draw changes nothing."""
    document = open_cache(teacher_cache).document
    entry = next(entry for entry in document.shards if entry.split == "dev")
    assert (entry.augmented, entry.turned) == (False, ("00",))
    with tarfile.open(teacher_cache / entry.path) as tar:
        records = [json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")]
    assert [len(record["views"]) for record in records] == [1, 1]
    plain = records[0]["views"][0]["draw"]
    assert (plain["brightness"], plain["hue"], plain["quarter_turns"]) == (1, 0, 0)


def test_a_tar_is_one_that_others_read(teacher_cache, shards):
    """The standard library lists records and views under the shards' keys, by name; headers hold no time or user."""
    with tarfile.open(teacher_cache / TAR) as tar:
        members = tar.getmembers()
    extensions = ["json", "v000.st", "v001.st", "v002.st"]
    assert [m.name for m in members] == [f"{key}.{e}" for key in keys(read_index(shards)) for e in extensions]
    assert {(m.mtime, m.mode, m.uid, m.uname, m.gname) for m in members} == {
        (0, 0o444, 0, "kdtrain", "kdtrain")
    }


@pytest.mark.parametrize("version", [1, 2])
def test_the_schema_describes_what_is_written(version, teacher_cache, source_cache):
    """cache.json and a record fit the schema beside the contract; without any one field they do not."""
    Draft202012Validator.check_schema(SCHEMA)
    teacher_cache = {1: teacher_cache, 2: source_cache}[version]
    document = json.loads((teacher_cache / "cache.json").read_text())
    with tarfile.open(teacher_cache / TAR) as tar:
        record = json.load(tar.extractfile(tar.getmembers()[0]))
    of_record = Draft202012Validator({"$ref": "#/$defs/sample", "$defs": SCHEMA["$defs"]})
    for validator, content in ((Draft202012Validator(SCHEMA), document), (of_record, record)):
        validator.validate(content)
        for name in content:
            assert not validator.is_valid({k: v for k, v in content.items() if k != name})
            assert not validator.is_valid(content | {name: -1.5})
        assert not validator.is_valid(content | {"something_else": 1})


def test_the_schema_tells_the_versions_apart(teacher_cache, source_cache):
    """Neither version's cache is one of the other's; logits of one class, or an unknown kind of teacher, are none."""
    run, source = (json.loads((c / "cache.json").read_text()) for c in (teacher_cache, source_cache))
    validator = Draft202012Validator(SCHEMA)
    for content in (
        run | {"version": [2, 0]},
        run | {"augments": "image"},
        run | {"classes": None},
        source | {"version": [1, 0]},
        source | {"classes": ["one"]},
        source | {"teacher": source["teacher"] | {"kind": "run"}},
        source | {"teacher": run["teacher"]},
    ):
        assert not validator.is_valid(content)
    assert validator.is_valid(source | {"version": [2, 1], "classes": ["a", "b"]})


def test_a_damaged_stain_of_a_teacher_is_refused(teacher_cache, tmp_path):
    """As cache.json is opened, before a network is built of it."""
    cache = Path(shutil.copytree(teacher_cache, tmp_path / "cache"))
    damage = {"method": "reinhard", "mean": [1]}
    edit_json(cache / "cache.json", lambda content: content["teacher"]["network"].update(stain=damage))
    with pytest.raises(ShardError, match=r"teacher\.network: .*stain's record is damaged.*T02"):
        open_cache(cache)


@pytest.mark.parametrize("major", [1, 2])
def test_a_draw_of_stains_is_of_another_major_version(major, teacher_cache, source_cache):
    """Models and schema alike: with the strength of stains the version is two more, without it it never is."""
    content = json.loads(((teacher_cache if major == 1 else source_cache) / "cache.json").read_text())
    content["augmentation"] = asdict(AugmentSettings())
    del content["augmentation"]["stain"]
    validator, kind = Draft202012Validator(SCHEMA), DOCUMENTS[major]
    assert kind.model_validate_json(json.dumps(content)).expected_version == (major, 0)
    assert json.loads(kind.model_validate_json(json.dumps(content)).model_dump_json()) == content
    assert validator.is_valid(content)
    assert not validator.is_valid(content | {"version": [major + 2, 0]})
    content["augmentation"]["stain"] = 0.1
    assert kind.model_validate_json(json.dumps(content)).expected_version == (major + 2, 0)
    assert not validator.is_valid(content)
    assert validator.is_valid(content | {"version": [major + 2, 0]})


def test_records_survive_json():
    """A draw is read back as it was made, to the last bit of its numbers."""
    for strength, major in ((0, 1), (0.1, 3)):
        drawn = draw(AugmentSettings(stain=strength), seed=3, epoch=1, key="a")
        views = [{"draw": draw_entry(drawn).model_dump(mode="json"), "crc32": 7}]
        content = {"version": [major, 0], "key": "a", "views": views}
        record = read_record(to_json(content), Path("x"), "a", major=major)
        assert draw_of(record.views[0].draw) == drawn
        assert ("stain" in views[0]["draw"]) == (major == 3)
        Draft202012Validator({"$ref": "#/$defs/sample", "$defs": SCHEMA["$defs"]}).validate(content)
    with pytest.raises(ShardError, match="changes stains, in a cache of version 1"):
        read_record(to_json(content | {"version": [1, 0]}), Path("x"), "a", major=1)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_map_sizes_are_those_of_the_network(stride):
    """For odd and even sides the predicted size is that of the real feature map, turned or not."""
    model = build_model("resnet10", n_classes=2, output_stride=stride, seed=0)
    for width, height in ((5, 40), (33, 32), (65, 47), (96, 31)):
        with torch.inference_mode():
            maps = [model(torch.zeros(1, 3, *size))[0] for size in ((height, width), (width, height))]
        for turned in (False, True):
            assert map_size((width, height), stride, turned=turned) == tuple(maps[turned].shape[2:])


def test_micro_batches_of_views_change_rounding_alone(teacher, shards):
    """Five views of an image that is not square, three at a time, are the same as one by one, in the same order."""
    sample = samples(read_index(shards), "train")[1]
    assert len(set(sample.sizes[2.5])) == 2
    draws = [draw(AugmentSettings(), seed=1, epoch=view, key="k") for view in range(5)]
    results = [
        ViewMaker(
            load_trained(teacher, what="t"),
            precision="fp32",
            device=torch.device("cpu"),
            output_stride=16,
            micro_batch=micro_batch,
        ).views(sample, draws, sample.sizes[2.5])
        for micro_batch in (1, 3)
    ]
    for one, many in zip(*results, strict=True):
        torch.testing.assert_close(one.logits_K, many.logits_K, rtol=1e-4, atol=1e-5)
        assert all(torch.allclose(one.maps[how], many.maps[how], rtol=1e-4, atol=1e-4) for how in one.maps)


# What cannot be kept


def test_maps_beyond_float16_are_refused():
    """A value that float16 cannot hold ends the writing with the sample's name and the limit."""
    maps = {"maxpool": torch.full((2, 1, 1), 7e4), "bicubic": torch.zeros(2, 1, 1)}
    with pytest.raises(TrainingError, match=r"maxpool for a\.v001\.st reach 70000, .* up to 65504"):
        encode_view(TeacherView(logits_K=torch.zeros(2), maps=maps), "a.v001.st")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["logits", "maxpool", "bicubic"])
def test_values_that_are_no_numbers_are_neither_written_nor_read(name, value):
    """The teacher is named with the sample when it is written; a cache that holds one all the same breaks a rule."""
    sound = {"logits": torch.zeros(2), "maxpool": torch.zeros(2, 1, 1), "bicubic": torch.zeros(2, 1, 1)}
    tensors = {**sound, name: sound[name].index_fill(0, torch.tensor(1), value)}
    view = TeacherView(logits_K=tensors["logits"], maps={how: tensors[how] for how in ("maxpool", "bicubic")})
    with pytest.raises(NotFiniteError, match=rf"teacher's outputs are not finite for a\.v001\.st \({name}\)"):
        encode_view(view, "a.v001.st")
    held = {key: tensor if key == "logits" else tensor.half() for key, tensor in tensors.items()}
    with pytest.raises(ValueError, match=f"{name} holds values that are not finite"):
        decode_view(safetensors.torch.save(held), ViewShape(classes=2, channels=2, size=(1, 1)))


def test_views_of_other_shapes_are_refused():
    """Other names, shapes or types than the set and the network say, and bytes that are no safetensors file."""
    maps = {how: torch.zeros(2, 1, 3) for how in ("maxpool", "bicubic")}
    data = encode_view(TeacherView(logits_K=torch.zeros(2), maps=maps), "x")
    decode_view(data, ViewShape(classes=2, channels=2, size=(1, 3)))
    with pytest.raises(ValueError, match=r"bicubic \(2, 1, 3\) torch.float16, .* not bicubic \(2, 3, 1\)"):
        decode_view(data, ViewShape(classes=2, channels=2, size=(3, 1)))
    other = safetensors.torch.save({"logits": torch.zeros(2, dtype=torch.float64)})
    with pytest.raises(ValueError, match=r"the tensors are logits \(2,\) torch\.float64"):
        decode_view(other, ViewShape(classes=2, channels=2, size=(1, 3)))
    with pytest.raises(ValueError, match="not a safetensors file"):
        decode_view(data[:20], ViewShape(classes=2, channels=2, size=(1, 3)))


# What is refused of a cache


def _cut(folder: Path) -> None:
    path = folder / TAR
    data = path.read_bytes()
    path.write_bytes(data[:-2048] + bytes(2048 - 512))
    edit_json(folder / "cache.json", lambda d: _entry(d).update(bytes=len(data) - 512))


def _entry(document: Any) -> Any:
    return next(entry for entry in document["shards"] if entry["path"] == TAR)


def _document(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "cache.json", lambda document: document.update(changes))


def _shard(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "cache.json", lambda d: _entry(d).update(changes))


def _flip(member: str, offset: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with tarfile.open(folder / TAR) as tar:
            name = [m.name for m in tar if m.name.endswith(member)][1]
        flip_bit(folder / TAR, offset_of(folder / TAR, name) + offset)

    return damage


def _rewritten(change: Callable[[list[tuple[str, bytes, list[bytes]]]], Any]) -> Callable[[Path], None]:
    """Write the tar again, teacher_cache, from its samples as a test changed them."""

    def damage(folder: Path) -> None:
        with tarfile.open(folder / TAR) as tar:
            contents = {m.name: tar.extractfile(m).read() for m in tar}
        found = [name.removesuffix(".json") for name in contents if name.endswith(".json")]
        held = [
            (key, contents[f"{key}.json"], [contents[f"{key}.v{v:03d}.st"] for v in range(VIEWS)])
            for key in found
        ]
        with writing(folder / TAR) as tar:
            for sample in change(held):
                tar.add(*sample)
            size = tar.finish().bytes
        _shard(bytes=size)(folder)

    return damage


def _turned_over(held: list[Any]) -> list[Any]:
    return [(held[1][0], *held[0][1:]), (held[0][0], *held[1][1:])]


def _record(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def edited(held: list[Any]) -> list[Any]:
        key, data, views = held[1]
        record = json.loads(data)
        change(record)
        return [held[0], (key, to_json(record), views)]

    return _rewritten(edited)


def _other_view(held: list[Any]) -> list[Any]:
    key, data, views = held[1]
    other = safetensors.torch.save({"logits": torch.zeros(2)})
    record = json.loads(data)
    record["views"][1]["crc32"] = zlib.crc32(other)
    return [held[0], (key, to_json(record), [views[0], other, views[2]])]


def _sorted_wrong(held: list[Any]) -> list[Any]:
    return [(key, record, views[:2]) for key, record, views in held]


def _teacher(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "cache.json", lambda d: d["teacher"].update(changes))


def _with_valid(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[list[Any]], list[Any]]:
    def changed(held: list[Any]) -> list[Any]:
        key, data, views = held[1]
        tensors = safetensors.torch.load(views[1])
        other = safetensors.torch.save({**tensors, "valid": change(tensors["valid"]).contiguous()})
        record = json.loads(data)
        record["views"][1]["crc32"] = zlib.crc32(other)
        return [held[0], (key, to_json(record), [views[0], other, views[2]])]

    return changed


FAULTS = {
    "T01": (lambda f: (f / "cache.json").unlink(), r"no cache\.json \(rule T01 cache-present\)"),
    "T02-json": (lambda f: (f / "cache.json").write_text("{"), "not JSON"),
    "T02-field": (_document(seed=-1), "seed: .*greater than or equal to 0"),
    "T02-type": (_document(views="3"), "views: "),
    "T03": (_document(format="slideprep-shards"), "'format' is 'slideprep-shards'"),
    "T04": (_document(version=[3, 0]), r"version \[3, 0\] .*rule T04 format-version"),
    "T05-turned": (_shard(turned=["00", "00"]), f"{TAR[:-4]} has 2 views, not 3"),
    "T05-samples": (_shard(turned=["0"] * VIEWS), "does not tell of 2 samples"),
    "T05-path": (_shard(path="../x.tar"), r"is '\.\./x\.tar', not 'aux1-000000\.tar'"),
    "T05-settings": (_document(augmentation=None), "no settings of the augmentation"),
    "T06": (lambda f: (f / TAR).unlink(), "names this file, but it is not there"),
    "T07": (lambda f: (f / TAR).write_bytes((f / TAR).read_bytes()[:-512]), "bytes, but cache.json says"),
    "T09-header": (_flip("v001.st", -512), "damaged or foreign header"),
    "T09-cut": (_cut, "does not end with two zero blocks|bytes after the end|foreign header|cut off"),
    "T12-views": (
        _rewritten(_sorted_wrong),
        "its members are .*not its record and all of its views|ends after",
    ),
    "T13-number": (_rewritten(lambda held: held[:1]), "1 sample, but cache.json states 2"),
    "T13-order": (_rewritten(_turned_over), "other keys, or another order"),
    "T14-json": (_flip("json", 0), "Invalid JSON"),
    "T14-key": (_record(lambda r: r.update(key="b")), "the record is that of 'b'"),
    "T14-version": (_record(lambda r: r.update(version=[2, 0])), r"record version \[2, 0\]"),
    "T14-order": (
        _record(lambda r: r["views"][0]["draw"].update(order=["hue"] * 4)),
        "every colour operation",
    ),
    "T14-turned": (
        _record(
            lambda r: r["views"][1]["draw"].update(quarter_turns=r["views"][1]["draw"]["quarter_turns"] ^ 1)
        ),
        "turns them otherwise",
    ),
    "T14-views": (_record(lambda r: r["views"].pop()), "has other views"),
    "T15": (_flip("v001.st", 300), "its CRC-32 is not the one"),
    "T16": (_rewritten(_other_view), "the tensors are logits"),
}
SOURCE_FAULTS = {
    "T02-kind": (_teacher(kind="run"), "teacher.kind: Input should be 'onnx', 'callable' or 'features'"),
    "T02-run": (_document(version=[1, 0]), r"teacher\.weights_sha256: Field required"),
    "T02-augments": (_document(augments="colours"), "augments: Input should be 'image' or 'map'"),
    "T02-classes": (_document(classes=["one"]), "classes: Tuple should have at least 2 items"),
    "T02-nan": (_teacher(settings={"mean": float("nan")}), "not JSON: it holds NaN"),
    "T04": (_document(version=[True, 0]), r"this reader knows 1\.x and 2\.x"),
    "T14-version": (_record(lambda r: r.update(version=[1, 0])), r"record version \[1, 0\]"),
    "T16-valid": (_rewritten(_with_valid(lambda valid: valid + 1)), "valid holds 2, and a cell counts"),
    "T16-type": (_rewritten(_with_valid(lambda valid: valid.bool())), r"valid \(2, 1\) torch.bool.* not map"),
    "T16-logits": (_document(classes=["a", "b"]), r"the tensors are map .* not logits \(2,\)"),
    "T16-channels": (_document(channels=5), r"map \(4, 2, 1\) .* not map \(5, 2, 1\)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damage_is_named(name, cache, shards):
    """Each kind of damage is refused by its rule, at the opening or at the sample that is asked for."""
    damage, message = FAULTS[name]
    damage(cache)
    with pytest.raises((ShardError, UsageError), match=message) as caught:
        read(cache, shards)
    if isinstance(caught.value, ShardError):
        assert caught.value.rule.startswith(name[:3])
        assert "kdtrain cache-teacher" in str(caught.value)


@pytest.mark.parametrize("name", SOURCE_FAULTS)
def test_damage_of_a_sources_cache_is_named(name, source_cache, shards, tmp_path):
    """What version 2 says beyond version 1 is refused by the same rules."""
    damage, message = SOURCE_FAULTS[name]
    folder = Path(shutil.copytree(source_cache, tmp_path / "cache"))
    read(folder, shards)
    damage(folder)
    with pytest.raises((ShardError, UsageError), match=message) as caught:
        read(folder, shards)
    if isinstance(caught.value, ShardError):
        assert caught.value.rule.startswith(name[:3])


def test_a_foreign_member_is_refused(cache, shards):
    """A file that is neither record nor view, such as one that other readers would unpickle, stops the reader."""
    data = (cache / TAR).read_bytes()
    assert data.count(b".v002.st\0") == 2
    (cache / TAR).write_bytes(data)
    with tarfile.open(cache / TAR) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]
    with tarfile.open(cache / TAR, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, content in members:
            info.name = info.name.replace("v002.st", "pyd")
            tar.addfile(info, io.BytesIO(content))
    _shard(bytes=(cache / TAR).stat().st_size)(cache)
    with pytest.raises(ShardError, match=r"\.pyd.*rule T11 member-name"):
        read(cache, shards)


def test_only_the_view_that_is_asked_for_is_read(cache, shards):
    """Damage in view 1 of a sample stops who asks for it, and nobody else."""
    _flip("v001.st", 300)(cache)
    read(cache, shards, view=0)
    read(cache, shards, view=2)
    with pytest.raises(ShardError, match="rule T15"):
        read(cache, shards, view=1)


def test_a_reader_can_be_sent_to_a_worker(teacher_cache, shards):
    """A copy through torch's pickler, as loader processes get it, holds no open file and reads the same."""
    index = read_index(shards)
    reader, shard = CacheReader(open_cache(teacher_cache), index), index.shards_of("aux1")[0]
    first = reader.load(shard, 0, 2, key=keys(index)[0])
    again = ForkingPickler.loads(ForkingPickler.dumps(reader)).load(shard, 0, 2, key=keys(index)[0])
    assert torch.equal(first.view.logits_K, again.view.logits_K)


def test_damage_ends_a_run_with_its_rule(cache, shards, tmp_path):
    """A bit that flipped in a view: the run stops with exit code 1, naming the member, the rule and the remedy."""
    _flip("v000.st", 300)(cache)
    run = distil(shards, tmp_path / "run", "--teacher-cache", cache)
    assert run.code == 1
    assert ".v000.st': its CRC-32 is not the one in the sample's record (rule T15 view-checksum)" in run.said
