"""The configuration in, everything that can be known without opening a slide out: slides, labels, splits.

Whatever is wrong with the command, labels.csv or the splits is found here, in the first seconds, before anything is
written and before Ray starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slideprep.building.config import BuildConfig
from slideprep.errors import InputError, UsageError
from slideprep.labels.columns import name_list
from slideprep.labels.leaks import check_leaks
from slideprep.labels.match import Matched, RegionClasses, SlideEntry, match_labels, unlabelled_slides
from slideprep.labels.pseudonyms import Pseudonyms
from slideprep.labels.split_plan import SplitPlan
from slideprep.labels.splits import assign_splits
from slideprep.labels.table import read_labels
from slideprep.shards.records import Failure
from slideprep.slides.discover import look_for_slides
from slideprep.slides.files import SlideFile, redacted
from slideprep.slides.fingerprint import fingerprint
from slideprep.storage.places import Place
from slideprep.tissue.annotation_checks import nothing_left, unmatched_classes
from slideprep.tissue.annotation_files import read_annotations
from slideprep.tissue.annotations import find_annotations, leave_out


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a build starts from. Names are those shown in all output: file names or pseudonyms.

    Attributes:
        files: The slides by name, of every slide found.
        entries: What labels.csv says, by name; slides with unusable annotations are missing.
        annotations: Annotation file by name, in ``annotations`` mode.
        plan: Where every slide goes.
        failures: Slides that cannot be used, known already.
        warnings: Plain sentences for the person who runs the build.
    """

    files: Mapping[str, SlideFile]
    entries: Mapping[str, SlideEntry]
    annotations: Mapping[str, Path]
    plan: SplitPlan
    failures: tuple[Failure, ...]
    warnings: tuple[str, ...]

    @property
    def wanted(self) -> list[str]:
        """Names of the slides that a split holds."""
        return [name for name, slide in self.plan.slides.items() if slide.split is not None]

    @property
    def found_words(self) -> str:
        """How many slides there are, and how many of them in which splits."""
        splits = sorted({slide.split for slide in self.plan.slides.values() if slide.split})
        return f"slides found: {len(self.files):,}, of these in a split: {len(self.wanted):,} ({', '.join(splits)})"


Assign = Callable[[Sequence[SlideEntry], RegionClasses], SplitPlan]
"""Entries and the classes of annotated regions to a split; entries that it leaves out of the plan are passed over."""


def prepare(config: BuildConfig, assign: Assign | None = None) -> Prepared:
    """Find the slides, match the labels, read the annotations' classes, assign the splits, look for copies.

    Args:
        config: The settings.
        assign: What assigns the splits; None for :func:`slideprep.labels.splits.assign_splits` with the settings.

    Raises:
        UsageError: Something about the run as a whole is wrong.
    """
    if not config.slides:
        raise UsageError("no slides were given; name files, folders, globs or a CSV with a column 'path'")
    found = look_for_slides(config.slides)
    slides, rejected = found.slides, found.rejected
    matched, notes = _matched(config, [slide.name for slide in slides])
    failures = [
        Failure(slide=item.path.name, region=None, stage="open", reason=item.reason) for item in rejected
    ]
    annotated = _annotated(config, slides)
    failures += annotated.failures
    vain = _excluded_in_vain(config, annotated.found, strict=assign is None)
    unusable = {failure.slide for failure in annotated.failures}
    entries = [entry for entry in matched.entries if entry.name not in unusable]
    if assign is None:
        assign = partial(assign_splits, settings=config.splitting, seed=config.seed, classes=config.classes)
    plan = assign(entries, annotated.classes)
    prepared = Prepared(
        files={slide.name: slide for slide in slides},
        entries={entry.name: entry for entry in entries},
        annotations=annotated.files,
        plan=plan,
        failures=tuple(failures),
        warnings=(
            *filter(None, [found.passed_over]),
            *notes,
            *matched.warnings,
            *vain,
            *plan.warnings,
        ),
    )
    _check_copies(prepared)
    if config.pseudonymise is None:
        return prepared
    return _pseudonymised(prepared, Pseudonyms(config.pseudonymise), [item.path for item in rejected])


def _matched(config: BuildConfig, names: Sequence[str]) -> tuple[Matched, tuple[str, ...]]:
    if config.labels is None:
        return unlabelled_slides(names), ()
    labels = read_labels(config.labels)
    return match_labels(labels, names), tuple(labels.notes)


