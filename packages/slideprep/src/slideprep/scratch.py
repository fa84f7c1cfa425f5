"""A folder on this machine for what grows before it is uploaded and for slides that were fetched."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from slideprep.files import OutputError, output_errors


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
