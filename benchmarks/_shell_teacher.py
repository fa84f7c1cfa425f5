"""SHELL as a teacher for ``kdtrain cache-teacher --from _shell_teacher:tissue``: regions in, its probabilities out.

SHELL (PyPI ``lavlab-shell``, MIT) tells epithelium, lumen and the rest at 10x (1.0 µm/px). It looks at eosin,
hematoxylin and optical density, each scaled by its own percentiles on the region, so it is shown regions whole
(``--tile-px region``) without standardising (``--tile-mean 0,0,0 --tile-std 1,1,1``). Its own package makes the
channels and finds the glass. Stain vectors are estimated here, by Macenko et al. (2009, doi:10.1109/ISBI.2009.5193250)
in numpy: the compiled estimate that its package calls (macenko-pca 1.0.4) ends the process where it was tried.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from shell.model import build_model
from shell.transforms import apply_eho_chunked, compute_background_intensity, detect_background
from torch import Tensor
from torch.nn.functional import pad

_TISSUE_DENSITY = 0.06
_FEW_PIXELS = 100
_USUAL = (np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11]))
"""Hematoxylin and eosin by Ruifrok and Johnston (2001), for regions that hold no tissue."""
_MULTIPLE_PX = 64
_said: dict[str, Tensor] = {}
"""Of every region that was shown: students at two magnifications are taught by the same regions."""


@cache
def _network() -> Any:
    return build_model()


def tissue(regions: Tensor) -> Tensor:
    """Probabilities of lumen, epithelium and the rest, (B, 3, H, W), of regions (B, 3, H, W) in [0, 1].

    Each for itself, as SHELL takes them; logits of -40 would be most of a mean squared error.
    """
    return torch.stack([_known(region) for region in regions])


def _known(region: Tensor) -> Tensor:
    rgb = np.ascontiguousarray((region * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    digest = hashlib.sha256(rgb.tobytes() + repr(rgb.shape).encode()).hexdigest()
    if digest not in _said:
        _said[digest] = torch.sigmoid(logits_of(rgb)).half()
    return _said[digest].float().to(region.device)


def logits_of(rgb: NDArray[np.uint8]) -> Tensor:
    """Logits (3, H, W) of a region (H, W, 3)."""
    stains = torch.from_numpy(apply_eho_chunked(rgb, **_stains(rgb))).permute(2, 0, 1).float()
    low, high = (end(stains, (1, 2), keepdim=True) for end in (torch.amin, torch.amax))
    scaled = (stains - low) / (high - low).clamp(min=1e-8)
    height, width = scaled.shape[1:]
    padded = pad(scaled[None], (0, -width % _MULTIPLE_PX, 0, -height % _MULTIPLE_PX), "reflect")
    logits: Tensor = _network()(padded)[0, :, :height, :width]
    return logits


def _stains(rgb: NDArray[np.uint8]) -> dict[str, Any]:
    """Light of the glass, stain vectors, and the percentiles that channels are scaled by, as SHELL takes them."""
    glass = detect_background(rgb)
    light = compute_background_intensity(rgb, glass)
    density = -np.log10(np.clip(rgb, 1, light) / light)
    pixels = density[~glass & (density.mean(2) > _TISSUE_DENSITY)]
    hematoxylin, eosin = _USUAL if len(pixels) < _FEW_PIXELS else _macenko(pixels)
    vectors = np.stack([hematoxylin, eosin, np.cross(hematoxylin, eosin)], axis=1)
    vectors /= np.linalg.norm(vectors, axis=0)
    of_h, of_e = (density @ row for row in np.linalg.pinv(vectors)[:2])
    ranges = {}
    for name, values in (("e", of_e), ("h", of_h), ("od", density.mean(2))):
        ranges[f"{name}_lo"], ranges[f"{name}_hi"] = map(float, np.percentile(values, [1, 99]))
    return {"Io": light, "w_est": vectors, "h_idx": 0, "e_idx": 1, **ranges}


def _macenko(pixels: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The two ends of the optical densities in the plane that holds most of them; that of more red comes first."""
    _, axes = np.linalg.eigh(np.cov(pixels.T))
    plane = axes[:, [2, 1]] * np.where(axes[:, [2, 1]].sum(0) < 0, -1, 1)
    on_plane = pixels @ plane
    angles = np.arctan2(on_plane[:, 1], on_plane[:, 0])
    ends = [plane @ np.array([np.cos(a), np.sin(a)]) for a in np.percentile(angles, [1, 99])]
    return sorted((end * np.sign(end.sum()) for end in ends), key=lambda end: -end[0])
