"""A finished set changes: slides are added, removed, relabelled; what need not change keeps every byte."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from fixtures.build_inputs import write_labels
from fixtures.commands import invoked
from fixtures.slides import picture
from fixtures.tars import images, members
from slideprep.cli.main import main
from slideprep.shards.format import Index
from slideprep.shards.verify.verify import verify
from slideprep.tissue.annotation_files import regions_geojson
from slideprep.units import Box

TINY = ("--tissue", "whole", "--objective", "20", "--magnifications", "10,5", "--workers", "0")
ROWS = [
    {"slide": "s0.png", "label": "a", "patient": "Adalbert", "split": "train"},
    {"slide": "s1.png", "label": "b", "patient": "Bea", "split": "train"},
    {"slide": "s2.png", "label": "a", "patient": "Adalbert", "split": "train"},
    {"slide": "s3.png", "label": "b", "patient": "Cleopatra", "split": "test"},
    {"slide": "s4.png", "label": "a", "patient": "Dorothea", "split": "test"},
]
NEW_ROWS = [
    {"slide": "n0.png", "label": "b", "patient": "Cleopatra"},
    {"slide": "n1.png", "label": "a", "patient": "Yvette"},
]


def slide(folder: Path, name: str) -> Path:
    """A slide of 160 x 160 px whose content follows from its name."""
    folder.mkdir(exist_ok=True)
    shift = zlib.crc32(name.encode()) % 157
    Image.fromarray(np.roll(picture(160, 160), shift, axis=1)).save(folder / name)
    return folder / name


def run(*arguments: str | Path) -> Result:
    """Run slideprep in this process."""
    return invoked(main, *arguments)


def said(result: Result) -> str:
    """What was said, every line break as a space."""
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``out``, a set of five labelled slides and one without a label, and what it was built from."""
    folder = tmp_path_factory.mktemp("built")
    for name in [row["slide"] for row in ROWS] + ["u0.png"]:
        slide(folder / "old", name)
    labels = write_labels(folder / "labels.csv", ROWS)
    result = run("build-shards", folder / "old", "--labels", labels, *TINY, "--out", folder / "out")
    assert result.exit_code == 0, result.output
    for name in ("n0.png", "n1.png", "v0.png"):
        slide(folder / "new", name)
    write_labels(folder / "new.csv", NEW_ROWS)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    shutil.copytree(built, tmp_path / "set")
    return tmp_path / "set"


def add(folder: Path, *options: str | Path, slides: str = "new") -> Result:
    """Run add-slides on the set of a folder."""
    return run("add-slides", folder / "out", folder / slides, "--workers", "0", *options)


def index_of(folder: Path) -> Index:
    """index.json of the set of a folder."""
    return Index.model_validate_json((folder / "out" / "index.json").read_bytes())


def files(out: Path) -> dict[str, bytes]:
    """Every file of a set, by path, without the lock."""
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    return {name: data for name, data in found.items() if name != ".slideprep/lock"}


def tars(out: Path) -> dict[str, bytes]:
    """Every tar, by path."""
    return {name: data for name, data in files(out).items() if name.endswith(".tar")}


def splits(out: Path) -> Mapping[str, str]:
    """Stored split by slide, as slides.csv has it."""
    with (out / "slides.csv").open(newline="", encoding="utf-8") as table:
        return {row["slide"]: row["split"] for row in csv.DictReader(table) if row["regions"] != "0"}


def assert_sound(folder: Path) -> None:
    """The set obeys every rule of the contract."""
    report = verify(folder / "out")
    assert report.ok, [str(fault) for fault in report.faults]


# Adding


