"""Several objectives on your own data: one architecture, one table, one figure."""

import copy
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lvmlab.batches import Batches
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.datasets import Dataset, files
from lvmlab.diagnostics import (
    gaussian_information,
    importance_weighted_nll,
    knn_accuracy,
    ksg,
    ksg_ceiling,
)
from lvmlab.joint import Batch, Evaluation, Joint
from lvmlab.many import fit_many
from lvmlab.models import dense_gaussian
from lvmlab.networks import MLP
from lvmlab.objectives import amim, elbo, mim
from lvmlab.objectives.combine import name_of
from lvmlab.steps import descend
from lvmlab.studies import ledger, provenance
from lvmlab.studies.ledger import Cell, Plan, Row
from lvmlab.train import evaluating, fit, quietly

Objective = Callable[..., Evaluation]
Make = Callable[[], tuple[Joint, Joint]]

OBJECTIVES: dict[str, Objective] = {"VAE": elbo, "MIM": mim, "A-MIM": amim}
FLOOR = 0.05  # under every scale, in standard deviations of the data
WORDS = 1000  # of a bag of words
FEWEST = 50  # rows
NEIGHBOURS = 5


@dataclass
class Comparison:
    """What `compare` found."""

    rows: list[Row]
    """One a metric and objective: the mean over seeds, its spread and every seed."""
    errors: dict[str, str] = field(default_factory=dict)
    """By objective: why there are no rows of it."""
    note: str = ""
    """How the data were read."""

    @property
    def picture(self) -> Any:
        """The figure: a panel a metric, a line an objective, every seed a dot."""
        from lvmlab.plots.ledger import comparison

        return comparison(self.rows)

    def __str__(self) -> str:
        lines = [*ledger.table(self.rows), *(f"! {n}: {e}" for n, e in self.errors.items())]
        return "\n".join([self.note, *lines])


def compare(
    data: Any,
    objectives: Sequence[str | Objective] | Mapping[str, Objective] = tuple(OBJECTIVES),
    seeds: int = 3,
    *,
    labels: Any = None,
    column: str | None = None,
    make: Make | None = None,
    latents: int = 8,
    hidden: int = 64,
    held_out: float = 0.2,
    steps: int = 2000,
    size: int = 128,
    lr: float = 1e-3,
    samples: int = 100,
    folder: str | Path | None = None,
) -> Comparison:
    """Train one architecture under several objectives on your data, measured on held-out rows.

    data: an array or tensor (N, ...), a `Dataset`, or a path: a folder of images (sub-folders are
    labels), .npy, .npz, .txt (a text a line), or .csv and .tsv, whose numbers are read, or the
    texts of `column`. Texts become bags of the 1,000 most frequent words, 1 for each that occurs.
    labels: (N,) whole numbers, or the column or key that holds them. objectives: names among VAE,
    MIM, A-MIM, functions, or functions by name.

    make(): p and q over the rows (N, D), D the flattened columns; when None dense networks of one
    hidden layer, with a Bernoulli decoder for data of 0 and 1, else a Gaussian one on standardised
    columns (constant ones are left out). Rows are measured in evaluation mode by
    `nll_upper_bound`, importance weighting with `samples`, in nats and in the units of the data;
    `information` of z about x by the full set (a Gaussian q) and by KSG (continuous data), each
    with its ceiling; `knn5_accuracy` with labels; `seconds` of training a seed, and `steps`. Every
    seed has its own split, and starts with an objective's state (of a module) as it was given.

    Each objective is written to `folder` (runs/compare) when it is done, and a comparison that was
    killed goes on there. An objective that fails is an entry of `errors` and stops no other.
    Raises `ValueError` for data that cannot be read, fewer than 50 rows, labels of another length,
    objectives that are unknown or given twice, and settings out of range.
    """
    wanted = _objectives(objectives)
    found = _read(data, labels, column)
    _check(len(found), seeds, held_out, steps, latents)
    x, unit, note = _columns(found)
    dense = partial(_dense, x.shape[1], latents, hidden, unit is None)
    settings = (seeds, latents, hidden, held_out, steps, size, lr, samples)
    task = _Task(x, unit, found, make or dense, settings[3:])
    system = f"{latents} latents" if make is None else _named(make)
    cells = [
        Cell(system, name, found.name, partial(task.measure, objective))
        for name, objective in wanted.items()
    ]
    plan = Plan("compare", "yours", seeds, cells)
    place = _place(folder, x, found, make, settings)
    origin = provenance.here("compare", "yours", seeds)
    origin["command"] = f"lvmlab.compare({found.name!r}, {list(wanted)}, seeds={seeds})"
    records, errors = _filled(plan, wanted, place, origin)
    return Comparison(ledger.summarise(records), errors, note)


