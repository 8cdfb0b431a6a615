"""Exercises of notebook 04: two dials, what the floor buys, a cap detector, flipping a VAE."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lvmlab.exercises import Exercise, expect, number


def _dials_loss(v: float, s: float, beta: float, weight: float, rho: Any, second: Any) -> Any:
    """Line 1 of the notebook without its constants, for a noise share rho and E z^2 = second."""
    entropy = 0.5 * np.log(rho) + 0.5 * np.log(second)
    return v * rho / (2 * s**2) + beta * (0.5 * second - weight * entropy)


def _searched(v: float, s: float, beta: float, weight: float) -> tuple[float, float]:
    """Information and E z^2 at the minimum of line 1, by two searches and no formula."""
    from scipy.optimize import minimize_scalar

    given: dict[str, Any] = {"method": "bounded", "options": {"xatol": 1e-10}}
    # the loss is a sum of a part in rho and a part in E z^2, so each is searched alone
    rho = minimize_scalar(
        lambda r: _dials_loss(v, s, beta, weight, math.exp(r), 1.0), bounds=(-25, 0), **given
    ).x
    second = minimize_scalar(
        lambda t: _dials_loss(v, s, beta, weight, 1.0, math.exp(t)), bounds=(-25, 5), **given
    ).x
    return max(0.0, -0.5 * rho), math.exp(second)


def _check_dials(linear_solution: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    cases = [
        (4.0, 0.5, 1.0, 1.0),
        (4.0, 0.5, 1.0, 0.5),
        (4.0, 0.5, 3.0, 0.25),
        (1.0, 1.0, 3.0, 0.8),
    ]
    for _ in range(12):
        v, s = random.uniform(0.3, 5), random.uniform(0.2, 1.5)
        cases.append((v, s, random.uniform(0.25, 8), random.uniform(0.05, 1)))
    for case in cases:
        answer = linear_solution(*case)
        expect(
            isinstance(answer, tuple) and len(answer) == 2,
            "return two things: information, aggregate_variance",
        )
        information = number("information", answer[0])
        aggregate = number("aggregate_variance", answer[1])
        _compare_dials(case, information, aggregate)


def _compare_dials(case: tuple[float, ...], information: float, aggregate: float) -> None:
    v, s, beta, weight = case
    told = f"at v={v:.2f}, s={s:.2f}, beta={beta:.2f}, entropy weight={weight:.2f}"
    right, second = _searched(*case)
    expect(information > -1e-9, f"{told} your information is negative: rho cannot exceed 1")
    expect(
        abs(aggregate - second) < 1e-4 or abs(aggregate - 1) > 1e-9,
        f"{told} the aggregate has not variance 1: differentiate line 1 in E z^2; where does the "
        "entropy weight enter?",
    )
    expect(
        abs(aggregate - second) < 1e-4 or beta == 1 or abs(aggregate - beta * weight) > 1e-9,
        f"{told} beta multiplies both terms that hold E z^2, so it cancels in their balance",
    )
    expect(
        abs(aggregate - second) < 1e-4,
        f"{told} a search finds an aggregate of variance {second:.4f}, yours is {aggregate:.4f}",
    )
    only_beta = 0.5 * math.log(max(1.0, v / (beta * s**2)))
    expect(
        abs(information - right) < 1e-4 or abs(information - only_beta) > 1e-9,
        f"{told} your information does not feel the entropy weight: differentiate line 1 in rho",
    )
    expect(
        abs(information - right) < 1e-4 or abs(information - 2 * right) > 1e-4,
        f"{told} you are off by a factor of two: the correlation enters as a square",
    )
    expect(
        abs(information - right) < 1e-4,
        f"{told} a search finds {right:.4f} nats, yours are {information:.4f}",
    )


def _floor_searched(v: float, s: float, floor: float) -> float:
    """Information with no entropy term and encoder scale at the floor, by a search."""
    from scipy.optimize import minimize_scalar

    def loss(log_u: float) -> float:
        second = math.exp(log_u) + floor**2
        return v * floor**2 / (2 * s**2 * second) + second / 2

    u = math.exp(
        minimize_scalar(loss, bounds=(-40, 5), method="bounded", options={"xatol": 1e-10}).x
    )
    return 0.5 * math.log1p(u / floor**2)


def _check_floor(floor_information: Callable[..., Any]) -> None:
    random = np.random.default_rng(1)
    cases = [(2.0, 0.5, floor) for floor in (0.01, 0.1, 0.5)]
    cases += [
        (random.uniform(0.5, 4), random.uniform(0.2, 1), 10 ** random.uniform(-3, -0.8))
        for _ in range(8)
    ]
    for v, s, floor in cases:
        found = number("the information", floor_information(v, s, floor))
        right = _floor_searched(v, s, floor)
        told = f"at v={v:.2f}, s={s:.2f}, floor={floor:.4f}"
        expect(
            abs(found - math.log(1 / floor)) > 1e-6,
            f"the codes shrink too: {told} you are {found - right:.1f} nats off",
        )
        unshrunk = 0.5 * math.log1p(1 / floor**2)
        expect(
            abs(found - unshrunk) > 1e-6,
            f"{told} you kept the codes at variance 1: without entropy nothing spreads them",
        )
        expect(
            abs(found - 2 * right) > 1e-6,
            f"{told} you are off by a factor of two: information has a 1/2 before the logarithm",
        )
        expect(
            abs(found - right) < 1e-4,
            f"{told} a search finds {right:.4f} nats, yours are {found:.4f}",
        )
    for floor in (5.0, 2 * math.sqrt(2.0)):
        found = number("the information", floor_information(2.0, 0.5, floor))
        expect(
            abs(found) < 1e-9,
            f"try floor = 5: noise as wide as that leaves 0 nats, yours are {found:.3f}",
        )


def _check_cap(at_cap: Callable[..., Any]) -> None:
    from lvmlab.diagnostics import gaussian_information, ksg, ksg_ceiling
    from lvmlab.diagnostics.estimators import gaussian_pairs

    def says(estimate: float, kind: str, size: int, **more: Any) -> bool:
        answer = at_cap(estimate, kind, size, **more)
        expect(isinstance(answer, bool | np.bool_), "return True or False")
        return bool(answer)

    expect(
        says(6.6, "ksg", 4000),
        "KSG at 6.6 with N=4,000 and k=5 is at its ceiling: psi(N)-psi(k)=6.788, not 8.294",
    )
    expect(not says(3.2, "ksg", 4000), "3.2 nats from 4,000 pairs is an estimate, not a ceiling")
    for kind in ("minibatch", "infonce"):
        expect(
            says(3.4, kind, 32) and not says(3.4, kind, 512),
            "batch 32 and 512 have different ceilings: 3.4 nats is at the first only",
        )
    expect(says(6.1, "minibatch", 512), "6.1 nats of at most log 512 = 6.238 is at the ceiling")
    expect(
        says(ksg_ceiling(4000, 20) * 0.99, "ksg", 4000, k=20),
        "a larger k lowers the ceiling of KSG: use k",
    )
    expect(
        not says(6.1, "minibatch", 512, tolerance=0.001)
        and says(5.0, "minibatch", 512, tolerance=0.3),
        "the tolerance is a part of the ceiling: compare with (1 - tolerance) times it",
    )
    x, z, mean, scale = gaussian_pairs(1.0, 512, dim=1)
    expect(
        not says(ksg(x, z), "ksg", 512)
        and not says(gaussian_information(z, mean, scale).information, "minibatch", 512),
        "pairs that share 1 nat are far below every ceiling of 512 rows",
    )
    expect(says(ksg(x, x.copy()), "ksg", 512), "z = x reads the ceiling of KSG itself")
    for kind, size in (("ksg", 10), ("ksg", 10_000), ("infonce", 32), ("minibatch", 10_000)):
        cap = ksg_ceiling(size) if kind == "ksg" else math.log(size)
        told = f"{kind} of {size:,} rows has the ceiling {cap:.3f}"
        expect(says(0.96 * cap, kind, size), f"{told}: a reading 4 % below it is at it")
        expect(
            not says(0.94 * cap, kind, size),
            f"{told}: a reading 6 % below it is an estimate. The tolerance is a part of the "
            "ceiling, not nats; that of KSG is psi(N)-psi(k), which log(N/k) is for large k only",
        )
        expect(
            says(1.2 * cap, kind, size),
            f"{told}: a reading above it is no better. Ask whether it is high, not whether it is "
            "near",
        )


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """An encoding joint of 3 x 2 cells: log q(x), log q(z|x), and p's log p(z), log p(x|z)."""
    encoder = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])
    decoding = np.array([[0.20, 0.05], [0.25, 0.15], [0.05, 0.30]])
    data = np.array([0.5, 0.3, 0.2])
    prior = decoding.sum(0)
    cells = (3, 2)
    log_q_x = np.broadcast_to(np.log(data)[:, None], cells)
    log_p_z = np.broadcast_to(np.log(prior), cells)
    return log_q_x, np.log(encoder), log_p_z, np.log(decoding / prior)


