"""What tests of whole training runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.training_server import TrainingServer


@pytest.fixture(scope="module")
def server() -> Iterator[TrainingServer]:
    """A process that forks commands."""
    running = TrainingServer()
    yield running
    running.close()
