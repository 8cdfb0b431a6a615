"""One table: every objective against every oracle; then the identities, by key."""

import math
from functools import partial

import oracles
import pytest
import torch
from torch.distributions import Categorical, Normal

from lvmlab import (
    Evaluation,
    Joint,
    annealed,
    complete_likelihood,
    criticised,
    elbo,
    exact_posterior,
    importance_weighted,
    marginal_likelihood,
    sentence_mim,
    summed_elbo,
    weighted,
)
from lvmlab.conditionals import Assignment
from lvmlab.objectives import SelfCritic, best_pairing, pair_scores

pytestmark = pytest.mark.usefixtures("float64")

DRAWS = 4000
ORACLES = {o.name: o for o in oracles.all_oracles()}


def repeated(batch, times=DRAWS):
    return {name: v.repeat_interleave(times, 0) for name, v in batch.items()}


def mean_and_error(values, rows):
    """Mean over the draws of each row, and its standard error."""
    table = values.unflatten(0, (rows, -1))
    return table.mean(1), table.std(1) / math.sqrt(table.shape[1])


def check_marginal(oracle):
    if not oracle.finite:
        with pytest.raises(ValueError, match=r"p\(z\).*cannot be enumerated.*elbo"):
            marginal_likelihood(oracle.p, oracle.q, oracle.batch)
        return
    evaluation = marginal_likelihood(oracle.p, oracle.q, oracle.batch)
    torch.testing.assert_close(evaluation.terms["nll"], -oracle.log_marginal)
    torch.testing.assert_close(evaluation.loss, -oracle.log_marginal.mean())
    posterior = (oracle.log_joint - oracle.log_marginal[:, None]).exp()
    torch.testing.assert_close(exact_posterior(oracle.p, oracle.batch), posterior)


def check_elbo(oracle):
    terms = elbo(oracle.p, oracle.q, repeated(oracle.batch)).terms
    bound = -(terms["distortion"] + terms["rate"])
    mean, error = mean_and_error(bound, len(oracle.log_marginal))
    off = (mean - (oracle.log_marginal - oracle.gap)).abs()
    assert (off <= 4.5 * error + 1e-9).all(), (off / error).max()
    if oracle.gap.max() < 1e-12:  # with the exact posterior every single draw is exact
        torch.testing.assert_close(bound, oracle.log_marginal.repeat_interleave(DRAWS))


def check_beta(oracle):
    torch.manual_seed(1)
    plain = elbo(oracle.p, oracle.q, oracle.batch)
    torch.manual_seed(1)
    weighed = elbo(oracle.p, oracle.q, oracle.batch, beta=4.0)
    expected = (plain.terms["distortion"] + 4 * plain.terms["rate"]).mean()
    torch.testing.assert_close(weighed.loss, expected)
    torch.testing.assert_close(weighed.terms["rate"], plain.terms["rate"])


def check_summed(oracle):
    if not oracle.finite:
        with pytest.raises(ValueError, match=r"q\(z\|x\).*cannot be enumerated"):
            summed_elbo(oracle.p, oracle.q, oracle.batch, over="z")
        return
    terms = summed_elbo(oracle.p, oracle.q, oracle.batch, over="z").terms
    torch.testing.assert_close(-sum(terms.values()), oracle.log_marginal - oracle.gap)


def check_importance(oracle):
    rows = len(oracle.log_marginal)
    means = []
    for samples in (1, 8):
        objective = partial(importance_weighted, samples=samples)
        bound = objective(oracle.p, oracle.q, repeated(oracle.batch)).terms["bound"]
        mean, error = mean_and_error(bound, rows)
        assert (mean <= oracle.log_marginal + 4.5 * error + 1e-9).all()
        means.append((mean, error))
    (one, error_one), (eight, error_eight) = means
    assert ((one - (oracle.log_marginal - oracle.gap)).abs() <= 4.5 * error_one + 1e-9).all()
    assert (eight >= one - 4.5 * (error_one + error_eight) - 1e-9).all()
    assert (oracle.log_marginal - eight).mean() <= 0.5 * oracle.gap.mean() + 1e-3


