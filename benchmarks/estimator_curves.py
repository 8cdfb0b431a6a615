"""Write the readings that `lvmlab.widgets.estimator_panel` shows: about ten minutes on one core.

Run it only when an estimator changes: python benchmarks/estimator_curves.py
"""

from pathlib import Path

import numpy as np

from lvmlab import widgets
from lvmlab.diagnostics.estimators import estimator_curves

PATH = Path(widgets.__file__).parent / "estimator_curves.csv"
SETTING = {
    "informations": np.arange(0, 12.01, 0.25),
    "batch_sizes": 2 ** np.arange(3, 13),
    "ks": np.arange(3, 16),
    "samples": 4096,
    "dim": 2,
    "seeds": 10,
}


def main() -> None:
    """Compute all readings and write them, a row for each seed and information."""
    curves = estimator_curves(**SETTING)
    seeds, known = np.meshgrid(np.arange(SETTING["seeds"]), curves["information"], indexing="ij")
    columns = [seeds[..., None], known[..., None], curves["minibatch"], curves["ksg"]]
    rows = np.concatenate(columns, -1).reshape(seeds.size, -1)
    labels = [f"M{m}" for m in SETTING["batch_sizes"]] + [f"k{k}" for k in SETTING["ks"]]
    header = (
        "# nats read from 4096 pairs of 2-D Gaussians, by minibatches of M and by KSG with k; "
        "made by benchmarks/estimator_curves.py\nseed,information," + ",".join(labels)
    )
    digits = ["%d", "%.2f"] + ["%.3f"] * len(labels)
    np.savetxt(PATH, rows, fmt=digits, delimiter=",", header=header, comments="")
    print(f"{len(rows)} rows in {PATH}")


if __name__ == "__main__":
    main()
