"""What `import lvmlab` adds to `import torch`: medians over fresh processes, and the ratio.

python benchmarks/import_time.py [repeats]
"""

import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main(repeats: int) -> None:
    times: dict[str, list[float]] = {"import torch": [], "import torch, lvmlab": []}
    for statement in times:
        seconds(statement)  # warm the disk
    for _ in range(repeats):  # in turn, so that both see the same machine
        for statement, found in times.items():
            found.append(seconds(statement))
    torch, both = (statistics.median(found) for found in times.values())
    print(f"import torch {torch:.2f} s, lvmlab adds {both - torch:.2f} s, ratio {both / torch:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
