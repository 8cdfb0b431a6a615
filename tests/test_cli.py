"""The command line, and where it finds the course."""

import json

import pytest

from lvmlab import cli


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


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train"])
    assert "invalid choice" in capsys.readouterr().err
