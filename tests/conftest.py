"""One Ray for all tests that need worker processes: starting it takes longer than building a small set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slideprep.pipeline import ONE_THREAD


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """Two worker processes; :func:`slideprep.pipeline.executor` joins a Ray that runs already."""
    with pytest.MonkeyPatch.context() as patch:
        tests = str(Path(__file__).parent)  # workers import the doubles by name
        settings = {**ONE_THREAD, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "PYTHONPATH": tests}
        for name, value in settings.items():
            patch.setitem(os.environ, name, value)
        import ray

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=200 * 1024 * 1024,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()
