"""One Ray for the builds of a page: starting it takes longer than building a small set."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from slideprep.pipeline import ONE_THREAD


@pytest.fixture(scope="module")
def one_ray() -> Iterator[None]:
    """Two worker processes, which builds in this process join; the one that other tests started, where there is one."""
    import ray

    if ray.is_initialized():
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ONE_THREAD, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}.items():
            patch.setitem(os.environ, name, value)
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=200 * 1024 * 1024,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()
