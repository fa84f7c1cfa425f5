"""``kdtrain sweep``: a recipe and a shard set in, trained and measured runs out; run again, it goes on.

Everything that can be refused is refused first; then nothing that happens to one run keeps the others from completion.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from kdtrain.files import remove_partials
from kdtrain.locks import held
from kdtrain.screen import console, say
from kdtrain.sweep.check import other_source
from kdtrain.sweep.display import Screen, report_console, result_table
from kdtrain.sweep.folds import alike_warning, complete_folds, folds_table
from kdtrain.sweep.jobs import choices_of, warnings_of
from kdtrain.sweep.plan import Options, Plan, make_plan
from kdtrain.sweep.record import LOCK, kept_entries, read_record, write_record
from kdtrain.sweep.runners.local import (
    LOGS,
    Launcher,
    LocalLauncher,
    threads_each,
    usable_cores,
    visible_gpus,
)
from kdtrain.sweep.standings import Standing, Standings, State
from kdtrain.sweep.state import Progress, balanced_accuracy, progress_of, training_seconds
from kdtrain.text import plural

SOME_FAILED = 3
"""Exit code: finished, but some runs failed or were skipped."""
_WAIT_SECONDS = 0.5


def sweep(options: Options) -> int:
    """Complete a sweep.

    Returns:
        Exit code: 0, or 3 where runs failed.

    Raises:
        UsageError: As :func:`make_plan`; or another sweep is at work in the folder.
        ShardError: The shard set is damaged.
        KeyboardInterrupt: It was told to stop; its runs were ended.
    """
    plan = make_plan(options)
    with _termination_interrupts(), held(plan.out / LOCK, "kdtrain sweep", plan.out):
        remove_partials(plan.out)
        kept = kept_entries(read_record(plan.out), plan.jobs, plan.out)
        progress = plan.progress()
        schedule = _schedule(plan, progress)

        def save() -> None:
            standings = [schedule[job.name] for job in plan.jobs]
            write_record(
                plan.recipe,
                plan.jobs,
                standings,
                shards=str(options.shards or plan.recipe.shards),
                out=plan.out,
                kept=kept,
            )

        _work(plan, schedule, progress, options, save)
    return _conclude(plan, schedule, kept, options)


def _schedule(plan: Plan, progress: Mapping[str, Progress]) -> Standings:
    return Standings(
        [job.run for job in plan.jobs],
        {name: _standing(p) for name, p in progress.items()},
        [name for name in plan.wanted if progress[name].stage != "finished"],
    )


def _standing(progress: Progress) -> Standing:
    state: State = "finished" if progress.stage == "finished" else "waiting"
    return Standing(state=state, network=progress.trained)


def _launcher(plan: Plan, options: Options) -> AbstractContextManager[Launcher]:
    where: dict[str, Any] = {"shards": plan.shards, "out": plan.out, "evaluate": plan.recipe.evaluate}
    if options.ray_address is not None:
        from kdtrain.sweep.runners.ray import ray_launcher

        return ray_launcher(
            address=options.ray_address,
            gpus_per_run=options.gpus_per_run,
            cpus_per_run=options.cpus_per_run,
            start_seconds=options.start_seconds,
            **where,
        )
    gpus = () if all(job.config and job.config.device == "cpu" for job in plan.jobs) else visible_gpus()
    return nullcontext(LocalLauncher(jobs=options.jobs, cores=usable_cores(), gpus=gpus, **where))


def _work(
    plan: Plan,
    schedule: Standings,
    progress: dict[str, Progress],
    options: Options,
    save: Callable[[], None],
) -> None:
    jobs = {job.name: job for job in plan.jobs}
    done = sum(progress[name].stage == "finished" for name in plan.wanted)
    (plan.out / LOGS).mkdir(exist_ok=True)
    save()
    if schedule.done:
        return
    if plan.folds is not None:
        complete_folds(plan.folds, plan.index, plan.out, plan.jobs)
    total = done + len(schedule.wanted)
    drawn_on = console(stderr=True)
    with _launcher(plan, options) as launcher, Screen(drawn_on, total=total, done=done) as screen:
        if done:
            screen.say(f"complete already: {done} of {plural(total, 'run')}")
        for choice in choices_of([jobs[name] for name in schedule.wanted]):
            screen.say(choice)
        alike = None if plan.folds is None else alike_warning(plan.folds)
        for warning in [*warnings_of([jobs[name] for name in schedule.wanted]), *filter(None, [alike])]:
            screen.say(f"warning: {warning}")
        try:
            while not schedule.done:
                while launcher.has_room() and (name := schedule.ready()) is not None:
                    schedule.begin(name)
                    if reason := other_source(jobs[name].folder, jobs[name].needs):
                        _fail(name, reason, schedule, screen)
                        save()
                        continue
                    launcher.start(jobs[name], train=not progress[name].trained)
                    screen.started(name, _verb(progress[name]))
                screen.refresh([jobs[name] for name in schedule.running])
                for ended in launcher.ended(_WAIT_SECONDS) if schedule.running else ():
                    _settle(ended.name, ended.reason, ended.seconds, plan, schedule, screen)
                    save()
        finally:
            launcher.stop()


def _verb(progress: Progress) -> str:
    if progress.stage == "trained":
        return "is measured"
    return f"goes on at step {progress.step}" if progress.step else "trains"


def _settle(name: str, reason: str, seconds: float, plan: Plan, schedule: Standings, screen: Screen) -> None:
    """Write down how a run ended; what it left on disk decides."""
    job = next(job for job in plan.jobs if job.name == name)
    folder, evaluate = job.folder, plan.recipe.evaluate
    stage = progress_of(folder, evaluate, plan.index.sha256, measured=job.measured).stage
    if not reason and stage != "finished":
        reason = (
            f"it ended well, but {folder} does not hold its network and its metrics; on a cluster, --out must lie on "
            "storage that every machine sees"
        )
    if not reason:
        schedule.finish(name)
        accuracy = balanced_accuracy(folder, evaluate.splits[0])
        screen.finished(name, seconds, accuracy, measured=job.measured)
        return
    network = stage in ("trained", "finished")
    _fail(name, reason, schedule, screen, network=network, log=plan.out / LOGS / f"{name}.log")


def _fail(
    name: str,
    reason: str,
    schedule: Standings,
    screen: Screen,
    *,
    network: bool = False,
    log: Path | None = None,
) -> None:
    skipped = schedule.fail(name, reason, network=network)
    screen.failed(name, reason, log)
    for other in skipped:
        screen.skipped(other, schedule[other].reason)


def _conclude(plan: Plan, schedule: Standings, kept: Sequence[dict[str, Any]], options: Options) -> int:
    standings = [schedule[job.name] for job in plan.jobs]
    split = plan.recipe.evaluate.splits[0]
    bad = [s for s in standings if s.state in ("failed", "skipped")]
    if options.as_json:
        say(json.dumps(_as_dict(plan, standings, split), indent=1, ensure_ascii=False, allow_nan=False))
        return SOME_FAILED if bad else 0
    report_console().print(result_table(plan.jobs, standings, split))
    if kept:
        say(
            f"{plural(len(kept), 'more run')} of earlier commands in {plan.out}; delete a folder to drop its run"
        )
    if bad:
        say(f"failed or skipped: {len(bad)} of {len(standings)}; the same command again tries once more")
    if any(standing.state == "finished" for standing in standings):
        say(f"next  kdtrain report {plan.out} --out {plan.out / 'report.html'}")
    return SOME_FAILED if bad else 0


def _as_dict(plan: Plan, standings: Sequence[Standing], split: str) -> dict[str, Any]:
    return {
        "out": str(plan.out),
        "split": split,
        "runs": [
            {
                "name": job.name,
                "state": standing.state,
                "reason": standing.reason,
                "balanced_accuracy": balanced_accuracy(job.folder, split)
                if standing.state == "finished"
                else None,
                "training_seconds": training_seconds(job.folder),
            }
            for job, standing in zip(plan.jobs, standings, strict=True)
        ],
    }


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """A batch system's SIGTERM stops a sweep as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def dry_run(options: Options) -> int:
    """Show what a sweep would take; nothing is written.

    Returns:
        Exit code 0.

    Raises:
        UsageError: As :func:`make_plan`.
        ShardError: The shard set is damaged.
    """
    from kdtrain.sweep.estimate.dry_run import estimates, print_rows, rows_as_dict

    plan = make_plan(options)
    progress = plan.progress()
    threads = threads_each(usable_cores(), options.jobs)
    shown = {*plan.wanted, *_schedule(plan, progress).wanted}
    jobs = [job for job in plan.jobs if job.name in shown]
    rows = estimates(jobs, progress, threads=threads)
    if options.as_json:
        say(json.dumps(rows_as_dict(rows), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        if plan.folds is not None:
            report_console().print(folds_table(plan.folds, plan.index.document.classes))
            if (alike := alike_warning(plan.folds)) is not None:
                say(f"warning: {alike}", err=True)
        print_rows(rows, report_console(), about=plan.recipe.about, jobs=options.jobs)
    return 0
