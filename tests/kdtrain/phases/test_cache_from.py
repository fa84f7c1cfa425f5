"""kdtrain cache-teacher --from: caches of networks that are no run, from the command line to their bytes."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fixtures.networks import write_beside, write_colours
from fixtures.teacher_caches import cache_options, cached
from fixtures.training_runs import Run, kdtrain
from kdtrain.augment import AugmentSettings, apply, draw
from kdtrain.data.plan import SampleRef
from kdtrain.data.samples import SampleReader
from kdtrain.data.teacher_cache.opening import open_cache
from kdtrain.data.teacher_cache.reader import CacheReader
from kdtrain.data.teacher_cache.view import TeacherView
from kdtrain.shards.index import read_index
from kdtrain.training.trained import load_trained

pytest.importorskip("deepspeed", reason="needs DeepSpeed")

VIEWS = 3
STRIDE = 8
"""A student at 2.5x then has a cell where the teacher at 10x, of stride 32, has one."""
SPLITS = ("aux1", "added", "dev")
PLAIN = ("--tile-mean", "0,0,0", "--tile-std", "1,1,1")


def run_from(shards: Path, teacher: object, out: Path, *options: object) -> Run:
    """Run the command for aux2, three views, a student at 2.5x and stride 8; options given come last, and win."""
    return kdtrain(
        *("cache-teacher", "--shards", shards, "--from", teacher, "--out", out, "--magnification", 2.5),
        *("--train-on", "aux2", "--views", VIEWS, "--workers", 0, "--output-stride", STRIDE),
        *("--teacher-magnification", 10, "--tile-px", 32, *options),
    )


def done(shards: Path, teacher: object, out: Path, *options: object) -> Path:
    """The cache, written to its end."""
    run = run_from(shards, teacher, out, *options)
    assert run.code == 0, run.said
    return out


def bytes_of(cache: Path) -> dict[str, str]:
    """Digests of what a reader sees of a cache."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in cache.iterdir() if path.is_file()
    }


