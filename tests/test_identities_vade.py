"""Section G of the identities: two bounds and what is between them, the matrix L, flows, hashes."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from lvmlab import Joint
from lvmlab.conditionals import Mixture, Proportions
from lvmlab.datasets import sources
from lvmlab.flows import Flow
from lvmlab.flows.bijections import Bijection
from lvmlab.models import (
    Responsibilities,
    bayes_optimal,
    differences,
    ivae,
    largest_dim,
    natural_parameters,
    variability,
)
from lvmlab.objectives import elbo
from lvmlab.studies import identifiability_images

# F6: u in {0, 1} uniform, three values of z, the x that was observed is number 0
P_Z_U = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
P_X_Z = torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64)
Q_Z = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
Q_U = torch.tensor([0.8, 0.2], dtype=torch.float64)
JOINT = 0.5 * P_Z_U
LOG_P_U_Z = (JOINT / JOINT.sum(0)).T.log()  # (3, 2)
X = torch.zeros(1, dtype=torch.long)


pytestmark = pytest.mark.usefixtures("float64")


def over_x(z):
    return Categorical(torch.stack([P_X_Z[z], 1 - P_X_Z[z]], 1))


def decoding():
    factors = {"u": Proportions(2), "z|u": lambda u: Categorical(P_Z_U[u]), "x|z": over_x}
    return Joint("p", factors)


def given(probabilities):
    return lambda x: Categorical(probabilities.expand(len(x), -1))


def expected(p, q, batch):
    """The bound as an exact expectation: all completions of the batch by q, with their weights."""
    every = q.enumerate(batch)
    rows = {name: v.flatten(0, 1) for name, v in every.values.items()}
    weights = every.log_joint.softmax(1)
    inside = p.score(rows).nats().unflatten(0, weights.shape) - every.log_joint
    return (weights * inside).sum(1)


def test_vade_elbo_5():
    p = decoding()
    q = Joint("q", {"x": None, "z|x": given(Q_Z), "u|x": given(Q_U)})
    bound = expected(p, q, {"x": X})
    assert bound.item() == pytest.approx(-1.524218, abs=1e-6)
    reconstruction = (Q_Z * P_X_Z.log()).sum()
    rate = (Q_Z * (Q_Z / JOINT.sum(0)).log()).sum()
    last = (Q_Z[:, None] * Q_U * (Q_U.log() - LOG_P_U_Z)).sum()
    for value, printed in ((reconstruction, -1.128978), (rate, 0.172699), (last, 0.222541)):
        assert value.item() == pytest.approx(printed, abs=1e-6)
    assert bound.item() == pytest.approx((reconstruction - rate - last).item())
    assert p.enumerate({"x": X}).log_joint.logsumexp(1).item() == pytest.approx(-1.255266, abs=1e-6)


def test_vade_bayes_optimal_u():
    best, minimum = bayes_optimal(LOG_P_U_Z[:, None], Q_Z[:, None])
    assert best[0, 0].item() == pytest.approx(0.704065, abs=1e-6)
    assert minimum.item() == pytest.approx(0.198712, abs=1e-6)
    for u in torch.linspace(0.01, 0.99, 99):
        other = torch.stack([u, 1 - u])
        assert (Q_Z[:, None] * other * (other.log() - LOG_P_U_Z)).sum() >= minimum - 1e-12


def test_vade_single_sample_kl_zero():
    best, minimum = bayes_optimal(LOG_P_U_Z[1:2, None])
    assert minimum.item() == pytest.approx(0.0, abs=1e-12)
    assert best[0, 0].item() == pytest.approx(0.4)
    encoder = Joint("q", {"x": None, "z|x": given(Q_Z), "u|z": lambda z: Categorical(best)})
    batch = {"x": X, "z": torch.ones(1, dtype=torch.long)}
    for u in (0, 1):  # the same number whichever label is drawn
        values = batch | {"u": torch.tensor([u])}
        scored = decoding().score(values).nats() - encoder.score(values).nats()
        assert scored.item() == pytest.approx(-1.791759, abs=1e-6)


def test_ivae_elbo_vs_vade():
    bounds = []
    for weights in (None, Proportions(2)):
        p, q = ivae(lambda u: Categorical(P_Z_U[u]), over_x, given(Q_Z), weights=weights)
        bounds.append(expected(p, q, {"x": X, "u": X}).item())
    assert bounds[0] == pytest.approx(-1.158127, abs=1e-6)
    assert bounds[1] == pytest.approx(-1.851274, abs=1e-6)
    assert bounds[0] - bounds[1] == pytest.approx(math.log(2))
    # elbo, which samples, has these as its expectations: every z is a row, weighted by q(z|x)
    p, q = ivae(lambda u: Categorical(P_Z_U[u]), over_x, given(Q_Z), weights=Proportions(2))
    z = torch.arange(3)
    rows = {"x": X.repeat(3), "u": X.repeat(3)}
    q.factors["z|x"] = lambda x: Sure(Q_Z, z)
    terms = elbo(p, q, rows).terms
    weighted = (Q_Z * -(terms["distortion"] + terms["rate"])).sum()
    assert weighted.item() == pytest.approx(-1.851274, abs=1e-6)


class Sure(Categorical):
    """Draws the given values, one a row, and scores them under the probabilities."""

    def __init__(self, probabilities, values):
        super().__init__(probabilities.expand(len(values), -1))
        self.values = values

    def sample(self, sample_shape=()):
        return self.values


def test_expfam_gaussian_1():
    lambda_1, lambda_2 = natural_parameters(torch.tensor([[0.7]]), torch.tensor([[0.4]]))[0]
    assert lambda_1.item() == pytest.approx(4.375) and lambda_2.item() == pytest.approx(-3.125)
    log_z = 0.7**2 / (2 * 0.4**2) + math.log(0.4) + 0.5 * math.log(2 * math.pi)
    assert log_z == pytest.approx(1.533898, abs=1e-6)
    density = torch.distributions.Normal(0.7, 0.4).log_prob(torch.tensor(1.0))
    assert (lambda_1 + lambda_2 - log_z).item() == pytest.approx(density.item())
    assert density.item() == pytest.approx(-0.283898, abs=1e-6)


def test_l_matrix():
    means, scales = torch.tensor([[0.0], [1], [-1]]), torch.tensor([[1.0], [0.5], [2]])
    matrix = differences(means, scales)
    torch.testing.assert_close(matrix, torch.tensor([[4.0, -0.25], [-1.5, 0.375]]))
    assert torch.linalg.det(matrix).item() == pytest.approx(1.125)
    found = variability(means, scales)
    assert found.condition == pytest.approx(16.341584, abs=1e-6)
    assert found.rank == 2 and found.needed == 3 and found.satisfied


def test_l_singular_equal_variances():
    means, scales = torch.tensor([[0.0], [1], [2]]), torch.ones(3, 1)
    assert torch.linalg.det(differences(means, scales)).item() == 0.0
    found = variability(means, scales)
    assert found.rank == 1 and found.condition == math.inf and not found.satisfied


def test_max_latent_dim():
    expected = {10: 4, 20: 9, 40: 19, 50: 24, 100: 49, 128: 63}
    assert {values: largest_dim(values) for values in expected} == expected


def test_rademacher_hash():
    projection = torch.tensor([[1.0, -1, 1], [1, 1, -1], [-1, 1, 1]])
    x = torch.tensor([[0.5, 2, -1]])
    assert (projection @ x[0]).tolist() == [-2.5, 3.5, 0.5]
    both = torch.cat([x, -x, 7 * x])
    assert sources.hashed(both, projection).tolist() == [6, 1, 6]
    assert sources.hashed(torch.tensor([[1.0, 1, 0]]), projection).tolist() == [2]  # h_0 = h_2 = 0


class Line(Bijection):
    """z = (x - 1) / 2, the inverse of f(z) = 2 z + 1."""

    def forward(self, x, context=None):
        return (x - 1) / 2, torch.full((len(x),), -math.log(2))


def test_gmm_flow_d4():
    base = Mixture(torch.tensor([[-1.0], [2]]), torch.tensor([0.5, 1]), torch.tensor([0.3, 0.7]))
    assert base().log_prob(torch.zeros(1)).item() == pytest.approx(-2.656574, abs=1e-6)
    flow = Flow(Line(), (1,), base)
    assert flow().log_prob(torch.ones(1, 1)).item() == pytest.approx(-3.349721, abs=1e-6)


def test_leakyrelu_mixing_invertible():
    mixing = sources.Mixing(torch.tensor([[[2.0, 1], [0, 3]]]), 0.2, "after")
    x = torch.tensor([[1.0, -1]])
    torch.testing.assert_close(mixing(x), torch.tensor([[1.0, -0.6]]))
    assert mixing.log_det(x).item() == pytest.approx(0.182322, abs=1e-6)
    torch.testing.assert_close(mixing.inverse(mixing(x)), x)


def test_rvq_responsibilities():
    codes = Mixture(torch.tensor([[0.0, 0], [1, 1], [2, 0]]))  # scales 1, even weights
    found = Responsibilities(codes)(torch.tensor([[0.6, 0.3]])).probs[0]
    for value, printed in zip(found.tolist(), (0.424779, 0.384356, 0.190865), strict=True):
        assert value == pytest.approx(printed, abs=1e-6)
    assert found.argmax() == 0
    cold = Mixture(codes.means.detach(), 1e-2)  # temperature to zero: the nearest code alone
    assert Responsibilities(cold)(torch.tensor([[0.6, 0.3]])).probs[0].tolist() == [1.0, 0, 0]


def test_seed_pair_counts(monkeypatch):
    asked = []

    def counted(a, b):
        asked.append((int(a[0, 0]), int(b[0, 0])))
        return {"mcc": float(a[0, 0] + b[0, 0])}

    monkeypatch.setattr(identifiability_images, "scores_of", counted)
    found = identifiability_images.agreement([np.full((1, 1), i) for i in range(10)])
    assert len(asked) == len(set(asked)) == 45 and all(i != j for i, j in asked)
    mean_of_pairs = np.mean([i + j for i, j in asked])
    assert np.mean([f["mcc"] for f in found]) == pytest.approx(mean_of_pairs)
