"""``kdtrain export``: options to one call, and what was written to the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdtrain.cli.exit_codes import exit_codes
from kdtrain.errors import UsageError
from kdtrain.text import plural

if TYPE_CHECKING:
    from kdtrain.bundle.export import Exported
    from kdtrain.bundle.wsinfer_export import WsinferExported


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle; a new one."
)
@click.option(
    "--shards",
    help="Folder or URL of the shard set that the run was trained on. Left out: where it was then.",
)
@click.option("--split", default="test", show_default=True, help="Whose evaluation goes into the bundle.")
@click.option("--name", help="Of the bundle. Left out: what it is, such as student-2.5x-resnet10.")
@click.option("--license", help="SPDX identifier, such as CC-BY-4.0. Left out: none is stated.")
@click.option(
    "--notes",
    type=click.Path(path_type=Path),
    help="Markdown file that the model card ends with, as the authors' notes.",
)
@click.option("--unevaluated", is_flag=True, help="Export without metrics, which the model card then says.")
@click.option(
    "--wsinfer",
    is_flag=True,
    help="Make a folder for QuPath's WSInfer extension and for Python's wsinfer in the place of a bundle, and measure "
    "what their square tiles cost.",
)
@click.option(
    "--mlflow",
    is_flag=True,
    help="Add a folder mlflow to the bundle, which MLflow loads and serves: images in, probabilities out.",
)
def export_command(**options: Any) -> None:
    """Make a bundle of RUN: weights, an ONNX graph, what they were trained on, and a model card.

    The folder stands alone: 'kdtrain predict' needs nothing else, and it is laid out as model hubs expect it.
    """
    with exit_codes():
        from kdtrain.bundle.export import ExportOptions, export
        from kdtrain.screen import console

        told = ExportOptions(**options)
        if told.wsinfer and told.mlflow:
            raise UsageError(
                "--mlflow adds to a bundle, and --wsinfer makes none; export twice, each to its own --out"
            )
        if told.wsinfer:
            from kdtrain.bundle.wsinfer_export import export_wsinfer

            _say_wsinfer(export_wsinfer(told, console(stderr=True)))
            return
        _say(export(told, console(stderr=True)))


def _say_wsinfer(exported: WsinferExported) -> None:
    from kdtrain.bundle.wsinfer_card import cost_lines
    from kdtrain.screen import say

    tiling = exported.tiling
    for name, size in exported.sizes.items():
        say(f"{name:21} {size / 1e6:9,.3f} MB")
    say(f"tiles of {tiling.patch_px} x {tiling.patch_px} px at {tiling.spacing_um:g} µm per pixel")
    for line in cost_lines(exported.cost):
        say(line)
    folder = exported.folder
    say(
        f"{exported.name}\nfolder   {folder}\nnext     wsinfer run --wsi-dir SLIDES --results-dir RESULTS --config "
        f"{folder / 'config.json'} --model-path {folder / 'torchscript_model.pt'}"
    )


def _say(exported: Exported) -> None:
    from kdtrain.bundle.card import extent
    from kdtrain.screen import say

    document, data = exported.document, exported.document.training_data
    agreed = document.onnx.agreement
    width = max(18, *map(len, exported.sizes))
    for name, size in exported.sizes.items():
        say(f"{name:{width}} {size / 1e6:9,.3f} MB")
    say(
        f"ONNX and PyTorch over {len(agreed.images)} sizes up to {agreed.images[-1][2]} x {agreed.images[-1][1]} px: "
        f"logits within {agreed.logits:.1g}, probabilities within {agreed.probabilities:.1g}"
    )
    measured = f"; {data.measured:,} of them measured" if data.measured < data.images else ""
    sides, pixels = extent(data.longer_side_px, "px"), extent(data.mpp, "µm")
    say(f"trained on {plural(data.images, 'image')}, longer side {sides}, a pixel {pixels}{measured}")
    if document.metrics is None:
        say("warning: without metrics; 'kdtrain evaluate' measures the run", err=True)
    if document.calibration is None:
        say(
            "its probabilities are not calibrated; 'kdtrain calibrate' on a labelled split, then 'kdtrain evaluate', "
            "before the export calibrates them"
        )
    else:
        say(f"its probabilities are {document.calibration.words}")
    say(f"{document.name}\nbundle   {exported.folder}\nnext     kdtrain predict {exported.folder} SLIDE...")