def check_complete(oracle):
    q, batch, exact = oracle.paired()
    evaluation = complete_likelihood(oracle.p, q, batch)
    torch.testing.assert_close(evaluation.loss, -exact.mean())
    total = -(evaluation.terms["distortion"] + evaluation.terms["latent_nll"])
    torch.testing.assert_close(total, exact)
    if oracle.finite:  # a bound for discrete latents only
        assert (total <= oracle.log_marginal).all()


def check_weighted(oracle):
    torch.manual_seed(1)
    one, two = elbo(oracle.p, oracle.q, oracle.batch), elbo(oracle.p, oracle.q, oracle.batch)
    torch.manual_seed(1)
    both = weighted((elbo, 0.25), (elbo, 2.0))(oracle.p, oracle.q, oracle.batch)
    torch.testing.assert_close(both.loss, 0.25 * one.loss + 2 * two.loss)
    torch.testing.assert_close(both.terms["rate"], one.terms["rate"])
    torch.testing.assert_close(both.terms["rate (2)"], two.terms["rate"])


def check_annealed(oracle):
    objective = annealed(elbo, over=4)
    for tick in range(6):
        torch.manual_seed(tick)
        here = objective(oracle.p, oracle.q, oracle.batch)
        torch.manual_seed(tick)
        expected = elbo(oracle.p, oracle.q, oracle.batch, beta=min(1.0, tick / 4))
        torch.testing.assert_close(here.loss, expected.loss)


def check_criticised(oracle):
    """The self-critic of a whole population knows I(x; z) of its rows, exactly on average."""
    bounds = []
    for seed in range(200):
        torch.manual_seed(seed)
        here = criticised(SelfCritic(), 0.5)(oracle.p, oracle.q, oracle.batch)
        bounds.append(here.terms["infonce"].mean())
        if not seed:
            torch.manual_seed(seed)
            plain = elbo(oracle.p, oracle.q, oracle.batch)
            torch.testing.assert_close(here.loss, plain.loss - 0.5 * bounds[0])
    bounds = torch.stack(bounds)
    assert bounds.max() <= math.log(len(oracle.log_marginal)) + 1e-9
    if oracle.finite:
        encoder = oracle.q.enumerate(oracle.batch).log_joint.exp()
        information = (encoder * (encoder / encoder.mean(0)).log()).sum(1).mean()
        assert abs(bounds.mean() - information) < 4.5 * bounds.std() / math.sqrt(200) + 1e-9


def check_sentence_mim(oracle):
    """Its terms are those of the bound, drawn alike, put together another way."""
    torch.manual_seed(1)
    plain = elbo(oracle.p, oracle.q, oracle.batch)
    torch.manual_seed(1)
    here = sentence_mim(oracle.p, oracle.q, oracle.batch)
    rate = here.terms["latent_nll"] - here.terms["encoder_nll"]
    torch.testing.assert_close(rate, plain.terms["rate"])
    torch.testing.assert_close(here.terms["distortion"], plain.terms["distortion"])
    halves = (here.terms["latent_nll"] + here.terms["encoder_nll"]) / 2
    torch.testing.assert_close(here.loss, (plain.terms["distortion"] + halves).mean())


CHECKS = [
    check_marginal,
    check_elbo,
    check_beta,
    check_summed,
    check_importance,
    check_complete,
    check_weighted,
    check_annealed,
    check_criticised,
    check_sentence_mim,
]


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=lambda o: o.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_every_objective_against_every_oracle(check, oracle):
    check(oracle)


def test_the_oracles_agree_with_themselves():
    assert ORACLES["short strings"].log_marginal.exp().sum() == pytest.approx(1.0)
    whole = oracles.table_joint(oracles.F1).enumerate({"x": torch.arange(4)})
    torch.testing.assert_close(whole.log_joint.exp(), oracles.F1)


