"""Time and error of `ksg`, beside scikit-learn's estimator, plain k-d trees and a double loop.

Run: OMP_NUM_THREADS=1 python benchmarks/ksg.py

scikit-learn's `mutual_info_regression` is the same estimator for one column against one, and adds
noise to both; plain trees are what one writes first, with lists of neighbours.
"""

import math
import time

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma
from turns import TURNS, Ratio, in_turn, ratio

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


def plain_trees(x, z, k=5):
    """The same from three k-d trees and Python lists of neighbours."""
    joint = np.hstack([x, z])
    radius = cKDTree(joint).query(joint, k=k + 1, p=np.inf)[0][:, k]
    spent = 0.0
    for part in (x, z):
        tree = cKDTree(part)
        inside = [
            len(tree.query_ball_point(row, np.nextafter(r, 0), p=np.inf))
            for row, r in zip(part, radius, strict=True)
        ]
        spent += digamma(inside).mean()
    return float(digamma(k) + digamma(len(x)) - spent)


def ratios(turns: int = TURNS) -> list[Ratio]:
    """`ksg` over its rivals at 5,000 samples, in the dimensions that each can do."""
    from sklearn.feature_selection import mutual_info_regression

    found = []
    for dim in (1, 2):
        x, z = correlated(5000, 0.9, dim, 0)
        rivals = {
            f"ksg, {dim} + {dim} dimensions": lambda x=x, z=z: ksg(x, z),
            "plain k-d trees": lambda x=x, z=z: plain_trees(x, z),
        }
        if dim == 1:
            theirs = "scikit-learn's mutual_info_regression"
            rivals[theirs] = lambda x=x, z=z: mutual_info_regression(x, z[:, 0], n_neighbors=5)[0]
        values = {name: call() for name, call in rivals.items()}
        times = in_turn(rivals, max(turns // 3, 5))
        mine, *others = rivals
        for other in others:
            read = f"{values[mine]:.4f} and {values[other]:.4f}"
            note = f"{read} of {-0.5 * dim * math.log(0.19):.4f} nats"
            found.append(ratio(times, mine, other, note))
    return found


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
