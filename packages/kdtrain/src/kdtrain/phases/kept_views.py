"""``--keep-views``: what the teacher says of a distillation's views, computed once and kept in the run's folder.

The same as ``kdtrain cache-teacher`` and ``--teacher-cache`` in one command, for a teacher with one student.
"""

from __future__ import annotations

from kdtrain.config.phases import CacheTeacherConfig, DistillConfig
from kdtrain.phases.cache_teacher import cache_teacher
from kdtrain.training.monitor import Monitor
from kdtrain.training.run_folder import KEPT_VIEWS


def with_kept_views(config: DistillConfig, monitor: Monitor) -> DistillConfig:
    """Write the run's own teacher cache, or what is missing of it, where it is asked for.

    Returns:
        Settings that read it; the same ones where none is asked for.

    Raises:
        UsageError: Teacher, student and set do not belong together.
        ShardError: The set lacks what is asked for, or a sample is damaged.
        TrainingError: The teacher's outputs are not finite, or memory does not suffice.
    """
    if not config.keep_views:
        return config
    assert config.teacher is not None, "checked with the settings"
    shared = set(CacheTeacherConfig.model_fields) & set(DistillConfig.model_fields)
    same = {name: getattr(config, name) for name in shared}
    folder = config.out / KEPT_VIEWS
    written = cache_teacher(CacheTeacherConfig(**{**same, "out": folder}), monitor)
    if written.written:
        monitor.say(
            f"{written.views} views of the teacher are kept in {folder} ({written.bytes / 1e6:.0f} MB)"
        )
    return config.model_copy(update={"teacher_cache": folder})
