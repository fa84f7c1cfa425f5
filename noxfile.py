"""Development sessions: ``nox -s tests`` (default), ``lint``, ``wheels``, ``demo``, ``docs``, ``bench``, ``lock``.

Every session installs from the hashed locks under requirements/, with uv, into an environment of its own. None names
a Python: each takes the one that runs nox, and the hosted workflow chooses it by installing nox with it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests"]

PACKAGES = ("packages/slideprep", "packages/kdtrain")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "VIPS_CONCURRENCY": "1"}


def _install_lock(session: nox.Session, lock: str) -> None:
    # Where a machine forbids it, every one of a session's many processes would compile torch's modules anew: 6 s each.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.install("--require-hashes", "-r", f"requirements/{lock}.txt")


def _install(session: nox.Session, lock: str) -> None:
    _install_lock(session, lock)
    session.install("--no-deps", "--no-build-isolation", *PACKAGES)


@nox.session
def tests(session: nox.Session) -> None:
    """All suites in one environment, against the installed packages, in up to four processes."""
    _install(session, "dev")
    # In the order of the folders the slow files, e2e's, come first, and none is left to run alone at the end.
    # More processes than cores, because many tests wait for programs that they started.
    processes = min(4, 2 * (os.cpu_count() or 1))
    parallel = (f"--numprocesses={processes}", "--dist=loadfile", "--no-loadscope-reorder")
    session.run("pytest", *parallel, *session.posargs, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, types, and which room imports which (.importlinter)."""
    _install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for path in PACKAGES:
        session.run("mypy", f"{path}/src")
    session.run("lint-imports", "--no-logo")


@nox.session
def wheels(session: nox.Session) -> None:
    """Both wheels into dist/, by the locked build backend, then installed and looked at as a user meets them.

    The version that they must have may follow, as that of a tag: ``nox -s wheels -- 0.1.0``.
    """
    _install_lock(session, "demo")
    dist = Path("dist").resolve()
    shutil.rmtree(dist, ignore_errors=True)  # a wheel of an earlier version would be installed too
    for path in PACKAGES:
        with session.chdir(path):
            # Not through an isolated build, which would take whatever hatchling is the newest today.
            session.run("python", "-m", "hatchling", "build", "--target", "wheel", "--directory", str(dist))
    # Without their dependencies, which are those of the lock; then the wheels are asked whether these are enough.
    session.install("--no-deps", "--reinstall", *(str(wheel) for wheel in sorted(dist.glob("*.whl"))))
    session.run("uv", "pip", "check")
    session.run("python", ".ci/check_wheels.py", str(dist), *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Synthetic slides, made here, through the whole method into demo-out/: shards, four networks, a report.

    A folder and a seed may follow: ``nox -s demo -- elsewhere 1``.
    """
    _install(session, "demo")
    out = Path(session.posargs[0] if session.posargs else "demo-out")
    seed = session.posargs[1] if len(session.posargs) > 1 else "0"
    slides, shards, runs = str(out / "slides"), str(out / "shards"), str(out / "runs")
    session.run(
        *("slideprep", "synthesize", slides, "--slides", "80", "--unlabelled", "72"),
        *("--piece-px", "560", "680", "--seed", seed),
    )
    session.run(
        *("slideprep", "build-shards", slides, "--labels", f"{slides}/labels.csv", "--out", shards),
        *("--magnifications", "10,2.5", "--split", "0.25,0.1,0.65", "--seed", seed),
        success_codes=[
            0,
            3,
        ],  # 3: complete but for slides that failures.csv lists, as any set of slides may be
    )
    session.run("slideprep", "verify", shards)
    session.run(
        *("kdtrain", "sweep", "recipes/demo.yaml", "--shards", shards, "--out", runs),
        *("--seeds", seed, "--jobs", "2"),
    )
    session.run("kdtrain", "report", runs, "--out", str(out / "report.html"))
    session.log("The slides are synthetic: they show no patient's tissue. Open in a browser, or an editor:")
    session.log(f"  {out / 'shards' / 'preview.html'}  every slide, with the regions that were found")
    session.log(f"  {out / 'report.html'}  what teacher, baselines and student reach, and at what cost")
    session.log("  recipes/demo.yaml  what was trained; the paper's own experiments lie beside it")


@nox.session
def docs(session: nox.Session) -> None:
    """All documentation and a reference from the docstrings, as pages in site/; a link that leads nowhere is an error.

    The packages are read, not imported, so neither is installed.
    """
    session.install("--require-hashes", "-r", "requirements/docs.txt")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})
    session.log("Open site/index.html in a browser; it needs no server and loads nothing from elsewhere.")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks that print ratios measured side by side; see benchmarks/README.md."""
    _install(session, "dev")
    for script in ("accuracy", "cost"):
        session.run("python", f"benchmarks/{script}.py", *session.posargs, env=ONE_THREAD)


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve requirements/*.in and the packages into hashed locks for every platform, without index addresses."""
    session.install("uv")
    packages = [f"{path}/pyproject.toml" for path in PACKAGES]
    for name, resolved_with in (("dev", packages), ("demo", packages), ("docs", [])):
        session.run(
            *("uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-emit-index-url", "--no-annotate", "--custom-compile-command", "nox -s lock"),
            *("--upgrade", "--quiet", "--output-file", f"requirements/{name}.txt"),
            *resolved_with,
            f"requirements/{name}.in",
            env={**os.environ, "UV_NO_PROGRESS": "1"},
        )
