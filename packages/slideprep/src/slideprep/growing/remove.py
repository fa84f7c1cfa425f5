"""``remove-slides``: slides leave a set, and with them everything in its folder that names or shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.growing.change import Changing, Outcome, changed_past, changing, digest_of, put_in_place
from slideprep.growing.current import CurrentSet, assemble, is_hidden, mapping_of
from slideprep.growing.rewrite import edits_between, rewrite_shards
from slideprep.labels.columns import name_list
from slideprep.shards.format import shard_name
from slideprep.shards.journal import NEXT, discard
from slideprep.shards.records import ShardRecord
from slideprep.storage.places import Place
from slideprep.text import file_name, slide_stem

OPERATION = "remove-slides"


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What is to go.

    Attributes:
        slides: Names of slides, or their stems.
        patients: Patients, all of whose slides go.
        pseudonymise: Mapping of a pseudonymised set, where real names are given.
        scratch: Local folder for what grows, where the set is not a local one.
        abandon: Give up another change that was begun and not finished.
    """

    slides: tuple[str, ...]
    patients: tuple[str, ...] = ()
    pseudonymise: Path | None = None
    scratch: Path | None = None
    abandon: bool = False


def remove_slides(out: Place, wish: Removal) -> Outcome:
    """Remove slides from a finished set.

    Only the shards that hold them are written again; a shard without samples stays, so that no number moves.

    Raises:
        UsageError: A name is not in the set, or nothing would be left.
        InputError: A tar that has to be written again is damaged.
        OutputError: The folder cannot be written to.
    """
    asked = digest_of([OPERATION, sorted(wish.slides), sorted(wish.patients)])
    with changing(out, scratch=wish.scratch) as held:
        done = held.is_done(asked)
        return done if done is not None else _remove(held, wish, asked)


def _remove(held: Changing, wish: Removal, asked: str) -> Outcome:
    current, before = held.current, held.current.finished
    slides_named, patients_named = _shown(current, wish)
    if unknown := unknown_names(current, slides_named, patients_named):
        raise UsageError(_unknown(held, wish, unknown))
    names = named_slides(current, slides_named, patients_named)
    slides = {name: slide for name, slide in current.plan.slides.items() if name not in names}
    after_samples = {key: s for key, s in before.samples.items() if s.slide not in names}
    if not after_samples:
        raise UsageError(
            f"no sample would be left in {current.out}; delete the whole folder, or name fewer slides"
        )
    edits = edits_between(before.samples, after_samples, current.index.classes, names)
    request, workspace = held.begin(OPERATION, asked, sorted(names), abandon=wish.abandon)
    made = rewrite_shards(current, edits, held.store, workspace)
    rewritten = [name for name, record in made.items() if record.files != _old(current)[name].files]
    records = list({**_old(current), **made}.values())
    counted = _counted(current, records)
    after = assemble(
        config=before.config,
        slides=slides,
        classes=current.index.classes,
        scans={name: scan for name, scan in before.scans.items() if name not in names},
        records=records,
        failures=[failure for failure in before.failures if failure.slide not in names],
        pictures={name: picture for name, picture in before.pictures.items() if name not in names},
        **changed_past(current, OPERATION, slides=len(names), shards=rewritten, statistics_shards=counted),
    )
    index = put_in_place(
        held,
        after,
        request,
        workspace,
        identities={name: known for name, known in current.identity["slides"].items() if name not in names},
        tars=[file.path for name in rewritten for file in made[name].files.values()],
        records=made,
        gone=names,
    )
    return Outcome(
        out=current.out, before=current.index, after=index, shards=tuple(rewritten), notes=_notes(wish)
    )


def _old(current: CurrentSet) -> dict[str, ShardRecord]:
    return {shard_name(record.split, record.number): record for record in current.finished.records}


def _counted(current: CurrentSet, records: Iterable[ShardRecord]) -> tuple[int, ...] | None:
    """Shards that the statistics count: those they counted before, or all where nothing is left in those."""
    counted = current.index.statistics_shards
    if counted is None:
        return None
    left = [r.number for r in records if r.split == "train" and r.number in counted and r.keys]
    return counted if left else None


