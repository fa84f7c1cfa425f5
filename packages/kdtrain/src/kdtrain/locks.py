"""One command at a time in a folder: the one that writes holds a lock, and the next is told who it is.

The lock is the operating system's, so it ends with its process, however that ends; a file that a killed command left is
in no one's way. The file says who holds it: host, process and start. Where a file system knows no locks (some network
shares), a file that only one process can make takes their place; of a killed command of this machine it is taken over,
of another machine a person has to delete it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from kdtrain.errors import UsageError
from kdtrain.files import is_partial

LOCK_FILE = "kdtrain.lock"
"""In the folder that is written to, for as long as a command writes."""
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_POLL_SECONDS = 0.1


@contextmanager
def sole_writer(folder: Path, command: str) -> Iterator[None]:
    """Hold a folder while the block runs; it is made if it is missing, and goes again if nothing was written.

    Args:
        folder: ``--out``.
        command: What writes there, for the message that another one gets: "kdtrain teacher".

    Raises:
        UsageError: Another process holds it.
        OSError: The lock's file cannot be made.
    """
    made = not folder.exists()
    try:
        with held(folder / LOCK_FILE, command, folder):
            yield
    finally:
        if made:
            with suppress(OSError):  # something lies in it, as a rule
                folder.rmdir()


@contextmanager
def held(path: Path, command: str, place: Path, *, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: The lock's file; its folder is made if it is missing.
        command: What holds it.
        place: What it stands for, for the message.
        patience_s: How long to wait for another process to leave.

    Raises:
        UsageError: Another process holds it, and for longer than that.
        OSError: The file cannot be made.
    """
    deadline = time.monotonic() + patience_s
    while (file := _taken(path)) is None:
        if time.monotonic() >= deadline:
            raise UsageError(_refusal(path, place, patience_s))
        time.sleep(_POLL_SECONDS)
    with file:
        process = os.getpid()
        try:
            _write_owner(file, path, command)
            yield
        finally:
            if os.getpid() == process:  # not in one that was forked meanwhile
                path.unlink(missing_ok=True)
                _claim(path).unlink(missing_ok=True)


def is_free(folder: Path, *, but: str | None = None) -> bool:
    """Whether nothing lies in a folder, or where it would be, but locks and what a kill left of a first file.

    Args:
        folder: The folder.
        but: The name of something else that may lie there.
    """
    if not folder.exists():
        return True
    return folder.is_dir() and all(path.name == but or _passing(path.name) for path in folder.iterdir())


def _passing(name: str) -> bool:
    return name in (LOCK_FILE, f"{LOCK_FILE}.owner") or is_partial(name)


def _taken(path: Path) -> IO[str] | None:
    """The lock's file, locked; None where another process has it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
        try:
            if not _locked(file, path):
                file.close()
                return None
            # Who held it before may have taken the file away between our opening and our locking it.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _locked(file: IO[str], path: Path) -> bool:
    try:
        # Not flock, which loader processes would inherit, and hold for seconds after a killed command.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either for a lock that is held
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return _claimed(_claim(path))
    return True


def _claim(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


def _claimed(claim: Path) -> bool:
    """Where the file system knows no locks: whether this process made the file that only one can make."""
    owner = _owner(claim)
    if owner.get("host") == socket.gethostname() and owner.get("began") != _began(owner.get("pid")):
        claim.unlink(missing_ok=True)  # a killed command's
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _began(pid: object) -> str | None:
    """When a process of this machine was started, in ticks since the machine was; None where there is none.

    Numbers of processes are used again; with this one beside them they are not.
    """
    try:
        # The name before it stands in brackets and may hold anything; field 22 is the 20th behind it (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _write_owner(file: IO[str], path: Path, command: str) -> None:
    owner = {
        "command": command,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "began": _began(os.getpid()),
        "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    text = json.dumps(owner, allow_nan=False) + "\n"
    file.truncate(0)
    file.write(text)
    file.flush()
    if _claim(path).exists():
        _claim(path).write_text(text, encoding="utf-8")


def _owner(path: Path) -> Mapping[str, Any]:
    """What a lock's file says; empty where it is being written, or is gone."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refusal(path: Path, place: Path, patience_s: float) -> str:
    owner = _owner(path)
    command = f"another '{owner['command']}'" if "command" in owner else "another command"
    who = f" (process {owner.get('pid')} on {owner.get('host')}, since {owner.get('since')})" if owner else ""
    waited = f", and has for the {patience_s:g} s that were waited" if patience_s else ""
    remedy = "wait for it, stop it, or give another --out"
    if _claim(path).exists():
        remedy += f"; if it is gone and its machine cannot be asked, delete {_claim(path)}"
    return f"{command} writes to {place}{who}{waited}; {remedy}"