# --- identities, section A: CoLLike on the table F1 -------------------------------------------

F1 = ORACLES["finite table"]


def collike(pairing):
    q = Joint("q", {"x": None, "z|index": Assignment(torch.tensor(pairing))})
    return -complete_likelihood(F1.p, q, F1.batch).loss.item() * 3


def joint_kl(weights):
    """KL from the target (1/3) weights(z|x) on x = 0, 1, 2 to the table, summed cell by cell."""
    target = weights / 3
    cells = target * (target / oracles.F1[:3]).log()
    return cells.nan_to_num(0.0).sum().item()


def test_mal_joint_kl():
    loss = marginal_likelihood(F1.p, F1.q, F1.batch).loss.item()
    assert -3 * loss == pytest.approx(-3.976562, abs=1e-6)
    assert loss - math.log(3) == pytest.approx(0.226908, abs=1e-6)
    assert joint_kl(exact_posterior(F1.p, F1.batch)) == pytest.approx(0.226908, abs=1e-6)


def test_elbo_joint_kl():
    # both values of z scored under both joints: the exact expectation of the elbo's terms
    every = {
        "x": torch.arange(3).repeat_interleave(2),
        "z": torch.arange(2).repeat(3),
    }
    score = F1.p.score(every).nats() - F1.q.score(every).nats(["z"])
    bounds = (oracles.F1_ENCODER * score.unflatten(0, (3, 2))).sum()
    assert bounds.item() == pytest.approx(-4.028947, abs=1e-6)
    assert -math.log(3) - bounds.item() / 3 == pytest.approx(0.244370, abs=1e-6)
    assert joint_kl(oracles.F1_ENCODER) == pytest.approx(0.244370, abs=1e-6)


def test_elbo_gap():
    assert F1.gap.tolist() == pytest.approx([0.028168, 0.020411, 0.003807], abs=1e-6)
    assert F1.gap.sum().item() == pytest.approx(0.052385, abs=1e-6)


def test_collike_joint_kl():
    assert collike([0, 1, 1]) == pytest.approx(-4.892852, abs=1e-6)
    one_hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert joint_kl(one_hot) == pytest.approx(0.532338, abs=1e-6)
    assert -math.log(3) - collike([0, 1, 1]) / 3 == pytest.approx(0.532338, abs=1e-6)


def test_collike_lower_bound():
    gap = F1.log_marginal.sum().item() - collike([0, 1, 1])
    assert gap == pytest.approx(0.916291, abs=1e-6)
    posterior = exact_posterior(F1.p, F1.batch)
    assert gap == pytest.approx(-posterior[[0, 1, 2], [0, 1, 1]].log().sum().item())


def test_collike_is_no_bound_for_continuous_latents():
    w, s = 2.0, 0.1
    p = Joint("p", {"z": lambda: Normal(0.0, 1.0), "x|z": lambda z: Normal(w * z, s)})
    x = torch.tensor([1.0])
    z = w * x / (w**2 + s**2)
    q = Joint("q", {"x": None, "z|index": Assignment(z)})
    value = -complete_likelihood(p, q, {"x": x, "index": torch.tensor([0])}).loss
    assert value > Normal(0.0, math.sqrt(w**2 + s**2)).log_prob(x)[0]


def test_collike_all_pairings():
    pairings = {(0, 1, 1): -4.892852, (1, 0, 1): -6.684612, (1, 1, 0): -7.888585}
    for pairing, value in pairings.items():
        assert collike(pairing) == pytest.approx(value, abs=1e-6)


def test_lap_vs_bruteforce():
    scores = torch.tensor([[7.0, 5, 3, 9], [2, 8, 6, 1], [4, 4, 9, 7], [8, 3, 5, 6]])
    best = best_pairing(scores)
    assert best.tolist() == [3, 1, 2, 0]
    assert scores[range(4), best].sum() == 34
    worst = best_pairing(-scores)
    assert worst.tolist() == [2, 3, 0, 1]
    assert scores[range(4), worst].sum() == 11