def _check_flip(vae_plus_h: Callable[..., Any]) -> None:
    log_q_x, log_q_z, log_p_z, log_p_x = (part.ravel() for part in _table())
    weight = np.exp(log_q_x + log_q_z)
    answer = np.asarray(
        vae_plus_h(log_p_x.copy(), log_p_z.copy(), log_q_z.copy(), log_q_x.copy()), dtype=float
    )
    expect(answer.shape == (6,), f"one number for each pair: (6,), yours has shape {answer.shape}")
    kl = weight @ (log_q_x + log_q_z - log_p_z - log_p_x)
    joint, given_x = -weight @ (log_q_x + log_q_z), -weight @ log_q_z
    found = float(weight @ answer)
    expect(
        abs(found - (kl - joint)) > 1e-9,
        "you subtracted the entropy: narrow the encoder, and which way did your cost go?",
    )
    expect(abs(found - kl) > 1e-9, "this is the VAE alone: its encoder's entropy is still there")
    expect(
        abs(found - (kl + given_x)) > 1e-9 and abs(found - (kl + joint - given_x)) > 1e-9,
        "the joint's entropy is wanted: x and z together",
    )
    expect(abs(found + (kl + joint)) > 1e-9, "this is a gain, -CE(E, D): a cost has the other sign")
    expect(
        abs(found - (kl + joint)) < 1e-9,
        f"the mean over the encoding joint should be CE(E, D) = {kl + joint:.6f} nats, yours is "
        f"{found:.6f}",
    )
    _check_push(vae_plus_h)


