"""Run all benchmarks and write the table that is committed.

    OMP_NUM_THREADS=1 python benchmarks/run.py [names ...]

Every table is written into benchmarks/README.md as soon as it is measured; with names, these alone
are measured again. $TURNS is how often each rival runs (15).
"""

import importlib
import os
import sys
import time
from pathlib import Path

import torch
from turns import TURNS, Ratio, show

from lvmlab.studies import provenance

PAGE = Path(__file__).with_name("README.md")
TABLES = {
    "objectives_step": "A training step of every objective, beside the plain VAE's",
    "step_time": "What the grammar costs",
    "pythae_step": "Beside pythae 0.1.2: equal networks, batch of 64, data and Adam",
    "ksg": "Information by nearest neighbours, 5,000 samples",
    "assignment": "Assignment, batches of 64",
    "mixture_step": "GM-WAE on MNIST: batches of 100, ten components",
    "identifiable_step": "iVAE and VaDE on five mixed sources, batches of 256",
    "sentence_step": "SentenceMIM at the size of the Penn Treebank, batches of 20",
    "sampling": "Drawing texts from the language model",
    "pixel_sampling": "Drawing images pixel by pixel",
    "report_time": "The collapse report",
    "import_time": "Import",
}
WORDS = """# Benchmarks

Written by `python benchmarks/run.py`. Ratios, not seconds: a turn runs every rival once in one
process, the ratio is taken within the turn, and the table holds the median over the turns with the
middle half. Time is the processor's, with one thread. That is why these are scripts: a tool that
times one function after the other would let the load of the machine into the ratio.

Other scripts here answer one question each and are run by hand: `slider.py` (a moved slider to a
new picture), `many_seeds.py` (seeds trained together), `text_step.py` and `flow_step.py` (parts of
CoLLike's step), `loading.py`; `estimator_curves.py` makes a file of the package.
"""


def section(name: str, ratios: list[Ratio], seconds: float) -> str:
    """One table with its heading, in Markdown."""
    load = ", ".join(f"{one:.0f}" for one in os.getloadavg())
    lines = [f"## {TABLES[name]}", "", "| what | beside | ratio | middle half | |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for r in ratios:
        numbers = f"{r.median:.2f} | {r.low:.2f} ... {r.high:.2f}"
        lines.append(f"| {r.what} | {r.beside} | {numbers} | {r.note} |")
    where = f"commit {provenance.commit()}, {provenance.hardware()}, {provenance.versions()}"
    lines += ["", f"`{name}.py`: {where}, {seconds:.0f} s, load average {load}."]
    return "\n".join(lines) + "\n"


def page(new: dict[str, str]) -> str:
    """The whole page: new sections, and those of before that were not measured again."""
    kept = PAGE.read_text(encoding="utf-8").split("\n## ")[1:] if PAGE.is_file() else []
    before = {text.partition("\n")[0]: f"## {text.rstrip()}\n" for text in kept}
    sections = [new.get(name) or before.get(title, "") for name, title in TABLES.items()]
    return "\n".join([WORDS, *(text for text in sections if text)])


def main(names: list[str], turns: int = TURNS) -> None:
    torch.set_num_threads(1)
    if unknown := sorted(set(names) - set(TABLES)):
        sys.exit(f"no benchmarks {', '.join(unknown)}: expected some of {', '.join(TABLES)}")
    for name in names or TABLES:
        print(TABLES[name])
        started = time.perf_counter()
        ratios = importlib.import_module(name).ratios(turns)
        show(ratios)
        if ratios:
            told = section(name, ratios, time.perf_counter() - started)
            PAGE.write_text(page({name: told}), encoding="utf-8")
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:], int(os.environ.get("TURNS", TURNS)))