def test_added_slides_come_behind_and_old_tars_keep_every_byte(folder: Path) -> None:
    """Cleopatra's new slide is in test, as she is, Yvette's in train, v0 in aux2_added: all in new shards."""
    before, old = tars(folder / "out"), index_of(folder)
    result = add(folder, "--labels", folder / "new.csv")
    assert result.exit_code == 0, result.output
    assert_sound(folder)
    after, index = tars(folder / "out"), index_of(folder)
    assert {name: data for name, data in after.items() if name in before} == before
    assert len(after) == len(before) + 2 * 3
    where = splits(folder / "out")
    assert (where["n0.png"], where["n1.png"], where["v0.png"]) == ("test", "train", "aux2_added")
    assert index.sets["aux2"] == ("aux1", "aux2_added")
    assert index.sets["aux1"] == old.sets["aux1"]
    assert (index.version, index.statistics_of) == ((1, 2), "unencoded")
    assert (folder / "out" / "preview.html").read_text().count("data:image/jpeg") == 6 + 3
    (change,) = index.changes
    assert (change.operation, change.slides) == ("add-slides", 3)
    numbers = {name: entry.shards for name, entry in old.splits.items()}
    assert set(change.shards) == {
        "aux2_added-000000",
        f"test-{numbers['test']:06d}",
        f"train-{numbers['train']:06d}",
    }


def test_statistics_stay_until_they_are_asked_to_follow(folder: Path) -> None:
    """An addition keeps the statistics and says which shards they count; --update-statistics counts all pixels."""
    before = index_of(folder)
    result = add(folder, "--labels", folder / "new.csv")
    after = index_of(folder)
    assert after.statistics == before.statistics
    assert after.statistics_shards == tuple(range(before.splits["train"].shards))
    assert "--update-statistics computes them over all" in said(result)
    followed = run("add-slides", folder / "out", "--update-statistics")
    assert "runs made before used the old ones" in said(followed)
    assert_sound(folder)
    new = index_of(folder)
    pixels = np.concatenate([image.reshape(-1, 3) for image in images(folder / "out", "5x", "train")]).astype(
        float
    )
    assert new.statistics is not None
    assert new.statistics_shards is None
    assert new.statistics["5x"].pixels == len(pixels)
    np.testing.assert_allclose(new.statistics["5x"].mean, pixels.mean(axis=0), atol=0.2)
    kept = files(folder / "out")
    assert "count all of train already" in said(run("add-slides", folder / "out", "--update-statistics"))
    assert files(folder / "out") == kept


def test_the_same_addition_gives_the_same_bytes(folder: Path, built: Path, tmp_path: Path) -> None:
    """Two copies of a set that grow alike are equal in every file."""
    shutil.copytree(built / "out", tmp_path / "other" / "out")
    shutil.copytree(built / "new", tmp_path / "other" / "new")
    for where in (folder, tmp_path / "other"):
        assert add(where, "--labels", built / "new.csv").exit_code == 0
    assert files(folder / "out") == files(tmp_path / "other" / "out")


def test_slides_that_are_there_are_passed_over(folder: Path) -> None:
    """The same addition again says that the slides are there, exits 0, and changes no file."""
    add(folder, "--labels", folder / "new.csv")
    before = files(folder / "out")
    again = add(folder, "--labels", folder / "new.csv")
    assert again.exit_code == 0
    assert "3 slides are in the set already" in said(again)
    assert files(folder / "out") == before


