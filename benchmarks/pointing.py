"""The pointing game: how often the peak of a heat map lies in the lesion that was planted.

    python benchmarks/pointing.py RUN... [--slides 12] [--seed 1000] [--budget 64] [--piece-px 1100 1300]

RUN are folders of ``kdtrain teacher``, ``baseline`` or ``distill`` on synthetic slides, of as many seeds as there are;
runs of one phase and magnification share a row. Makes slides of normal tissue with a lesion in each piece (``slideprep
synthesize --focal``), takes their regions as ``build-shards`` would, asks each network about them, and looks where the
maps for the lesion's class peak (Zhang et al. 2018, "Top-down neural attention by excitation backprop", section 4.1),
whatever class the network calls the region. Lesions beside normal tissue in one image are what a mosaic of images of
several classes is in Böhle et al. 2021 ("Convolutional dynamic alignment networks", section 4.2).

Three controls: the same networks on the same slides without lesions, which shows what the place alone attracts;
networks of the same architecture with fresh weights (Adebayo et al. 2018, "Sanity checks for saliency maps"); and blind
guesses, a random point of the region and a random point of its tissue.

Prints Markdown. Intervals are of 95 %, by bootstrap over slides: pieces of a slide share its stain, and all networks of
a row see the same slides. They say nothing of other networks: how far those of a row differ is shown apart.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _common import machine, machine_line, markdown_table
from _focal import FocalRegion, Target, focal_regions

from kdtrain.bundle.runtime_pytorch import PytorchRuntime
from kdtrain.predict.explain.agreement import agreement, tissue_blocks
from kdtrain.predict.explain.heat_map import HeatMap
from kdtrain.predict.explain.regions import explain_region
from kdtrain.predict.page.trust import DISAGREE
from kdtrain.training.trained import Trained, load_trained
from slideprep.synthetic.dataset import make_slides
from slideprep.synthetic.lesion import LesionSize
from slideprep.synthetic.slide import BACKGROUND_CLASS, SlideSize

ITERATIONS = 10_000
LESIONS = ("inflamed", "atypical")
TRAINED, NO_LESION, FRESH = "trained", "the same, no lesion", "fresh weights"
CONTROLS = (TRAINED, NO_LESION, FRESH)
METHODS = ("grad-cam", "occlusion")
_NAMES = {"teacher": "teacher", "baseline": "baseline", "distill": "student"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one map of one region shows."""

    network: str
    run: str
    control: str
    method: str
    slide: str
    class_name: str
    called: bool
    """Whether the network calls the region by the lesion's class."""
    hit: bool
    """The peak lies in a lesion."""
    near: bool
    """The peak lies at most one cell of the network's feature map from one."""
    agreement: float
    """Rank correlation of the region's two maps, as the page of ``kdtrain predict`` says it; not a number where there
    is none."""
    mass: float
    """Share of the map's positive part that lies in lesions; not a number where nothing is positive."""
    area: float
    """Share of the tissue that lies in lesions: the hits of a random point of the tissue."""
    area_near: float
    """Of the tissue, what lies at most one cell from a lesion."""
    area_region: float
    """Share of the whole region that lies in lesions: the hits of a random point of it."""


def main() -> None:
    """Make slides, play, print."""
    given = _arguments()
    trained = [load_trained(folder, what="RUN") for folder in given.runs]
    with tempfile.TemporaryDirectory() as scratch:
        scores = list(play(trained, given, given.folder or Path(scratch)))
    print(json.dumps([vars(score) for score in scores]) if given.json else report(scores, given))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--slides", type=int, default=12, help="slides with lesions [12]")
    parser.add_argument("--seed", type=int, default=1000, help="of the slides and of fresh weights [1000]")
    parser.add_argument(
        "--budget", type=int, default=64, help="forward passes of an occlusion map; 0: none [64]"
    )
    parser.add_argument("--piece-px", type=int, nargs=2, default=(1100, 1300), metavar=("LEAST", "MOST"))
    parser.add_argument("--lesion-share", type=float, nargs=2, default=LesionSize().share)
    parser.add_argument("--folder", type=Path, help="keep the slides here [a temporary folder]")
    parser.add_argument("--json", action="store_true", help="print every map's score instead of tables")
    return parser.parse_args()


