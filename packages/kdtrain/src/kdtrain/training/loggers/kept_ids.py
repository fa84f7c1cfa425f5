"""RUN/loggers.json: under which id a run is known elsewhere, so that it goes on there when it is resumed.

::

    {"mlflow": "9d7c...", "wandb": "2f61..."}

Ids alone: where they lead is said by the environment, whose addresses may hold names and passwords.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, write_atomically

LOGGERS_FILE = "loggers.json"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def kept_id(folder: Path, logger: str) -> str | None:
    """The id that a run has at a logger; None where it has none yet.

    Raises:
        UsageError: The file is damaged.
    """
    return _kept(folder).get(logger)


def keep_id(folder: Path, logger: str, run_id: str) -> None:
    """Write it down.

    Raises:
        UsageError: The file is damaged.
    """
    kept = {**_kept(folder), logger: run_id}
    write_atomically(
        folder / LOGGERS_FILE, json.dumps(kept, indent=1, sort_keys=True, allow_nan=False).encode()
    )


def _kept(folder: Path) -> dict[str, str]:
    path = folder / LOGGERS_FILE
    if not path.exists():
        return {}
    try:
        kept = parsed_json(path.read_bytes())
    except ValueError:
        kept = None
    whole = isinstance(kept, dict) and all(isinstance(i, str) and _ID.fullmatch(i) for i in kept.values())
    if not whole:
        raise UsageError(
            f"{path} is damaged, so the run is not found again elsewhere; restore it, or remove it to begin a new one"
        )
    assert isinstance(kept, dict)
    return kept
