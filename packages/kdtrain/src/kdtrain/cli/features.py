"""``kdtrain features``: its options to a request, one call, an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.cli.numbers import Number
from kdtrain.text import plural

if TYPE_CHECKING:
    from kdtrain.predict.vectors.run import Outcome

SOME_FAILED = 3
_SHOWN = 20
"""Failures that are said; all are in failures.csv."""
_KEPT = "files that were finished are kept in --out, and the same command goes on with the others"


@click.command("features")
@click.argument("network", type=click.Path(path_type=Path))
@click.argument("slides", metavar="[SLIDE]...", nargs=-1)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the h5 files.")
@click.option("--shards", help="Folder or URL of a set, in place of slides.")
@click.option("--split", "splits", multiple=True, help="Of the set; may be repeated.  [default: all]")
@click.option(
    "--cells",
    is_flag=True,
    help="A vector for every cell of the feature map, instead of one for every region.",
)
@click.option(
    "--layout",
    type=click.Choice(["trident", "stamp"]),
    default="trident",
    show_default=True,
    help="trident is read by TRIDENT, CLAM and TITAN; stamp by STAMP.",
)
@click.option(
    "--dtype",
    "kind",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the vectors in the files.",
)
@click.option("--objective", type=Number(200), help="Objective power of slides that carry none.")
@click.option("--mpp", type=Number(100), help="Microns per level-0 pixel of slides that carry none.")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="labels.csv whose columns objective and mpp correct single slides.",
)
@click.option(
    "--tissue",
    type=click.Choice(["auto", "tissueloc", "whole", "annotations"]),
    help="How regions are found.  [default: as in the set that the network was trained on]",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    help="Folder of GeoJSON (QuPath) or XML (ImageScope) files, for a network of annotated regions.",
)
@click.option(
    "--outside",
    type=click.Choice(["auto", "warn"]),
    default="auto",
    show_default=True,
    help="What becomes of slides of another magnification than a bundle was trained on: refused, or taken.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "onnx", "pytorch"]),
    default="auto",
    show_default=True,
    help="Of a bundle; auto: ONNX Runtime on a CPU, PyTorch on a GPU. A run is PyTorch's.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where."
)
@click.option(
    "--workers", type=click.IntRange(0, 1024), help="Processes that read; 0: none.  [default: one per core]"
)
@click.option(
    "--start-seconds",
    type=Number(86_400),
    default=120.0,
    show_default=True,
    help="How long these processes may take to start, seconds.",
)
@click.option(
    "--slide-minutes",
    type=Number(1_000_000, zero=True),
    default=120.0,
    show_default=True,
    help="Give a slide up that is read for longer; 0: never. Not with --workers 0.",
)
def features_command(**options: Any) -> None:
    """Vectors of NETWORK, a run or a bundle, with their places on level 0: one h5 file a slide, for other tools.

    Of slides, files of any format that slideprep reads, or of a set by --shards. The same command again goes on where
    it was stopped. What has no vectors is listed in failures.csv (exit code 3).
    """
    with exit_codes(_KEPT):
        reading = {
            name: options.pop(name) for name in ("objective", "mpp", "labels", "tissue", "annotations")
        }
        from kdtrain.predict.answers.request import ReadOptions
        from kdtrain.predict.vectors.run import VectorRequest, extract_features
        from kdtrain.screen import console

        request = VectorRequest(read=ReadOptions(**reading), **options)
        outcome = extract_features(request, console(stderr=True))
        _say(outcome, request.out)
        if outcome.failures:
            sys.exit(SOME_FAILED)


def _say(outcome: Outcome, out: Path) -> None:
    from kdtrain.screen import say

    for failure in outcome.failures[:_SHOWN]:
        say(f"failed   {failure.slide}: {failure.reason}", err=True)
    if len(outcome.failures) > _SHOWN:
        say(f"and {len(outcome.failures) - _SHOWN:,} more, in {out / 'failures.csv'}", err=True)
    if outcome.channels is not None:
        made = plural(outcome.vectors, "vector")
        say(f"{made} of {outcome.channels:,} channels, of {plural(outcome.slides, 'slide')}")
    if outcome.kept:
        say(f"{outcome.kept:,} shards or slides were there already")
    say(f"network  {outcome.encoder}\nfeatures {out}")
