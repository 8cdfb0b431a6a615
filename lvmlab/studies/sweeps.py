"""Many cells of many studies at once: on the cores of this machine, or on a Dask cluster.

A cell writes one file when it is done (`ledger`), whole or not at all, so a sweep needs no memory
of its own: cells that are there are read, and a sweep that was killed, or whose workers were, goes
on with the rest. Every worker computes with one thread, which is fastest for small models.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from lvmlab.presets import preset_name
from lvmlab.studies import ledger
from lvmlab.studies.ledger import Plan, Record, Row

ATTEMPTS = 3  # how often a cell may take its worker down


class Job(NamedTuple):
    """One cell of one study; small enough to be sent to another machine."""

    study: Callable[..., Any]
    preset: str
    seeds: int
    cell: int
    place: str
    """The folder of its file, as the machine that plans sees it."""
    code: str
    """The version of the code that plans: a worker of another one refuses; "" lets any work."""
    label: str


class Outcome(NamedTuple):
    """What became of a cell: its records, or why there are none."""

    job: Job
    records: list[Record]
    error: str = ""


class Sweep(NamedTuple):
    """The rows of a sweep, and what failed."""

    rows: list[Row]
    errors: dict[str, str]
    """By cell, "study: objective, system on data set": what it raised, in words. All other cells
    are done and on record."""


def sweep(
    names: Sequence[str],
    preset: str | None = None,
    seeds: int | None = None,
    jobs: int = 1,
    cluster: str | None = None,
) -> Sweep:
    """Run the cells of several studies in parallel; what is on record is not measured again.

    jobs: processes on this machine. cluster: the address of a Dask scheduler, such as
    "tcp://host:8786", whose workers are used instead (needs the extra `scale`; workers need this
    version of lvmlab, and a sweep restarts most cheaply when $LVMLAB_RUNS is a folder that they
    share). A cell that fails is an entry of `errors` and stops no other. A worker that is killed
    costs only the cells that were being measured, which are given out again, up to three times.
    Inside `joblib.parallel_config(backend="dask")` of your own, jobs above 1 go to that cluster.
    Raises `ValueError` for unknown names and presets, for fewer than one seed or job, without the
    package `distributed`, and for a cluster that does not answer.
    """
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ValueError(f"jobs must be a whole number of processes from 1 up, got {jobs!r}")
    from lvmlab import studies

    size = preset_name() if preset is None else preset
    plans = [(studies.find(name), name) for name in dict.fromkeys(names)]
    if not plans:
        raise ValueError(f"names must hold one study or more, of {', '.join(studies.names())}")
    todo = [job for study, _ in plans for job in jobs_of(study, size, seeds)]
    with _cluster(cluster) if cluster else nullcontext():
        return carry_out(todo, jobs, dask=cluster is not None)


def jobs_of(study: Callable[..., Any], preset: str, seeds: int | None) -> list[Job]:
    """The cells of one study as jobs."""
    plan = ledger.planned(study, preset, seeds)
    place, code = str(ledger.place(plan).resolve()), ledger.code_version()
    labels = [f"{plan.study}: {c.objective}, {c.system} on {c.dataset}" for c in plan.cells]
    return [Job(study, preset, plan.seeds, i, place, code, s) for i, s in enumerate(labels)]


def carry_out(todo: Sequence[Job], jobs: int, dask: bool = False) -> Sweep:
    """Run jobs in parallel and collect their rows in the order of the jobs."""
    from tqdm.auto import tqdm

    done: dict[int, Outcome] = {}
    with tqdm(total=len(todo), desc="sweep", unit="cell", delay=2) as bar:
        for place, outcome in _outcomes(list(enumerate(todo)), jobs, dask):
            done[place] = outcome
            _keep(outcome)
            bar.update(1)
    outcomes = [done[place] for place in range(len(todo))]
    rows = ledger.summarise(record for outcome in outcomes for record in outcome.records)
    return Sweep(rows, {o.job.label: o.error for o in outcomes if o.error})


def run_job(job: Job) -> Outcome:
    """Measure one cell, or read its file; an error is part of the outcome."""
    import torch

    torch.set_num_threads(1)  # first thing: a worker may have run something else before
    try:
        if job.code not in ("", ledger.code_version()):
            raise ValueError(
                "this worker runs another version of lvmlab or torch: install the same"
            )
        plan = ledger.planned(job.study, job.preset, job.seeds)
        return Outcome(job, ledger.fill(Path(job.place), plan, plan.cells[job.cell]))
    except Exception as error:  # one cell that diverges must not stop the others
        return Outcome(job, [], f"{type(error).__name__}: {error}")


def _outcomes(todo: list[tuple[int, Job]], jobs: int, dask: bool) -> Iterator[tuple[int, Outcome]]:
    """Outcomes as they come; after a worker has died the rest is given out again."""
    import joblib
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if jobs == 1 and not dask:
        yield from ((place, run_job(job)) for place, job in todo)
        return
    for attempt in range(ATTEMPTS):
        if not todo:
            return
        # on the last road every cell has a pool of its own, so that one that kills its worker
        # (out of memory, say) takes no other down
        alone = attempt == ATTEMPTS - 1 and not dask
        for group in [[one] for one in todo] if alone else [list(todo)]:
            parallel = joblib.Parallel(
                n_jobs=-1 if dask else 2 if alone else jobs,
                return_as="generator_unordered",
                batch_size=1,
                pre_dispatch="all",
            )
            try:
                for place, outcome in parallel(joblib.delayed(_numbered)(*one) for one in group):
                    todo = [one for one in todo if one[0] != place]
                    yield place, outcome
            except TerminatedWorkerError:
                continue
    for place, job in todo:
        yield place, Outcome(job, [], f"its worker died {ATTEMPTS} times: killed, or out of memory")


def _numbered(place: int, job: Job) -> tuple[int, Outcome]:
    return place, run_job(job)


def _keep(outcome: Outcome) -> None:
    """Write what another machine measured, where its disk is not ours."""
    job = outcome.job
    if not outcome.records:
        return
    first = outcome.records[0]
    plan = Plan(first["study"], job.preset, job.seeds, ())
    cell = ledger.Cell(first["system"], first["objective"], first["dataset"], lambda seeds: [])
    if len(ledger.read(path := ledger.file_of(Path(job.place), cell))) < plan.seeds:
        ledger.write(path, outcome.records)


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Send joblib's work to the Dask scheduler at this address."""
    import joblib

    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            "a sweep on a cluster needs the package distributed: pip install 'lvmlab[scale]'"
        ) from error
    try:
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address!r} ({error}). Start one with `dask scheduler`, "
            "workers with `dask worker ADDRESS --nthreads 1`, and give the address it prints"
        ) from error
    with client, _dask(joblib, client):
        yield


def _dask(joblib: Any, client: Any) -> AbstractContextManager[Any]:
    if not client.scheduler_info()["workers"]:
        raise ValueError(
            f"the Dask scheduler at {client.scheduler.address} has no workers: start some with "
            "`dask worker ADDRESS --nthreads 1`"
        )
    return joblib.parallel_config(backend="dask", client=client)