REFUSED: Mapping[str, tuple[dict[str, str], list[str], str]] = {
    "class": ({"label": "c", "patient": "Yvette"}, [], "--add-class 'c'"),
    "moves": (
        {"label": "a", "patient": "Adalbert", "split": "test"},
        [],
        "'Adalbert' is in train, asked for test",
    ),
    "to": ({"label": "a", "patient": "Adalbert"}, ["--to", "val"], "'Adalbert' is in train, asked for val"),
    "gap": ({"label": "", "patient": "Yvette"}, ["--to", "aux3"], "aux1 to aux2"),
    "known-class": (
        {"label": "a", "patient": "Yvette"},
        ["--add-class", "b"],
        "the set has the class already",
    ),
    "pseudonyms": (
        {"label": "a", "patient": "Yvette"},
        ["--pseudonymise", "m.csv"],
        "mix names and pseudonyms",
    ),
    "alike": (
        {"label": "b", "patient": "CLEO-patra", "split": "train"},
        [],
        "'CLEO-patra' (line 2, slide 'n1.png') in train; 'Cleopatra' of the set in test",
    ),
    "class alike": ({"label": "A ", "patient": "Yvette"}, [], "nearly alike: 'A' for 'a'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_the_set_is_refused(case: str, folder: Path) -> None:
    """A new class, a patient who would move, a set that leaves a gap: exit 2, and no file of the set changes."""
    row, options, message = REFUSED[case]
    before = files(folder / "out")
    slide(folder / "one", "n1.png")
    labels = write_labels(folder / "one.csv", [{"slide": "n1.png", **row}])
    result = add(folder, "--labels", labels, *options, slides="one")
    assert result.exit_code == 2
    assert message in said(result)
    assert files(folder / "out") == before


def test_a_copy_of_a_slide_in_another_split_is_refused(folder: Path) -> None:
    """A file that is in test may not come back under another name as a new patient's training slide."""
    (folder / "one").mkdir()
    shutil.copy(folder / "old" / "s3.png", folder / "one" / "innocent.png")
    labels = write_labels(
        folder / "one.csv", [{"slide": "innocent.png", "label": "b", "patient": "Fay", "split": "train"}]
    )
    before = tars(folder / "out"), index_of(folder)
    result = add(folder, "--labels", labels, slides="one")
    assert result.exit_code == 2
    assert "'innocent.png' of patient 'Fay' in train" in said(result)
    assert "'s3.png' of patient 'Cleopatra' in test" in said(result)
    assert (tars(folder / "out"), index_of(folder)) == before
    assert_sound(folder)


def test_a_name_that_is_taken_by_another_file_is_refused(folder: Path) -> None:
    """A new file of an old name is another slide, and both cannot be in the set."""
    slide(folder / "one", "n0.png").rename(folder / "one" / "s0.png")
    before = files(folder / "out")
    result = add(folder, slides="one")
    assert result.exit_code == 2
    assert "has the name of a slide in the set and another content: 's0.png'" in said(result)
    assert files(folder / "out") == before


def test_a_name_with_its_accents_in_another_coding_is_refused(folder: Path) -> None:
    """Both would have one key; the set is as it was."""
    slide(folder / "one", "n\u00e9.png")
    assert add(folder, slides="one").exit_code == 0
    before = files(folder / "out")
    slide(folder / "two", "x.png").rename(folder / "two" / "ne\u0301.png")
    result = add(folder, slides="two")
    assert result.exit_code == 2
    assert "1 slide has the name of a slide in the set and another content" in said(result)
    assert files(folder / "out") == before


def test_to_and_a_new_class(folder: Path) -> None:
    """--to puts all new slides into one set, and --add-class numbers the new class behind the old ones."""
    rows = [{"slide": "n1.png", "label": "c", "patient": "Yvette"}]
    slide(folder / "one", "n1.png")
    labels = write_labels(folder / "one.csv", rows)
    result = add(folder, "--labels", labels, "--to", "dev", "--add-class", "c", slides="one")
    assert result.exit_code == 0, result.output
    index = index_of(folder)
    assert index.classes == ("a", "b", "c")
    assert splits(folder / "out")["n1.png"] == "dev"
    assert index.splits["dev"].per_class == {"a": 0, "b": 0, "c": 1}
    assert_sound(folder)


def test_a_failed_slide_is_listed_and_can_be_added_later(folder: Path) -> None:
    """Exit 3 and a row in failures.csv while the file is damaged; once it is repaired, the same command adds it."""
    (folder / "new" / "n1.png").write_bytes(b"no slide")
    result = add(folder, "--labels", folder / "new.csv")
    assert result.exit_code == 3
    assert "n1.png" in (folder / "out" / "failures.csv").read_text()
    assert index_of(folder).counts.slides_failed == 1
    assert_sound(folder)
    slide(folder / "new", "n1.png")
    again = add(folder, "--labels", folder / "new.csv")
    assert again.exit_code == 0, again.output
    assert "n1.png" not in (folder / "out" / "failures.csv").read_text()
    assert index_of(folder).counts.slides_failed == 0
    assert_sound(folder)


def test_slides_that_all_fail_leave_the_set_as_it_was(folder: Path) -> None:
    """Exit 1, with the reason, and every file as before."""
    before = files(folder / "out")
    (folder / "one").mkdir()
    (folder / "one" / "x.png").write_bytes(b"no slide")
    result = add(folder, slides="one")
    assert result.exit_code == 1
    assert "has a usable region, and the set is as it was" in said(result)
    assert files(folder / "out") == before


# Removing


def test_a_removed_patient_leaves_no_trace(folder: Path) -> None:
    """After Adalbert withdraws, no file of the set holds her name or her slides', and other shards keep every byte."""
    before = tars(folder / "out")
    old = index_of(folder)
    result = run("remove-slides", folder / "out", "--patient", "Adalbert")
    assert result.exit_code == 0, result.output
    assert_sound(folder)
    for name, data in files(folder / "out").items():
        for trace in (b"Adalbert", b"s0.png", b"s2.png", b"s0-", b"s2-"):
            assert trace not in data, f"{name} holds {trace!r}"
    index = index_of(folder)
    assert (old.splits["train"].samples, index.splits["train"].samples) == (3, 1)
    assert index.splits["train"].shards == old.splits["train"].shards
    rewritten = {f"{m}/{shard}.tar" for m in ("10x", "5x") for shard in index.changes[-1].shards}
    assert {name for name, data in tars(folder / "out").items() if data != before[name]} == rewritten
    assert "colour statistics are new" in said(result)
    assert index.statistics is not None
    assert index.statistics["10x"].pixels == 80 * 80


def test_a_slide_left_out_for_its_quality_leaves_no_trace(folder: Path) -> None:
    """Added under the set's own limits it is listed; removed, it is in no file, and others keep their numbers."""
    options = (
        "--labels",
        folder / "labels.csv",
        *TINY,
        "--mpp",
        "4",
        "--max-ink",
        "0.5",
        "--out",
        folder / "limited",
    )
    assert run("build-shards", folder / "old", *options).exit_code == 0
    (folder / "inked").mkdir()
    Image.new("RGB", (160, 160), (40, 70, 170)).save(folder / "inked" / "x0.png")
    slide(folder / "inked", "x1.png")
    out = folder / "limited"
    added = run("add-slides", out, folder / "inked", "--workers", "0")
    assert added.exit_code == 0, added.output
    assert "x0.png,0,quality,ink 1 is above --max-ink 0.5" in (out / "left_out.csv").read_text()
    numbers = [row for row in (out / "regions.csv").read_text().splitlines() if not row.startswith("x0")]
    assert run("remove-slides", out, "x0.png").exit_code == 0
    assert [name for name, data in files(out).items() if b"x0.png" in data or b"x0-" in data] == []
    assert (out / "regions.csv").read_text().splitlines() == numbers
    report = verify(out)
    assert report.ok, [str(fault) for fault in report.faults]


def test_statistics_go_on_with_what_is_left(folder: Path) -> None:
    """Where all slides that they counted are removed, they count the shards that were added since."""
    add(folder, "--labels", folder / "new.csv")
    assert index_of(folder).statistics_shards is not None
    assert run("remove-slides", folder / "out", "s0", "s1", "s2").exit_code == 0
    index = index_of(folder)
    assert index.splits["train"].samples == 1
    assert index.statistics_shards is None
    assert index.statistics is not None
    assert index.statistics["10x"].pixels == 80 * 80
    assert_sound(folder)


def test_slides_are_named_by_file_or_stem(folder: Path) -> None:
    """A stem serves as a name where it fits one slide, and the other slides of a patient stay."""
    assert run("remove-slides", folder / "out", "s2").exit_code == 0
    assert set(splits(folder / "out")) == {"s0.png", "s1.png", "s3.png", "s4.png", "u0.png"}
    assert_sound(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody.svs"], "holds no slide 'nobody.svs'"),
        (["--patient", "Zoe", "s0.png"], "no patient 'Zoe'"),
        ([], "nothing was named"),
        (["s0", "s1", "s2", "s3", "s4", "u0"], "delete the whole folder"),
    ],
)
def test_removals_that_cannot_be_meant_are_refused(arguments: list[str], message: str, folder: Path) -> None:
    """Unknown names, no names and all names: exit 2, and nothing changes, known names among them included."""
    before = files(folder / "out")
    result = run("remove-slides", folder / "out", *arguments)
    assert result.exit_code == 2
    assert message in said(result)
    assert files(folder / "out") == before


def test_a_slide_that_failed_can_be_removed(folder: Path) -> None:
    """Its name goes from failures.csv and from the page, although no tar holds it."""
    (folder / "new" / "n1.png").write_bytes(b"no slide")
    add(folder, "--labels", folder / "new.csv")
    before = tars(folder / "out")
    assert run("remove-slides", folder / "out", "n1.png").exit_code == 0
    assert not [
        name for name, data in files(folder / "out").items() if b"n1.png" in data or b"Yvette" in data
    ]
    assert tars(folder / "out") == before
    assert_sound(folder)


def test_a_damaged_tar_is_not_written_again(folder: Path) -> None:
    """A tar whose checksum is not the index's is not copied under a new one: exit 1, and nothing changes."""
    shard = next(shard for shard in index_of(folder).shards if shard.split == "test")
    path = folder / "out" / shard.files["10x"].path
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    before = tars(folder / "out")
    result = run("remove-slides", folder / "out", "s3", "s4")
    assert result.exit_code == 1
    assert "other bytes than the index says" in said(result)
    assert tars(folder / "out") == before


# Relabelling


def relabel(folder: Path, rows: list[dict[str, str]], *options: str) -> Result:
    """Run relabel with a table of these rows."""
    labels = write_labels(folder / "relabel.csv", rows)
    return run("relabel", folder / "out", "--labels", labels, *options)


def test_a_label_changes_in_its_shards_alone_and_back(folder: Path) -> None:
    """Only .cls and .json of the slide's samples change, and the old label brings the old bytes back."""
    before = tars(folder / "out")
    result = relabel(folder, [{"slide": "s0", "label": "b"}, {"slide": "s1", "label": "b"}])
    assert result.exit_code == 0, result.output
    assert_sound(folder)
    after = tars(folder / "out")
    assert sum(after[name] != data for name, data in before.items()) == 2
    for name, data in before.items():
        assert pictures(data) == pictures(after[name])
    assert index_of(folder).splits["train"].per_class == {"a": 1, "b": 2}
    assert index_of(folder).statistics == json_statistics(folder)
    assert relabel(folder, [{"slide": "s0", "label": "a"}]).exit_code == 0
    assert tars(folder / "out") == before


def test_an_annotated_region_keeps_its_class(tmp_path: Path) -> None:
    """Of two regions of a slide that becomes b, the one annotated as a stays a, and the other one becomes b."""
    slide(tmp_path / "old", "s0.png")
    regions = [
        (Box(x=0, y=0, width=80, height=160), "a", None),
        (Box(x=80, y=0, width=80, height=160), None, None),
    ]
    (tmp_path / "s0.geojson").write_text(json.dumps(regions_geojson(regions)))
    labels = write_labels(tmp_path / "labels.csv", [{"slide": "s0", "label": "a"}])
    built = run(
        "build-shards", tmp_path / "old", "--labels", labels, "--annotations", tmp_path, *TINY,
        "--tissue", "annotations", "--magnifications", "10", "--split", "1,0,0", "--out", tmp_path / "out",
    )  # fmt: skip
    assert built.exit_code == 0, built.output
    changed = relabel(tmp_path, [{"slide": "s0", "label": "b"}], "--add-class", "b")
    assert changed.exit_code == 0, changed.output
    assert index_of(tmp_path).splits["train"].per_class == {"a": 1, "b": 1}
    assert_sound(tmp_path)


def pictures(tar: bytes) -> dict[str, bytes]:
    """The images of a tar by name."""
    return {name: data for name, data in members(tar).items() if name.endswith(".jpg")}


def json_statistics(folder: Path) -> object:
    """The statistics of the set as read anew from its JSON."""
    raw = json.loads((folder / "out" / "index.json").read_bytes())
    return Index.model_validate_json(json.dumps(raw)).statistics


def test_a_table_that_says_what_is_there_changes_nothing(folder: Path) -> None:
    """The build's own labels give no change, exit 0."""
    before = files(folder / "out")
    result = relabel(folder, ROWS)
    assert result.exit_code == 0
    assert "nothing was changed" in said(result)
    assert files(folder / "out") == before


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "c", "patient": "Adalbert"}, "--add-class 'c'"),
        ({"label": "", "patient": "Adalbert"}, "would lose the label"),
        ({"label": "b", "patient": "Bea"}, "'s0.png' of 'Adalbert'"),
    ],
)
def test_labels_that_do_not_go_with_the_set_are_refused(
    row: dict[str, str], message: str, folder: Path
) -> None:
    """A new class, no class in train, another patient: exit 2, and nothing changes."""
    before = files(folder / "out")
    result = relabel(folder, [{"slide": "s0.png", **row}])
    assert result.exit_code == 2
    assert message in said(result)
    assert files(folder / "out") == before


