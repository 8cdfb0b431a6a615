"""`lvmlab report FILE`: numbers, pictures, and files that cannot be read."""

import json

import pytest
import torch

from lvmlab import Batches, cli, descend, elbo, fit, report
from lvmlab.models import dense_gaussian
from lvmlab.report_files import from_file, write

MODEL = """
import torch
from lvmlab.models import dense_gaussian
from beside import rows

torch.manual_seed(0)
p, q = dense_gaussian(2, 2, 5)
data = {"x": rows(120)}
labels = torch.arange(120) % 3
title = "ELBO of mine"
print("a file may print")
"""
BESIDE = """
import torch

def rows(n):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(10_000))
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "beside.py").write_text(BESIDE)
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


def test_a_file_is_run_and_reported(model, capsys, tmp_path):
    assert cli.main(["report", str(model), "--samples", "8"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("ELBO of mine\n") and "what to try" in printed
    assert "120 rows" in printed and "labels by 5 neighbours" in printed
    assert "a file may print" not in printed
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["beside.py", "model.py"]


def test_json_and_picture(model, capsys, tmp_path):
    picture = tmp_path / "out.png"
    command = ["report", str(model), "--samples", "8", "--json", "--rows", "50"]
    assert cli.main([*command, "--picture", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 50 and found["verdict"]["state"] and found["title"] == "ELBO of mine"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.unfinished")) and not list(tmp_path.glob(".*.unfinished"))


def test_weights_come_from_a_checkpoint_of_fit(model, tmp_path):
    torch.manual_seed(0)
    p, q = dense_gaussian(2, 2, 5)
    x = torch.randn(120, 2, generator=torch.Generator().manual_seed(10_000))
    step = descend(elbo, p, q, torch.optim.Adam(torch.nn.ModuleList([p, q]).parameters(), lr=0.05))
    saved = tmp_path / "run.safetensors"
    fit(step, Batches({"x": x}, 40), steps=15, checkpoint=saved, progress=False)
    found = from_file(model, saved, samples=8)
    assert abs(found.distortion - report(p, q, x, samples=8).distortion) < 1e-5
    assert abs(found.distortion - from_file(model, samples=8).distortion) > 0.01


def _broken(tmp_path, text, name="bad.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


BAD = {
    "syntax": ("p = (", r"cannot be run, line 1: SyntaxError"),
    "an error": ("import torch\n\n1 / 0", "cannot be run, line 3: ZeroDivisionError"),
    "an exit": ("raise SystemExit(3)", "cannot be run, line 1: SystemExit: 3"),
    "no data": ("p = q = None", "does not define data"),
    "tensors": (
        "import torch\np = lambda z: z\nq = lambda x: x\ndata = torch.zeros(40, 2)",
        "must return a torch distribution",
    ),
    "NaN": (
        "import torch\nfrom lvmlab.models import dense_gaussian\np, q = dense_gaussian(2, 2)\n"
        "data = torch.full((40, 2), float('nan'))",
        "40 of 40 rows hold NaN",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_make_no_report(name, tmp_path, capsys):
    text, words = BAD[name]
    picture = tmp_path / "out.png"
    path = _broken(tmp_path, text)
    assert cli.main(["report", str(path), "--picture", str(picture)]) == 1
    told = capsys.readouterr()
    assert words in told.err and told.err.startswith("lvmlab report: ") and not told.out
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["bad.py"]


def test_files_that_are_not_there_or_are_something_else(tmp_path, capsys, model):
    (tmp_path / "weights.safetensors").write_bytes(b"1234")
    for arguments, words in (
        ([str(tmp_path / "nowhere.py")], "is not there"),
        ([str(tmp_path)], "is a folder"),
        ([str(tmp_path / "weights.safetensors")], "try --checkpoint"),
        ([str(model), "--checkpoint", str(tmp_path / "none")], "no checkpoint at"),
        ([str(model), "--checkpoint", str(tmp_path / "weights.safetensors")], "damaged or cut"),
        ([str(model), "--rows", "0"], "--rows must be a whole number"),
        ([str(model), "--samples", "0"], "samples must be a whole number"),
        ([str(model), "--picture", str(tmp_path / "no" / "a.png")], "a folder that exists"),
    ):
        assert cli.main(["report", *arguments]) == 1
        assert words in capsys.readouterr().err, arguments


def test_a_checkpoint_of_another_model_is_refused(model, tmp_path):
    p, q = dense_gaussian(2, 3, 5)
    step = descend(elbo, p, q, torch.optim.Adam(torch.nn.ModuleList([p, q]).parameters()))
    saved = tmp_path / "other.safetensors"
    fit(step, Batches({"x": torch.randn(20, 2)}, 10), steps=2, checkpoint=saved, progress=False)
    with pytest.raises(ValueError, match="a checkpoint of another model"):
        from_file(model, saved)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    import os

    path = tmp_path / "a.png"
    write(path, b"old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="no space left"):
        write(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.png"]
