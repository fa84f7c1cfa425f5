"""A predicted slide in, its class maps as DICOM files in a folder out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kdtrain.bundle.load import OpenBundle
from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.files import write_atomically
from kdtrain.predict.answers.classify import decoded
from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction
from kdtrain.predict.answers.slide_images import SlideImages
from kdtrain.predict.dicom.asked import no_dicom_words
from kdtrain.predict.dicom.class_map import (
    RegionCells,
    cell_probabilities,
    class_map,
    grid_of,
    labels_of,
    tissue_cells,
)
from kdtrain.predict.dicom.header import UNREADABLE
from kdtrain.predict.dicom.objects import ReadBackError, dicom_files, file_names
from kdtrain.predict.dicom.slide_map import Algorithm, SlideMap
from kdtrain.predict.dicom.source import SourceImage, refused, source_image
from kdtrain.predict.explain.agreement import tissue_blocks


def write_class_maps(
    images: SlideImages,
    prediction: SlidePrediction,
    bundle: OpenBundle,
    runtime: Runtime,
    folder: Path,
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Write a slide's class maps.

    Args:
        images: The slide, read with its DICOM header.
        prediction: What was said of it.
        bundle: By which network.
        runtime: What computes it.
        folder: For the files; what is there of the same names is replaced.
        say: Shows what is being done.

    Returns:
        What the slide does not say and was derived; plain sentences without values of its header.

    Raises:
        SlideError: The slide is no DICOM, or its header does not allow it; no file is left.
    """
    _forget(prediction.classes, folder)  # those of the slide as it was before
    if images.header is None:
        raise refused(images.name, no_dicom_words(images.name))
    source = source_image(images.header, images.name, images.width, images.height, images.mpp)
    say(f"{images.name}: class maps")
    made = _slide_map(images, prediction, source, bundle, runtime)
    _write(made, images.name, folder)
    return source.derived


def _write(made: SlideMap, slide: str, folder: Path) -> None:
    """One file after the other, the segmentation last: where it is, they are all."""
    try:
        for name, content in dicom_files(made):
            write_atomically(folder / name, content)
    except (MemoryError, OSError):
        raise
    except ReadBackError:
        reason = "highdicom does not read the class map that it wrote; install another version of it"
    except UNREADABLE as error:  # its words may hold values of the header
        reason = (
            f"highdicom writes no class map that refers to it ({type(error).__name__}); check the slide with a DICOM "
            "validator, or export it again"
        )
    else:
        return
    _forget(made.classes, folder)
    raise refused(slide, reason)


def _forget(classes: Sequence[str], folder: Path) -> None:
    for name in file_names(classes):
        (folder / name).unlink(missing_ok=True)


def _slide_map(
    images: SlideImages,
    prediction: SlidePrediction,
    source: SourceImage,
    bundle: OpenBundle,
    runtime: Runtime,
) -> SlideMap:
    stride = bundle.document.architecture.output_stride
    cells = [
        _region_cells(decoded(read), said, stride, bundle, runtime)
        for read, said in zip(images.regions, prediction.regions, strict=True)
    ]
    grid = grid_of(images.width, images.height, cells)
    map_hwK = class_map(grid, cells)
    return SlideMap(
        grid=grid,
        probabilities_hwK=map_hwK,
        labels_hw=labels_of(grid, cells, map_hwK),
        classes=prediction.classes,
        source=source,
        algorithm=Algorithm(
            name=bundle.title, sha256=bundle.sha256, words=_words(source, cells, bundle.probability_words)
        ),
    )


def _region_cells(
    pixels: Pixels, said: RegionPrediction, stride_px: int, bundle: OpenBundle, runtime: Runtime
) -> RegionCells:
    inference = runtime.infer(bundle.restained(pixels).image_HWC[None])
    found_hwK = cell_probabilities(inference, bundle.fc_weight_KC, bundle.temperature)
    rows, columns = found_hwK.shape[:2]
    tissue_hw = tissue_cells(tissue_blocks(pixels), stride_px=stride_px, rows=rows, columns=columns)
    return RegionCells(region=said, probabilities_hwK=found_hwK, tissue_hw=tissue_hw, stride_px=stride_px)


def _words(source: SourceImage, cells: list[RegionCells], probabilities: str) -> str:
    across, down = cells[0].cell_l0
    rows_mm, columns_mm = source.spacing_mm
    return (
        f"A place is a cell of the network's last feature map, {across * columns_mm * 1000:.4g} x "
        f"{down * rows_mm * 1000:.4g} µm; what the network saw for it reaches further. Probabilities of regions are "
        f"{probabilities}; those of cells are by the same temperature."
    )
