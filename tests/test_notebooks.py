"""The committed notebooks: outputs of these very cells, small, without errors or widget state."""

import importlib.util
import re
import shutil
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

NOTEBOOKS = build.notebooks()


def test_the_course_is_there():
    assert [p.name[:2] for p in NOTEBOOKS[:3]] == ["00", "01", "02"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_outputs_are_those_of_the_cells(path):
    assert build.problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_picture_is_there_without_a_kernel(path):
    pictures = [
        output
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
    assert all("alt" in str(p.metadata) or p.data.get("text/plain") for p in pictures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_readmes_picture_is_the_first_of_the_notebook(path):
    kept = ROOT / "notebooks" / "pictures" / f"{path.stem}.png"
    assert kept.read_bytes() == build.first_picture(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_claims_exercises_and_sizes_are_in_the_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    prose = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert len(re.findall(r"^\s*assert ", code, re.M)) >= 3
    exercise = path.stem[3:]
    assert f"from lvmlab.exercises import {exercise}" in code
    assert "$$" in prose
    assert (ROOT / "lvmlab" / "exercises" / f"{exercise}.py").exists()


def test_outputs_older_than_the_cells_are_found_out(tmp_path):
    path = tmp_path / "00_copy.ipynb"
    shutil.copy(NOTEBOOKS[0], path)
    notebook = nbformat.read(path, as_version=4)
    next(c for c in notebook.cells if c.cell_type == "code").source += "\n1 + 1"
    nbformat.write(notebook, path)
    assert any("older than its code cells" in p for p in build.problems(path))


def test_bad_outputs_are_found_out(tmp_path):
    path = tmp_path / "00_copy.ipynb"
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    cell = next(c for c in notebook.cells if c.cell_type == "code")
    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="oh"))
    notebook.metadata["widgets"] = {}
    notebook.metadata["lvmlab"]["preset"] = "smoke"
    nbformat.write(notebook, path)
    found = " ".join(build.problems(path))
    for words in ("smoke size", "widget state", "shows an error or a warning"):
        assert words in found


@pytest.mark.slow
def test_executing_writes_outputs_and_stamp(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_PRESET", "lesson")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("print(6 * 7)")]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path = tmp_path / "00_made.ipynb"
    nbformat.write(notebook, path)
    assert build.problems(path)
    build.run(path)
    assert build.problems(path) == []
    assert nbformat.read(path, as_version=4).cells[0].outputs[0].text == "42\n"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.slow
def test_the_site_lists_the_course(tmp_path):
    build.site(tmp_path)
    index = (tmp_path / "index.html").read_text()
    for path in NOTEBOOKS:
        assert f'href="{path.stem}.html"' in index
        page = (tmp_path / f"{path.stem}.html").read_text()
        assert page.count("data:image/png;base64") >= 3
