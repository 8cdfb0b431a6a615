"""The command line, and where it finds the course."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lvmlab import cli, studies


def test_data_lists_every_set_with_licence_and_address(capsys):
    assert cli.main(["data"]) == 0
    printed = capsys.readouterr().out
    assert "docstrings" in printed and "cifar10" in printed and "https://" in printed
    assert cli.main(["data", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"name", "here", "megabytes", "licence", "address"} <= rows[0].keys()
    assert next(row for row in rows if row["name"] == "digits")["here"] != "missing"


def test_doctor_is_content_here_and_says_what_is_wrong(capsys, monkeypatch, tmp_path):
    assert cli.main(["doctor"]) == 0
    assert "all is well" in capsys.readouterr().out
    monkeypatch.setenv("LVMLAB_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("LVMLAB_PRESET", "huge")
    assert cli.main(["doctor", "--json"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any("not a folder" in p for p in problems)
    assert any("'huge', expected one of smoke" in p for p in problems)


def test_doctor_names_a_missing_package(monkeypatch):
    monkeypatch.setattr(cli, "_version", lambda name: "not installed" if name == "scipy" else "1")
    assert any(p.startswith("scipy is not installed") for p in cli.examine()["problems"])


def test_an_installed_wheel_copies_the_course_once_and_never_over_your_work(tmp_path, monkeypatch):
    package = tmp_path / "site" / "lvmlab"
    (package / "course").mkdir(parents=True)
    (package / "course" / "00_start_here.ipynb").write_text("fresh")
    (package / "course" / "01_more.ipynb").write_text("fresh")
    monkeypatch.setattr(cli, "__file__", str(package / "cli.py"))
    monkeypatch.chdir(tmp_path)
    folder = cli.course_folder()
    (folder / "00_start_here.ipynb").write_text("my answers")
    (folder / "01_more.ipynb").unlink()
    assert cli.course_folder() == folder
    assert (folder / "00_start_here.ipynb").read_text() == "my answers"
    assert (folder / "01_more.ipynb").read_text() == "fresh"


def test_lab_opens_the_first_notebook_of_a_checkout(monkeypatch):
    commands = []
    monkeypatch.setattr(cli.os, "execv", lambda program, command: commands.append(command))
    cli.main(["lab", "--no-browser"])
    (command,) = commands
    assert command[-1].endswith("notebooks/00_start_here.ipynb") or "--no-browser" in command
    assert "--no-browser" in command


def test_list_names_every_study_with_its_sentence_and_minutes(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    assert "collapse-2d" in printed and "Figures 5.1 and 5.2" in printed and "lesson" in printed
    assert cli.main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["study"] for row in rows] == studies.names()
    assert rows[0]["presets"]["paper"]["seeds"] == 10


@pytest.mark.slow
def test_run_measures_and_ledger_shows_it_beside_the_paper(capsys, monkeypatch, tmp_path):
    from lvmlab.studies import export, mim, mim_runs

    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    assert cli.main(["ledger", "--mine"]) == 0
    printed = capsys.readouterr().out
    assert "lvmlab run collapse-2d" in printed  # what to do when there is nothing
    assert "305 printed, 0 measured" in printed and "claims not tried yet in" in printed
    assert cli.main(["ledger", "--mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == []
    monkeypatch.setattr(mim_runs, "EPOCH", 5)
    small = {"widths": (20,), "epochs": 1, "points": 100}
    table = mim.SIZES["collapse-2d"]
    monkeypatch.setitem(table, "smoke", table["smoke"] | small)
    command = ["run", "collapse-2d", "--preset", "smoke", "--seeds", "2"]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "collapse-2d, smoke, five_blobs" in printed and "ksg_information" in printed
    assert "2 seeds" in printed and str(tmp_path / "runs") in printed
    assert cli.main([*command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"study", "metric", "value", "std", "seeds", "minutes"} <= rows[0].keys()
    assert cli.main(["ledger", "--mine"]) == 0
    printed = capsys.readouterr().out
    assert "above VAE (Figure 5.2): " in printed and "of 2" in printed
    assert "collapse-2d differs: seeds 2 (paper 10), widths 20 (paper 5, ..., 500)" in printed
    assert cli.main(["ledger", "--mine", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert {c["state"] for c in tree["claims"] if c["study"] == "collapse-20d"} == {"not tried"}
    shown = tree["rows"]
    assert {row["metric"] for row in shown} == {row["metric"] for row in rows}
    said = [one for row in shown for one in row["paper"] if one["says"] == "above VAE"]
    assert said and all(one["source"] == "Figure 5.2" and one["pairs"] == 2 for one in said)
    table = tmp_path / "rows.csv"
    assert cli.main(["ledger", "--mine", "--export", str(table)]) == 0
    assert f"{len(rows)} rows written" in capsys.readouterr().out
    assert [row["value"] for row in export.read_rows(table)] == pytest.approx(
        [row["value"] for row in rows]
    )
    assert cli.main(["ledger", "--export", "rows.xls"]) == 1
    assert "must end in one of .csv" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_goes_on_past_a_cell_that_fails(capsys, monkeypatch, tmp_path):
    from lvmlab.studies import mim_1d

    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    table = mim_1d.SIZES["mim-consistency-1d"]
    monkeypatch.setitem(table, "smoke", table["smoke"] | {"steps": 2, "batch": 10})
    trained = mim_1d._trained

    def fragile(learned, objectives, *rest):
        if not learned:
            raise FloatingPointError("diverged")
        return trained(learned, objectives, *rest)

    monkeypatch.setattr(mim_1d, "_trained", fragile)
    assert cli.main(["run", "mim-consistency-1d", "--preset", "smoke", "--seeds", "1"]) == 1
    out, err = capsys.readouterr()
    assert err.count("FloatingPointError: diverged") == 2 and "N(0, 1) priors" in err
    assert "L_CE, then MIM" in out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["colapse-2d"], "Did you mean 'collapse-2d'"),
        (["collapse-2d", "--preset", "huge"], "preset must be one of"),
        (["collapse-2d", "--seeds", "0"], "seeds must be a whole number from 1 up"),
    ],
)
def test_run_refuses_what_it_does_not_know(options, word, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    assert cli.main(["run", *options]) == 1
    assert word in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_runs_that_cannot_be_written_is_refused_before_the_first_cell(
    capsys, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(studies, "sweep", lambda *a: pytest.fail("a cell was started"))
    for place in (tmp_path / "file", tmp_path / "file" / "runs"):
        monkeypatch.setenv("LVMLAB_RUNS", str(place))
        assert cli.main(["run", "collapse-2d", "--preset", "smoke", "--seeds", "1"]) == 1
        err = capsys.readouterr().err
        assert f"runs are kept in {place}" in err and "Not a directory" in err
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "new" / "runs"))
    monkeypatch.setattr(studies, "sweep", lambda *a: ([], {}))
    assert cli.main(["run", "collapse-2d", "--preset", "smoke", "--seeds", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # the trial leaves nothing


def test_ctrl_c_says_in_one_line_that_the_run_goes_on(capsys, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(studies, "sweep", interrupted)
    assert cli.main(["run", "collapse-2d", "--preset", "smoke", "--seeds", "1"]) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on from here\n"
    monkeypatch.setattr(cli, "list_studies", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def heeds_ctrl_c():
    """A shell starts what it puts into the background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals and pipes of another kind")