def _check_push(vae_plus_h: Callable[..., Any]) -> None:
    """Halving the scale of a collapsed Gaussian encoder must lower the cost."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, 5000))

    def log_normal(value: Any, mean: Any, scale: float) -> Any:
        return -0.5 * ((value - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)

    costs = []
    for scale in (1.0, 0.5):
        z = 0.6 * x + scale * noise
        costs.append(
            np.mean(
                vae_plus_h(
                    log_normal(x, z, 0.5), log_normal(z, 0, 1), log_normal(z, 0.6 * x, scale),
                    log_normal(x, 0, 1),
                )
            )
        )  # fmt: skip
    expect(costs[1] < costs[0], "with this cost a narrower encoder must cost less")


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def linear_solution(v, s, beta, entropy_weight):
        """Line 2: the dials act as a product on the information, the weight alone on q(z)."""
        rho = min(1.0, beta * entropy_weight * s**2 / v)
        return -0.5 * np.log(rho), entropy_weight

    def floor_information(v, s, floor):
        """Line 3: a tenth of the floor buys half of log 10, because the codes shrink as well."""
        return max(0.0, 0.5 * np.log(np.sqrt(v) / (s * floor)))

    def at_cap(estimate, kind, size, k=5, tolerance=0.05):
        """Each method has a ceiling of its own; a reading close to it says "at least"."""
        from scipy.special import digamma

        cap = digamma(size) - digamma(k) if kind == "ksg" else np.log(size)
        return bool(estimate >= (1 - tolerance) * cap)

    def vae_plus_h(log_p_x_given_z, log_p_z, log_q_z_given_x, log_q_x):
        """KL(E || D) + H(E) = CE(E, D): both logarithms of E cancel."""
        return -log_p_x_given_z - log_p_z

    return linear_solution, floor_information, at_cap, vae_plus_h


_linear_solution, _floor_information, _at_cap, _vae_plus_h = _solutions()

two_dials = Exercise("Two dials", _check_dials, (_linear_solution,))
floor_buys = Exercise("What the floor buys", _check_floor, (_floor_information,))
cap_detector = Exercise("Cap detector", _check_cap, (_at_cap,))
flip_a_vae = Exercise("Flip a VAE", _check_flip, (_vae_plus_h,))
