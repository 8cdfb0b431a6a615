"""Seconds to load one split of each data set that is on this machine, beside reading its bytes.

LVMLAB_DATA=... python benchmarks/loading.py
"""

import time
from pathlib import Path

from lvmlab import datasets


def main() -> None:
    datasets.load("digits")  # scikit-learn's import is not counted
    for row in datasets.status():
        if row["here"] == "missing":
            print(f"{row['name']:<14} missing")
            continue
        started = time.perf_counter()
        data = datasets.load(str(row["name"]), split="test", download=False)
        loaded = time.perf_counter() - started
        folder = Path(str(row["here"]))
        started = time.perf_counter()
        size = sum(len(file.read_bytes()) for file in folder.glob("*")) if folder.is_dir() else 0
        read = time.perf_counter() - started
        bytes_read = f"{size / 1e6:.0f} MB read in {read:.2f} s"
        print(f"{row['name']:<14} {len(data):>6} rows in {loaded:.2f} s; {bytes_read}")


if __name__ == "__main__":
    main()
