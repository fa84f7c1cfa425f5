"""sweep.json: what a sweep consists of, for those who read its folder; rewritten whenever a run's state changes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdtrain.errors import UsageError
from kdtrain.files import parsed_json, write_atomically
from kdtrain.sweep.jobs import Job
from kdtrain.sweep.recipe import Recipe
from kdtrain.sweep.standings import Standing

FILE = "sweep.json"
FORMAT = "kdtrain-sweep"
VERSION = 1


def read_record(out: Path) -> dict[str, Any] | None:
    """sweep.json of a folder; None where the folder is new or empty.

    Raises:
        UsageError: The folder holds something else, or the file is damaged or of another version.
    """
    path = out / FILE
    if file := next((path for path in (out, *out.parents) if path.is_file()), None):
        raise UsageError(f"--out {out}: {file} is a file; give a new folder")
    try:
        content = parsed_json(path.read_bytes())
    except FileNotFoundError:
        if out.exists() and any(not p.name.startswith("sweep.") for p in out.iterdir()):
            raise UsageError(f"--out {out} is not empty and holds no sweep; give a new folder") from None
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"--out {out}: {FILE} cannot be read ({error}); delete it, the runs stay") from None
    known = isinstance(content, dict) and (content.get("format"), content.get("version")) == (FORMAT, VERSION)
    runs = content.get("runs") if known else None
    if not isinstance(runs, list) or not all(
        isinstance(run, dict) and isinstance(run.get("name"), str) and isinstance(run.get("folder"), str)
        for run in runs
    ):
        raise UsageError(
            f"--out {out}: {FILE} is damaged, or not of this version of kdtrain; give a new folder, or delete "
            "that file: the runs stay"
        )
    return dict(content)


LOCK = "sweep.lock"
"""Held by the sweep that is at work in a folder."""


def kept_entries(before: dict[str, Any] | None, jobs: Sequence[Job], out: Path) -> list[dict[str, Any]]:
    """Runs that sweep.json names and this plan does not, such as those of other seeds, as long as they are there."""
    planned = {job.name for job in jobs}
    entries = [] if before is None else before["runs"]
    return [e for e in entries if e["name"] not in planned and (out / e["folder"]).is_dir()]


def write_record(
    recipe: Recipe,
    jobs: Sequence[Job],
    standings: Sequence[Standing],
    *,
    shards: str,
    out: Path,
    kept: Sequence[dict[str, Any]],
) -> None:
    """Replace sweep.json.

    Args:
        recipe: What was asked for.
        jobs: Its runs.
        standings: Standings of each, in the same order.
        shards: Folder of the shard set, as it was given.
        out: Folder of the sweep.
        kept: Entries of runs that are not planned now.
    """
    entries = [_entry(job, standing, out) for job, standing in zip(jobs, standings, strict=True)]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "title": recipe.title,
        "about": recipe.about,
        "shards": shards,
        "splits": list(recipe.evaluate.splits),
        "unit": recipe.evaluate.unit,
        "runs": [*entries, *kept],
        **({} if recipe.folds is None else {"folds": recipe.folds.model_dump(mode="json")}),
        "paper": recipe.model_dump(mode="json")["paper"],
        "paper_source": recipe.paper_source,
    }
    write_atomically(
        out / FILE, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )


def _entry(job: Job, standing: Standing, out: Path) -> dict[str, Any]:
    run = job.run
    # A run that was being worked on when the sweep was killed is one to go on with.
    state = "waiting" if standing.state == "running" else standing.state
    return {
        "name": run.name,
        "folder": os.path.relpath(job.folder, out),
        "phase": run.phase,
        "method": run.method,
        "magnification": run.magnification,
        "seed": run.seed,
        **({} if run.fold is None else {"fold": run.fold}),
        "depends_on": list(run.depends_on),
        "state": state,
        "reason": standing.reason,
    }
