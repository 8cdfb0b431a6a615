"""Sweeps: cells in parallel, errors as data, and workers that are killed by kill -9."""

import math
import os
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import cloudpickle
import pytest

from lvmlab import studies
from lvmlab.studies import ledger, sweeps
from lvmlab.studies.ledger import Cell

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def study(folder, seconds, preset="smoke", seeds=None, cells=6, broken=()):
    """Each cell notes its process when it starts and when it ends; its number is its place."""

    def measured(place, wanted):
        import torch

        (folder / f"start-{place}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(seconds)
        if place in broken:
            raise FloatingPointError(f"cell {place} diverged")
        (folder / f"end-{place}-{os.getpid()}-{time.time_ns()}").touch()
        return [{"place": place + seed, "threads": torch.get_num_threads()} for seed in wanted]

    made = [Cell(f"cell {i}", "A", "toy", partial(measured, i)) for i in range(cells)]
    return ledger.measure("made", preset, 2 if seeds is None else seeds, made)


def noted(folder, kind):
    """How often each cell started or ended."""
    return Counter(int(path.name.split("-")[1]) for path in folder.glob(f"{kind}-*"))


@pytest.fixture
def notes(tmp_path):
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def jobs_of(notes, seconds=0.0, **more):
    made = sweeps.jobs_of(partial(study, notes, seconds, **more), "smoke", 2)
    return [job._replace(code="") for job in made]  # the sources may change while this runs


def kill_one(notes, snapshot, over, after=2):
    """Once `after` cells are on record, kill -9 a worker that is at a cell, by its own pid."""
    while not over.wait(0.02):
        kept = {int(path.name[9]) for path in notes.parent.rglob("toy-cell-*.jsonl")}
        starts = [path.name.split("-") for path in notes.glob("start-*")]
        busy = [int(words[2]) for words in starts if int(words[1]) not in noted(notes, "end")]
        if len(kept) >= after and busy and busy[0] != os.getpid():
            os.kill(busy[0], signal.SIGKILL)
            snapshot.update(kept=kept, killed=busy[0])
            return


def survives(notes, runs, dask=False):
    snapshot, over = {}, threading.Event()
    killer = threading.Thread(target=kill_one, args=(notes, snapshot, over))
    killer.start()
    found = sweeps.carry_out(jobs_of(notes, 0.4), 2, dask)
    over.set()
    killer.join()
    assert found.errors == {} and snapshot["killed"]
    values = {row["system"]: row["value"] for row in found.rows if row["metric"] == "place"}
    assert values == {f"cell {i}": i + 0.5 for i in range(6)}  # nothing lost
    starts = noted(notes, "start")
    assert len(snapshot["kept"]) >= 2
    assert all(starts[cell] == 1 for cell in snapshot["kept"])  # nothing run twice
    assert max(starts.values()) == 2  # the one that was killed, and no cell more often
    assert len(list(runs.rglob("*.jsonl"))) == 6 and not list(runs.rglob("*.unfinished"))
    before = len(list(notes.iterdir()))
    again = sweeps.carry_out(jobs_of(notes, 0.4), 2, dask)
    assert again.rows == found.rows and len(list(notes.iterdir())) == before


# -- on this machine


def test_a_plan_measures_nothing_and_names_every_cell(notes, runs):
    jobs = jobs_of(notes)
    assert [job.label for job in jobs[:2]] == ["made: A, cell 0 on toy", "made: A, cell 1 on toy"]
    assert not list(notes.iterdir()) and not runs.exists()
    with pytest.raises(ValueError, match="cannot be planned"):
        sweeps.jobs_of(lambda preset, seeds: [], "smoke", 2)


def test_one_job_runs_here_in_the_order_of_the_plan(notes):
    found = sweeps.carry_out(jobs_of(notes), 1)
    places = [row["value"] for row in found.rows if row["metric"] == "place"]
    assert places == [i + 0.5 for i in range(6)]
    assert {row["value"] for row in found.rows if row["metric"] == "threads"} == {1}


def test_an_error_is_an_entry_and_stops_no_other_cell(notes, runs):
    found = sweeps.carry_out(jobs_of(notes, broken=(1, 4)), 1)
    assert set(found.errors) == {"made: A, cell 1 on toy", "made: A, cell 4 on toy"}
    assert found.errors["made: A, cell 1 on toy"] == "FloatingPointError: cell 1 diverged"
    assert len(list(runs.rglob("*.jsonl"))) == 4
    again = sweeps.carry_out(jobs_of(notes), 1)  # mended: only what failed is measured
    assert again.errors == {} and noted(notes, "end") == dict.fromkeys(range(6), 1)


def test_errors_on_two_data_sets_are_two_entries(runs):
    def diverge(name, seeds):
        raise FloatingPointError(f"{name} diverged")

    def both(preset, seeds=None):
        cells = [Cell("one", "A", name, partial(diverge, name)) for name in ("here", "there")]
        return ledger.measure("made", preset, 1, cells)

    found = sweeps.carry_out(sweeps.jobs_of(both, "smoke", 1), 1)
    assert found.rows == [] and found.errors == {
        f"made: A, one on {name}": f"FloatingPointError: {name} diverged"
        for name in ("here", "there")
    }


def test_another_version_of_the_code_is_refused(notes):
    job = jobs_of(notes)[0]._replace(code="another")
    outcome = sweeps.run_job(job)
    assert outcome.records == [] and "another version of lvmlab" in outcome.error


def test_what_another_disk_holds_is_written_here(notes, runs, tmp_path):
    job = jobs_of(notes)[0]
    far = sweeps.run_job(job._replace(place=str(tmp_path / "far")))
    assert not list(runs.rglob("*.jsonl"))
    sweeps._keep(far._replace(job=job))
    (file,) = runs.rglob("*.jsonl")
    assert ledger.read(file) == far.records


def test_the_rows_of_a_real_study_are_those_of_a_run_of_its_own(monkeypatch, runs):
    from lvmlab.studies import mim_1d

    table = mim_1d.SIZES["mim-consistency-1d"]
    monkeypatch.setitem(table, "smoke", table["smoke"] | {"steps": 3, "batch": 20})
    found = studies.sweep(["mim-consistency-1d"], "smoke", 2)
    alone = studies.run("mim-consistency-1d", "smoke", 2)
    assert found.rows == alone and all(math.isfinite(row["value"]) for row in alone)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # loky says that a worker died: so it did
def test_a_worker_killed_by_kill_9_loses_nothing_and_repeats_nothing(notes, runs):
    survives(notes, runs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_cell_that_kills_its_worker_takes_no_other_with_it(notes, runs):
    jobs = sweeps.jobs_of(partial(deadly, notes), "smoke", 1)
    found = sweeps.carry_out([job._replace(code="") for job in jobs], 2)
    assert list(found.errors) == ["made: A, cell 1 on toy"]
    assert "died" in found.errors["made: A, cell 1 on toy"]
    assert {row["system"] for row in found.rows} == {"cell 0", "cell 2", "cell 3"}


def deadly(folder, preset, seeds):
    def measured(place, wanted):
        if place == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return [{"place": place} for _ in wanted]

    made = [Cell(f"cell {i}", "A", "toy", partial(measured, i)) for i in range(4)]
    return ledger.measure("made", preset, seeds, made)


# -- on a cluster


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of distributed: ports in use, workers that went
def test_a_dask_worker_killed_by_kill_9_loses_nothing_and_repeats_nothing(notes, runs):
    distributed = pytest.importorskip("distributed", reason="needs the extra scale")

    scratch = str(Path(notes.parent) / "dask")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=scratch
        ) as cluster,
        sweeps._cluster(cluster.scheduler_address),
    ):
        survives(notes, runs, dask=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_is_not_there_is_named():
    pytest.importorskip("distributed", reason="needs the extra scale")
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:1'"):
        studies.sweep(["collapse-2d"], "smoke", 1, cluster="tcp://127.0.0.1:1")


@pytest.mark.filterwarnings("ignore")
def test_an_address_that_is_none_is_named():
    pytest.importorskip("distributed", reason="needs the extra scale")
    with pytest.raises(ValueError, match="no Dask scheduler answers at 'nonsense://x'"):
        studies.sweep(["collapse-2d"], "smoke", 1, cluster="nonsense://x")


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"lvmlab\[scale\]"):
        studies.sweep(["collapse-2d"], "smoke", 1, cluster="tcp://127.0.0.1:1")


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True])
def test_jobs_are_a_positive_whole_number(jobs):
    with pytest.raises(ValueError, match="jobs must be a whole number of processes"):
        studies.sweep(["collapse-2d"], "smoke", 1, jobs=jobs)


def test_unknown_studies_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match="Did you mean 'collapse-2d'"):
        studies.sweep(["colapse-2d"], "smoke", 1)
    with pytest.raises(ValueError, match="one study or more"):
        studies.sweep([], "smoke", 1)
