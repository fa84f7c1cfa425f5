"""kdtrain from Python: a bundle that answers for one slide, and draws its heat maps.

    bundle = kdtrain.load_bundle("student")
    prediction = bundle.predict("case7.svs")
    print(prediction.label, prediction.probabilities)

Everything happens in this process. Many slides in parallel are ``kdtrain predict``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kdtrain.bundle.load import Backend, Device, OpenBundle, open_bundle
from kdtrain.errors import UsageError
from kdtrain.predict import slides
from kdtrain.predict.answers.prediction import SlideError, SlidePrediction
from kdtrain.predict.answers.request import ExplainOptions, OutsidePolicy, ReadOptions
from kdtrain.predict.answers.slide_images import SlideImages, Source
from kdtrain.predict.dicom.asked import require_dicom
from kdtrain.predict.read_images import read_source
from kdtrain.predict.task import SlideTask


@dataclass(frozen=True, kw_only=True)
class Bundle(OpenBundle):
    """A trained network as one folder, and what it says of slides.

    Attributes:
        path: The folder.
        document: bundle.json.
        sha256: SHA-256 of bundle.json, which holds those of the other files: the identity of the bundle.
        fc_weight_KC: Weights of the fc layer: what each channel of the feature map says for each class.
    """

    def predict(
        self,
        slide: Source,
        *,
        objective: float | None = None,
        mpp: float | None = None,
        tissue: str | None = None,
        annotations: Path | str | None = None,
        fast: bool = False,
        outside: OutsidePolicy = "auto",
        backend: Backend = "auto",
        device: Device = "auto",
        explain: Path | str | None = None,
        classes: tuple[str, ...] = (),
        occlusion_passes: int | None = None,
        dicom: Path | str | None = None,
    ) -> SlidePrediction:
        """What the network says of a slide.

        Args:
            slide: A file of any format that slideprep reads, the folder of a DICOM series, an address, or a slide that
                :func:`slideprep.open_slide` opened, which stays open.
            objective: Objective power of a slide that carries none.
            mpp: Microns per level-0 pixel of a slide that carries none.
            tissue: How regions are found ("auto", "tissueloc", "whole", "annotations"); None as in training.
            annotations: GeoJSON or XML, or a folder with one named like the slide, for annotated regions.
            fast: Read the nearest finer pyramid level instead of level 0; ``fast`` of the result says what it changed.
            outside: What becomes of a slide beyond the training data: "auto" refuses another magnification and notes
                the rest in the result; "warn" and "refuse" do one of it for all.
            backend: "onnx", "pytorch", or "auto": the faster on the device.
            device: "cpu", "cuda", or "auto".
            explain: Folder for heat maps, QuPath files and a page; None for none.
            classes: Names of the classes to explain; empty for those predicted.
            occlusion_passes: Forward passes for the occlusion map of a region, about; None for the default, 0 for none.
            dicom: Folder for class maps as DICOM, which name the patient as the slide does; None for none. The slide
                has to be DICOM.

        Raises:
            UsageError: An argument cannot be used, or slideprep, or highdicom for ``dicom``, is not installed.
            SlideError: The slide cannot be read, or lies outside the training data and is refused.
            TrainingError: What the network says of it is no number.
        """
        slides.require_slideprep()
        if dicom is not None:
            require_dicom(())
        options = ReadOptions(
            objective=objective,
            mpp=mpp,
            tissue=tissue,
            annotations=None if annotations is None else Path(annotations),
            fast=fast,
        )
        drawn = _explain_options(explain is not None, classes, occlusion_passes)
        settings = slides.read_settings(self.document.slides, options)
        runtime = self.runtime(backend=backend, device=device)
        task = SlideTask(self, runtime, outside=outside, explain=drawn)
        images = read_source(
            slide,
            settings,
            self.magnification,
            options,
            None if drawn is None else drawn.display,
            dicom=dicom is not None,
        )
        if not isinstance(images, SlideImages):
            raise SlideError(images.failures[0])
        prediction = task.predicted(images)
        if explain is not None:
            task.explained(images, prediction, Path(explain))
        if dicom is not None:
            remarks = task.class_maps(images, prediction, Path(dicom))
            prediction = replace(prediction, warnings=(*prediction.warnings, *remarks))
        return prediction


def load_bundle(path: Path | str) -> Bundle:
    """Open a bundle and check it: its version, its files by their SHA-256, its weights by their shape.

    Args:
        path: The folder that ``kdtrain export`` wrote, or a copy of it.

    Raises:
        UsageError: There is none, or it is damaged or of another version.
    """
    return Bundle(**vars(open_bundle(path)))


def _explain_options(
    wanted: bool, classes: tuple[str, ...], occlusion_passes: int | None
) -> ExplainOptions | None:
    if not wanted:
        if classes or occlusion_passes is not None:
            raise UsageError(
                "classes and occlusion_passes are those of heat maps; give explain=FOLDER for them"
            )
        return None
    if occlusion_passes is None:
        return ExplainOptions(classes=classes)
    return ExplainOptions(classes=classes, occlusion_passes=occlusion_passes)