def all_views(shards: Path, cache: Path) -> list[TeacherView]:
    """Every view of a cache, in stored order."""
    index, opened = read_index(shards), open_cache(cache)
    reader, found = CacheReader(opened, index), []
    for split in SPLITS:
        samples = SampleReader(index, split, [2.5])
        for number, shard in enumerate(index.shards_of(split)):
            keys = samples.keys(number)
            for position, key in enumerate(keys):
                for view in range(VIEWS if split != "dev" else 1):
                    found.append(reader.load(shard, position, view, key=key).view)
    return found


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A graph of any size whose map holds mean colours of 8 px patches, with logits of two classes."""
    return write_colours(tmp_path / "colours.onnx", classes=2)


Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of another name in every test into the current folder, and returns its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"teacher_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"

    def written(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return written


def test_the_vectors_of_every_view_are_where_the_student_looks(shards, colours, tmp_path):
    """Each cell holds the mean colour of its 32 px at 10x, of the image as it was drawn; logits are 0 and red."""
    cache = done(shards, colours, tmp_path / "cache", *PLAIN)
    found = iter(all_views(shards, cache))
    index = read_index(shards)
    for split in SPLITS:
        reader = SampleReader(index, split, [10.0])
        for number, shard in enumerate(reader.shards):
            for position in range(shard.samples):
                sample = reader.load(SampleRef(number, position))
                for view in range(VIEWS if split != "dev" else 1):
                    image = sample.images[10.0].float() / 255
                    if split != "dev":
                        drawn = draw(AugmentSettings(), seed=0, epoch=view, key=sample.key)
                        image = apply(sample.images[10.0], drawn)
                    said = next(found)
                    wanted = torch.nn.functional.avg_pool2d(image, 32)
                    assert torch.allclose(said.maps["laid"].float(), wanted, atol=1e-3)
                    assert said.valid_HW is not None and bool(said.valid_HW.all())
                    assert said.logits_K is not None and said.logits_K[0] == 0
                    assert float(said.logits_K[1]) == pytest.approx(float(image[0].mean()), abs=1e-4)
    document = json.loads((cache / "cache.json").read_text())
    assert document["version"] == [2, 0] and document["augments"] == "image"
    assert document["classes"] == ["gland", "stroma"] and document["channels"] == 3
    assert document["teacher"]["sha256"] == hashlib.sha256(colours.read_bytes()).hexdigest()


def closest(own: list[TeacherView], theirs: list[TeacherView]) -> tuple[float, float]:
    """Largest differences of maps, relative to the largest value, and of logits."""
    peak = max(float(view.maps["maxpool"].abs().max()) for view in own)
    maps, logits = 0.0, 0.0
    for ours, other in zip(own, theirs, strict=True):
        assert other.valid_HW is not None and bool(other.valid_HW.all())
        assert ours.logits_K is not None and other.logits_K is not None
        difference = (ours.maps["maxpool"].float() - other.maps["laid"].float()).abs().max()
        maps = max(maps, float(difference) / peak)
        logits = max(logits, float((ours.logits_K - other.logits_K).abs().max()))
    return maps, logits


def test_our_own_teacher_as_an_onnx_file_gives_the_cache_of_its_run(shards, teacher, bundle, tmp_path):
    """Regions whole, drawn by flips and turns alone: the same but for float16. Colours are rounded to grey levels."""
    plain = ("--output-stride", STRIDE, "--jitter", "0,0,0,0")
    own = all_views(shards, cached(shards, teacher, tmp_path / "own", *plain))
    options = ("--tile-px", "region", "--jitter", "0,0,0,0")
    cache = done(shards, bundle / "model.onnx", tmp_path / "cache", *options)
    maps, logits = closest(own, all_views(shards, cache))
    assert maps <= 2**-10 and logits < 1e-4
    document = json.loads((cache / "cache.json").read_text())
    assert document["teacher"]["settings"] == {
        "tile_px": "region",
        "overlap_px": 0,
        "pixels": "uint8",
        "images": "set",
        "extra_tokens": None,
        "features_output": "feature_map",
        "logits_output": "logits",
    }
    taken = (
        "teacher: model.onnx at 10x, regions whole; 256 channels, logits of gland, stroma (vectors out of "
        "'feature_map', logits out of 'logits')"
    )
    told = run_from(shards, bundle / "model.onnx", tmp_path / "none", *options, "--dry-run")
    assert taken in told.said
    check_plan(told, cache)
    assert not (tmp_path / "none").exists()


def check_plan(told: Run, cache: Path) -> None:
    """What a dry run said, against what was then written; bytes within a twentieth, and a time that was measured."""
    assert told.code == 0, told.said
    tars = sum(path.stat().st_size for path in cache.glob("*.tar"))
    words = r"7 samples, 17 views ([\d.e-]+) GB, .* MB a sample \d+ s of computing with one process"
    found = re.search(words, told.said)
    assert found is not None, told.said
    assert float(found[1]) == pytest.approx(tars / 1e9, rel=0.05)
    assert "nothing was written" in told.said


def test_a_runs_cache_is_told_beforehand_as_well(shards, teacher, teacher_cache, tmp_path):
    """A dry run of --teacher: samples, views and bytes as the cache then has them, and no folder."""
    told = kdtrain("cache-teacher", *cache_options(shards, teacher, tmp_path / "none", "--dry-run"))
    check_plan(told, teacher_cache)
    assert not (tmp_path / "none").exists()


def test_our_own_teacher_as_a_function_gives_the_cache_of_its_run(shards, teacher, write, tmp_path):
    """With all of the paper's augmentation: pixels are not rounded on the way, so nothing but float16 is between."""
    own = all_views(shards, cached(shards, teacher, tmp_path / "own", "--output-stride", STRIDE))
    network = load_trained(teacher, what="--teacher").network
    module = write(
        "from pathlib import Path\n"
        "from kdtrain.training.trained import load_trained\n"
        f"model = load_trained(Path({str(teacher)!r}), what='it').model.eval()\n"
        "def both(tiles):\n"
        "    feature_map, logits = model(tiles)\n"
        "    return feature_map, None, logits\n"
    )
    numbers = {
        option: ",".join(repr(value / 255) for value in values)
        for option, values in (("--tile-mean", network.mean), ("--tile-std", network.std))
    }
    options = [part for pair in numbers.items() for part in pair]
    cache = done(shards, f"{module}:both", tmp_path / "cache", "--tile-px", "region", *options)
    maps, logits = closest(own, all_views(shards, cache))
    assert maps <= 2**-10 and logits < 1e-4


def test_the_same_command_gives_the_same_bytes_and_goes_on(shards, colours, write, tmp_path):
    """A graph and a function, twice; a finished cache is left alone, and another file under the name is refused."""
    module = write("def f(tiles): return tiles[:, :, ::8, ::8]\n")
    for number, name in enumerate((colours, f"{module}:f")):
        one, two = (done(shards, name, tmp_path / f"{number}{letter}") for letter in "ab")
        assert bytes_of(one) == bytes_of(two) and len(bytes_of(one)) == 5
        again = run_from(shards, name, one)
        assert again.code == 0 and "0 of 4 shards written" in again.said
    write_colours(colours, patch=16, classes=2)
    other = run_from(shards, colours, tmp_path / "0a")
    assert other.code == 2 and "teacher.sha256" in other.said
    assert bytes_of(tmp_path / "0a") == bytes_of(tmp_path / "0b")