def test_a_new_class_is_the_last(folder: Path) -> None:
    """With --add-class the slide's .cls is the new number, and the others keep theirs."""
    assert relabel(folder, [{"slide": "s0", "label": "0new"}], "--add-class", "0new").exit_code == 0
    assert index_of(folder).classes == ("a", "b", "0new")
    assert index_of(folder).splits["train"].per_class == {"a": 1, "b": 1, "0new": 1}
    assert_sound(folder)


# What else meets a changed set


def test_a_build_with_more_slides_names_add_slides(folder: Path) -> None:
    """build-shards refuses to mix, and says which command adds the new slides."""
    labels = folder / "labels.csv"
    result = run(
        "build-shards", folder / "old", folder / "new", "--labels", labels, *TINY, "--out", folder / "out"
    )
    assert result.exit_code == 2
    assert "to add the 3 new slides to a finished set and keep its shards, use: slideprep add-slides" in said(
        result
    )


def test_a_build_never_undoes_a_change(folder: Path) -> None:
    """The build's own command on a set that has changed since is refused, even where the index was deleted."""
    run("remove-slides", folder / "out", "s0")
    (folder / "out" / "index.json").unlink()
    before = tars(folder / "out")
    result = run(
        "build-shards", folder / "old", "--labels", folder / "labels.csv", *TINY, "--out", folder / "out"
    )
    assert result.exit_code == 2
    assert "the set was changed after its build (remove-slides (1 slide))" in said(result)
    assert tars(folder / "out") == before