@pytest.mark.parametrize("seed", range(8))
def test_lap_against_all_permutations_of_five(seed):
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed))
    total, order = oracles.best_of_all_permutations(scores)
    assert tuple(best_pairing(scores).tolist()) == order
    assert scores[range(5), list(order)].sum().item() == pytest.approx(total)


class PairByPair(Categorical):
    """Brings no expand, as a distribution that runs a network in log_prob."""

    def __init__(self, probs):
        super().__init__(probs)


@pytest.mark.parametrize(("family", "rows"), [(PairByPair, [2, 3 * 2]), (Categorical, [2])])
def test_k_column_shortcut(family, rows):
    calls = []
    plain = oracles.table_joint(oracles.F1)
    decoder = plain.factors["x|z"]

    def counted(z):
        calls.append(len(z))
        return family(decoder(z).probs)

    p = Joint("p", {"z": plain.factors["z"], "x|z": counted})
    latents = torch.tensor([0, 1, 1])
    scores = pair_scores(p, {"x": torch.arange(3)}, {"z": latents})
    assert calls == rows  # K columns, not B; once a column where one call can score every row
    torch.testing.assert_close(scores, oracles.F1[:3].log()[:, latents])
    best = best_pairing(scores)
    assert scores[range(3), best].sum().item() == pytest.approx(-4.892852, abs=1e-6)


def test_minibatch_local_optimum():
    scores = torch.tensor([[0.0, 1, -5], [-5, 0, 1], [1, -5, 0]])
    for pair in ([0, 1], [0, 2], [1, 2]):
        assert best_pairing(scores[pair][:, pair]).tolist() == [0, 1]  # each pair stays as it is
    assert scores[range(3), best_pairing(scores)].sum() == 3


def test_mal_logsumexp():
    scores = torch.tensor([-3.2, -1.1, -2.5, -4.0])
    p = Joint(
        "p", {"k": lambda: Categorical(torch.ones(4)), "x|k": lambda k: oracles.Fixed(scores[k])}
    )
    batch = {"x": torch.zeros(1)}
    assert marginal_likelihood(p, p, batch).loss.item() == pytest.approx(2.132771, abs=1e-6)
    posterior = exact_posterior(p, batch)[0]
    assert posterior[1].item() == pytest.approx(0.702209, abs=1e-6)
    assert Categorical(posterior).entropy().item() == pytest.approx(0.888580, abs=1e-6)


def test_reduction_k1():
    nats = torch.tensor([-1.2, -0.4])
    p = Joint(
        "p",
        {"k": lambda: Categorical(torch.ones(1)), "x|k,index": lambda k, i: oracles.Fixed(nats[i])},
    )
    q = Joint("q", {"x": None, "k|index": Assignment(torch.zeros(2, dtype=torch.long))})
    batch = {"x": torch.zeros(2), "index": torch.arange(2)}
    assert marginal_likelihood(p, q, batch).loss.item() * 2 == pytest.approx(1.6)
    assert complete_likelihood(p, q, batch).loss.item() * 2 == pytest.approx(1.6)


def test_exact_marginal_survives_very_small_likelihoods():
    scores = torch.tensor([-10_000.0, -10_001.0])
    p = Joint(
        "p", {"k": lambda: Categorical(torch.ones(2)), "x|k": lambda k: oracles.Fixed(scores[k])}
    )
    nll = marginal_likelihood(p, p, {"x": torch.zeros(1)}).loss.item()
    assert nll == pytest.approx(10_000 + math.log(2) - math.log(1 + math.exp(-1)))


