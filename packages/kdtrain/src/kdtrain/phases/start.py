"""A phase's configuration in, the phase run: whoever starts one, the command line or a sweep, starts it here.

Each phase is imported when it is the one to run: it brings PyTorch and DeepSpeed, and wrong usage is told before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdtrain.config.phases import DistillConfig, FinetuneConfig, TeacherConfig

if TYPE_CHECKING:
    from kdtrain.config.common import PhaseConfig
    from kdtrain.training.loop import Summary
    from kdtrain.training.monitor import Monitor


def run_phase(config: PhaseConfig, monitor: Monitor) -> Summary:
    """Train what the configuration asks for: a teacher or a baseline (labels), a student, a fine-tuned student."""
    if isinstance(config, DistillConfig):
        from kdtrain.phases.distill import distill

        return distill(config, monitor)
    if isinstance(config, FinetuneConfig):
        from kdtrain.phases.finetune import finetune

        return finetune(config, monitor)
    assert isinstance(config, TeacherConfig), f"a phase without a beginning: {type(config).__name__}"
    from kdtrain.phases.teacher import train_teacher

    return train_teacher(config, monitor)