def test_a_function_that_fails_is_gone_on_with(shards, write, tmp_path, monkeypatch):
    """One message names slide and region; no tar is half there; the same command, once it works, ends as ever."""
    module = write(
        "import os\n"
        "calls = [0]\n"
        "def f(tiles):\n"
        "    calls[0] += 1\n"
        "    if calls[0] == int(os.environ.get('FAILS', 0)):\n"
        "        raise RuntimeError('the disk with the weights is gone')\n"
        "    return tiles[:, :, ::8, ::8]\n"
    )
    name = f"{module}:f"
    whole = done(shards, name, tmp_path / "whole", "--tile-px", "region")
    # A trial and 17 views; a trial, a region's views, and one more.
    monkeypatch.setenv("FAILS", str(1 + 17 + 1 + VIEWS + 1))
    run = run_from(shards, name, tmp_path / "cut", "--tile-px", "region")
    assert run.code == 1
    assert f"--from {name} raised RuntimeError: the disk with the weights is gone: region aux1-1-" in run.said
    assert "of slide 'aux1-1.svs'" in run.said and "run the same command again" in run.said
    assert "Traceback" not in run.said
    left = {path.name for path in (tmp_path / "cut").iterdir()}
    assert "cache.json" not in left and not any("partial" in name for name in left)
    monkeypatch.delenv("FAILS")
    assert bytes_of(done(shards, name, tmp_path / "cut", "--tile-px", "region")) == bytes_of(whole)


def test_a_teacher_that_failed_at_its_first_sample_may_be_mended(shards, write, tmp_path):
    """Nothing of it was kept, so the mended file goes on in the same folder; once a shard is there, it is refused."""
    answer = "def f(tiles): return tiles[:, :, ::8, ::8]\n"
    fails = "calls = []\ndef f(tiles):\n    calls.append(1)\n    return tiles if not calls[1:] else 1 / 0\n"
    for text, code in ((fails, 1), (answer, 0), ("\n" + answer, 2)):
        name = write(text)
        sys.modules.pop(name, None)
        run = run_from(shards, f"{name}:f", tmp_path / "out")
        assert run.code == code, run.said
    assert "caches are never mixed" in run.said
    assert len(bytes_of(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    ("teacher", "options", "words"),
    [
        ("absent.onnx", (), "absent.onnx: there is no such file"),
        (
            "nothing",
            (),
            "--from nothing is no teacher; give an ONNX file, module:function of Python, or a folder",
        ),
        ("no_such_module_here:f", (), "there is no module no_such_module_here"),
        (
            "colours.onnx",
            ("--teacher-magnification", 20),
            "the set has 10x, 2.5x; give the folder of its slides by",
        ),
        ("colours.onnx", ("--teacher-magnification", 1.25), "the set has 10x, 2.5x"),
        (
            "colours.onnx",
            ("--overlap-px", 32),
            "--overlap-px 32 is not below the shorter side of tiles of 32 x 32 px",
        ),
        ("colours.onnx", ("--precision", "fp16"), "--precision fp16: an ONNX file computes in the types"),
        (
            "colours.onnx",
            ("--features-output", "x"),
            "has no output 'x' (--features-output); there is 'colours'",
        ),
        ("beside.onnx", (), "wants its numbers out of '../numbers.bin', which is not in its folder"),
        ("colours.onnx", ("--magnification", 20), "no 20x here"),
    ],
)
def test_what_cannot_teach_is_refused_and_leaves_nothing(
    shards, colours, tmp_path, monkeypatch, teacher, options, words
):
    """Exit code 2 and a sentence before anything is written."""
    monkeypatch.chdir(tmp_path)
    write_beside(tmp_path / "beside.onnx", location="../numbers.bin")
    run = run_from(shards, teacher, tmp_path / "cache", *options)
    assert run.code == 2, run.said
    assert words in run.said
    assert not (tmp_path / "cache").exists()


def test_a_teachers_magnification_is_asked_for(shards, colours, tmp_path):
    """Nothing else says what a network looks at."""
    run = kdtrain(
        *("cache-teacher", "--shards", shards, "--from", colours, "--out", tmp_path / "cache"),
        *("--magnification", 2.5, "--tile-px", 32),
    )
    assert run.code == 2
    assert "--teacher-magnification is missing: what " in run.said