@dataclass(frozen=True, kw_only=True)
class _Annotated:
    files: Mapping[str, Path]
    classes: Mapping[str, Sequence[str]]
    found: Set[str]
    failures: tuple[Failure, ...]


def _annotated(config: BuildConfig, slides: Sequence[SlideFile]) -> _Annotated:
    files: dict[str, Path] = {}
    classes: dict[str, list[str]] = {}
    found: set[str] = set()
    failures = []
    for slide in slides if config.annotations is not None else ():
        assert config.annotations is not None
        try:
            path = find_annotations(config.annotations, slide.name)
            if path is None:
                raise InputError(
                    f"slide '{slide.name}' has no annotation file in {config.annotations}; add its GeoJSON or XML, "
                    "named like the slide, or leave the slide out"
                )
            read = read_annotations(path)
            found.update(region.class_name for region in read.regions if region.class_name is not None)
            regions = leave_out(read.regions, config.exclude_classes)
            if not regions:
                reason = nothing_left(path.name, read.notes, read.regions)
                raise InputError(
                    f"slide '{slide.name}' has no annotated region: {reason}; correct that, or leave the slide out"
                )
        except InputError as error:
            failures.append(Failure(slide=slide.name, region=None, stage="annotations", reason=str(error)))
            continue
        files[slide.name] = path
        if named := [region.class_name for region in regions if region.class_name is not None]:
            classes[slide.name] = named
    return _Annotated(files=files, classes=classes, found=frozenset(found), failures=tuple(failures))


def _excluded_in_vain(config: BuildConfig, found: Set[str], *, strict: bool) -> list[str]:
    """Warnings of classes to leave out that no annotation has; one that is probably misspelt would be trained on."""
    warnings = []
    for name, meant in unmatched_classes(config.exclude_classes, found):
        told = f"--exclude-class {name!r} is the class of no annotation"
        there = f"the classes are {name_list(sorted(found))}" if found else "no annotation has a class"
        if meant and strict:
            raise UsageError(
                f"{told}, and {name_list(meant)} would stay; write the name as it is, or leave the option out ({there})"
            )
        warnings.append(f"{told}, so nothing is left out by it; {there}")
    return warnings


def _check_copies(prepared: Prepared) -> None:
    """Files of equal size are compared now, in seconds; the full check follows the scan."""
    by_size: defaultdict[int, list[str]] = defaultdict(list)
    for name in prepared.wanted:
        try:
            by_size[total_bytes(prepared.files[name])].append(name)
        except OSError:
            continue  # the scan will say so
    marks = {}
    for name in (name for group in by_size.values() if len(group) > 1 for name in group):
        try:
            marks[name] = fingerprint(prepared.files[name])
        except (OSError, InputError):
            continue
    check_leaks(prepared.plan, marks)


def total_bytes(file: SlideFile) -> int:
    """Size of all files of a slide."""
    return sum(file.remote.sizes) if file.remote else sum(path.stat().st_size for path in file.files)


def _pseudonymised(prepared: Prepared, pseudonyms: Pseudonyms, rejected: Sequence[Place]) -> Prepared:
    slides = {name: pseudonyms.of("slide", name) for name in prepared.files}
    patients = {entry.patient: pseudonyms.of("patient", entry.patient) for entry in prepared.entries.values()}
    pseudonyms.save()
    paths = [path for file in prepared.files.values() for path in file.places]
    paths += [*prepared.annotations.values(), *rejected]

    def clean(text: str) -> str:
        return redacted(text, {**patients, **slides}, paths)

    return Prepared(
        files={slides[name]: file for name, file in prepared.files.items()},
        entries={
            slides[name]: replace(entry, name=slides[name], patient=patients[entry.patient])
            for name, entry in prepared.entries.items()
        },
        annotations={slides[name]: path for name, path in prepared.annotations.items()},
        plan=replace(
            prepared.plan,
            slides={
                slides[name]: replace(
                    slide,
                    name=slides[name],
                    patient=patients[slide.patient],
                    left_out=None if slide.left_out is None else clean(slide.left_out),
                )
                for name, slide in prepared.plan.slides.items()
            },
            warnings=tuple(map(clean, prepared.plan.warnings)),
        ),
        failures=tuple(
            failure.model_copy(
                update={"slide": slides.get(failure.slide, "a file"), "reason": clean(failure.reason)}
            )
            for failure in prepared.failures
        ),
        warnings=tuple(map(clean, prepared.warnings)),
    )