def play(trained: Sequence[Trained], given: argparse.Namespace, folder: Path) -> Iterator[Score]:
    """Make the slides and score every network under every control."""
    size = SlideSize(piece_px=tuple(given.piece_px))
    made: dict[str, Any] = {"n_slides": given.slides, "seed": given.seed, "size": size}
    make_slides(
        folder / "focal", classes=LESIONS, lesion_size=LesionSize(share=tuple(given.lesion_share)), **made
    )
    # The same seeds: the same pieces at the same places, and pen on the same slides.
    make_slides(folder / "normal", classes=(BACKGROUND_CLASS,), **made)
    magnifications = sorted({one.network.magnification for one in trained}, reverse=True)
    truth = folder / "focal" / "truth"
    for name, controls in (("focal", (TRAINED, FRESH)), ("normal", (NO_LESION,))):
        for region in focal_regions(folder / name, truth, magnifications):
            for control in controls:
                for number, one in enumerate(trained):
                    asked = fresh(one, given.seed + number) if control == FRESH else one
                    yield from score_region(asked, region, control, given.budget)


def fresh(one: Trained, seed: int) -> Trained:
    """The network with weights as they are before training."""
    return replace(one, model=one.network.build(seed=seed).eval())


def score_region(one: Trained, region: FocalRegion, control: str, budget: int) -> Iterator[Score]:
    """Score both maps of a region for the lesion's class."""
    network = one.network
    runtime = PytorchRuntime(one.model, network, device="cpu", threads=1)
    target = region.targets[network.magnification]
    class_index = network.classes.index(region.class_name)
    inference = runtime.infer(target.pixels[None])
    maps = explain_region(
        target.pixels,
        runtime,
        fc_weight_KC=one.model.fc.weight.detach().numpy(),
        output_stride=network.output_stride,
        classes=[class_index],
        occlusion_budget=budget,
        relu=False,
        inference=inference,
    )
    agreed = _agreement(maps, target)
    for heat_map in maps:
        distance = target.distance_at(*heat_map.peak())
        yield Score(
            network=f"{_NAMES[one.run['settings']['phase']]}, {network.magnification:g}x",
            run=str(one.folder),
            control=control,
            method=heat_map.method,
            slide=region.slide,
            class_name=region.class_name,
            called=int(inference.logits_BK[0].argmax()) == class_index,
            hit=distance == 0,
            near=distance <= network.output_stride,
            agreement=agreed,
            mass=mass_inside(heat_map, target),
            area=float(target.inside[target.tissue].mean()),
            area_near=float((target.distance <= network.output_stride)[target.tissue].mean()),
            area_region=float(target.inside.mean()),
        )


def _agreement(maps: Sequence[HeatMap], target: Target) -> float:
    """Of Grad-CAM cut off at 0, as predict shows it, with occlusion."""
    if len(maps) < len(METHODS):
        return float("nan")
    cut = replace(maps[0], values=np.maximum(maps[0].values, 0))
    rows, columns = target.pixels.shape[:2]
    found = agreement(cut, maps[1], width=columns, height=rows, tissue=tissue_blocks(target.pixels))
    return float("nan") if found is None else found


def mass_inside(heat_map: HeatMap, target: Target) -> float:
    """Share of a map's positive part, over all pixels of the image, that lies in a lesion."""
    rows, columns = target.inside.shape
    positive = np.maximum(heat_map.at_pixels(width=columns, height=rows), 0)
    total = float(positive.sum())
    return float(positive[target.inside].sum()) / total if total > 0 else float("nan")


def report(scores: Sequence[Score], given: argparse.Namespace) -> str:
    """All tables."""
    slides = len({score.slide for score in scores})
    regions = sum(score.control == TRAINED and score.method == METHODS[0] for score in scores) // len(
        given.runs
    )
    lines = [
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}. {machine_line(machine())}",
        f"{len(given.runs)} networks, {slides} slides of pieces of {given.piece_px[0]} to {given.piece_px[1]} px, "
        f"{regions} regions, seed {given.seed}, occlusion with up to {given.budget} passes. In percent.",
        "",
        markdown_table(*pointing_table(scores)),
        "",
        markdown_table(*class_table(scores)),
        "",
        markdown_table(*agreement_table(scores)),
        "",
        markdown_table(*difference_table(scores)),
    ]
    return "\n".join(lines)


