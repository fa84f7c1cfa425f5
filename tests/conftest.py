"""Settings of all tests, and one Ray for those that need worker processes: its start outlasts a small build."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fixtures.waiting import PATIENCE_S
from slideprep.slides.readers.openslide_warnings import ask_for_warnings
from slideprep.workers.own_ray import own_ray
from slideprep.workers.surroundings import ONE_THREAD

# Messages name temporary folders, whose names differ in length: at 80 columns their words would break anywhere.
os.environ["COLUMNS"] = "160"

# A loaded machine is slow, and not wrong: no example fails by the clock.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ask_for_warnings()  # before a test module loads OpenSlide, which looks once


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """Two worker processes; :func:`slideprep.workers.executor.executor` joins a Ray that runs already.

    It starts as where the home folder cannot be written to: nothing is left there.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        # Workers import the doubles by name, and the packages from where this process does.
        tests = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        settings = {**ONE_THREAD, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "PYTHONPATH": tests}
        for name, value in settings.items():
            patch.setitem(os.environ, name, value)
        import ray

        with pytest.MonkeyPatch.context() as meanwhile:
            meanwhile.setenv("HOME", "/proc/nobody")
            stack.enter_context(own_ray(ray, cores=2, seconds=PATIENCE_S))
        yield