def test_a_run_that_is_interrupted_keeps_its_cells_and_shows_no_traceback(tmp_path):
    command = [sys.executable, "-m", "lvmlab.cli", "run", "collapse-2d", "--preset", "smoke"]
    place = {"LVMLAB_RUNS": str(tmp_path), "TQDM_DISABLE": "1"}
    run = subprocess.Popen(
        command, env=os.environ | place, stderr=subprocess.PIPE, text=True,
        preexec_fn=heeds_ctrl_c,
    )  # fmt: skip
    try:
        while run.poll() is None and not list(tmp_path.rglob("*.jsonl")):
            time.sleep(0.05)  # until the first cell is on record
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert err == "stopped; the same command goes on from here\n"
    # interrupted within `exec` of a string, such as a late import of a dataclass, `python -m` ends
    # by the signal itself although it was caught: a shell calls both 130
    assert run.returncode in (130, -signal.SIGINT)
    assert list(tmp_path.rglob("*.jsonl")) and not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals and pipes of another kind")
def test_a_reader_who_leaves_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "lvmlab", "list"]
    with os.fdopen(writing, "w") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")


def test_export_makes_no_folders(capsys, tmp_path):
    place = tmp_path / "nosuch"
    assert cli.main(["ledger", "--export", str(place / "x.csv")]) == 1
    assert f"--export: no folder {place}; make it first" in capsys.readouterr().err
    assert not place.exists()


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train"])
    assert "invalid choice" in capsys.readouterr().err
