"""The model card: metadata that a hub reads, examples that run, and nothing claimed that is not known."""

from __future__ import annotations

import ast
import json
import re
import runpy

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image

from fixtures import strangers
from kdtrain import load_bundle
from kdtrain.bundle.card import card, one_line, plain
from kdtrain.bundle.describe import teacher_entry


@pytest.fixture(scope="module")
def document(bundle):
    """bundle.json of an evaluated teacher."""
    return load_bundle(bundle).document


def text_of(document, **options) -> str:
    """The card."""
    return card(document, **{"license_id": None, "notes": None, **options})


def head_of(text: str) -> dict:
    """Its metadata."""
    _, head, _ = text.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_head_is_what_a_hub_reads(document):
    """Library, task, tags, and results with the fields that model-index requires."""
    head = head_of(text_of(document))
    assert (head["library_name"], head["pipeline_tag"]) == ("kdtrain", "image-classification")
    assert "license" not in head
    assert "onnx" in head["tags"]
    (entry,) = head["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == document.name
    assert result["task"]["type"] == "image-classification"
    assert {"type", "name"} <= set(result["dataset"])
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["accuracy"] == round(document.metrics.levels["slide"].plain_accuracy.value, 4)
    assert set(values) <= {"accuracy", "f1", "precision", "recall", "roc_auc"}


@pytest.mark.parametrize(
    ("kind", "magnification", "who"),
    [("onnx", 20.0, "a teacher at 20x"), ("features", None, "another network")],
)
def test_a_student_of_a_teacher_that_is_no_run(document, kind, magnification, who):
    """Its teacher is named by its file, not by where that lay; where its magnification is not known it is left out."""
    record = {"kind": kind, "name": "/home/me/uni.onnx", "sha256": "a" * 64, "magnification": magnification}
    entry = teacher_entry({**record, "settings": {}})
    assert entry is None or (entry.model, entry.weights_sha256, entry.train_on) == ("uni.onnx", "a" * 64, ())
    assert (entry is None) == (magnification is None)
    training = document.training.model_copy(update={"role": "student", "teacher": entry})
    text = text_of(document.model_copy(update={"training": training}))
    assert f"a student: it learned from the answers of {who}, and from no label" in text
    assert "/home/me" not in text


@pytest.mark.parametrize(
    ("settings", "layers"), [({}, "last layer was"), ({"unfreeze": True}, "all layers were")]
)
def test_what_was_fine_tuned_is_said(document, settings, layers):
    """The last layer, or with --unfreeze all of them."""
    training = document.training.model_copy(update={"role": "fine-tuned student", "settings": settings})
    text = text_of(document.model_copy(update={"training": training}))
    assert f"a student whose {layers} afterwards trained on labelled images" in text


def test_licence_and_notes_are_the_authors(document):
    """In the head in lower case, as the hub writes them; notes come last."""
    text = text_of(document, license_id="CC-BY-4.0", notes="Made by *us*.\n")
    assert head_of(text)["license"] == "cc-by-4.0"
    assert text.endswith("## Notes of the authors\n\nMade by *us*.\n")
    assert "none is stated" in text_of(document)


def test_without_metrics_it_says_so_first(document):
    """And the head claims none."""
    bare = document.model_copy(update={"metrics": None})
    text = text_of(bare)
    assert "model-index" not in head_of(text)
    assert text.index("Not evaluated") < text.index("It has")
    assert "GFLOPs" not in text


def test_tables_are_whole(document):
    """Every line of a table has as many cells as its head; the numbers of the metrics are there."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text_of(document), re.M)
    assert len(tables) == 5
    for table in tables:
        lines = table.splitlines()
        assert re.fullmatch(r"\|(-+:?\|)+", lines[1])
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    accuracy = document.metrics.levels["patient"].plain_accuracy
    assert f"{accuracy.value * 100:.1f} (" in tables[0]


def test_what_it_must_say_is_said(document):
    """Research only, synthetic, one source, uncalibrated, and what is not known."""
    text = text_of(document)
    for words in (
        "not a medical device",
        "Trained on synthetic images",
        "come from one set",
        "not calibrated",
        "Not known: age, sex and origin",
    ):
        assert words in text
    other = document.metrics.model_copy(update={"shard_set_sha256": "0" * 64})
    assert "of another set than the training slides" in text_of(
        document.model_copy(update={"metrics": other})
    )


def test_numbers_of_training_images_are_called_so(document):
    """An evaluation of the split trained on, or of the one that chose the epoch, is no test on other patients."""
    for split, words in (("train", "images that it was trained on"), ("val", "chose the network")):
        metrics = document.metrics.model_copy(update={"split": split})
        training = document.training.model_copy(update={"chosen_by": "loss on val"})
        text = text_of(document.model_copy(update={"metrics": metrics, "training": training}))
        assert words in text
        assert "other patients" not in text


def test_what_chose_the_network_without_a_class_is_said(document):
    """The classes that the validation split had no sample of."""
    assert "was chosen among its epochs by samples without" not in text_of(document)
    training = document.training.model_copy(update={"validation_lacks": ("stro_ma",)})
    text = text_of(document.model_copy(update={"training": training}))
    assert "- The network was chosen among its epochs by samples without any of stro\\_ma: nothing" in text


def test_levels_say_what_their_intervals_leave_out(document):
    """Draws that lack a class, a class of one patient, and mixed patients, level by level; names are not markup."""
    levels = dict(document.metrics.levels)
    levels["slide"] = levels["slide"].model_copy(update={"draws_with_absent_classes": 25})
    levels["sample"] = levels["sample"].model_copy(
        update={"single_unit_classes": ("gl_and",), "class_counts": {"gl_and": 2}}
    )
    levels["patient"] = levels["patient"].model_copy(
        update={"mixed_left_out": 3, "absent_classes": ("stroma",), "hidden_classes": ("stroma",)}
    )
    text = text_of(
        document.model_copy(update={"metrics": document.metrics.model_copy(update={"levels": levels})})
    )
    assert "- By slide: 25 of 100 draws (25.0%) lack a class; the intervals of the averages are over" in text
    assert "- By sample: one patient of gl\\_and, which says nothing of others, so the averages" in text
    assert (
        "- By patient: 3 left out, with samples of several classes, among them all that have stroma" in text
    )
    assert "no stroma" not in text


def test_without_intervals_the_card_names_none(document):
    """One patient: values alone, no "95 % intervals" over them, and no word of what intervals are over."""
    none = {"low": None, "high": None}
    levels = {
        name: level.model_copy(
            update={
                "units": 1,
                "plain_accuracy": level.plain_accuracy.model_copy(update=none),
                "macro": {key: one.model_copy(update=none) for key, one in level.macro.items()},
            }
        )
        for name, level in document.metrics.levels.items()
    }
    text = text_of(
        document.model_copy(update={"metrics": document.metrics.model_copy(update={"levels": levels})})
    )
    assert "On the test split, in per cent, without intervals:" in text
    assert "% intervals" not in text
    assert "The intervals are over" not in text
    assert (
        "By slide: one patient, which says nothing of others, so there are no intervals; --unit sample"
        in text
    )


def test_it_says_what_a_magnification_is(document):
    """Of the objective, or a size in micrometres."""
    assert "| magnification | of the scan's objective" in text_of(document)
    by_size = document.input.model_copy(update={"magnification_by": "mpp"})
    assert "10x is 1 µm per pixel" in text_of(document.model_copy(update={"input": by_size}))


def test_what_training_slides_did_not_say_is_not_known(document):
    """Without mpp and objective."""
    data = document.training_data.model_copy(update={"mpp": None, "level0_objectives": ()})
    text = text_of(document.model_copy(update={"training_data": data}))
    assert "| size of a pixel | not known |" in text
    assert "| objective of the scans | not known |" in text


def test_names_are_not_markup(document):
    """A class may be called anything."""
    assert plain("a|b\n*c* <d>") == r"a\|b \*c\* \<d\>"
    assert plain("&lt; $x$") == r"\&lt; \$x\$"
    assert plain("a\u202eb") == r"a\\u202eb"
    odd = document.model_copy(update={"classes": ("a|b", *document.classes[1:])})
    assert "**a\\|b**" in text_of(odd)


def test_the_onnx_example_runs_as_it_stands(bundle, tmp_path, monkeypatch, capsys):
    """Beside the bundle's files and an image, without kdtrain; it prints what the network says."""
    (example,) = re.findall(r"```python\n(import numpy.*?)```", (bundle / "README.md").read_text(), re.S)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    (tmp_path / "model.onnx").symlink_to(bundle / "model.onnx")
    (tmp_path / "example.py").write_text(example)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py")
    loaded = load_bundle(bundle)
    expected = loaded.runtime(device="cpu").infer(image[None]).probabilities_BK[0]
    said = json.loads(capsys.readouterr().out.replace("'", '"'))
    assert list(said) == list(loaded.classes)
    assert list(said.values()) == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", [*strangers.MARKDOWN, *strangers.MARKUP])
def test_a_name_of_a_stranger_is_a_name(document, name):
    """Wherever it stands: the head is the same YAML, nothing becomes HTML or a link, and the code holds the classes."""
    training = document.training
    odd = document.model_copy(
        update={
            "name": name,
            "classes": (name, *document.classes[1:]),
            "training": training.model_copy(
                update={"chosen_by": name, "splits": {name: training.splits["train"]}}
            ),
            "training_data": document.training_data.model_copy(update={"readers": (name,)}),
            "versions": {name: name},
        }
    )
    text = text_of(odd)
    assert head_of(text)["model-index"][0]["name"] == one_line(name)
    body = text.split("---\n", 2)[2]
    kinds = {
        token.type
        for block in MarkdownIt("commonmark").enable("table").parse(body)
        for token in (block, *(block.children or ()))
    }
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr"}
    prose = "".join(body.split("```")[::2])
    assert not re.search(r"\bhttps?://|\bwww\.|[^\\]@", prose)
    (line,) = re.findall(r"^classes = .*$", body, re.M)
    assert ast.literal_eval(line.removeprefix("classes = ")) == list(odd.classes)
    assert all(c.isprintable() for c in line)
