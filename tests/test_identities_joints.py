"""Identities of CoLLike's relatives and of deeper joints, each named after its key."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.distributions import Categorical, Independent, Normal

from lvmlab import Joint, complete_likelihood, elbo
from lvmlab.conditionals import Assignment, Components, Proportions
from lvmlab.objectives import best_pairing, pair_scores, quota_posterior

pytestmark = pytest.mark.usefixtures("float64")

SCORES = torch.tensor([[7.0, 5, 3, 9], [2, 8, 6, 1], [4, 4, 9, 7], [8, 3, 5, 6]])


def test_birkhoff_lp():
    """The best doubly stochastic coupling is no better than the best permutation."""
    size = len(SCORES)
    rows = np.kron(np.eye(size), np.ones(size))
    columns = np.kron(np.ones(size), np.eye(size))
    found = linprog(
        -SCORES.flatten().numpy(), A_eq=np.vstack([rows, columns]), b_eq=np.ones(2 * size)
    )
    assert -found.fun == pytest.approx(34.0, abs=1e-8)
    assert SCORES[range(size), best_pairing(SCORES)].sum() == 34


def test_w2_equality():
    """In one dimension the best pairing sorts both sides; its value is a Wasserstein distance."""
    x, codes = torch.tensor([0.3, -1.2, 2.0, 0.7]), torch.tensor([1.9, 0.0, -1.0, 0.8])
    p = Joint(
        "p",
        {"z": lambda: Categorical(torch.ones(4)), "x|z": lambda z: Normal(codes[z], 0.5)},
    )
    pairing = best_pairing(pair_scores(p, {"x": x}, {"z": torch.arange(4)}))
    assert pairing.tolist() == codes.argsort()[x.argsort().argsort()].tolist()
    squares = ((x - codes[pairing]) ** 2).sum().item()
    assert squares == pytest.approx(0.150000, abs=1e-9)
    q = Joint("q", {"x": None, "z|index": Assignment(pairing)})
    value = -complete_likelihood(p, q, {"x": x, "index": torch.arange(4)}).loss.item() * 4
    assert value == pytest.approx(-6.748343, abs=1e-6)
    assert squares / 4 == pytest.approx(0.037500, abs=1e-9)
    constant = -4 / 2 * math.log(2 * math.pi * 0.25) + 4 * math.log(0.25)
    assert value == pytest.approx(-squares / (2 * 0.25) + constant)


def test_constrained_kmeans():
    """With equal counts the match is balanced K-means' assignment, the M step its new centres."""
    x = torch.tensor([[0.0, 0], [0.2, 0], [0.4, 0], [3, 3], [3.2, 3], [1.4, 1.5]])
    p = Joint(
        "p",
        {
            "k": Proportions(2),
            "x|k": Components(torch.tensor([[0.0, 0], [3, 3]]), 1.0, learned_scale=False),
        },
    )
    weights = quota_posterior(p, {"x": x})
    assert weights.argmax(1).tolist() == [0, 0, 0, 1, 1, 1]
    centres = p.factors["x|k"].means.detach()
    cost = (weights * torch.cdist(x, centres).square()).sum().item()
    assert cost == pytest.approx(5.05)
    assert torch.cdist(x, centres).square().min(1).values.sum().item() == pytest.approx(4.45)
    p.factors["x|k"].maximise(x, weights)
    assert p.factors["x|k"].means[1].tolist() == pytest.approx([2.533333, 2.5], abs=1e-6)


def test_pit_equals_lap():
    sources = torch.eye(3)
    outputs = torch.tensor([[0.0, 0.9, 0.1], [0.2, 0, 1.1], [0.8, 0.1, 0]])
    errors = torch.cdist(sources, outputs).square()
    pairing = best_pairing(-errors)
    assert pairing.tolist() == [2, 0, 1]
    assert errors[range(3), pairing].sum().item() == pytest.approx(0.12)


