"""Exercises of notebook 03: L_MIM, consistency by Bayes, a VAE in disguise, a shared draw."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lvmlab.exercises import Exercise, expect

Array = np.ndarray


class Machine(NamedTuple):
    """Two conditionals, two learned priors, two anchors; x is axis 0 and z is axis 1."""

    q_zx: Array
    p_xz: Array
    qx: Array
    pz: Array
    anchor_x: Array
    anchor_z: Array


SMALL = Machine(
    np.array([[0.8, 0.2], [0.25, 0.75]]),
    np.array([[0.9, 0.35], [0.1, 0.65]]),
    np.array([0.55, 0.45]),
    np.array([0.4, 0.6]),
    np.array([0.6, 0.4]),
    np.array([0.3, 0.7]),
)


def _random(random: np.random.Generator) -> Machine:
    rows, columns = random.integers(2, 6, size=2)
    return Machine(
        random.dirichlet(np.ones(columns), size=rows),
        random.dirichlet(np.ones(rows), size=columns).T,
        *(random.dirichlet(np.ones(n)) for n in (rows, columns, rows, columns)),
    )


def _joints(m: Machine) -> tuple[Array, Array, Array, Array]:
    """The anchored E and D, the learned q and p."""
    encoded, decoded = m.anchor_x[:, None] * m.q_zx, m.anchor_z * m.p_xz
    return encoded, decoded, m.qx[:, None] * m.q_zx, m.pz * m.p_xz


def _cross(a: Array, b: Array) -> float:
    return float(-(a * np.log(b)).sum())


def _kl(a: Array, b: Array) -> float:
    return float((a * np.log(a / b)).sum())


def _by_line_5(m: Machine) -> float:
    """L_MIM by entropies and divergences, the road that the answer does not take."""
    encoded, decoded, q, p = _joints(m)
    priors = _kl(m.anchor_z, m.pz) + _kl(m.anchor_x, m.qx)
    entropies = _cross(encoded, encoded) + _cross(decoded, decoded)
    return entropies / 2 + (priors + _kl(encoded, p) + _kl(decoded, q)) / 4


def _loss(l_mim: Callable[..., Any], m: Machine) -> float:
    value = np.asarray(l_mim(*(part.copy() for part in m)), dtype=float)
    expect(value.shape == (), f"a loss is one number, yours has shape {value.shape}")
    expect(np.isfinite(value), f"all tables are positive, so the loss is finite; yours is {value}")
    return float(value)


def _check_l_mim(l_mim: Callable[..., Any]) -> None:
    encoded, decoded, q, p = _joints(SMALL)
    anchored, learned = (encoded + decoded) / 2, (q + p) / 2
    wrong = {
        "who draws: the anchored mixture or the learned one?": (
            _cross(learned, q) + _cross(learned, p)
        )
        / 2,
        "that is L_CE, the logarithm of the mean: you are 0.020573 too low. "
        "Take the mean of the logarithms": _cross(anchored, learned),
        "that is the entropy of M: learned joints are scored, not M itself": _cross(
            anchored, anchored
        ),
        "that is A-MIM: half of the pairs are drawn by the decoder": (
            _cross(encoded, q) + _cross(encoded, p)
        )
        / 2,
        "you score with the anchored joints: qx and pz must appear": (
            _cross(anchored, encoded) + _cross(anchored, decoded)
        )
        / 2,
        "a mean of two cross-entropies: yours is their sum": _cross(anchored, q)
        + _cross(anchored, p),
    }
    found, right = _loss(l_mim, SMALL), _by_line_5(SMALL)
    for hint, value in wrong.items():
        expect(abs(found - value) > 1e-7, f"on the two by two table: {hint}")
    expect(abs(found + right) > 1e-7, "look at the sign: a loss here is a positive number of nats")
    expect(abs(found - right / np.log(2)) > 1e-7, "in nats, please: use the natural logarithm")
    expect(abs(found - right) < 1e-7, f"the table gives {right:.6f} nats, yours {found:.6f}")
    random = np.random.default_rng(0)
    for _ in range(100):
        m = _random(random)
        found, right = _loss(l_mim, m), _by_line_5(m)
        shape = " x ".join(map(str, m.q_zx.shape))
        expect(
            abs(found - right) < 1e-8,
            f"on a random table of {shape} line 5 gives {right:.6f} nats, yours {found:.6f}: "
            "x is axis 0 and z is axis 1 in every table",
        )


def _check_decoder(decoder_from_encoder: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    for m in (SMALL, *(_random(random) for _ in range(20))):
        _check_one_decoder(decoder_from_encoder, m)


def _check_one_decoder(decoder_from_encoder: Callable[..., Any], m: Machine) -> None:
    answer = decoder_from_encoder(m.q_zx.copy(), m.qx.copy())
    expect(isinstance(answer, tuple) and len(answer) == 2, "return two things: p_xz, pz")
    p_xz, pz = (np.asarray(part, dtype=float) for part in answer)
    expect(
        p_xz.shape == m.q_zx.shape,
        f"p_xz must have shape {m.q_zx.shape}, x on axis 0 as in q_zx: yours has {p_xz.shape}",
    )
    expect(pz.shape == m.pz.shape, f"pz must have shape {m.pz.shape}: yours has {pz.shape}")
    expect(
        np.allclose(p_xz.sum(0), 1, atol=1e-9),
        f"columns of p_xz must sum to 1 over x, yours to {p_xz.sum(0).round(3).tolist()}",
    )
    expect(
        p_xz.shape != m.q_zx.T.shape or not np.allclose(p_xz, m.q_zx.T),
        "a transposed encoder is no decoder: weigh its rows with qx, then divide by pz",
    )
    expect(abs(pz.sum() - 1) < 1e-9, f"pz must sum to 1, yours to {pz.sum():.4f}")
    expect(
        not np.allclose(pz, m.anchor_x @ m.q_zx) or np.allclose(m.anchor_x, m.qx),
        "hat or no hat? Consistency is between the learned joints: use qx",
    )
    q, p = m.qx[:, None] * m.q_zx, pz * p_xz
    expect(
        np.allclose(pz, m.qx @ m.q_zx, atol=1e-9),
        "pz must be the marginal of z under the encoder's joint: weigh the rows with qx",
    )
    expect((p > 0).all(), "p excludes a pair that q allows: q is positive everywhere")
    expect(
        abs(_consistency(m, q, p)) < 1e-12,
        "R_MIM is not zero: the two joints still differ. Divide the joint, not the rows, by pz",
    )


def _consistency(m: Machine, q: Array, p: Array) -> float:
    """R_MIM of line 4."""
    encoded, decoded, *_ = _joints(m)
    return float(((encoded + decoded) / 2 * np.log((q + p) / 2 / np.sqrt(q * p))).sum())


def _check_vae(vae_from_amim: Callable[..., Any]) -> None:
    random = np.random.default_rng(0)
    for number, m in enumerate((SMALL, *(_random(random) for _ in range(30)))):
        encoded, decoded, *_ = _joints(m)
        entropy, right = _cross(encoded, encoded), _kl(encoded, decoded)
        amim = (entropy + _cross(encoded, decoded)) / 2
        found = float(vae_from_amim(amim, entropy))
        expect(
            abs(found - (amim - entropy)) > 1e-9,
            "the two by two table gives 0.092983, but its VAE loss is 0.185966: "
            "where did line 7 keep the factor?",
        )
        expect(
            abs(found - 2 * (amim + entropy)) > 1e-9 and abs(found - (amim + entropy)) > 1e-9,
            "which of the two is larger on the table, and what must be left when E equals D?",
        )
        expect(abs(found + right) > 1e-9, "look at the sign: a KL is never negative")
        expect(
            abs(found - right) < 1e-9,
            f"table {number}: A-MIM {amim:.6f} and H(E) {entropy:.6f} nats belong to a VAE loss "
            f"of {right:.6f}, yours is {found:.6f}",
        )


def _log_probs(seed: int) -> dict[str, Array]:
    """Five rows with two draws of z each, as a linear Gaussian model would score them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=5)
    out = {}
    for mark in ("z", "z'"):
        z = 0.7 * x + 0.4 * random.normal(size=5)
        out[f"p(x|{mark})"] = _log_normal(x, 0.9 * z, 0.5)
        out[f"p({mark})"] = _log_normal(z, 0.0, 1.0)
        out[f"q({mark}|x)"] = _log_normal(z, 0.7 * x, 0.4)
    return out


