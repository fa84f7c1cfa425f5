"""Under which id a run is found again elsewhere."""

from __future__ import annotations

import pytest

from kdtrain.errors import UsageError
from kdtrain.training.loggers.kept_ids import LOGGERS_FILE, keep_id, kept_id


def test_ids_are_kept_beside_each_other(tmp_path):
    """One that comes later leaves the other as it was."""
    assert kept_id(tmp_path, "wandb") is None
    keep_id(tmp_path, "wandb", "a1")
    keep_id(tmp_path, "mlflow", "b2")
    assert (kept_id(tmp_path, "wandb"), kept_id(tmp_path, "mlflow")) == ("a1", "b2")


@pytest.mark.parametrize("content", ["{", "[]", '{"wandb": 7}', '{"wandb": "../x"}', '{"wandb": ""}'])
def test_a_damaged_file_is_named(tmp_path, content):
    """What is no JSON, or no id, is not sent anywhere."""
    (tmp_path / LOGGERS_FILE).write_text(content)
    with pytest.raises(UsageError, match=r"loggers\.json is damaged"):
        kept_id(tmp_path, "wandb")
