"""The `lvmlab` command: list, run, ledger, report, data, doctor, lab; `--json` where it prints."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "numpy", "scipy", "scikit-learn", "umap-learn", "matplotlib", "ipywidgets"),
    *("pooch", "safetensors", "tqdm", "jupyterlab", "nbmake", "pytest", "selenium"),
)
NEEDED = PACKAGES[:10]  # without these nothing runs; the others belong to the extras lab and test


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 when all is well, 130 after Ctrl-C."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if given.command == "lab":
        return open_lab(rest)
    if rest:
        parser.error(f"unknown options {' '.join(rest)}")
    try:
        status = _carry_out(given)
        sys.stdout.flush()  # here, so that a reader who has left is noticed here
        return status
    except ValueError as error:
        print(f"lvmlab {given.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "; the same command goes on from here" if given.command == "run" else ""
        print(f"stopped{again}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough: what is left goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _carry_out(given: argparse.Namespace) -> int:
    if given.command == "run":
        return run(given)
    if given.command == "ledger":
        return ledger(given.json, given.export, not given.mine)
    if given.command == "report":
        from lvmlab import report_files

        return report_files.command(given)
    commands = {"list": list_studies, "data": data, "doctor": doctor}
    return commands[given.command](given.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lvmlab", description="A laboratory for latent variables")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in {
        "list": "the studies: what each measures, and its minutes at the three presets",
        "run": "run studies over several seeds, or go on with a run that was killed",
        "ledger": "what was measured, in ./runs (or $LVMLAB_RUNS) and by us, beside the papers",
        "report": "is this model's latent space any good? numbers, a verdict, and what to try",
        "data": "which data sets are here, which are missing, size, licence, address",
        "doctor": "versions, threads, device, data, browser: what works here and what to do",
    }.items():
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--json", action="store_true")
        if name == "report":
            command.add_argument("file", metavar="FILE", help="Python that defines p, q and data")
            command.add_argument("--checkpoint", help="weights for p and q, written by fit or save")
            command.add_argument("--picture", metavar="PNG", help="write the picture there")
            command.add_argument("--rows", type=int, help="report on so many rows only")
            command.add_argument("--samples", type=int, default=100, help="importance samples")
        if name == "run":
            words = "names from lvmlab list"
            command.add_argument("studies", metavar="STUDY", nargs="+", help=words)
            command.add_argument("--preset", help="smoke, lesson or paper ($LVMLAB_PRESET, lesson)")
            command.add_argument("--seeds", type=int, help="how many, from 0 on (the study's own)")
            command.add_argument("--jobs", type=int, default=1, help="processes side by side (1)")
            words = "a Dask scheduler, such as tcp://host:8786, in place of --jobs"
            command.add_argument("--cluster", metavar="ADDRESS", help=words)
        if name == "ledger":
            words = "write the rows: .csv, .json, or a table for a paper, .md, .tex"
            command.add_argument("--export", metavar="FILE", help=words)
            words = "this machine's rows alone, without those that come with the package"
            command.add_argument("--mine", action="store_true", help=words)
    words = "open JupyterLab on the first notebook; further options go to jupyter lab"
    commands.add_parser("lab", help=words)
    return parser


def list_studies(as_json: bool) -> int:
    """Print the studies with their minutes on one core and their seeds at the three presets."""
    from lvmlab import studies

    rows = [
        {"study": name, "about": studies.about(name), "presets": studies.sizes(name)}
        for name in studies.names()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for name in studies.names():
        sizes = studies.sizes(name).items()
        costs = (f"{preset} {s['minutes']:g} min, {s['seeds']} seeds" for preset, s in sizes)
        print(f"{name}\n  {studies.about(name)}\n  {'; '.join(costs)}")
    print("Run one with: lvmlab run STUDY --preset smoke --seeds 2")
    return 0


def run(given: argparse.Namespace) -> int:
    """Run studies and print their rows; 1 when a cell failed, which stops no other."""
    import torch

    from lvmlab import studies
    from lvmlab.studies import ledger

    torch.set_num_threads(1)  # toys are slower with more
    _try_to_write(ledger.folder())
    rows, errors = studies.sweep(
        given.studies, given.preset, given.seeds, given.jobs, given.cluster
    )
    if given.json:
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(ledger.table(rows)))
        places = ", ".join(str(ledger.folder() / name) for name in given.studies)
        print(f"kept in {places}; beside the paper: lvmlab ledger")
    for cell, error in errors.items():
        print(f"! {cell}: {error}", file=sys.stderr)
    return 1 if errors else 0


def _try_to_write(folder: Path) -> None:
    """Raise `ValueError` unless files can be made in this folder; leaves none, makes no folder."""
    try:
        there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"runs are kept in {folder} ($LVMLAB_RUNS, else ./runs), which cannot be written "
            f"({error.strerror}); name another folder: LVMLAB_RUNS=FOLDER"
        ) from error


def ledger(as_json: bool, export_to: str | None, shipped: bool) -> int:
    """Print every study on record, each number beside what its paper says about it."""
    from lvmlab.studies import compare, export, ledger

    if export_to is not None and not (place := Path(export_to).parent).is_dir():
        raise ValueError(f"--export: no folder {place}; make it first")
    found = compare.everything(shipped)
    claims, papers = compare.claims(shipped), compare.coverage(shipped)
    if export_to is not None:
        export.write_rows(export_to, [c.row for c in found])
        print(f"{len(found)} rows written to {export_to}")
        return 0
    if as_json:
        tree = {"rows": [c.as_dict() for c in found], "claims": [c.as_dict() for c in claims]}
        print(json.dumps(tree | {"papers": papers}, indent=2))
        return 0
    if not found:
        print(f"nothing in {ledger.folder()} yet: try lvmlab run collapse-2d --preset smoke")
    print("\n".join(ledger.table([c.row for c in found], [str(c) for c in found])))
    print("\n".join(["", *compare.summary(claims, papers)]))
    return 0


def data(as_json: bool) -> int:
    """Print what `lvmlab.datasets` finds on this machine."""
    from lvmlab.datasets import catalogue

    rows = catalogue.status()
    if as_json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        size = "size not published" if row["megabytes"] is None else f"{row['megabytes']} MB"
        missing, splits = row["here"] == "missing", row["splits"]
        words = ", ".join(splits) if isinstance(splits, list) else ""
        place = f"missing, a download of {size}" if missing else f"{words}: {row['here']}"
        print(f"{'-' if missing else '+'} {row['name']:<14} {row['items']}")
        print(f"  {place}\n  {row['licence']}; {row['address']}")
        if row["note"]:
            print(f"  {row['note']}")
    print("Missing sets are downloaded when they are first loaded, or found in $LVMLAB_DATA.")
    return 0


def doctor(as_json: bool) -> int:
    """Print what this machine has; 1 when something that is needed is missing."""
    found = examine()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for title, rows in found.items():
            if title != "problems":
                print(title)
                for name, value in rows.items():
                    print(f"  {name:<14} {value}")
        for problem in found["problems"]:
            print(f"! {problem}")
        print("all is well" if not found["problems"] else "see the lines marked !")
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """What `doctor` prints, as a tree ready for JSON; `problems` says what to do."""
    import torch

    from lvmlab import __version__, devices
    from lvmlab.datasets import catalogue
    from lvmlab.presets import NAMES

    versions = {name: _version(name) for name in PACKAGES}
    problems = [
        f"{name} is not installed: run `make env`, or pip install -c constraints.txt -e '.[lab]'"
        for name in NEEDED
        if versions[name] == "not installed"
    ]
    rows: list[dict[str, object]] = []
    try:
        rows = catalogue.status()
    except ValueError as error:  # LVMLAB_DATA names something that is not a folder
        problems.append(str(error))
    preset = os.environ.get("LVMLAB_PRESET", "lesson")
    if preset not in NAMES:
        problems.append(f"LVMLAB_PRESET is {preset!r}, expected one of {', '.join(NAMES)}")
    absent = [str(row["name"]) for row in rows if row["here"] == "missing"]
    device = devices.pick("auto")
    browser = {name: shutil.which(name) or "not found" for name in ("chromium", "chromedriver")}
    return {
        "versions": {"lvmlab": __version__, "python": sys.version.split()[0], **versions},
        "compute": {
            "device": f"{device}" + _device_name(device.type),
            "threads": f"{torch.get_num_threads()} of {os.cpu_count()} cores (toys: 1 is fastest)",
            "preset": preset,
        },
        "data": {
            "LVMLAB_DATA": os.environ.get("LVMLAB_DATA", "not set"),
            "here": ", ".join(str(r["name"]) for r in rows if r["here"] != "missing"),
            "missing": ", ".join(absent) + (" (downloaded on first use)" if absent else "none"),
        },
        "browser": browser
        | {"": "needed by the browser test only: apt-get install chromium chromium-driver"},
        "problems": problems,
    }


def open_lab(rest: Sequence[str]) -> int:
    """Start JupyterLab on notebook 00; returns its exit status, 1 when it is not installed."""
    if _version("jupyterlab") == "not installed":
        print("jupyterlab is not installed: pip install 'lvmlab[lab]'", file=sys.stderr)
        return 1
    folder = course_folder()
    first = folder / "00_start_here.ipynb"
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", *root, *rest]
    if first.exists():
        command.append(f"--LabApp.default_url=/lab/tree/{first.name}")
    if os.name == "nt":
        import subprocess

        return subprocess.call(command)
    os.execv(sys.executable, command)


def course_folder() -> Path:
    """The folder with the notebooks: a checkout's own, else a copy in ./lvmlab-course.

    The copy is made once from the installed package; files that are there are never replaced.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent / "notebooks"
    if checkout.is_dir():
        return checkout
    folder = Path.cwd() / "lvmlab-course"
    folder.mkdir(exist_ok=True)
    for notebook in sorted((package / "course").glob("*.ipynb")):
        if not (folder / notebook.name).exists():
            shutil.copy(notebook, folder)
    return folder


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device_name(kind: str) -> str:
    import torch

    return f", {torch.cuda.get_device_name()}" if kind == "cuda" else ""


if __name__ == "__main__":
    sys.exit(main())