def test_a_journal_whose_files_are_gone_is_told(folder: Path) -> None:
    """Somebody who deletes what a change has prepared is told that there is no index, and no tar is touched."""
    request = {"operation": "relabel", "asked": "", "base": ""}
    journal = {"request": request, "moves": ["index.json"], "removes": []}
    (folder / "out" / ".slideprep" / "journal.json").write_text(json.dumps(journal))
    (folder / "out" / "index.json").unlink()
    before = tars(folder / "out")
    result = run("remove-slides", folder / "out", "s0")
    assert result.exit_code == 2
    assert "holds no sound shard set" in said(result)
    assert tars(folder / "out") == before


def test_a_set_without_its_workspace_is_refused(folder: Path) -> None:
    """What the tars do not say cannot be guessed: exit 2 with the remedy."""
    (folder / "out" / ".slideprep" / "set.json").unlink()
    result = run("remove-slides", folder / "out", "s0")
    assert result.exit_code == 2
    assert "its workspace .slideprep is missing or incomplete" in said(result)


@pytest.mark.parametrize("content", ["{}", "[]", '{"slides": [], "settings": {}}', "no JSON"])
def test_a_damaged_workspace_is_refused_before_any_work(content: str, folder: Path) -> None:
    """A build.json that says nothing of slides: exit 2, and nothing is prepared."""
    (folder / "out" / ".slideprep" / "build.json").write_text(content)
    before = files(folder / "out")
    result = run("remove-slides", folder / "out", "s0")
    assert result.exit_code == 2
    assert "its workspace .slideprep is missing or incomplete" in said(result)
    assert files(folder / "out") == before


