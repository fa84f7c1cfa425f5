"""What TensorBoard reads of a run's folder."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kdtrain.training.loggers.logger import LoggedRun
from kdtrain.training.loggers.tensorboard import TensorboardLogger


def test_a_resumed_run_has_every_step_once(tmp_path):
    """Steps 1 to 3, killed, and on from step 2: each curve has three points, the last start's."""
    for steps, loss in (((1, 2, 3), 0.5), ((2, 3), 0.25)):
        logger = TensorboardLogger(LoggedRun(folder=tmp_path))
        for step in steps:
            logger.log(step, {"step/loss": loss})
        logger.close(failed=False)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    points = [(point.step, point.value) for point in events.Scalars("step/loss")]
    assert points == [(1, 0.5), (2, 0.25), (3, 0.25)]
