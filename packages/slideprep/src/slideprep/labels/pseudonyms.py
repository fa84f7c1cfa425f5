"""Stable pseudonyms for slide and patient names, with the mapping kept outside the set.

The mapping file holds a random salt, made with the file, and a row per name. The same file gives the same pseudonyms
in every later run and set; without it nobody gets from a pseudonym back to a name, not even by trying names.
"""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
from pathlib import Path

from slideprep.errors import UsageError
from slideprep.storage.files import write_atomically
from slideprep.text import csv_text, csv_value

_HEADER = ["kind", "name", "pseudonym"]


class Pseudonyms:
    """Names to pseudonyms and back.

    Args:
        path: The mapping file; read if it is there.

    Raises:
        UsageError: The file is no mapping of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], str] = {}
        self._salt = secrets.token_hex(16)
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            rows = list(csv.reader(io.StringIO(self._path.read_bytes().decode(), newline="")))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"--pseudonymise {self._path} cannot be read: {error}") from None
        if (
            len(rows) < 2
            or rows[0] != _HEADER
            or rows[1][:2] != ["salt", ""]
            or any(len(row) != 3 for row in rows)
        ):
            raise UsageError(
                f"--pseudonymise {self._path} is no mapping that slideprep made (columns kind,name,pseudonym and a "
                "salt); give the mapping of an earlier run, or a new file name"
            )
        self._salt = rows[1][2]
        self._rows = {(kind, csv_value(name)): pseudonym for kind, name, pseudonym in rows[2:]}

    def of(self, kind: str, name: str) -> str:
        """The pseudonym of a "slide" or "patient"."""
        known = self._rows.get((kind, name))
        if known is None:
            known = f"{kind}-{hashlib.sha256(f'{self._salt}{kind}{name}'.encode()).hexdigest()[:12]}"
            self._rows[(kind, name)] = known
        return known

    def known(self, kind: str) -> dict[str, str]:
        """Pseudonym by name, of all slides or of all patients that the mapping holds."""
        return {name: pseudonym for (of, name), pseudonym in self._rows.items() if of == kind}

    def save(self) -> None:
        """Write the mapping, readable by its owner alone.

        Raises:
            OutputError: It cannot be written.
        """
        rows = ([*key, pseudonym] for key, pseudonym in sorted(self._rows.items()))
        table = csv_text([_HEADER, ["salt", "", self._salt], *rows])
        write_atomically(self._path, table.encode(), mode=0o600)