def _filled(
    plan: Plan, wanted: dict[str, Objective], place: Path, origin: Any
) -> tuple[list[Any], dict[str, str]]:
    """What each objective gave, now or before, and by name why another gave nothing."""
    from tqdm.auto import tqdm

    records, errors = [], {}
    for cell in (bar := tqdm(plan.cells, desc="compare", unit="objective", delay=2)):
        bar.set_postfix_str(cell.objective, refresh=False)
        mark = _fingerprint(wanted[cell.objective])
        try:
            records += ledger.fill(place / mark, plan, cell, origin)
        except (ArithmeticError, ValueError, RuntimeError) as error:
            errors[cell.objective] = f"{type(error).__name__}: {error}"
    return records, errors


class _Task:
    """The data and settings of a comparison; `measure` trains one objective on all seeds."""

    def __init__(
        self, x: Tensor, unit: Tensor | None, data: Dataset, make: Make, settings: tuple[Any, ...]
    ):
        self.x, self.unit, self.make = x, unit, make
        self.label, self.continuous = data.values.get("label"), _continuous(x)
        self.held_out, self.steps, self.size, self.lr, self.samples = settings

    def split(self, seed: int) -> tuple[Batch, Batch]:
        """Training and test rows of one seed; columns are standardised by the former."""
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed + 10_000))
        cut = max(1, round(self.held_out * len(order)))
        values = {"x": self.x} | ({} if self.label is None else {"label": self.label})
        parts = order.split([cut, len(order) - cut])
        test, train = ({name: v[rows] for name, v in values.items()} for rows in parts)
        if self.unit is not None:
            mean, scale = train["x"].mean(0), train["x"].std(0).clamp_min(1e-6)
            for part in (train, test):
                part["x"] = (part["x"] - mean) / scale
            test["unit"] = scale
        return train, test

    def measure(self, objective: Objective, seeds: list[int]) -> list[dict[str, float]]:
        """Train one model a seed and measure each on its held-out rows."""
        splits = {seed: self.split(seed) for seed in seeds}

        def batches(seed: int) -> Batches:
            train = {"x": splits[seed][0]["x"]}
            return Batches(train, min(self.size, len(train["x"])), seed, drop_last=True)

        started = time.perf_counter()
        pairs = self.trained(objective, seeds, batches)
        seconds = (time.perf_counter() - started) / len(seeds)
        cost = {"seconds": seconds, "steps": float(self.steps)}
        return [
            _measured(p, q, *splits[seed], self.samples, seed, self.continuous) | cost
            for seed, (p, q) in zip(seeds, pairs, strict=True)
        ]

    def trained(
        self, objective: Objective, seeds: list[int], batches: Callable[[int], Batches]
    ) -> list[tuple[Joint, Joint]]:
        """All seeds together where `torch.vmap` allows it, else one after another."""
        if not isinstance(objective, nn.Module):
            try:
                given: dict[str, Any] = {"steps": self.steps, "lr": self.lr, "device": "cpu"}
                runs = fit_many(lambda seed: self.make(), seeds, batches, objective, **given)
                return [(run.p, run.q) for run in runs]
            except (RuntimeError, ValueError):
                pass  # draws or shapes that cannot be stacked
        return [self.alone(objective, seed, batches(seed)) for seed in seeds]

    def alone(self, objective: Objective, seed: int, batches: Batches) -> tuple[Joint, Joint]:
        """Train one seed, with the objective's state as it was given: a copy for each seed."""
        objective = copy.deepcopy(objective) if isinstance(objective, nn.Module) else objective
        torch.manual_seed(seed)
        p, q = self.make()
        modules = [p, q, *([objective] if isinstance(objective, nn.Module) else [])]
        adam = torch.optim.Adam(nn.ModuleList(modules).parameters(), lr=self.lr)
        fit(descend(objective, p, q, adam), batches, steps=self.steps, device="cpu")
        return p, q


