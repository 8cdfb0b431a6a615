"""Exercises of notebook 12: a coupling layer, one division, which numbers are bounds, the rate."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, array, expect

Array = Any

P_T = np.array([0.5, 0.3, 0.2])
P_K1 = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])  # p(k1|t), a row for each t
P_K2 = np.array([[0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])


def _network(seed: int, half: int) -> Callable[[Array], tuple[Array, Array]]:
    """A network of the first half that gives log scales and shifts for the second."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(2, half, half))

    def net(x1: Array) -> tuple[Array, Array]:
        hidden = np.tanh(np.asarray(x1) @ weights[0])
        return 0.7 * np.tanh(hidden @ weights[1]), hidden

    return net


def _check_coupling(coupling: Callable[..., Any], inverse: Callable[..., Any]) -> None:
    for seed, half in ((0, 1), (1, 2), (2, 3)):
        net, random = _network(seed, half), np.random.default_rng(seed + 10)
        x = random.normal(size=(4, 2 * half))
        made = coupling(x, net)
        expect(isinstance(made, tuple) and len(made) == 2, "return two things: y, log_det")
        y, log_det = array("y", made[0], x.shape), array("log_det", made[1], (4,))
        expect(abs(y[:, :half] - x[:, :half]).max() < 1e-9, "the first half stays as it is")
        wrong, _ = net(x[:, half:])
        s, shift = net(x[:, :half])
        expect(
            abs(y[:, half:] - (x[:, half:] * np.exp(wrong) + net(x[:, half:])[1])).max() > 1e-6,
            "your inverse will need what it is computing: ask the network about the FIRST half",
        )
        slopes = np.stack([_jacobian(coupling, x[i], net) for i in range(4)])
        _, right = np.linalg.slogdet(slopes)
        expect(
            abs(log_det + right).max() > 1e-4 or abs(right).max() < 1e-4,
            "stretching must raise log|det|: your sign is the other one",
        )
        expect(
            abs(log_det - right).max() < 1e-4,
            f"the Jacobian of your own y has log|det| = {right[0]:.4f}, you say {log_det[0]:.4f}",
        )
        expect(
            abs(y[:, half:] - (x[:, half:] * np.exp(s) + shift)).max() < 1e-6,
            "y2 = x2 exp(s) + shift, with s and shift from net(x1)",
        )
        back = array("the inverse", inverse(y, net), x.shape)
        expect(
            abs(back - x).max() < 1e-6,
            f"inverse(coupling(x)) is off by {abs(back - x).max():.2g}: take the shift away first",
        )


def _jacobian(coupling: Callable[..., Any], x: Array, net: Any) -> Array:
    step = 1e-5
    moved = np.concatenate([x + step * np.eye(len(x)), x - step * np.eye(len(x))])
    y = np.asarray(coupling(moved, net)[0], dtype=float)
    return (y[: len(x)] - y[len(x) :]).T / (2 * step)


def _decoders(rows: list[Array]) -> tuple[list[Array], list[Array]]:
    """p(t|k) (T, K) and p(k) (K,) of each kind by Bayes' rule."""
    joints = [P_T[:, None] * r for r in rows]
    return [j / j.sum(0) for j in joints], [j.sum(0) for j in joints]


def _check_combine(combine: Callable[..., Any]) -> None:
    third = np.array([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25]])
    for rows in ([P_K1, P_K2], [P_K1], [P_K1, P_K2, third]):
        decoders, priors = _decoders(rows)
        shape = (3, *(r.shape[1] for r in rows))
        found = array("the table", combine(P_T, decoders, priors), shape)
        product = np.ones((3,))
        for decoder, prior in zip(decoders, priors, strict=True):
            product = (
                product[..., None] * (decoder * prior)[(slice(None), *[None] * (product.ndim - 1))]
            )
        column = P_T[(slice(None), *[None] * len(rows))]
        many = len(rows)
        expect(
            many == 1 or abs(found - product).max() > 1e-9,
            f"nothing is divided: your table sums to {found.sum():.2f}, that of two kinds to .38",
        )
        expect(
            abs(found - product / column**many).max() > 1e-9,
            f"each t carries mass 1: your table sums to {found.sum():.0f}; divide once less",
        )
        expect(
            many == 1 or abs(found - product / product.sum()).max() > 1e-9,
            "normalising the product is not dividing by p(t): compare the cells, not the sum",
        )
        right = product / column ** (many - 1)
        expect(
            abs(found - right).max() < 1e-9,
            f"with {many} kinds the first cell is {right.flat[0]:.4f}, yours {found.flat[0]:.4f}",
        )


def _check_valid(valid: Callable[..., Any]) -> None:
    for seed in (0, 1):
        routines, bounds, entropy = _routines(seed)
        found = valid(dict(routines), entropy)
        expect(
            isinstance(found, list | tuple | set) and set(found) <= set(routines),
            f"return a list of names among {', '.join(routines)}",
        )
        smallest = min(routines, key=lambda name: routines[name]())
        expect(
            smallest not in found,
            f"{smallest} says {routines[smallest]():.3f}, below the entropy {entropy:.3f} of t: "
            "impossible for a likelihood, whatever its name",
        )
        expect(len(found) > 0, "importance weighting pays for its code: not all are wrong")
        missing = sorted(bounds - set(found))
        expect(not missing, f"{missing} bound the NLL: they add the rate, or average over p(k)")
        extra = sorted(set(found) - bounds)
        expect(
            not extra,
            f"{extra} leave something out that the code costs: above the entropy by chance is no "
            "bound, see what else the name says",
        )


