"""Time and error of `ksg`, beside a double loop over the same samples in the same process.

Run: OMP_NUM_THREADS=1 python benchmarks/ksg.py
"""

import math
import time

import numpy as np
from scipy.special import digamma

from lvmlab.diagnostics import ksg

SEEDS = 5


def correlated(n, rho, dim, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.standard_normal((n, dim))


def double_loop(x, z, k=5):
    """Kraskov's first estimator as printed: every row against every other."""
    x, z, total = x.tolist(), z.tolist(), 0.0
    for i in range(len(x)):
        apart = []
        for j in range(len(x)):
            if j != i:
                near_x = max(abs(a - b) for a, b in zip(x[i], x[j], strict=True))
                near_z = max(abs(a - b) for a, b in zip(z[i], z[j], strict=True))
                apart.append((near_x, near_z))
        radius = sorted(map(max, apart))[k - 1]
        inside_x = sum(near < radius for near, _ in apart)
        inside_z = sum(near < radius for _, near in apart)
        total += digamma(inside_x + 1) + digamma(inside_z + 1)
    return float(digamma(k) + digamma(len(x)) - total / len(x))


def timed(function, *arguments):
    start = time.process_time()
    value = function(*arguments)
    return value, time.process_time() - start


def main():
    ksg(*correlated(100, 0.5, 2, 0))  # imports
    print(f"10,000 samples, 2 + 2 dimensions, {SEEDS} seeds, one core")
    print("rho   exact    mean error  largest error  seconds (median)")
    for rho in (0.0, 0.5, 0.6, 0.9):
        exact = -math.log(1 - rho**2)
        runs = [timed(ksg, *correlated(10_000, rho, 2, seed)) for seed in range(SEEDS)]
        errors = np.array([value - exact for value, _ in runs])
        seconds = float(np.median([spent for _, spent in runs]))
        largest = np.abs(errors).max()
        print(f"{rho:.1f}  {exact:7.4f}  {errors.mean():+10.4f}  {largest:13.4f}  {seconds:.3f}")
    print("\nagainst a double loop in Python, rho 0.9, 2 + 2 dimensions")
    print("samples  loop s   tree s   ratio   difference")
    for n in (250, 500, 1000):
        x, z = correlated(n, 0.9, 2, 0)
        (slow, loop), (fast, tree) = timed(double_loop, x, z), timed(ksg, x, z)
        print(f"{n:7d}  {loop:6.2f}  {tree:7.4f}  {loop / tree:6.0f}   {abs(slow - fast):.1e}")


if __name__ == "__main__":
    main()
