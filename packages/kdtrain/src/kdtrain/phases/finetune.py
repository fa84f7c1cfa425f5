"""Phase III, optional: the distilled student's fully connected layer is trained on labels, everything else frozen.

The paper (section 3.4) skips it where phases I and II saw the same training set, since it overfitted there.
"""

from __future__ import annotations

from functools import partial

from kdtrain.config.phases import FinetuneConfig
from kdtrain.data.folds.opening import check_source, open_set
from kdtrain.data.sets import check_phase
from kdtrain.errors import UsageError
from kdtrain.evaluation.predict_split import validate_labels
from kdtrain.model.init import freeze_all_but_fc
from kdtrain.phases.teacher import label_loss
from kdtrain.training.loop import Phase, Summary, train
from kdtrain.training.monitor import Monitor
from kdtrain.training.trained import Trained, load_trained


def finetune(config: FinetuneConfig, monitor: Monitor) -> Summary:
    """Fine-tune a student."""
    index = open_set(config)
    student = load_trained(config.student, what="--student")
    check_source(config, student.run, what=f"--student {config.student}")
    network = student.network
    check_phase(config, index, [network.magnification], labelled=True)
    check_finetuning(config, student, tuple(index.document.classes))
    freeze_all_but_fc(student.model)
    return train(
        Phase(
            config=config,
            index=index,
            network=network,
            model=student.model,
            magnifications=(network.magnification,),
            labelled=True,
            loss_of=partial(label_loss, network),
            parts=(),
            validate=partial(validate_labels, index, network, config.workers, decode=config.decode),
            provenance={"student": {"weights_sha256": student.sha256}},
        ),
        monitor,
    )


def check_finetuning(config: FinetuneConfig, student: Trained, classes: tuple[str, ...]) -> None:
    """Refuse what the paper advises against, and what cannot work.

    Raises:
        UsageError: The classes differ; or teacher and student were trained on the same set.
    """
    if classes != student.network.classes:
        raise UsageError(
            f"--student {config.student} has the classes {', '.join(student.network.classes)}, --shards "
            f"{config.shards} has {', '.join(classes)}; build the set with --classes in the student's order"
        )
    shard_set = student.run["shard_set"]
    teacher = shard_set.get("teacher")
    same = teacher is not None and set(teacher["train_on"]) == set(shard_set["train_on"])
    if same and not config.same_training_set:
        raise UsageError(
            f"--student {config.student} was distilled on the set that its teacher was trained on "
            f"({', '.join(shard_set['train_on'])}): fine-tuning on it again overfitted in the paper (section 3.4); "
            "distil on an auxiliary set first, or pass --same-training-set to do it all the same"
        )
