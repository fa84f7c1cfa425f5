"""The truth of a focal slide: its lesions' outlines as GeoJSON, in level-0 pixels, as QuPath writes annotations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slideprep.synthetic.cells import Points

_COLOUR = (200, 0, 0)


@dataclass(frozen=True, kw_only=True)
class OutlinedLesion:
    """A lesion on its slide."""

    class_name: str
    outline_l0: Points
    """(corners, 2): x and y in level-0 pixels; the first corner is not repeated."""
    share: float
    """Of the area of its piece of tissue."""


def truth_geojson(lesions: Sequence[OutlinedLesion]) -> str:
    """A FeatureCollection with one annotation a lesion; a slide without lesions has an empty one.

    ``slideprep build-shards --annotations`` and QuPath read it. Corners are rounded to a tenth of a pixel.
    """
    features = [_feature(number, lesion) for number, lesion in enumerate(lesions, start=1)]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=1) + "\n"


def _feature(number: int, lesion: OutlinedLesion) -> dict[str, Any]:
    corners = [[round(float(x), 1), round(float(y), 1)] for x, y in lesion.outline_l0]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {
            "objectType": "annotation",
            "name": f"synthetic lesion {number}",
            "classification": {"name": lesion.class_name, "color": list(_COLOUR)},
            "measurements": {"Share of its piece": round(lesion.share, 4)},
        },
    }
