"""``remove-slides``: slides leave a set, and with them everything in its folder that names or shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.growing.change import Changing, Outcome, changed_past, changing, digest_of, put_in_place
from slideprep.growing.current import CurrentSet, assemble
from slideprep.growing.rewrite import edits_between, rewrite_shards
from slideprep.label_columns import name_list
from slideprep.labels import slide_stem
from slideprep.places import Place
from slideprep.pseudonyms import Pseudonyms
from slideprep.records import ShardRecord
from slideprep.shard_format import shard_name

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
    names = named_slides(current, *_shown(wish))
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


def _shown(wish: Removal) -> tuple[Sequence[str], Sequence[str]]:
    if wish.pseudonymise is None:
        return wish.slides, wish.patients
    pseudonyms = Pseudonyms(wish.pseudonymise)
    slides = pseudonyms.known("slide")
    stems = {slide_stem(name): shown for name, shown in slides.items()}
    return (
        [slides.get(name) or stems.get(name, name) for name in wish.slides],
        [pseudonyms.known("patient").get(name, name) for name in wish.patients],
    )


def named_slides(current: CurrentSet, slides: Sequence[str], patients: Sequence[str]) -> frozenset[str]:
    """The slides of a set that names, stems or patients mean; those that failed or were left out among them.

    Raises:
        UsageError: One of them is not in the set, or a stem fits several slides.
    """
    if not slides and not patients:
        raise UsageError("nothing was named; give names of slides, or --patient")
    planned = current.plan.slides
    names = {*planned, *(failure.slide for failure in current.finished.all_failures)}
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_stem[slide_stem(name)].append(name)
    of_patient: defaultdict[str, list[str]] = defaultdict(list)
    for name, slide in planned.items():
        of_patient[slide.patient].append(name)
    unknown = [f"slide '{name}'" for name in slides if name not in names and not by_stem.get(name)]
    unknown += [f"patient '{name}'" for name in patients if name not in of_patient]
    if unknown:
        raise UsageError(
            f"{current.out} holds no {', no '.join(unknown[:10])}; nothing was changed. Check the spelling "
            "against slides.csv"
        )
    several = [name for name in slides if name not in names and len(by_stem[name]) > 1]
    if several:
        raise UsageError(
            f"'{several[0]}' fits {len(by_stem[several[0]])} slides, {name_list(by_stem[several[0]])}; write the "
            "file name with its suffix"
        )
    found = [name if name in names else by_stem[name][0] for name in slides]
    return frozenset([*found, *(name for patient in patients for name in of_patient[patient])])