def _log_normal(value: Array, mean: Any, scale: float) -> Array:
    return -0.5 * ((value - mean) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


def _half(encoder_half: Callable[..., Any], log_prob: dict[str, Array]) -> Array:
    value = np.asarray(encoder_half({k: v.copy() for k, v in log_prob.items()}), dtype=float)
    expect(
        value.shape == (5,),
        f"five rows, five costs: yours has shape {value.shape}. Average after the check",
    )
    return value


def _check_encoder_half(encoder_half: Callable[..., Any]) -> None:
    for seed in range(5):
        given = _log_probs(seed)
        found, right = _half(encoder_half, given), -given["p(x|z)"] - given["p(z)"]
        fresh = given["p(x|z')"] + given["p(z')"] - given["q(z'|x)"]
        with_fresh = -(given["p(x|z)"] + given["p(z)"] + given["q(z|x)"] + fresh) / 2
        expect(
            not np.allclose(found, with_fresh),
            "a fresh z' is equal in the mean, but not sample by sample: log q(z|x) and its noise "
            "stay. Take the bound at the same z",
        )
        expect(
            not np.allclose(found, right / 2),
            "half of what it should be: log p(x|z) and log p(z) come twice, once from the pair "
            "and once from the bound",
        )
        expect(not np.allclose(found, -right), "look at the sign: a loss is a cost, in nats")
        moved = {k: v + (0.5 if k == "q(z|x)" else 0.0) for k, v in given.items()}
        expect(
            np.allclose(_half(encoder_half, moved), found),
            "your half still depends on log q(z|x). Its bound on log q(x) *subtracts* log q(z|x): "
            "differentiate with respect to the encoder's scale: what is left?",
        )
        expect(
            np.allclose(found, right),
            f"the first row costs {right[0]:.6f} nats, yours {found[0]:.6f}: write out the bound "
            "at the same z and cancel",
        )


def _solutions() -> tuple[Callable[..., Any], ...]:
    """One right answer each, under the names that the notebook asks for."""

    def l_mim(q_zx, p_xz, qx, pz, anchor_x, anchor_z):
        """The anchored mixture draws; the logarithms of q and of p are averaged."""
        M = (anchor_x[:, None] * q_zx + anchor_z * p_xz) / 2
        q, p = qx[:, None] * q_zx, pz * p_xz
        return -(M * (np.log(q) + np.log(p)) / 2).sum()

    def decoder_from_encoder(q_zx, qx):
        """The joint q, its marginal of z, and the joint divided by it."""
        q = qx[:, None] * q_zx
        pz = q.sum(0)
        return q / pz, pz

    def vae_from_amim(amim, entropy):
        """Line 7: A-MIM minus H(E) is half of KL(E || D)."""
        return 2 * (amim - entropy)

    def encoder_half(log_prob):
        """Minus half of [p(x|z) + p(z) + q(z|x) + (p(x|z) + p(z) - q(z|x))], in logarithms."""
        return -log_prob["p(x|z)"] - log_prob["p(z)"]

    return l_mim, decoder_from_encoder, vae_from_amim, encoder_half


_l_mim, _decoder_from_encoder, _vae_from_amim, _encoder_half = _solutions()

l_mim = Exercise("L_MIM on tables", _check_l_mim, (_l_mim,))
decoder_from_encoder = Exercise("Consistency by Bayes", _check_decoder, (_decoder_from_encoder,))
vae_from_amim = Exercise("A VAE in disguise", _check_vae, (_vae_from_amim,))
encoder_half = Exercise("What the shared draw cancels", _check_encoder_half, (_encoder_half,))
