"""``kill -9`` at any moment: the same command completes the set to the bytes of an undisturbed build.

``benchmarks/kill_build.py`` does it at twenty moments; here are a few of them.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from e2e.builds import ONE_THREAD
from fixtures.repository import ROOT

SCRIPT = ROOT / "benchmarks" / "kill_build.py"


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "times"), [(0, 1), (2, 1)])
def test_killed_builds_are_completed(workers: int, times: int) -> None:
    """Killed with its workers or alone, a build leaves whole tars, and the second run the same bytes."""
    arguments = {
        "--times": times, "--workers": workers, "--finish-with": 0, "--slides": 12, "--side-px": 1024, "--seed": 7,
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, SCRIPT, *(str(part) for pair in arguments.items() for part in pair)],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{times} of {times} killed builds were completed to the same bytes" in run.stdout