def _measured(
    p: Joint, q: Joint, train: Batch, test: Batch, samples: int, seed: int, continuous: bool
) -> dict[str, float]:
    """What the docstring of `compare` lists, of one model in evaluation mode."""
    with evaluating({"p": p, "q": q}), torch.no_grad(), quietly(seed):
        nll = importance_weighted_nll(p, q, {"x": test["x"]}, samples).mean()
        drawn = q.draw({"x": test["x"]})
        z = _latents(drawn.values)
        found = {"nll_upper_bound": float(nll) + _log(test.get("unit"))}
        given = drawn.distributions.get("z|x")
        normal = getattr(given, "base_dist", given)
        if isinstance(normal, torch.distributions.Normal):
            read = gaussian_information(z, normal.loc.flatten(1), normal.scale.flatten(1))
            found |= {"information": read.information, "information_ceiling": read.ceiling}
        if continuous:
            found["ksg_information"] = ksg(test["x"], z, NEIGHBOURS)
            found["ksg_ceiling"] = ksg_ceiling(len(z), NEIGHBOURS)
        if "label" in test:
            seen = _latents(q.draw({"x": train["x"]}).values)
            labels = train["label"], test["label"]
            found["knn5_accuracy"] = knn_accuracy(seen, labels[0], z, labels[1], NEIGHBOURS)
    return found


def _continuous(x: Tensor) -> bool:
    """Whether neighbours say anything: not for words, and hardly for values on a grid."""
    some = x[:500]
    try:
        ksg(some, torch.randn(len(some), 1, generator=torch.Generator().manual_seed(0)), NEIGHBOURS)
    except ValueError:
        return False
    return True


def _latents(values: Batch) -> Tensor:
    drawn = [v.flatten(1).float() for name, v in values.items() if name not in ("x", "index")]
    return torch.cat(drawn, 1)


def _log(unit: Tensor | None) -> float:
    """What standardising took off the NLL, in nats."""
    return 0.0 if unit is None else float(unit.log().sum())


def _dense(columns: int, latents: int, hidden: int, binary: bool) -> tuple[Joint, Joint]:
    if not binary:
        return dense_gaussian(columns, latents, hidden, FLOOR)
    encoder = Gaussian(MLP(columns, hidden, 2 * latents), floor=FLOOR)
    p = Joint("p", {"z": StandardNormal(latents), "x|z": Bernoulli(MLP(latents, hidden, columns))})
    return p, Joint("q", {"x": None, "z|x": encoder})


def _columns(data: Dataset) -> tuple[Tensor, Tensor | None, str]:
    """Rows (N, D), ones where columns are to be standardised or None for 0 and 1, and a note."""
    rows = _bags(data.texts) if data.texts and "x" not in data else data["x"].flatten(1).float()
    if not rows.isfinite().all():
        bad = int((~rows.isfinite()).any(1).sum())
        raise ValueError(f"data hold NaN or infinite values in {bad} rows: drop or fill them first")
    if ((rows == 0) | (rows == 1)).all():
        return rows, None, f"{data.name}: {len(rows)} rows of {rows.shape[1]} zeros and ones"
    moving = rows.std(0) > 0
    if not moving.any():
        raise ValueError("every column of the data is constant: there is nothing to model")
    left = f", {int((~moving).sum())} constant columns left out" if not moving.all() else ""
    note = f"{data.name}: {len(rows)} rows of {int(moving.sum())} numbers, standardised{left}"
    return rows[:, moving], torch.ones(int(moving.sum())), note


def _bags(texts: Sequence[str]) -> Tensor:
    from sklearn.feature_extraction.text import CountVectorizer

    counts = CountVectorizer(max_features=WORDS, binary=True).fit_transform(texts)
    return torch.from_numpy(np.asarray(counts.todense(), dtype=np.float32))