def test_neg_elbo_vs_lvae_3_6():
    anchor, encoder = torch.tensor([0.6, 0.4]), torch.tensor([[0.8, 0.2], [0.25, 0.75]])
    prior, decoder = torch.tensor([0.3, 0.7]), torch.tensor([[0.9, 0.1], [0.35, 0.65]])
    p = Joint("p", {"z": lambda: Categorical(prior), "x|z": lambda z: Categorical(decoder[z])})
    q = Joint("q", {"x": None, "z|x": lambda x: Categorical(encoder[x])})
    every = {"x": torch.tensor([0, 0, 1, 1]), "z": torch.tensor([0, 1, 0, 1])}
    weights = (anchor[:, None] * encoder).flatten()
    value = (weights * (q.score(every).nats(["z"]) - p.score(every).nats())).sum().item()
    assert value == pytest.approx(0.858977, abs=1e-6)
    assert value + (anchor * anchor.log()).sum().item() == pytest.approx(0.185966, abs=1e-6)


def test_linear_gaussian_model():
    p = Joint("p", {"z": lambda: Normal(0.0, 1.0), "x|z": lambda z: Normal(2 * z, 0.5)})
    q = Joint("q", {"x": None, "z|x": lambda x: Normal(2 * x / 4.25, math.sqrt(0.25 / 4.25))})
    terms = elbo(p, q, {"x": torch.ones(7)}).terms
    bound = -(terms["distortion"] + terms["rate"])
    assert bound.tolist() == pytest.approx([-1.760045] * 7, abs=1e-6)
    assert 0.5 * math.log(1 + 4 / 0.25) == pytest.approx(1.416607, abs=1e-6)


def test_importance_weighted_nll():
    log_weights = torch.tensor([-1.0, -2.0, -1.5, -0.5])
    turn = iter(log_weights)  # four draws of z whose weights are known

    class Next(Normal):
        def sample(self, shape=()):
            return torch.stack([next(turn) for _ in range(4)])

        has_rsample = False

        def log_prob(self, value):
            return torch.zeros(len(value))

    q = Joint("q", {"x": None, "z|x": lambda x: Next(torch.zeros(len(x)), 1.0)}, validate=False)
    p = Joint("p", {"z": lambda: oracles.Fixed(torch.zeros(4)), "x|z": lambda z: oracles.Fixed(z)})
    bound = importance_weighted(p, q, {"x": torch.zeros(1)}, samples=4).terms["bound"]
    assert -bound.item() == pytest.approx(1.098956, abs=1e-6)
    assert -log_weights.mean().item() == pytest.approx(1.25)


def test_kl_annealing_schedule():
    objective = annealed(lambda p, q, batch, beta: Evaluation(beta, {}), over=10_000)
    for tick, weight in {0: 0.0, 2500: 0.25, 10_000: 1.0, 20_000: 1.0}.items():
        objective.tick.fill_(tick)
        assert objective.weight.item() == weight
    objective.eval()
    objective.tick.fill_(2500)
    assert objective(None, None, {}).loss == 1.0
    assert objective.tick == 2500  # looking does not count


def test_exact_model_needs_no_latent():
    p = Joint("p", {"x": lambda: Normal(0.0, 1.0)})
    q = Joint("q", {"x": None})
    x = torch.randn(5)
    evaluation = elbo(p, q, {"x": x})
    torch.testing.assert_close(evaluation.terms["distortion"], -Normal(0.0, 1.0).log_prob(x))
    assert (evaluation.terms["rate"] == 0).all()


def test_best_pairing_refuses_what_is_not_a_square_of_finite_numbers():
    with pytest.raises(ValueError, match=r"\(B, B\).*\(2, 3\)"):
        best_pairing(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="finite"):
        best_pairing(torch.tensor([[0.0, -math.inf], [0.0, 0.0]]))


def test_combinations_refuse_nonsense():
    with pytest.raises(ValueError, match="one part or more"):
        weighted()
    with pytest.raises(ValueError, match="finite, got nan for elbo"):
        weighted((elbo, math.nan))
    with pytest.raises(ValueError, match=r"\(objective, weight\)"):
        weighted(elbo)
    with pytest.raises(ValueError, match="over must be"):
        annealed(elbo, over=0)
    with pytest.raises(ValueError, match="samples must be"):
        importance_weighted(F1.p, F1.q, F1.batch, samples=0)
