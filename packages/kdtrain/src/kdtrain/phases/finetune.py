"""Phase III, optional: the distilled student's fully connected layer is trained on labels, everything else frozen.

The paper (section 3.4) skips it where phases I and II saw the same training set, since it overfitted there. A student
whose teacher gave no logits has no such layer yet: it gets a new one, of the classes of the set and with weights of the
run's seed. With ``--unfreeze`` all of the network is trained, from the student's weights on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from kdtrain.config.phases import FinetuneConfig
from kdtrain.data.folds.opening import check_source, open_set
from kdtrain.data.sets import check_phase
from kdtrain.errors import UsageError
from kdtrain.evaluation.predict_split import validate_labels
from kdtrain.model.init import freeze_all_but_fc
from kdtrain.model.network import Network
from kdtrain.model.resnet import Model
from kdtrain.phases.stain import check_same_stain, method_of
from kdtrain.phases.teacher import label_loss
from kdtrain.training.loop import Phase, Summary, train
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained, load_trained


def finetune(config: FinetuneConfig, monitor: Monitor) -> Summary:
    """Fine-tune a student."""
    index = open_set(config)
    student = load_trained(config.student, what="--student")
    check_source(config, student.run, what=f"--student {config.student}")
    check_phase(config, index, [student.network.magnification], labelled=True)
    classes = tuple(index.document.classes)
    check_finetuning(config, student, classes)
    check_same_stain(config, method_of(student.network), what=f"--student {config.student}")
    network = classifier_of(student.network, classes)
    model = student.model if student.network.classes else with_classifier(student, network, seed=config.seed)
    if not config.unfreeze:
        freeze_all_but_fc(model)
    return train(
        Phase(
            config=config,
            index=index,
            network=network,
            model=model,
            magnifications=(network.magnification,),
            labelled=True,
            loss_of=partial(label_loss, network),
            parts=(),
            validate=partial(validate_labels, index, network, config.workers, decode=config.decode),
            provenance={"student": student_record(student)},
        ),
        monitor,
    )


def classifier_of(student: Network, classes: tuple[str, ...]) -> Network:
    """The student's network, of these classes where it is a feature network."""
    return student if student.classes else replace(student, classes=classes)


def with_classifier(student: Trained, network: Network, *, seed: int) -> Model:
    """A feature network's weights under a new fully connected layer of the seed."""
    model = network.build(seed=seed)
    model.load_state_dict(model.state_dict() | student.model.state_dict())
    return model


def student_record(student: Trained) -> dict[str, Any]:
    """What the run keeps of the student: its weights, and that it had no classifier."""
    record: dict[str, Any] = {"weights_sha256": student.sha256}
    return record if student.network.classes else record | {"feature_network": True}


def check_finetuning(config: FinetuneConfig, student: Trained, classes: tuple[str, ...]) -> None:
    """Refuse what the paper advises against, and what cannot work.

    Raises:
        UsageError: The classes differ; or teacher and student were trained on the same set.
    """
    if student.network.classes and classes != student.network.classes:
        raise UsageError(
            f"--student {config.student} has the classes {', '.join(student.network.classes)}, --shards "
            f"{config.shards} has {', '.join(classes)}; build the set with --classes in the student's order"
        )
    shard_set = student.run["shard_set"]
    teacher = shard_set.get("teacher")
    # What a teacher that is no run was trained on is not known.
    same = teacher is not None and set(teacher.get("train_on", ())) == set(shard_set["train_on"])
    if same and not config.same_training_set:
        raise UsageError(
            f"--student {config.student} was distilled on the set that its teacher was trained on "
            f"({', '.join(shard_set['train_on'])}): fine-tuning on it again overfitted in the paper (section 3.4); "
            "distil on an auxiliary set first, or pass --same-training-set to do it all the same"
        )