def test_an_option_that_does_not_go_with_the_set_is_named(folder: Path) -> None:
    """Exit 2 with the option, which is not called a setting of the set."""
    result = run("add-slides", folder / "out", folder / "new", "--annotations", "folder")
    assert result.exit_code == 2
    assert "do not go together: --annotations is read only with --tissue annotations" in said(result)


def test_a_pseudonymised_set_keeps_names_out(built: Path, tmp_path: Path) -> None:
    """Adding needs the mapping, real names serve for removing, and no file of the set ever holds one."""
    mapping = tmp_path / "names.csv"
    out = tmp_path / "out"
    labels = built / "labels.csv"
    options = ("--labels", labels, "--pseudonymise", mapping)
    assert run("build-shards", built / "old", *options, *TINY, "--out", out).exit_code == 0
    new = ("add-slides", out, built / "new", "--labels", built / "new.csv", "--workers", "0")
    refused = run(*new)
    assert refused.exit_code == 2
    assert "add --pseudonymise FILE" in said(refused)
    twin = write_labels(tmp_path / "twin.csv", [{"slide": "n0.png", "label": "b", "patient": "cleo_patra"}])
    twins = ("add-slides", out, built / "new" / "n0.png", "--labels", twin, "--pseudonymise", mapping)
    torn = run(*twins, "--to", "train", "--workers", "0")
    assert torn.exit_code == 2
    assert "'Cleopatra' of the set in test" in said(torn)
    same = run(*twins, "--to", "test", "--workers", "0")
    assert "have nearly the same name" in said(same)
    assert "leopatra" not in said(same)
    assert run("remove-slides", out, "n0.png", "--pseudonymise", mapping).exit_code == 0
    added = run(*new, "--pseudonymise", mapping)
    assert added.exit_code == 0, added.output
    assert run("remove-slides", out, "s3.png", "--pseudonymise", mapping).exit_code == 0
    relabelled = write_labels(
        tmp_path / "again.csv", [{"slide": "s4.png", "label": "b", "patient": "Dorothea"}]
    )
    assert run("relabel", out, "--labels", relabelled, "--pseudonymise", mapping).exit_code == 0
    assert verify(out).ok
    index = Index.model_validate_json((out / "index.json").read_bytes())
    operations = [change.operation for change in index.changes]
    assert operations == ["add-slides", "remove-slides"] * 2 + ["relabel"]
    assert index.splits["test"].per_class == {"a": 0, "b": 2}
    for name, data in files(out).items():
        assert not [word for word in (b"Cleopatra", b"Dorothea", b"s4.png", b"n0.png") if word in data], name


