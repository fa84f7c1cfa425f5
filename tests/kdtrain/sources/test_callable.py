"""Teachers that are functions of Python: kdtrain/sources/callable.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch

from kdtrain.errors import UsageError
from kdtrain.sources.callable import CallableTiles, settled
from kdtrain.sources.outputs import OutputError
from kdtrain.sources.settings import TileSettings

PLAIN = TileSettings(
    tile_px=16,
    overlap_px=0,
    mean=(0, 0, 0),
    std=(1, 1, 1),
    levels=1,
    features_output=None,
    logits_output=None,
    extra=None,
    classes=("gland", "stroma"),
    precision="fp32",
)
CPU = torch.device("cpu")
TILES = torch.linspace(0, 1, 2 * 3 * 16 * 16).view(2, 3, 16, 16)
COLOURS = torch.nn.functional.avg_pool2d(TILES, 8)
POOL = "import torch\nfrom torch.nn.functional import avg_pool2d\n"
FLAT = "avg_pool2d(tiles, 8).flatten(2).transpose(1, 2)"
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the current folder, and returns its name: another one in every test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # and it is taken off again
    name = f"teacher_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"

    def written(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(POOL + text)
        return name

    return written


def opened(name: str, **settings: object) -> CallableTiles:
    """A function as a teacher of tiles of 16 px, without standardising."""
    return CallableTiles(name, replace(PLAIN, **settings), CPU)


@pytest.mark.parametrize(
    "returned",
    [
        "avg_pool2d(tiles, 8)",
        FLAT,
        f"({FLAT},)",
        f"({FLAT}, tiles.mean(dim=(2, 3)))",
        f"{{'tokens': {FLAT}, 'pooled': tiles.mean(dim=(2, 3))}}",
        f"{{'last_hidden_state': {FLAT}, 'pooler_output': tiles.mean(dim=(2, 3)), 'attentions': None}}",
        f"torch.cat([torch.zeros(len(tiles), 5, 3), {FLAT}], dim=1)",
    ],
)
def test_whatever_a_function_returns_is_the_same_map(write: Write, returned: str) -> None:
    """A map, tokens, tokens in a tuple or a mapping (as transformers' models return), with five leading ones."""
    module = write(f"def tokens(tiles):\n    return {returned}\n")
    network = opened(f"{module}:tokens")
    answer = network.say(TILES)
    assert torch.allclose(answer.map_BChw, COLOURS, atol=1e-6)
    assert answer.logits_BK is None and not network.gives_logits
    assert network.sha256 == hashlib.sha256(Path(f"{module}.py").read_bytes()).hexdigest()


@pytest.mark.parametrize("returned", ["tiles.mean(dim=(2, 3))", "(None, tiles.mean(dim=(2, 3)))"])
def test_pooled_vectors_are_a_map_of_one_cell(write: Write, returned: str) -> None:
    """What an encoder without tokens gives of a tile."""
    network = opened(f"{write(f'def pooled(tiles): return {returned}')}:pooled")
    assert torch.allclose(network.say(TILES).map_BChw[..., 0, 0], TILES.mean(dim=(2, 3)), atol=1e-6)


def test_logits_are_those_of_the_sets_classes(write: Write) -> None:
    """Third of a tuple, or by name; where the set names no classes they are left alone."""
    module = write(
        "def three(tiles): return avg_pool2d(tiles, 8), None, tiles.mean(dim=(2, 3))[:, :2]\n"
        "def named(tiles): return {'tokens': avg_pool2d(tiles, 8), 'logits': tiles.mean(dim=(2, 3))[:, :2]}\n"
    )
    for function in ("three", "named"):
        network = opened(f"{module}:{function}")
        assert torch.allclose(network.say(TILES).logits_BK, TILES.mean(dim=(2, 3))[:, :2], atol=1e-6)
    assert not opened(f"{module}:three", classes=()).gives_logits
    with pytest.raises(
        UsageError, match=r"gives logits of shape \(1, 2\), and those of the set's classes are \(1, 3\)"
    ):
        opened(f"{module}:three", classes=("a", "b", "c"))


def test_a_function_gets_standardised_pixels_without_gradients(write: Write) -> None:
    """float32, (x - mean) / std, under inference mode; a module in its place is evaluated."""
    module = write(
        "def tokens(tiles):\n"
        "    assert tiles.dtype == torch.float32 and torch.is_inference_mode_enabled()\n"
        "    return tiles\n"
        "network = torch.nn.Dropout(0.5)\n"
    )
    settings = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    for name in ("tokens", "network"):
        network = opened(f"{module}:{name}", **settings)
        assert torch.allclose(network.say(TILES).map_BChw, (TILES - 0.5) / 0.25, atol=1e-5)


def test_precision_is_autocasts(write: Write) -> None:
    """A matrix product in bf16 has its three digits, and is float32 afterwards."""
    text = "def tokens(tiles): return torch.einsum('bchw,cd->bdhw', tiles, torch.eye(3) / 3)\n"
    module = write(text)
    answer = opened(f"{module}:tokens", precision="bf16").say(TILES).map_BChw
    assert answer.dtype == torch.float32
    assert 0 < float((answer - TILES / 3).abs().max()) < 2e-3
    assert torch.allclose(opened(f"{module}:tokens").say(TILES).map_BChw, TILES / 3, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (
            "",
            "absent_module_of_nobody:f",
            "there is no module absent_module_of_nobody in .* run kdtrain in the folder",
        ),
        (
            "import no_such_library",
            "{}:f",
            "importing teacher_.* raised ModuleNotFoundError: No module named 'no_such",
        ),
        ("raise SystemExit(3)", "{}:f", "importing teacher_.* raised SystemExit: 3; mend that"),
        ("x = 1", "{}:f", "f of teacher_.* is none, and a teacher is a function"),
        ("x = 1", "{}:x", "x of teacher_.* is 'int', and a teacher is a function"),
        ("class Net: pass", "{}:Net", "Net of teacher_.* is a class, and a teacher is a function"),
        (
            "def f(tiles): raise KeyError('weights')",
            "{}:f",
            "raised KeyError: 'weights', tried on a tile of 16 x 16",
        ),
        ("def f(tiles): return None", "{}:f", "gives neither tokens nor pooled vectors"),
        ("def f(tiles): return {}", "{}:f", "gives neither tokens nor pooled vectors"),
        ("def f(tiles): return [tiles] * 4", "{}:f", "gives 4 things, and at most three are read"),
        ("def f(tiles): return 'x'", "{}:f", "gives vectors that are str, not floating point numbers"),
        ("def f(tiles): return tiles.numpy()", "{}:f", "gives vectors that are ndarray"),
        ("def f(tiles): return tiles / 0 * 0", "{}:f", "gives vectors that are not finite"),
        ("def f(): return 1", "{}:f", "raised TypeError: f.. takes 0 positional arguments"),
    ],
)
def test_what_is_no_teacher_is_refused_before_anything(
    write: Write, text: str, name: str, words: str
) -> None:
    """No module, one that fails, no function, a class, a function that fails or returns what cannot be laid."""
    module = write(text)
    with pytest.raises(UsageError, match=f"^--from .*{words}"):
        opened(name.format(module))


