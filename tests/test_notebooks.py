"""The committed notebooks: outputs of these very cells, small, without errors or widget state."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def build():
    """Slow tests alone ask for it, because nbformat takes seconds to import."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "notebooks" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_the_course_is_there():
    assert [p.name[:2] for p in NOTEBOOKS[:3]] == ["00", "01", "02"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_outputs_are_those_of_the_cells(build, path):
    assert build.problems(path) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_picture_is_there_without_a_kernel(path):
    pictures = [
        output
        for cell in cells_of(path)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
    assert all("alt" in str(p["metadata"]) or p["data"].get("text/plain") for p in pictures)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_readmes_picture_is_the_first_of_the_notebook(build, path):
    kept = ROOT / "notebooks" / "pictures" / f"{path.stem}.png"
    assert kept.read_bytes() == build.first_picture(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_claims_exercises_and_sizes_are_in_the_cells(path):
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in cells_of(path)]
    code = "\n".join(source for kind, source in cells if kind == "code")
    prose = "\n".join(source for kind, source in cells if kind == "markdown")
    assert len(re.findall(r"^\s*assert ", code, re.M)) >= 3
    exercise = path.stem[3:]
    assert f"from lvmlab.exercises import {exercise}" in code
    assert "$$" in prose
    assert (ROOT / "lvmlab" / "exercises" / f"{exercise}.py").exists()


@pytest.mark.slow
def test_outputs_older_than_the_cells_are_found_out(build, tmp_path):
    import nbformat

    path = tmp_path / "00_copy.ipynb"
    shutil.copy(NOTEBOOKS[0], path)
    notebook = nbformat.read(path, as_version=4)
    next(c for c in notebook.cells if c.cell_type == "code").source += "\n1 + 1"
    nbformat.write(notebook, path)
    assert any("older than its code cells" in p for p in build.problems(path))


@pytest.mark.slow
def test_bad_outputs_are_found_out(build, tmp_path):
    import nbformat

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
def test_executing_writes_outputs_and_stamp(build, tmp_path, monkeypatch):
    import nbformat

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
def test_the_site_lists_the_course(build, tmp_path):
    build.site(tmp_path)
    index = (tmp_path / "index.html").read_text()
    for path in NOTEBOOKS:
        assert f'href="{path.stem}.html"' in index
        page = (tmp_path / f"{path.stem}.html").read_text()
        assert page.count("data:image/png;base64") >= 3
