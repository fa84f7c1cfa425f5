"""Settings of the detector ``auto``: µm, mm² and absorbance, so that they mean the same on every scanner."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from slideprep.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class AutoTissue:
    """Settings of the detector.

    Attributes:
        smoothing_um: Standard deviation of the Gaussian that averages noise and nuclei away, µm.
        faint: Stain signal from which a pixel may be tissue, where it touches a clear one.
        clear: Stain signal from which a pixel is tissue by itself.
        halo: What has less than this part of the strongest signal nearby is blur or JPEG ringing.
        halo_um: How far such a halo reaches along x and y, µm: most of a JPEG block.
        speck_mm2: Smaller specks are dropped before gaps are closed, mm².
        close_um: Gaps up to this wide inside tissue are closed, µm (fat cells are about 100 µm wide).
        merge_um: Pieces closer than this, along x and y, become one region, µm.
        min_area_mm2: Smaller pieces are dropped, mm².
        max_shared_tissue: Regions whose boxes share more than this part of either one's tissue become one.
        fill_holes: Whether glass enclosed by tissue, such as a lumen, becomes tissue.
        reject_pen: Whether green, blue, red and black ink is left out.
        pen_margin_um: Width of the margin around ink that is left out with it where no tissue shows, µm.
        reject_edges: Whether long thin lines are left out.
        edge_width_um: Largest width of such a line, µm.
        edge_length_um: Smallest length of such a line, µm.
    """

    smoothing_um: float = 16.0
    faint: float = 0.02
    clear: float = 0.03
    halo: float = 0.08
    halo_um: float = 200.0
    speck_mm2: float = 0.002
    close_um: float = 128.0
    merge_um: float = 128.0
    min_area_mm2: float = 0.05
    max_shared_tissue: float = 0.05
    fill_holes: bool = True
    reject_pen: bool = True
    pen_margin_um: float = 64.0
    reject_edges: bool = True
    edge_width_um: float = 128.0
    edge_length_um: float = 1000.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isfinite(value) and value >= 0):
                raise UsageError(f"tissue setting {field.name} must be a number from 0 and is {value}")
        if self.faint > self.clear:
            raise UsageError(
                f"tissue setting faint ({self.faint:g}) must not exceed clear ({self.clear:g}): faint "
                "tissue is kept only beside clear tissue"
            )
