"""What `import lvmlab` adds to `import torch`: medians over fresh processes, and the ratio.

python benchmarks/import_time.py [repeats]
"""

import resource
import statistics
import subprocess
import sys

from turns import TURNS, Ratio, ratio


def seconds(statement: str) -> float:
    """Processor time of a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratios(turns: int = TURNS) -> list[Ratio]:
    times: dict[str, list[float]] = {"import torch, lvmlab": [], "import torch": []}
    for turn in range(max(turns // 2, 5) + 1):
        for statement, found in times.items():
            spent = seconds(statement)
            if turn:  # the first warms the disk
                found.append(spent)
    return [ratio(times, *times)]


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
