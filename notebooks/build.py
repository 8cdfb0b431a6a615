"""Execute, check and publish the notebooks.

    python notebooks/build.py run [00 02 ...]   execute, write outputs and the stamp back
    python notebooks/build.py check             are the committed outputs those of these cells?
    python notebooks/build.py site [folder]     static HTML of the course

Outputs are committed with their pictures but without widget state. The stamp in the notebook's
metadata holds a hash of the code cells at the time they were executed, so outputs that are older
than the code are found out.
"""

import argparse
import base64
import hashlib
import html
import os
import sys
import time
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
PICTURES = HERE / "pictures"
WIDGET = "application/vnd.jupyter.widget-view+json"
LIMIT = 1_000_000  # bytes a notebook may weigh with its pictures


def sources(notebook: nbformat.NotebookNode) -> str:
    """A hash of the code cells, in order."""
    code = [cell.source.rstrip() for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what changes from run to run or cannot be shown without a kernel."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data.pop(WIDGET, None)  # the picture stays; a view without state cannot be drawn
            output.get("metadata", {}).pop(WIDGET, None)
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Neighbouring prints as one output: where the kernel cut them depends on its timing."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = kept[-1] if kept else {}
        if output.output_type == "stream" and output.get("name") == before.get("name"):
            before["text"] += output.text
        else:
            kept.append(output)
    return kept


def problems(path: Path) -> list[str]:
    """What is wrong with a committed notebook, in words; empty when all is well."""
    notebook = nbformat.read(path, as_version=4)
    found = []
    stamp = notebook.metadata.get("lvmlab", {})
    if stamp.get("sources") != sources(notebook):
        found.append("its outputs are older than its code cells: run `make notebooks`")
    if stamp.get("preset") != "lesson":
        found.append(f"it was executed at {stamp.get('preset')} size, expected lesson")
    if path.stat().st_size > LIMIT:
        found.append(f"it weighs {path.stat().st_size / 1e6:.2f} MB, more than {LIMIT / 1e6:.0f}")
    if "widgets" in notebook.metadata:
        found.append("it holds widget state")
    for number, cell in enumerate(notebook.cells):
        outputs = cell.get("outputs", [])
        if any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs):
            found.append(f"cell {number} shows an error or a warning")
        if cell.cell_type == "code" and len(cell.source.splitlines()) > 15:
            found.append(f"cell {number} has more than 15 lines")
    return found


def first_picture(path: Path) -> bytes:
    """The first picture of a notebook, PNG: what README shows of it."""
    cells = nbformat.read(path, as_version=4).cells
    data = (output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    return base64.b64decode(next(d["image/png"] for d in data if "image/png" in d))


def run(path: Path) -> float:
    """Execute a notebook at the preset in force and write it back whole; seconds taken."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    seconds = time.perf_counter() - started
    strip(notebook)
    preset = os.environ.get("LVMLAB_PRESET", "lesson")
    notebook.metadata["lvmlab"] = {"sources": sources(notebook), "preset": preset}
    notebook.metadata["language_info"] = {"name": "python"}
    unfinished = path.with_suffix(".unfinished")
    nbformat.write(notebook, unfinished)
    os.replace(unfinished, path)
    return seconds


def site(folder: Path) -> None:
    """Write every notebook as HTML, pictures first, and a page that lists them."""
    from nbconvert import HTMLExporter

    folder.mkdir(parents=True, exist_ok=True)
    exporter = HTMLExporter()
    first = ["image/png", "text/html", "text/markdown", "image/svg+xml", "text/latex"]
    exporter.display_data_priority = [*first, WIDGET, "text/plain"]
    rows = []
    for path in notebooks():
        page, _ = exporter.from_filename(str(path))
        (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
        title = next(
            line.lstrip("# ")
            for cell in nbformat.read(path, as_version=4).cells
            for line in cell.source.splitlines()
            if line.startswith("# ")
        )
        rows.append(f'<li><a href="{path.stem}.html">{path.stem[:2]} {html.escape(title)}</a></li>')
    style = "body{font:18px/1.6 sans-serif;max-width:40em;margin:3em auto;color:#23272E}"
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>lvmlab</title>'
        f"<style>{style}</style><h1>lvmlab</h1><p>Latent variable models as sentences about two "
        f"joint distributions.</p><ul>{''.join(rows)}</ul></html>",
        encoding="utf-8",
    )


def notebooks(wanted: list[str] | None = None) -> list[Path]:
    """The notebooks in order, or those whose names start with one of `wanted`."""
    found = sorted(HERE.glob("[0-9][0-9]_*.ipynb"))
    return [p for p in found if not wanted or any(p.name.startswith(w) for w in wanted)]


def main(arguments: list[str] | None = None) -> int:
    """Run one of the three commands; 0 when all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "check", "site"])
    parser.add_argument("names", nargs="*", help="first letters of names, or the site's folder")
    given = parser.parse_args(arguments)
    if given.command == "site":
        site(Path(given.names[0]) if given.names else HERE.parent / "site")
        return 0
    failed = 0
    for path in notebooks(given.names):
        if given.command == "run":
            print(f"{path.name} ...", end=" ", flush=True)
            print(f"{run(path):.0f} s", flush=True)
            PICTURES.mkdir(exist_ok=True)
            (PICTURES / f"{path.stem}.png").write_bytes(first_picture(path))
        for problem in problems(path):
            print(f"{path.name}: {problem}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
