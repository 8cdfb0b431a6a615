"""The rooms of the house: who may import whom, read off the syntax trees."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent / "lvmlab"
WHAT_THEY_ARE = {"networks", "distributions", "conditionals", "language", "decoding", "pixels"}
WHAT_THEY_ARE |= {"flows", "models"}
WHAT_WE_ASK = {"joint", "objectives", "steps", "train", "diagnostics"}
WHAT_WE_ASK |= {"batches", "checkpoint", "history", "lagging", "many", "resuming"}
HEAVY = {"umap", "matplotlib", "tokenizers", "dask", "sklearn", "ipywidgets", "pooch", "selenium"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, also inside functions, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(HOUSE.parent).with_suffix("").parts[: -node.level or None]
            module = ".".join([*(package if node.level else ()), *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "lvmlab" and len(parts) > 1 else ""


def files(rooms: set[str]) -> list[Path]:
    return [
        p for p in HOUSE.rglob("*.py") if p.relative_to(HOUSE).with_suffix("").parts[0] in rooms
    ]


def crossings(path: Path, forbidden: set[str]) -> set[str]:
    return {m for m in imports(path) if room(m) in forbidden}


def test_what_the_distributions_are_does_not_know_what_we_ask_of_them():
    for path in files(WHAT_THEY_ARE):
        allowed = {"joint"} if path.relative_to(HOUSE).parts[0] == "models" else set()
        assert not crossings(path, WHAT_WE_ASK - allowed), path


def test_what_we_ask_does_not_know_what_the_distributions_are():
    assert files(WHAT_WE_ASK)
    for path in files(WHAT_WE_ASK):
        assert not crossings(path, WHAT_THEY_ARE), path


def test_datasets_know_neither():
    for path in files({"datasets"}):
        assert not crossings(path, WHAT_THEY_ARE | WHAT_WE_ASK), path


def test_plots_never_import_torch_or_the_models():
    for path in files({"plots"}):
        assert not {m for m in imports(path) if m.split(".")[0] == "torch"}, path
        assert not crossings(path, WHAT_THEY_ARE | WHAT_WE_ASK | {"datasets", "widgets"}), path


@pytest.mark.slow
def test_nobody_imports_pyplot_or_the_notebooks_rooms():
    for path in HOUSE.rglob("*.py"):
        assert not {m for m in imports(path) if m.startswith("matplotlib.pyplot")}, path
        if room_of(path) not in {"exercises", "studies", "cli", "comparison"}:
            assert not crossings(path, {"exercises", "studies"}), path


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def test_the_walk_sees_a_crossing(tmp_path, monkeypatch):
    """The test above could not fail if imports() were blind: every spelling is seen."""
    monkeypatch.setattr(sys.modules[__name__], "HOUSE", tmp_path / "lvmlab")
    for line in [
        "import lvmlab.objectives",
        "from lvmlab import objectives",
        "from lvmlab.objectives.elbo import elbo",
        "from . import objectives",
        "from .objectives import elbo",
        "def f():\n    from lvmlab.objectives import elbo",
    ]:
        path = tmp_path / "lvmlab" / "networks.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(line)
        assert crossings(path, {"objectives"}), line


def test_no_rooms_that_the_house_does_not_have():
    assert not [p for p in HOUSE.rglob("*.py") if p.stem in {"utils", "base", "config", "helpers"}]


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["lvmlab", "lvmlab.diagnostics", "lvmlab.datasets", "lvmlab.cli"]
)
def test_importing_pulls_in_nothing_heavy(module):
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(found.stdout.split())


def test_every_public_name_has_a_sentence_of_documentation():
    """One sentence first, ending in a full stop, for every public function and class."""
    bad = []
    for path in HOUSE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                first = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                if not first or first[-1] not in ".:)" or len(first) > 220:
                    bad.append(f"{path.name}: {node.name}: {first!r}")
    assert not bad, "\n".join(bad)
