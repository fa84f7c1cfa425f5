"""The folder of vectors: begun, filled unit by unit, and gone on with.

::

    OUT/<slide>.h5                  one file a slide, whole or not at all
    OUT/failures.csv                slide, region, stage, reason: what has no vectors
    OUT/.kdtrain/features.json      what the vectors are of; written first
    OUT/.kdtrain/<unit>.json        a shard or slide is done: its mark and its files; written when they are there
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, remove_partials, write_atomically
from kdtrain.locks import is_free, sole_writer
from kdtrain.predict.answers.prediction import Failure
from kdtrain.predict.results import failures_csv, in_order, json_bytes
from kdtrain.sources.feature_writing import Kind, Layout, SlideVectors, file_name, write_vectors
from kdtrain.training.run_folder import differences

WORKSPACE = ".kdtrain"
IDENTITY_FILE = "features.json"
_FORMAT = "kdtrain-features"


class VectorsFolder:
    """The folder of ``--out``.

    Args:
        path: The folder.
        layout: Of its files.
        kind: Of the vectors.
    """

    def __init__(self, path: Path, layout: Layout, kind: Kind) -> None:
        self.path = path
        self._layout = layout
        self._kind = kind
        self._workspace = path / WORKSPACE
        self._owners: dict[str, str] = {}

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Hold the folder; what a killed command was writing goes.

        Raises:
            UsageError: The folder holds something else, or another command writes there.
        """
        if not (self._workspace / IDENTITY_FILE).exists() and not is_free(self.path):
            raise UsageError(
                f"--out {self.path} is not empty and holds no vectors of this command; give a new folder"
            )
        with sole_writer(self.path, "kdtrain features"):
            for folder in (self.path, self._workspace):
                if folder.is_dir():
                    remove_partials(folder)
            yield

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Start, or go on with the same.

        Args:
            identity: The network, and the settings that decide the vectors; JSON-able.

        Raises:
            UsageError: The folder holds vectors of others.
        """
        file = self._workspace / IDENTITY_FILE
        said = {"format": _FORMAT, "layout": self._layout, "dtype": self._kind, **identity}
        wanted = json.loads(json.dumps(said, allow_nan=False))
        if not file.exists():
            write_atomically(file, json_bytes(wanted))
        try:
            found = parsed_json(file.read_bytes())
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UsageError(f"--out {self.path}: {WORKSPACE}/{IDENTITY_FILE} is damaged; give a new folder")
        if lines := differences(found, wanted):
            raise UsageError(
                f"--out {self.path} holds vectors made otherwise, and they are never mixed:\n  "
                + "\n  ".join(lines)
                + "\ngive a new --out, or the settings it was begun with"
            )
        for note in self._notes():
            self._owners |= dict(note["files"])

    def done(self, key: str, mark: str | None) -> bool:
        """Whether a unit's files are there, made of what is there now."""
        note = self._note(self._workspace / f"{key}.json")
        if note is None or mark is None or note["mark"] != mark:
            return False
        return all((self.path / name).is_file() for name in note["files"])

    def write(self, key: str, mark: str | None, slides: Sequence[SlideVectors]) -> list[Failure]:
        """Write the files of a unit, and then that it is done.

        Returns:
            Slides whose file cannot be written; the unit then stays to be done.
        """
        failures, written = [], {}
        for vectors in slides:
            try:
                name = file_name(vectors.slide)
                owner = self._owners.get(name, vectors.slide)
                if owner != vectors.slide:
                    raise ValueError(
                        f"slide '{vectors.slide}' would have the file {name} of slide '{owner}', whose name differs in "
                        "its suffix alone; write its vectors into a folder of its own"
                    )
                write_vectors(self.path / name, vectors, self._layout, self._kind)
            except (ValueError, UsageError) as error:
                failures.append(Failure(slide=vectors.slide, region=None, stage="network", reason=str(error)))
                continue
            self._owners[name] = written[name] = vectors.slide
        if mark is not None and not failures:
            write_atomically(self._workspace / f"{key}.json", json_bytes({"mark": mark, "files": written}))
        return failures

    def finish(self, failures: Sequence[Failure]) -> None:
        """Write what failed."""
        write_atomically(self.path / "failures.csv", failures_csv(in_order(failures)))

    def _notes(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self._workspace.glob("*.json")):
            note = self._note(path)
            if note is not None:
                yield note

    @staticmethod
    def _note(path: Path) -> dict[str, Any] | None:
        try:
            note = parsed_json(path.read_bytes())
        except (OSError, ValueError):
            return None
        whole = (
            isinstance(note, dict)
            and isinstance(note.get("mark"), str)
            and isinstance(note.get("files"), dict)
        )
        return note if whole else None
