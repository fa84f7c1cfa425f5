"""What a user gets who installs the wheels: ``python .ci/check_wheels.py dist [VERSION]``, after they were installed.

In: a folder with one wheel of each package, both installed in the environment of this Python; the version that they
must have, say of a tag. Out: a line for each wheel, or exit code 1 with every fault. Suites run against the source tree
cannot see these: a file that the wheel left out, a command that is not installed, an import that finds the checkout.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("slideprep", "kdtrain")


def source_files(package: str) -> dict[str, bytes]:
    """Every file of the package in the checkout by its name in a wheel, assets included, compiled modules not."""
    root = REPOSITORY / "packages" / package / "src"
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def content_faults(package: str, version: str, inside: dict[str, bytes]) -> Iterator[str]:
    """Yields what the wheel lacks of the source, or has otherwise, and a licence that is not the repository's."""
    source = source_files(package)
    assets = [name for name in source if not name.endswith(".py")]
    # The two kinds that a build backend loses without a word; where there is none, the check looks in the wrong place.
    if f"{package}/py.typed" not in assets or not any("assets/" in name for name in assets):
        yield f"no py.typed or no assets under packages/{package}/src; .ci/check_wheels.py looks in the wrong place"
    own = f"{package}-{version}.dist-info/"
    for name in sorted(source.keys() | inside.keys()):
        if name not in inside:
            yield f"{name} is not in the wheel"
        elif name in source and source[name] != inside[name]:
            yield f"{name} differs from the source"
        elif name not in source and not name.startswith(own):
            yield f"{name} is not in the source"
    if inside.get(f"{own}licenses/LICENSE") != (REPOSITORY / "LICENSE").read_bytes():
        yield f"the wheel's licence is not the repository's; copy LICENSE to packages/{package}/LICENSE"


def said(*command: str) -> str:
    """What a command prints in a folder where nothing of the checkout can be imported; its complaint where it fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False, timeout=120)
    return run.stdout.strip() if run.returncode == 0 else f"exit code {run.returncode}: {run.stderr.strip()}"


def installed_faults(package: str, version: str) -> Iterator[str]:
    """Yields where the command's version or the origin of an import are not the wheel's."""
    command = Path(sysconfig.get_path("scripts"), package)
    if (answer := said(str(command), "--version")) != f"{package}, version {version}":
        yield f"'{package} --version' says {answer!r}; the wheel's version is {version}"
    wanted = Path(sysconfig.get_path("purelib"), package, "__init__.py")
    if (answer := said(sys.executable, "-c", f"import {package}; print({package}.__file__)")) != str(wanted):
        yield f"'import {package}' finds {answer!r}, not the installed wheel at {str(wanted)!r}"
    metadata = f"from importlib.metadata import version; print(version({package!r}))"
    if (answer := said(sys.executable, "-c", metadata)) != version:
        yield f"the installed metadata say {answer!r}; the wheel's version is {version}"


def wheel_faults(package: str, dist: Path, expected: str | None) -> Iterator[str]:
    """Yields all that is wrong with the wheel of one package, and says what was looked at."""
    wheels = list(dist.glob(f"{package}-*.whl"))
    if len(wheels) != 1:
        yield f"{len(wheels)} wheels of it in {dist}, not one"
        return
    with ZipFile(wheels[0]) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    metadata = next(data for name, data in inside.items() if name.endswith(".dist-info/METADATA"))
    version = str(Parser().parsestr(metadata.decode())["Version"])
    if expected not in (None, version):
        yield f"the wheel's version is {version}, not {expected}; __version__ and the tag must agree"
    yield from content_faults(package, version, inside)
    yield from installed_faults(package, version)
    assets = sum(not name.endswith(".py") for name in source_files(package))
    print(
        f"{wheels[0].name}: version {version}, {len(inside)} files, {assets} of them assets and type marker"
    )


def main(dist: Path, expected: str | None) -> int:
    """Look at both wheels; 1 where one has a fault."""
    faults = [f"{name}: {fault}" for name in PACKAGES for fault in wheel_faults(name, dist, expected)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