@pytest.mark.parametrize("kind", ["add-slides", "remove-slides", "relabel"])
def test_another_mapping_is_refused(kind: str, built: Path, tmp_path: Path) -> None:
    """With a mapping of other pseudonyms Cleopatra, who is in test, could come into train: exit 2, no file changes."""
    out, mapping, other = tmp_path / "out", tmp_path / "names.csv", tmp_path / "other.csv"
    labels = built / "labels.csv"
    for mapped, where in ((mapping, out), (other, tmp_path / "else")):
        options = ("--labels", labels, "--pseudonymise", mapped)
        assert run("build-shards", built / "old", *options, *TINY, "--out", where).exit_code == 0
    command: tuple[str | Path, ...] = {
        "add-slides": (out, built / "new", "--labels", built / "new.csv", "--workers", "0"),
        "remove-slides": (out, "s3.png"),
        "relabel": (out, "--labels", labels),
    }[kind]
    before = files(out)
    for given, reason in ((other, "knows none of its slides"), (tmp_path / "no.csv", "does not exist")):
        refused = run(kind, *command, "--pseudonymise", given)
        assert refused.exit_code == 2
        assert reason in said(refused)
    assert files(out) == before


def test_real_names_in_a_pseudonymised_set_are_answered_with_the_option(built: Path, tmp_path: Path) -> None:
    """Who names a slide as the archive does is told which option finds it."""
    options = ("--labels", built / "labels.csv", "--pseudonymise", tmp_path / "names.csv")
    assert run("build-shards", built / "old", *options, *TINY, "--out", tmp_path / "out").exit_code == 0
    refused = run("remove-slides", tmp_path / "out", "s3.png")
    assert refused.exit_code == 2
    assert "--pseudonymise FILE with the mapping of its build" in said(refused)