def _notes(wish: Removal) -> tuple[str, ...]:
    notes = [
        "models, predictions, reports and copies made from the set before are not touched: remove them where they are"
    ]
    if wish.pseudonymise is not None:
        notes.append(f"{wish.pseudonymise} still holds the real names; delete their rows there")
    return tuple(notes)


def _unknown(held: Changing, wish: Removal, unknown: Sequence[str]) -> str:
    """What to say of names that are not in the set, which may have left it: no file keeps them to tell."""
    current = held.current
    told = f"{current.out} holds no {', no '.join(unknown[:10])}; nothing was changed. "
    removals = [change.slides for change in current.index.changes if change.operation == OPERATION]
    if removals:
        told += (
            f"Slides were removed before, last {removals[-1]}: where these were among them, nothing is left to do, "
            "and no file of the set holds their names. Otherwise check"
        )
    else:
        told += "Check"
    told += " the spelling against slides.csv"
    if wish.pseudonymise is None and is_hidden(current):
        told += "; the set shows pseudonyms, and --pseudonymise FILE with the mapping of its build finds real names"
    return told + _left_over(held, wish)


def _left_over(held: Changing, wish: Removal) -> str:
    """Slides that were to be added, and never were, can have left scans; with ``--abandon`` these go."""
    if not held.store.list(NEXT):
        return ""
    if wish.abandon:
        discard(held.store)
        return ". What another change had prepared was given up"
    return ". A change that was begun and not finished may hold them; --abandon removes what it prepared"


def _shown(current: CurrentSet, wish: Removal) -> tuple[Sequence[str], Sequence[str]]:
    # as the set shows them: a shell gives the bytes of a name
    given, patients = tuple(map(file_name, wish.slides)), tuple(map(file_name, wish.patients))
    if wish.pseudonymise is None:
        return given, patients
    pseudonyms = mapping_of(current, wish.pseudonymise)
    slides = pseudonyms.known("slide")
    stems = {slide_stem(name): shown for name, shown in slides.items()}
    return (
        [slides.get(name) or stems.get(name, name) for name in given],
        [pseudonyms.known("patient").get(name, name) for name in patients],
    )


def unknown_names(current: CurrentSet, slides: Sequence[str], patients: Sequence[str]) -> list[str]:
    """The names, stems and patients that mean no slide of a set, as a person reads them."""
    names = _all_names(current)
    known = {*names, *map(slide_stem, names)}
    held = {slide.patient for slide in current.plan.slides.values()}
    return [
        *(f"slide '{name}'" for name in slides if name not in known),
        *(f"patient '{name}'" for name in patients if name not in held),
    ]


def _all_names(current: CurrentSet) -> frozenset[str]:
    """Slides of the set, those that failed or were left out among them."""
    return frozenset([*current.plan.slides, *(failure.slide for failure in current.finished.all_failures)])


def named_slides(current: CurrentSet, slides: Sequence[str], patients: Sequence[str]) -> frozenset[str]:
    """The slides of a set that names, stems or patients mean; those that failed or were left out among them.

    Raises:
        UsageError: Nothing is named, or a stem fits several slides.
    """
    if not slides and not patients:
        raise UsageError("nothing was named; give names of slides, or --patient")
    names = _all_names(current)
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_stem[slide_stem(name)].append(name)
    of_patient: defaultdict[str, list[str]] = defaultdict(list)
    for name, slide in current.plan.slides.items():
        of_patient[slide.patient].append(name)
    several = [name for name in slides if name not in names and len(by_stem[name]) > 1]
    if several:
        raise UsageError(
            f"'{several[0]}' fits {len(by_stem[several[0]])} slides, {name_list(by_stem[several[0]])}; write the "
            "file name with its suffix"
        )
    found = [name if name in names else by_stem[name][0] for name in slides]
    return frozenset([*found, *(name for patient in patients for name in of_patient[patient])])
