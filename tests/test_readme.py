"""The README is run: its Python, the names of its files, and its map of the notebooks."""

import re
from pathlib import Path

import pytest

from lvmlab import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_code_runs_and_learns(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 16
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_code_with_its_data_is_a_file_to_report_on(capsys, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert "with `data = x` below them, are such a `my_model.py`" in README
    path = tmp_path / "my_model.py"
    path.write_text(code.replace("steps=1_000", "steps=20") + "data = x\n")
    assert cli.main(["report", str(path), "--rows", "100", "--samples", "5"]) == 0
    assert "my_model" in capsys.readouterr().out


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_map_names_every_notebook():
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        assert path.name in README


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target