def test_nat_reverse_factorisation():
    """p(x) p(z|x) with Gaussian p(z|x): the nearest targets are those of largest inner product."""
    codes = torch.tensor([[1.0, 0], [0, 1], [-0.6, 0.8]])
    targets = torch.tensor([[0.0, 1], [0.8, 0.6], [-1, 0]])
    p = Joint(
        "p",
        {
            "x": lambda: Categorical(torch.ones(3)),
            "z|x": lambda x: Independent(Normal(codes[x], 1.0), 1),
        },
    )
    pairing = best_pairing(pair_scores(p, {"x": torch.arange(3)}, {"z": targets}))
    assert pairing.tolist() == [1, 0, 2]
    assert (codes - targets[pairing]).square().sum().item() == pytest.approx(1.2)
    assert (codes * targets[pairing]).sum().item() == pytest.approx(2.4)
    assert best_pairing(codes @ targets.T).tolist() == [1, 0, 2]


# F6 of the identities: side information u, latent z with three values, one observed x
Z_GIVEN_U = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
LIKELIHOOD = torch.tensor([0.5, 0.2, 0.1])
Q_Z, Q_U = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.8, 0.2])


def vade():
    """p(u) p(z|u) p(x|z) for the one x that was observed, x = 0."""
    return Joint(
        "p",
        {
            "u": lambda: Categorical(torch.ones(2)),
            "z|u": lambda u: Categorical(Z_GIVEN_U[u]),
            "x|z": lambda z: Categorical(torch.stack([LIKELIHOOD[z], 1 - LIKELIHOOD[z]], -1)),
        },
    )


def encoder(u_given_x):
    return Joint(
        "q",
        {
            "x": None,
            "z|x": lambda x: Categorical(Q_Z.expand(len(x), 3)),
            "u|x": lambda x: Categorical(u_given_x.expand(len(x), 2)),
        },
    )


def exact_elbo(p, q):
    """The expectation of the elbo's terms over all values of u and z."""
    every = {
        "x": torch.zeros(6, dtype=torch.long),
        "u": torch.arange(2).repeat_interleave(3),
        "z": torch.arange(3).repeat(2),
    }
    log_q = q.score(every).nats(["u", "z"])
    gains = log_q.exp() * (p.score(every).nats() - log_q)
    return gains[log_q > -math.inf].sum().item()


def test_vade_elbo_5():
    p, q = vade(), encoder(Q_U)
    assert exact_elbo(p, q) == pytest.approx(-1.524218, abs=1e-6)
    log_marginal = p.enumerate({"x": torch.zeros(1, dtype=torch.long)}).log_joint.logsumexp(1)
    assert log_marginal.item() == pytest.approx(-1.255266, abs=1e-6)
    terms = elbo(p, q, {"x": torch.zeros(200_000, dtype=torch.long)}).terms
    bound = -(terms["distortion"] + terms["rate"])
    assert abs(bound.mean().item() + 1.524218) < 4 * bound.std().item() / math.sqrt(200_000)
    distortion = terms["distortion"]
    assert abs(distortion.mean().item() - 1.128978) < 4 * distortion.std().item() / 447.2


def test_vade_bayes_optimal_u():
    best = (Z_GIVEN_U / Z_GIVEN_U.sum(0)).log() @ Q_Z
    assert best.softmax(0)[0].item() == pytest.approx(0.704065, abs=1e-6)
    improved = exact_elbo(vade(), encoder(best.softmax(0)))
    assert improved - exact_elbo(vade(), encoder(Q_U)) == pytest.approx(
        0.222541 - 0.198712, abs=2e-6
    )


def test_vade_single_sample_kl_zero():
    u_given_z = (Z_GIVEN_U / Z_GIVEN_U.sum(0)).T
    q = Joint(
        "q",
        {
            "x": None,
            "z|x": lambda x: Categorical(Q_Z.expand(len(x), 3)),
            "u|z": lambda z: Categorical(u_given_z[z]),
        },
    )
    for u in (0, 1):  # whatever u is drawn, the estimate is the same: the last term is zero
        values = {"x": torch.zeros(1, dtype=torch.long), "z": torch.tensor([1])}
        values["u"] = torch.tensor([u])
        estimate = vade().score(values).nats() - q.score(values).nats(["u", "z"])
        assert estimate.item() == pytest.approx(-1.791759, abs=1e-6)
    assert u_given_z[1, 0].item() == pytest.approx(0.4)


def test_ivae_elbo_vs_vade():
    joint = exact_elbo(vade(), encoder(torch.tensor([1.0, 0.0])))
    assert joint == pytest.approx(-1.851274, abs=1e-6)
    assert joint + math.log(2) == pytest.approx(-1.158127, abs=1e-6)
