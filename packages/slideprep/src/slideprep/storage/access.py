"""How a worker, on whatever machine, reaches what is not there: scratch space, and the settings of the stores.

Settings and credentials of the environment travel with the tasks, inside the cluster, and take effect where the
worker's own environment says nothing; they are never shown, logged or written. The scratch folder is on the worker's
machine: for files that grow before they are uploaded, and for slides that were fetched.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slideprep.storage.files import OutputError, output_errors

PREFIXES = ("AWS_", "FSSPEC_", "GCSFS_", "AZURE_STORAGE_", "STORAGE_EMULATOR_HOST")
_OF_ONE_MACHINE = ("AWS_CONTAINER_", "AWS_EXECUTION_ENV", "AWS_LAMBDA_", "AWS_ROLE_", "AWS_WEB_IDENTITY_")
"""What an orchestrator gives to one container is of no use in another."""
_TOGETHER = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
"""Parts of one identity: never half from here, half from there."""

SCRATCH_GB = 20.0
"""Default of ``--scratch-gb``: ten slides of 2 GB."""


class Secrets(dict[str, str]):
    """Environment variables that print as their number alone."""

    def __repr__(self) -> str:
        return f"<{len(self)} settings>"


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a task is given to reach remote files.

    Attributes:
        scratch: Local folder, on each machine; None for the system's temporary folder.
        limit_bytes: Size up to which fetched slides are kept there.
        environment: Settings of the stores, from the environment of whoever started the build.
    """

    scratch: Path | None = None
    limit_bytes: int = round(SCRATCH_GB * 1e9)
    environment: Secrets = field(default_factory=Secrets)

    def apply(self) -> None:
        """Set what this process's environment lacks."""
        missing = {name: value for name, value in self.environment.items() if name not in os.environ}
        if any(name in os.environ for name in _TOGETHER):
            missing = {name: value for name, value in missing.items() if name not in _TOGETHER}
        if not missing:
            return
        os.environ.update(missing)
        if "fsspec.config" in sys.modules:  # else it reads the environment when it is first needed
            config = sys.modules["fsspec.config"]
            config.set_conf_env(config.conf)


def store_settings(environment: Mapping[str, str]) -> Secrets:
    """The variables of an environment that say where stores are and who we are.

    Those that name a file are left out: another machine need not have it.
    """
    return Secrets(
        {
            name: value
            for name, value in environment.items()
            if name.startswith(PREFIXES)
            and not name.startswith(_OF_ONE_MACHINE)
            and not name.endswith("_FILE")
        }
    )


def scratch_folder(scratch: Path | None, *parts: str) -> Path:
    """A folder of this user alone, made if need be.

    Args:
        scratch: What ``--scratch`` names; None for the system's temporary folder.
        parts: Names below it.

    Raises:
        OutputError: It cannot be made, or belongs to another user.
    """
    root = (scratch or Path(tempfile.gettempdir())) / f"slideprep-{os.getuid()}"
    with output_errors(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_uid != os.getuid():
            raise OutputError(f"{root} belongs to another user; give a folder of your own with --scratch")
        folder = root.joinpath(*parts)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def short_hash(text: str) -> str:
    """A name for a folder: 16 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