def pointing_table(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: hits, hits within a cell and mass, by network, control and method."""
    header = ["network", "map", "weights, slides", "hits", "within a cell", "mass inside", "called so"]
    rows = []
    for network in _networks(scores):
        for method in METHODS:
            for control in CONTROLS:
                some = _of(scores, network, method, control)
                rows += [[network, method, control, *_measured(some)]] if some else []
        own = _of(scores, network, METHODS[0], TRAINED)
        guess = [_percent(own, name) for name in ("area", "area_near", "area")]
        rows.append([network, "a random point of the tissue", "", *guess, ""])
        rows.append([network, "a random point of the region", "", _percent(own, "area_region"), "", "", ""])
    return header, rows


def class_table(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: hits of the trained networks by the lesion's class, by what they call it, and by network."""
    header = ["network", "map", *LESIONS, "of those called so", "of the others", "each network"]
    rows = []
    for network, method, own in _trained(scores):
        parts = [[s for s in own if s.class_name == name] for name in LESIONS]
        parts += [[s for s in own if s.called], [s for s in own if not s.called]]
        each = [[s.hit for s in own if s.run == run] for run in dict.fromkeys(s.run for s in own)]
        shown = ", ".join(f"{100 * np.mean(hits):.0f}" for hits in each)
        rows.append([network, method, *(_percent(part, "hit") for part in parts), shown])
    return header, rows


def agreement_table(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: hits of the trained networks where their maps disagree by the page's limit, and where not."""
    rows = []
    for network, method, own in _trained(scores):
        parts = [
            [s for s in own if s.agreement < DISAGREE],
            [s for s in own if s.agreement >= DISAGREE],
        ]
        if all(parts):
            rows.append([network, method, *(f"{len(part)}: {_percent(part, 'hit')}" for part in parts)])
    return ["network", "map", f"maps agree below {DISAGREE:g}: hits", "above: hits"], rows


def difference_table(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: differences in hits between trained networks of which there are as many, in points."""
    rows = []
    for (first, method, own), (second, other_method, others) in combinations(_trained(scores), 2):
        if method != other_method or len(own) != len(others):
            continue
        difference = np.array([s.hit for s in own], float) - np.array([s.hit for s in others], float)
        assert [s.slide for s in own] == [s.slide for s in others]
        low, high = interval(difference, _numbers(own))
        shown = f"{100 * difference.mean():+.0f} ({100 * low:+.0f} to {100 * high:+.0f})"
        rows.append([f"{first} - {second}", method, shown])
    return ["networks", "map", "difference in hits"], rows


def _networks(scores: Sequence[Score]) -> list[str]:
    return list(dict.fromkeys(score.network for score in scores))


def _of(scores: Sequence[Score], network: str, method: str, control: str) -> list[Score]:
    return [s for s in scores if (s.network, s.method, s.control) == (network, method, control)]


def _trained(scores: Sequence[Score]) -> list[tuple[str, str, list[Score]]]:
    """Scores of trained networks on slides with lesions, by network and method, those that there are."""
    parts = [
        (network, method, _of(scores, network, method, TRAINED))
        for network in _networks(scores)
        for method in METHODS
    ]
    return [part for part in parts if part[2]]


def _measured(scores: Sequence[Score]) -> list[str]:
    return [_percent(scores, name) for name in ("hit", "near", "mass", "called")]


def _numbers(scores: Sequence[Score]) -> np.ndarray:
    return np.unique([score.slide for score in scores], return_inverse=True)[1]


def _percent(scores: Sequence[Score], name: str) -> str:
    values = np.array([float(getattr(score, name)) for score in scores])
    known = ~np.isnan(values)
    if not known.any():
        return "-"
    low, high = interval(values[known], _numbers(scores)[known])
    return f"{100 * values[known].mean():.0f} ({100 * low:.0f}-{100 * high:.0f})"


def interval(values: np.ndarray, slides: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the mean over regions, slides drawn with all their regions.

    Args:
        values: (N) one of each map.
        slides: (N) number of the slide that each is of, from 0.
    """
    sums = np.bincount(slides, values)
    counts = np.bincount(slides)
    sums, counts = sums[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(0)
    draws = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=ITERATIONS)
    low, high = np.percentile(draws @ sums / (draws @ counts), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
