"""A teacher that is a function of Python: ``module:function`` in, a network that is asked of tiles out.

The contract::

    def tokens(tiles):  # in mine.py of the folder where kdtrain is run, or installed: --from mine:tokens
        return model(tiles)

It is called with tiles of ``--tile-px``, a float32 tensor (B, 3, H, W) on the device of ``--device``: RGB, standardised
by ``--tile-mean`` and ``--tile-std``. It returns tokens (B, T, C), rows first, leading ones without a place allowed; or
a map (B, C, h, w); or one vector a tile (B, C). Or a tuple of those, pooled vectors or None, and logits (B, K); or a
mapping with any of ``tokens``, ``pooled`` and ``logits``. Pooled vectors are read where there are no tokens. An
``nn.Module`` may stand in place of a function: it is moved to the device and set to evaluation. Gradients are off, and
``--precision`` is that of PyTorch's autocast around it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdtrain.errors import UsageError
from kdtrain.files import sha256_of
from kdtrain.sources.outputs import OutputError, Said, said
from kdtrain.sources.pixels import TilePixels
from kdtrain.sources.settings import TileSettings
from kdtrain.sources.tiled import probe_tile
from kdtrain.sources.tiles import TilePlan
from kdtrain.text import brief, reason_of
from kdtrain.training.engine.precision import AUTOCAST_TYPES

NAMED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")
"""``module:function``; both may have dots."""
_PLACES = {
    "tokens": ("tokens", "last_hidden_state"),
    "pooled": ("pooled", "pooler_output"),
    "logits": ("logits",),
}
"""Keys of a mapping; the second is how the models of transformers call the same."""
PROBE_NUMBERS = 16
PROBE_APART = 0.02
"""Of the largest number: other devices and versions are apart by a tenth of that, other weights by all of it."""


class CallableTiles:
    """See :class:`kdtrain.sources.tiled.TileNetwork`.

    Args:
        name: ``module:function``.
        settings: What it does not say of itself.
        device: Where to compute.
        known: What a function of this name said when the cache was begun, if it was: within PROBE_APART of it, that is
            what is recorded.

    Raises:
        UsageError: There is no such function, it fails, or it gives nothing that can be laid.
    """

    kind: Literal["callable"] = "callable"

    def __init__(
        self, name: str, settings: TileSettings, device: torch.device, *, known: Sequence[float] | None = None
    ) -> None:
        if settings.features_output or settings.logits_output:
            raise UsageError(
                "--features-output and --logits-output name outputs of an ONNX file; what a function returns says "
                "itself what it is"
            )
        if settings.tile_px is None:
            raise UsageError(
                f"--from {name} does not say what tiles it takes; give their side by --tile-px, such as --tile-px 224, "
                "or --tile-px region to show it each region whole"
            )
        self.name = name
        self._function, self.sha256 = _imported(name)
        if isinstance(self._function, nn.Module):
            self._function = self._function.requires_grad_(requires_grad=False).eval().to(device)
        mean, std = settings.standardised
        self._pixels = TilePixels(mean=mean, std=std, levels=settings.levels)
        self._device = device
        self._type = AUTOCAST_TYPES.get(settings.precision)
        self._extra, self._classes = settings.extra, len(settings.classes) or None
        self.plan = TilePlan.checked(settings.tile_px, settings.tile_px, settings.overlap_px)
        answer = self._tried()
        self.channels = answer.map_BChw.shape[1]
        self.gives_logits = answer.logits_BK is not None
        self.settings: dict[str, Any] = {
            **self.plan.record,
            **self._pixels.record,
            "extra_tokens": settings.extra,
            "probe": settled(_numbers(answer.map_BChw), known),
        }

    def say(self, tiles_BCHW: Tensor) -> Said:
        """See :meth:`kdtrain.sources.tiled.TileNetwork.say`."""
        given = self._call(self._pixels.of(tiles_BCHW.to(self._device)))
        vectors, logits = _parts(given)
        tile = (tiles_BCHW.shape[2], tiles_BCHW.shape[3])
        if self._classes is None:
            logits = None
        return said(
            vectors, logits, tile=tile, tiles=len(tiles_BCHW), extra=self._extra, classes=self._classes
        )

    def _tried(self) -> Said:
        tile = probe_tile(self.plan)
        try:
            return self.say(tile)
        except OutputError as error:
            raise UsageError(
                f"--from {self.name} {error}, tried on a tile of {tile.shape[3]} x {tile.shape[2]} px; mend it, or "
                "give --tile-px as it wants it"
            ) from None

    def _call(self, tiles: Tensor) -> Any:
        try:
            with torch.inference_mode():
                if self._type is None:
                    return self._function(tiles)
                with torch.autocast(self._device.type, dtype=self._type):
                    return self._function(tiles)
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # anyone's code, which may raise anything
            if "can't allocate memory" in str(error):
                raise
            raise OutputError(f"raised {type(error).__name__}: {reason_of(error)}") from None


def _imported(name: str) -> tuple[Callable[[Tensor], Any], str]:
    """The function, and the SHA-256 of the file that it is in."""
    match = NAMED.fullmatch(name)
    assert match is not None, "whoever calls this has matched it"
    module_name, path = match.groups()
    here = str(Path.cwd())
    if here not in sys.path:  # and it stays: a function may import more when it is called
        sys.path.insert(0, here)
    try:
        importlib.invalidate_caches()
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - anyone's code, which may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
            raise UsageError(
                f"--from {name}: there is no module {module_name} in {here} nor among the installed ones; run kdtrain "
                "in the folder that it lies in, or install it"
            ) from None
        raise UsageError(
            f"--from {name}: importing {module_name} raised {type(error).__name__}: {reason_of(error)}; mend that"
        ) from None
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is None or isinstance(found, type) or not callable(found):
        what = (
            "none" if found is None else "a class" if isinstance(found, type) else brief(type(found).__name__)
        )
        raise UsageError(
            f"--from {name}: {path} of {module_name} is {what}, and a teacher is a function or an nn.Module; define it "
            "there by a name of its own"
        )
    file = getattr(module, "__file__", None)
    if file is None:
        raise UsageError(
            f"--from {name}: {module_name} comes out of no file, so nothing could tell it from another; put the "
            "function into a file of its own"
        )
    return found, sha256_of(Path(file))


def _parts(given: Any) -> tuple[Any, Any]:
    """Vectors and logits of what a function returned."""
    if isinstance(given, Mapping):
        tokens, pooled, logits = (
            next((given[key] for key in keys if given.get(key) is not None), None)
            for keys in _PLACES.values()
        )
    elif isinstance(given, tuple | list):
        if not 1 <= len(given) <= len(_PLACES):
            raise OutputError(
                f"gives {len(given)} things, and at most three are read: tokens, pooled, logits"
            )
        tokens, pooled, logits = [*given, None, None][:3]
    else:
        tokens, pooled, logits = given, None, None
    vectors = pooled if tokens is None else tokens
    if vectors is None:
        raise OutputError("gives neither tokens nor pooled vectors")
    return vectors, logits


def _numbers(map_BChw: Tensor) -> list[float]:
    """What tells weights apart: PROBE_NUMBERS means over places, of channels evenly chosen."""
    means_C = map_BChw[0].double().mean(dim=(1, 2))
    chosen = torch.linspace(0, len(means_C) - 1, min(PROBE_NUMBERS, len(means_C))).round().long()
    return [float(f"{value:.4g}") for value in means_C[chosen].tolist()]


def settled(numbers: list[float], known: Sequence[float] | None) -> list[float]:
    """The numbers to record: those known already, where these are the same but for rounding."""
    if known is None or len(known) != len(numbers):
        return numbers
    most = PROBE_APART * max(map(abs, known))
    same = all(abs(ours - theirs) <= most for ours, theirs in zip(numbers, known, strict=True))
    return list(known) if same else numbers
