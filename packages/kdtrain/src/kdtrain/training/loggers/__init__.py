"""A line of a run's log in, the same numbers elsewhere out: TensorBoard, Weights & Biases, MLflow.

None of them ever ends a run, and none is spoken to that was not asked for.

Reading order: ``logger`` (what each of them is told, under which names), ``kept_ids`` (how a resumed run finds the one
that it began elsewhere), ``tensorboard``, ``wandb_run`` and ``mlflow_run``, ``guarded`` (all that a run has, none of
which may fail).
"""