def test_options_of_files_and_tiles_without_a_size_are_refused(write: Write) -> None:
    """A function does not say how large its tiles are; its outputs have no names."""
    name = f"{write('def f(tiles): return tiles')}:f"
    with pytest.raises(UsageError, match="does not say what tiles it takes; give their side by --tile-px"):
        opened(name, tile_px=None)
    with pytest.raises(
        UsageError, match="--features-output and --logits-output name outputs of an ONNX file"
    ):
        opened(name, features_output="x")


def test_a_function_may_fail_later(write: Write) -> None:
    """What it raises is said by its kind and its words."""
    module = write(
        "def f(tiles):\n"
        "    if len(tiles) > 1:\n"
        "        raise ValueError('one at a time,\\nplease')\n"
        "    return tiles\n"
    )
    network = opened(f"{module}:f")
    with pytest.raises(OutputError, match=r"^raised ValueError: one at a time, please$"):
        network.say(TILES)


def test_other_weights_of_the_same_file_are_another_teacher(write: Write) -> None:
    """A file that loads its weights is the same whatever they are; sixteen numbers of a picture are not."""
    module = write("factor = [1.0]\ndef f(tiles): return factor[0] * tiles.repeat(1, 12, 1, 1)\n")
    probes = [opened(f"{module}:f").settings["probe"] for _ in range(2)]
    import_module(module).factor[0] = 1.1
    probes.append(opened(f"{module}:f").settings["probe"])
    assert len(probes[0]) == 16
    assert probes[0] == probes[1] != probes[2]
    assert settled(probes[2], probes[0]) == probes[2]


def test_rounding_is_no_other_teacher() -> None:
    """Numbers within two hundredths of the largest known are those known; a device's rounding is far below."""
    known = [1.0, -0.5, 0.001]
    assert settled([1.001, -0.501, 0.002], known) == known
    assert settled([1.03, -0.5, 0.001], known) == [1.03, -0.5, 0.001]
    assert settled([1.0, -0.5], known) == [1.0, -0.5]
    assert settled(known, None) == known
