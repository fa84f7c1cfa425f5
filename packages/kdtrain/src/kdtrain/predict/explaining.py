"""A predicted slide in, a folder of what shows where the network looked out.

::

    page.html                        the slide, zoomable, with maps and probabilities; opens without a network
    overlay-<method>-<class>.png     one picture a method and class
    overlay-<method>-<class>.ome.tif the same over the whole slide, for QuPath and other viewers
    regions.geojson                  regions and cells of the maps with their values, for QuPath

Regions are explained one after the other, and their pixels are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kdtrain.bundle.load import OpenBundle
from kdtrain.bundle.runtime import Pixels, Runtime
from kdtrain.files import write_atomically
from kdtrain.predict.answers.classify import decoded
from kdtrain.predict.answers.prediction import RegionPrediction, SlidePrediction
from kdtrain.predict.answers.request import PAGE_FILE, ExplainOptions
from kdtrain.predict.answers.slide_images import ReadRegion, SlideImages
from kdtrain.predict.answers.slugs import class_slugs
from kdtrain.predict.explain.agreement import agreements, tissue_blocks
from kdtrain.predict.explain.geojson import write_geojson
from kdtrain.predict.explain.heat_map import ExplainedRegion, Method
from kdtrain.predict.explain.ome_tiff import write_ome_tiff
from kdtrain.predict.explain.overlay import overlay_png
from kdtrain.predict.explain.picture import SlidePicture
from kdtrain.predict.explain.regions import explain_region, wanted_classes
from kdtrain.predict.page.build import build_page
from kdtrain.predict.page.tiles import RegionView, SlidePage

_REGIONS_FILE = "regions.geojson"


def explain_slide(
    images: SlideImages,
    prediction: SlidePrediction,
    bundle: OpenBundle,
    runtime: Runtime,
    options: ExplainOptions,
    folder: Path,
    say: Callable[[str], None],
) -> frozenset[str]:
    """Write a slide's folder.

    Args:
        images: The slide, with pictures for people.
        prediction: What was said of it.
        bundle: By which network.
        runtime: What computes it.
        options: What to draw.
        folder: For the files; what is there of the same names is replaced.
        say: Shows what is being done.

    Returns:
        Names of the files.
    """
    assert images.overview is not None, "slides that are to be explained are read with their overview"
    explained: list[ExplainedRegion] = []
    for read, said in zip(images.regions, prediction.regions, strict=True):
        say(f"{images.name}: where it looked, region {len(explained) + 1} of {len(images.regions)}")
        classes = _classes(options, bundle.classes, prediction, said)
        explained.append(_explained(read, said, classes, bundle, runtime, options))
    write_atomically(folder / PAGE_FILE, _page(images, prediction, explained, bundle, runtime, options))
    slugs, written = class_slugs(bundle.classes), {PAGE_FILE, _REGIONS_FILE}
    for picture in _pictures(prediction, explained, bundle, options):
        png, tiff = (
            folder / f"overlay-{picture.method}-{slugs[picture.class_index]}{end}"
            for end in (".png", ".ome.tif")
        )
        write_atomically(png, overlay_png(picture, images.overview))
        write_ome_tiff(tiff, picture, images.overview, images=_network_images(images))
        written |= {png.name, tiff.name}
    write_geojson(folder / _REGIONS_FILE, explained, bundle.classes)
    return frozenset(written)


def _classes(
    options: ExplainOptions, names: Sequence[str], slide: SlidePrediction, region: RegionPrediction
) -> tuple[int, ...]:
    if options.classes:
        return tuple(sorted({names.index(name) for name in options.classes}))
    return wanted_classes(slide=slide.predicted, region=region.predicted)


def _explained(
    read: ReadRegion,
    said: RegionPrediction,
    classes: tuple[int, ...],
    bundle: OpenBundle,
    runtime: Runtime,
    options: ExplainOptions,
) -> ExplainedRegion:
    pixels = decoded(read)
    maps = explain_region(
        bundle.restained(pixels).image_HWC,
        runtime,
        fc_weight_KC=bundle.fc_weight_KC,
        output_stride=bundle.document.architecture.output_stride,
        classes=classes,
        occlusion_budget=options.occlusion_passes,
    )
    return ExplainedRegion(prediction=said, maps=maps, tissue=tissue_blocks(pixels))


def _page(
    images: SlideImages,
    prediction: SlidePrediction,
    explained: Sequence[ExplainedRegion],
    bundle: OpenBundle,
    runtime: Runtime,
    options: ExplainOptions,
) -> bytes:
    assert images.overview is not None
    views = tuple(
        RegionView(
            prediction=region.prediction,
            display=read.display,
            maps=region.maps,
            agreement=agreements(region).get(region.prediction.predicted),
        )
        for read, region in zip(images.regions, explained, strict=True)
    )
    page = SlidePage(
        prediction=prediction,
        regions=views,
        overview=images.overview,
        bundle=bundle.name,
        backend=runtime.name,
        probabilities=bundle.probability_words,
        calibrated=bundle.document.calibration is not None,
        synthetic=bundle.document.synthetic,
    )
    return build_page(page, size_limit_bytes=round(options.page_mb * 1e6))


def _pictures(
    prediction: SlidePrediction,
    explained: Sequence[ExplainedRegion],
    bundle: OpenBundle,
    options: ExplainOptions,
) -> Iterator[SlidePicture]:
    """One for each method and each class that was asked for, or else the slide's."""
    names = options.classes or (prediction.label,)
    methods: tuple[Method, ...] = ("occlusion", "grad-cam") if options.occlusion_passes else ("grad-cam",)
    for name in names:
        for method in methods:
            yield SlidePicture(
                prediction=prediction,
                regions=explained,
                bundle=bundle.title,
                method=method,
                class_index=prediction.classes.index(name),
            )


def _network_images(images: SlideImages) -> Callable[[int], Pixels]:
    """A region's number to its image at the network's magnification, in the slide's own stain, which people know."""
    by_index = {region.index: region for region in images.regions}
    return lambda index: decoded(by_index[index])