def test_a_slide_that_was_removed_before_is_nowhere(folder: Path) -> None:
    """A removal that is repeated says that nothing is left to do if the name went then, and no file has kept it."""
    command = ("remove-slides", folder / "out", "s0", "s2")
    assert run(*command).exit_code == 0
    before = files(folder / "out")
    again = run(*command)
    assert again.exit_code == 2
    assert "Slides were removed before, last 2: where these were among them, nothing is left to do" in said(
        again
    )
    assert files(folder / "out") == before


def test_what_a_refused_addition_left_can_be_removed(folder: Path) -> None:
    """The scan of a slide that was refused stays for a next try; --abandon removes it, and with it the name."""
    (folder / "one").mkdir()
    shutil.copy(folder / "old" / "s3.png", folder / "one" / "innocent.png")
    row = {"slide": "innocent.png", "label": "b", "patient": "Fay", "split": "train"}
    before = files(folder / "out")
    assert add(folder, "--labels", write_labels(folder / "one.csv", [row]), slides="one").exit_code == 2
    told = run("remove-slides", folder / "out", "innocent.png")
    assert "may hold them; --abandon removes what it prepared" in said(told)
    given_up = run("remove-slides", folder / "out", "innocent.png", "--abandon")
    assert "What another change had prepared was given up" in said(given_up)
    assert files(folder / "out") == before


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond ``size`` bytes: a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_is_told_and_the_set_stays(folder: Path) -> None:
    """A tar that does not fit: exit 1 with words, every file of the set as before, and the next run completes it."""
    before = tars(folder / "out"), index_of(folder)
    with largest_file(5000):
        full = run("remove-slides", folder / "out", "s0")
    assert full.exit_code == 1
    assert "make room or check permissions, then run the same command again" in said(full)
    assert (tars(folder / "out"), index_of(folder)) == before
    assert run("remove-slides", folder / "out", "s0").exit_code == 0
    assert_sound(folder)


@pytest.mark.parametrize("option", ["--scratch", "--pseudonymise"])
def test_an_address_where_a_local_path_is_needed_is_refused(option: str, folder: Path) -> None:
    """Exit 2, and no folder called "s3:" appears."""
    result = run("remove-slides", folder / "out", "s0", option, "s3://bucket/place")
    assert result.exit_code == 2
    assert "is an address" in said(result)
    assert not Path("s3:").exists()
