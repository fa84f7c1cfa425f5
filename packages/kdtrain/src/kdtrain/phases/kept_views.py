"""``--keep-views``: what the teacher says of a distillation's views, computed once and kept in the run's folder.

The same as ``kdtrain cache-teacher`` and ``--teacher-cache`` in one command, for a teacher with one student.
"""

from __future__ import annotations

import json
from typing import Any

from kdtrain.config.phases import CacheTeacherConfig, DistillConfig
from kdtrain.phases.cache_teacher import cache_teacher
from kdtrain.training.longer import why_not_longer
from kdtrain.training.monitor import Monitor
from kdtrain.training.run_folder import KEPT_VIEWS, MODEL_FILE, RUN_FILE, RunFolder, read_run


def with_kept_views(config: DistillConfig, monitor: Monitor) -> DistillConfig:
    """Write the run's own teacher cache, or what is missing of it, where it is asked for.

    Returns:
        Settings that read it; the same ones where none is asked for, or where nothing will be trained.

    Raises:
        UsageError: Teacher, student and set do not belong together, or --out holds something else than a run.
        ShardError: The set lacks what is asked for, or a sample is damaged.
        TrainingError: The teacher's outputs are not finite, or memory does not suffice.
    """
    if not config.keep_views:
        return config
    RunFolder(config.out).check_free()
    if _nothing_to_train(config):
        return config
    assert config.teacher is not None, "checked with the settings"
    shared = set(CacheTeacherConfig.model_fields) & set(DistillConfig.model_fields)
    same = {name: getattr(config, name) for name in shared}
    folder = config.out / KEPT_VIEWS
    own = {"out": folder, "micro_batch": max(1, config.micro_batch)}
    written = cache_teacher(CacheTeacherConfig(**{**same, **own}), monitor)
    if written.written:
        monitor.say(
            f"{written.views} views of the teacher are kept in {folder} ({written.bytes / 1e6:.0f} MB)"
        )
    return config.model_copy(update={"teacher_cache": folder})


def kept_record(config: DistillConfig) -> dict[str, Any]:
    """What the record of a run says of views that it kept, where nothing will be trained and they may be gone.

    Args:
        config: From :func:`with_kept_views`.
    """
    if not config.keep_views or config.teacher_cache is not None:
        return {}
    known = read_run(config.out, what="--out")["shard_set"].get("teacher_cache")
    return {} if known is None else {"teacher_cache": known}


def _nothing_to_train(config: DistillConfig) -> bool:
    """Whether the run in --out is finished, or has other settings and will be refused for them."""
    if not (config.out / RUN_FILE).is_file():
        return False
    before = read_run(config.out, what="--out")["settings"]
    now = json.loads(json.dumps(config.record, allow_nan=False))
    if before == now:
        return (config.out / MODEL_FILE).is_file()
    return before | {"epochs": now["epochs"]} != now or why_not_longer(before, now) is not None
