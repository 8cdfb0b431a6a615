"""The numbers of a report, for latents that are drawn and for latents that are summed."""

from typing import Any, NamedTuple

import numpy as np
import torch

from lvmlab.diagnostics import encoded as walk
from lvmlab.diagnostics import finite
from lvmlab.diagnostics.aggregate import aggregate, density_curves, nearest
from lvmlab.diagnostics.estimators import Estimate
from lvmlab.diagnostics.information import categorical_information
from lvmlab.diagnostics.latents import active_units, knn_accuracy
from lvmlab.diagnostics.verdicts import THRESHOLDS
from lvmlab.diagnostics.weights import weigh
from lvmlab.joint import Batch, Joint, variable_of

SHOWN = 18  # rows of the data in pictures
DOTS = 150  # rows in clouds of dots
CODES = 500  # codes of a plane
JUDGED = 2000  # rows whose labels are compared with their neighbours'
MEASURED_WIDTHS = 2000  # rows for which other widths of the encoder are tried


class Dimension(NamedTuple):
    """One latent dimension: its rate, the spread of its means, its mean posterior scale."""

    name: str
    rate: float
    variance: float
    scale: float
    off: bool


def drawn(
    p: Joint, q: Joint, batch: Batch, labels: Any, samples: int, weighed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers and arrays of a report whose latents are drawn, one draw for each row."""
    found = walk.encode(p, q, batch)
    rows = len(found.distortion)
    swap = walk.swapped(p, batch, found.latents, _order(rows)) - found.distortion
    numbers: dict[str, Any] = {"errors": {}, "rows": rows, "exact": False}
    _put(numbers, distortion=found.distortion, swap=swap)
    if found.has_density:
        _put(numbers, rate=found.rate, negative_bound=found.distortion + found.rate)
        some = {v: value[:weighed] for v, value in batch.items()}
        width = _width(numbers, p, q, batch, found)
        weights = weigh(p, q, some, samples, width)
        _put(numbers, nll=weights.nll, gap=weights.gap)
        numbers |= {"samples": samples, "weighed": len(weights.nll)}
        numbers["effective"] = weights.effective
        _information(numbers, p, q, batch, found)
    numbers["dimensions"] = dimensions = _dimensions(found)
    numbers["active"] = sum(d.variance > 0.01 for d in dimensions)
    numbers["components"] = _components(p, batch, found)
    codes = _codes(found)
    _accuracy(numbers, batch, codes, labels)
    pictures = _pictures(p, batch, found.latents) | _latent_pictures(p, batch, found, codes)
    return numbers, pictures


def summed(
    p: Joint, q: Joint, batch: Batch, labels: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers and arrays of a report whose latents are summed over all of their values."""
    found = finite.add_up(p, q, batch)
    rows, count = found.posteriors.shape
    numbers: dict[str, Any] = {"errors": {}, "rows": rows, "exact": True, "weighed": rows}
    _put(
        numbers,
        distortion=found.distortion,
        rate=found.rate,
        negative_bound=found.distortion + found.rate,
        nll=found.nll,
        gap=found.gap,
        swap=found.swapped - found.distortion,
        gain=found.gap,  # the best encoder is the model's own posterior
    )
    numbers["wider"] = bool(found.rate.mean() > found.wanted.mean())
    told = categorical_information(found.posteriors)
    numbers["information"] = told.information
    from scipy.special import rel_entr

    mean = found.posteriors.mean(0)
    numbers["errors"]["information"] = _error(rel_entr(found.posteriors, mean).sum(1))
    numbers["mismatch"] = numbers["mismatch_low"] = float(found.rate.mean()) - told.information
    numbers["errors"]["mismatch"] = 0.0
    numbers["estimates"] = (
        Estimate("summed over z", told.information, told.ceiling, f"log {count}"),
    )
    numbers["components"] = tuple(mean.tolist())
    _accuracy(numbers, batch, found.posteriors, labels)
    best = torch.as_tensor(found.posteriors.argmax(1))
    latents = {v: value[best.to(value.device)] for v, value in found.values.items()}
    pictures = _pictures(p, batch, latents) | {
        "masses": mean,
        "neighbours": nearest(found.posteriors, min(SHOWN, rows)),
    }
    return numbers, pictures


def _width(
    numbers: dict[str, Any], p: Joint, q: Joint, batch: Batch, found: walk.Encoded
) -> float | None:
    """The best factor on the encoder's scale among those tried, None where none can be tried."""
    if not found.gaussian:
        return None
    gains = walk.width_gains(p, q, {v: value[:MEASURED_WIDTHS] for v, value in batch.items()})
    best = max(gains, key=lambda factor: gains[factor].mean())
    _put(numbers, gain=gains[best])
    if numbers["gain"] <= 0:
        numbers["gain"], best = 0.0, 1.0
    numbers["wider"] = None if best == 1 else best > 1
    return best


def _put(numbers: dict[str, Any], **rows: np.ndarray) -> None:
    for name, values in rows.items():
        numbers[name] = float(values.mean())
        numbers["errors"][name] = _error(values)


def _error(values: np.ndarray) -> float:
    """Standard error of a mean over rows."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def _order(rows: int) -> np.ndarray:
    """A cycle through all rows: nobody keeps the own code, and neighbours in a file are apart."""
    return np.random.default_rng(0).permutation(rows)


def _information(
    numbers: dict[str, Any], p: Joint, q: Joint, batch: Batch, found: walk.Encoded
) -> None:
    together = aggregate(p, q, batch, found)
    full = next(e for e in together.estimates if e.estimator.startswith("full"))
    numbers["information"], numbers["ceiling"] = full.information, full.ceiling
    numbers["errors"]["information"] = _error(together.gains)
    numbers["mismatch"] = float(together.mismatch.mean())
    numbers["errors"]["mismatch"] = _error(together.mismatch)
    numbers["mismatch_low"] = min(together.lowest, max(0.0, numbers["mismatch"]))
    numbers["estimates"] = together.estimates


def _dimensions(found: walk.Encoded) -> tuple[Dimension, ...]:
    """All real latent dimensions with Gaussian posteriors, the largest rate first."""
    dimensions = []
    for name, (mean, scale) in found.moments.items():
        variances = active_units(mean).variances if len(mean) > 1 else np.zeros(mean.shape[1])
        rates = found.by_dimension.get(name)
        for d in range(mean.shape[1]):
            rate = None if rates is None else float(rates[:, d].mean())
            off = rate is not None and rate < THRESHOLDS["rate"]
            place = f"{name}_{d + 1}"
            row = Dimension(
                place, rate, float(variances[d]), float(scale[:, d].mean()), off  # type: ignore[arg-type]
            )  # fmt: skip
            dimensions.append(row)
    return tuple(dimensions[d] for d in _by_rate(found)) if dimensions else ()


def _components(p: Joint, batch: Batch, found: walk.Encoded) -> tuple[float, ...]:
    """Mass of each component of a mixture prior, or category, under the codes; () for others."""
    score = p.score(batch | found.latents)
    for text, prior in score.distributions.items():
        z = found.latents.get(variable_of(text))
        if z is None:
            continue
        if not z.is_floating_point() and z.ndim == 1 and prior.has_enumerate_support:
            count = len(prior.enumerate_support(expand=False))
            return tuple((torch.bincount(z.cpu().long(), minlength=count) / len(z)).tolist())
        if (shares := walk.responsibilities(prior, z)) is not None and not prior.batch_shape:
            return tuple(shares.mean(0).tolist())
    return ()


def _codes(found: walk.Encoded) -> np.ndarray:
    """Posterior means (N, D) where there are, else the draws."""
    means = [
        found.moments[v][0] if v in found.moments else walk.array(z.reshape(len(z), -1))
        for v, z in found.latents.items()
    ]
    return np.concatenate(means, 1)


def _accuracy(numbers: dict[str, Any], batch: Batch, codes: np.ndarray, labels: Any) -> None:
    """5-NN accuracy of the labels in z and in the data: one half of the rows judges the other."""
    if labels is None or len(codes) < 20:
        return
    order = _order(len(codes))[:JUDGED]
    half = len(order) // 2
    spaces = {"accuracy": codes}
    if (raw := next((v for v in batch.values() if v.is_floating_point()), None)) is not None:
        spaces["accuracy_of_data"] = walk.array(raw.flatten(1))  # tokens have no distances
    for name, points in spaces.items():
        seen, judged = order[:half], order[half:]
        numbers[name] = knn_accuracy(points[seen], labels[seen], points[judged], labels[judged])


def _pictures(p: Joint, batch: Batch, latents: Batch) -> dict[str, np.ndarray]:
    """Data, their reconstructions, those with another row's code, and draws from the prior."""
    name = next((v for v in batch if v in p.variables and batch[v].is_floating_point()), None)
    if name is None or batch[name].ndim < 2:
        return {}
    rows = min(len(batch[name]), CODES if batch[name][0].numel() <= 2 else SHOWN)
    some = {v: value[:rows] for v, value in batch.items()}
    kept = {v: value[:rows] for v, value in latents.items()}
    others = {v: value.roll(-1, 0) for v, value in kept.items()}
    made = {"data": walk.array(some[name])}
    try:
        for what, codes in (("decoded", kept), ("swapped", others)):
            made[what] = walk.array(_mean(p.score(some | codes).distributions, name))
        given = {v: value for v, value in some.items() if v not in p.variables}
        free = p.draw(given, size=None if given else rows)
        made["prior"] = walk.array(_mean(free.distributions, name))
    except NotImplementedError:  # a distribution that knows no mean
        return {}
    return made


def _mean(distributions: dict[str, Any], name: str) -> torch.Tensor:
    return next(d for text, d in distributions.items() if variable_of(text) == name).mean


def _latent_pictures(
    p: Joint, batch: Batch, found: walk.Encoded, codes: np.ndarray
) -> dict[str, np.ndarray]:
    made = {"neighbours": nearest(codes, min(SHOWN, len(codes)))} if len(codes) > 1 else {}
    if not found.moments:
        return made
    scale = np.concatenate([part for _, part in found.moments.values()], 1)
    rates = _all_rates(found)
    codes_drawn = [walk.array(found.latents[v].flatten(1)) for v in found.moments]
    order = _by_rate(found)
    curves = [density_curves(p, batch, found.latents, found, v) for v in found.moments]
    made |= {
        "scales": scale[:DOTS, order],
        "codes": np.concatenate(codes_drawn, 1)[:CODES, order[:2]],
        "grid": curves[0][0],
        "aggregate": np.concatenate([q for _, q, _ in curves])[order],
    }
    if rates is not None:
        made["rates"] = rates[:DOTS, order]
    priors = [prior for _, _, prior in curves if prior is not None]
    if len(priors) == len(curves):
        made["prior_density"] = np.concatenate(priors)[order]
    return made


def _all_rates(found: walk.Encoded) -> np.ndarray | None:
    """Rates (N, D) of all dimensions side by side; None when one latent has none."""
    rates = [found.by_dimension.get(name) for name in found.moments]
    known = [r for r in rates if r is not None]
    return np.concatenate(known, 1) if known and len(known) == len(rates) else None


def _by_rate(found: walk.Encoded) -> np.ndarray:
    """The order of all dimensions in table and pictures: by rate, else by the spread of means."""
    rates = _all_rates(found)
    if rates is not None:
        return np.argsort(-rates.mean(0), kind="stable")
    means = np.concatenate([mean for mean, _ in found.moments.values()], 1)
    return np.argsort(-means.var(0), kind="stable")