def _read(data: Any, labels: Any, column: str | None) -> Dataset:
    """The data as a `Dataset`, with labels where there are any."""
    named = labels if isinstance(labels, str) else None
    if isinstance(data, Dataset):
        found = data
    elif isinstance(data, str | Path):
        found = _file(Path(data).expanduser(), named, column)
    else:
        array = torch.as_tensor(np.asarray(data) if not isinstance(data, Tensor) else data)
        if array.ndim < 1 or array.is_complex():
            raise ValueError(f"data must be numbers (N, ...), got shape {tuple(array.shape)}")
        found = Dataset("your data", "all", {"x": array if array.ndim > 1 else array[:, None]})
    if labels is not None and named is None:
        label = torch.as_tensor(np.asarray(labels))
        if label.shape != (len(found),) or label.is_floating_point():
            raise ValueError(
                f"labels must be {len(found)} whole numbers, one a row, got {label.dtype} of shape "
                f"{tuple(label.shape)}"
            )
        values = {k: v for k, v in found.values.items() if k != "index"} | {"label": label.long()}
        found = Dataset(found.name, found.split, values, found.texts)
    return found


def _file(path: Path, label: str | None, column: str | None) -> Dataset:
    ending = path.suffix.lower()
    if path.is_dir():
        return files.images(path)
    if ending in (".npy", ".npz"):
        return files.array(path, label_key=label)
    if ending in (".csv", ".tsv"):
        comma = "," if ending == ".csv" else "\t"
        return files.table(path, text_column=column, label_column=label, delimiter=comma)
    if ending == ".txt":
        return files.text(path)
    raise ValueError(
        f"data must be an array, a Dataset, a folder of images, or a file ending in .npy, .npz, "
        f".csv, .tsv or .txt; came {path}"
    )


def _objectives(given: Any) -> dict[str, Objective]:
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        named = [(o, OBJECTIVES.get(o)) if isinstance(o, str) else (name_of(o), o) for o in given]
        found = dict(named)
        if len(found) < len(named):
            raise ValueError(f"objectives must have different names, got {[n for n, _ in named]}")
    if not found or any(not callable(o) for o in found.values()):
        bad = [name for name, o in found.items() if not callable(o)] or "none"
        raise ValueError(
            f"objectives must be names among {', '.join(OBJECTIVES)}, or functions of (p, q, "
            f"batch); came {bad}"
        )
    return found


def _check(rows: int, seeds: Any, held_out: float, steps: int, latents: int) -> None:
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise ValueError(f"seeds must be a whole number from 1 up, got {seeds!r}")
    if rows < FEWEST:
        raise ValueError(f"data must have {FEWEST} rows or more to hold some out, got {rows}")
    if not 0 < held_out < 1 or held_out * rows < 2 * NEIGHBOURS:
        raise ValueError(
            f"held_out must be a share between 0 and 1 that leaves {2 * NEIGHBOURS} rows or more, "
            f"got {held_out} of {rows} rows"
        )
    if steps < 1 or latents < 1:
        raise ValueError(f"steps and latents must be 1 or more, got {steps} and {latents}")


def _place(
    folder: str | Path | None, x: Tensor, data: Dataset, make: Any, settings: tuple[Any, ...]
) -> Path:
    """The folder of these data, this architecture and these settings."""
    digest = hashlib.sha256(ledger.code_version().encode() + repr(settings[1:]).encode())
    digest.update(np.ascontiguousarray(x.numpy()).tobytes())
    if "label" in data:
        digest.update(np.ascontiguousarray(data["label"].numpy()).tobytes())
    digest.update(_fingerprint(make).encode())
    root = ledger.folder() / "compare" if folder is None else Path(folder)
    return root / digest.hexdigest()[:12]


def _fingerprint(given: Any) -> str:
    """Changes with the code of a function; what cannot be pickled is never found again."""
    import cloudpickle

    try:
        made = cloudpickle.dumps(given)
    except Exception:
        made = repr(time.time_ns()).encode()
    return hashlib.sha256(made).hexdigest()[:12]


def _named(make: Any) -> str:
    return getattr(make, "__name__", type(make).__name__)