def _routines(seed: int) -> tuple[dict[str, Callable[[], float]], set[str], float]:
    """Estimates of the NLL of t on table F4 with k1 as the code; which of them bound it."""
    (decoder,), (prior,) = _decoders([P_K1])
    random = np.random.default_rng(seed)
    q = 0.8 * P_K1 + 0.2 * random.dirichlet(np.ones(2), size=3)
    entropy = float(-(P_T * np.log(P_T)).sum())
    distortion = float(-(P_T[:, None] * q * np.log(decoder)).sum())
    sloppy = float(-(P_T[:, None] * q[:, ::-1] * np.log(decoder)).sum())  # above H(t), no bound
    rate = float((P_T[:, None] * q * np.log(q / prior)).sum())
    pairs = q[:, :, None] * q[:, None, :]
    weights = decoder * prior / q
    weighted = np.log((weights[:, :, None] + weights[:, None, :]) / 2)
    routines = {
        "code from q, no rate": lambda: distortion,
        "code from a worse q, no rate": lambda: sloppy,
        "code from q, rate added": lambda: distortion + rate,
        "codes from p(k), averaged": lambda: float(-(P_T * np.log((decoder * prior).sum(1))).sum()),
        "two codes, importance weights": lambda: float(
            -(P_T[:, None, None] * pairs * weighted).sum()
        ),
        "best code": lambda: float(-(P_T * np.log(decoder.max(1))).sum()),
    }
    order = random.permutation(list(routines))
    bounds = {
        "code from q, rate added",
        "codes from p(k), averaged",
        "two codes, importance weights",
    }
    return {str(name): routines[str(name)] for name in order}, bounds, entropy


def _check_pay(nll_bound: Callable[..., Any]) -> None:
    (decoder,), (prior,) = _decoders([P_K1])
    entropy = -(P_T * np.log(P_T)).sum()
    random = np.random.default_rng(4)
    posteriors = [*(random.dirichlet(np.ones(2), size=3) for _ in range(4)), P_K1]
    for q in posteriors:
        found = float(nll_bound(decoder, q, prior, P_T))
        distortion = -(P_T[:, None] * q * np.log(decoder)).sum()
        rate = (P_T[:, None] * q * np.log(q / prior)).sum()
        reverse = (P_T[:, None] * prior * np.log(prior / q)).sum()
        mean = P_T @ q
        late = (mean * np.log(mean / prior)).sum()
        expect(
            abs(found - distortion) > 1e-9,
            f"{found:.3f} is the distortion alone; the entropy of t is {entropy:.3f}",
        )
        expect(abs(found - distortion - reverse) > 1e-9, "the expectation is under q, as in 02")
        expect(
            abs(found - distortion - late) > 1e-9,
            "that is the KL of the mean posterior: average after the KL, not before",
        )
        expect(abs(found - distortion + rate) > 1e-9, "the code costs: its rate is added")
        expect(
            abs(found - distortion - rate) < 1e-9,
            f"expected {distortion + rate:.6f}, yours is {found:.6f}",
        )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def coupling(x, net):
        """The first half stays and says how the second is stretched and moved."""
        x1, x2 = np.split(x, 2, axis=1)
        s, shift = net(x1)
        return np.concatenate([x1, x2 * np.exp(s) + shift], 1), s.sum(1)

    def inverse(y, net):
        """The first half has stayed, so the network can be asked again."""
        y1, y2 = np.split(y, 2, axis=1)
        s, shift = net(y1)
        return np.concatenate([y1, (y2 - shift) * np.exp(-s)], 1)

    def combine(p_t, decoders, priors):
        """Line 2: multiply all p(t|k_i) p(k_i), divide by p(t) once less than there are kinds."""
        table = p_t.copy()
        for decoder, prior in zip(decoders, priors, strict=True):
            ratio = decoder * prior / p_t[:, None]
            table = table[..., None] * np.expand_dims(ratio, tuple(range(1, table.ndim)))
        return table

    def valid(routines, entropy):
        """Those that pay for the code: by its rate, by weights, or by averaging over its prior."""
        return [name for name in routines if not name.endswith("no rate") and name != "best code"]

    def nll_bound(p_t_given_k, q_k_given_t, p_k, p_t):
        """Line 6: distortion and rate, both under q."""
        inside = np.log(q_k_given_t / p_k) - np.log(p_t_given_k)
        return float((p_t[:, None] * q_k_given_t * inside).sum())

    return coupling, inverse, combine, valid, nll_bound


_coupling, _inverse, _combine, _valid, _nll_bound = _solutions()

coupling_layer = Exercise("Coupling layer", _check_coupling, (_coupling, _inverse))
one_division = Exercise("Combine", _check_combine, (_combine,))
distortion_or_likelihood = Exercise("Distortion or likelihood?", _check_valid, (_valid,))
pay_for_the_code = Exercise("Pay for the code", _check_pay, (_nll_bound,))
