"""Section C of the identities: SentenceMIM and MELBO on a table of three sentences (fixture F3)."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from lvmlab import Joint, annealed, diagnostics, elbo
from lvmlab.language import Lengths, TokenSequences
from lvmlab.objectives import sentence_mim

P_X = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
ENCODER = torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
DECODER = torch.tensor([[0.7, 0.2, 0.1], [0.15, 0.75, 0.1], [0.2, 0.1, 0.7]], dtype=torch.float64)
ANCHOR = torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)
ENCODED = P_X[:, None] * ENCODER  # E(x, z)

pytestmark = pytest.mark.usefixtures("float64")


def f3():
    p = Joint("p", {"z": lambda: Categorical(ANCHOR), "x|z": lambda z: Categorical(DECODER[z])})
    return p, Joint("q", {"x": None, "z|x": lambda x: Categorical(ENCODER[x])})


def cell_by_cell(objective):
    """Every term of an objective as a table (x, z), from draws that meet all nine cells."""
    p, q = f3()
    batch = {"x": torch.arange(3).repeat(200)}
    torch.manual_seed(0)
    z = q.draw(batch).values["z"]
    torch.manual_seed(0)
    evaluation = objective(p, q, batch)
    tables = {}
    for name, values in evaluation.terms.items():
        tables[name] = torch.full((3, 3), torch.nan)
        tables[name][batch["x"], z] = values
        assert tables[name].isfinite().all()
    return evaluation, tables, (batch["x"], z)


def marginals():
    """q(x) = E_P(z) p(x|z) and p(z) = E_P(x) q(z|x)."""
    return ANCHOR @ DECODER, P_X @ ENCODER


def test_log_mean_lower_bound_6_12():
    h = torch.tensor([0.4, 1.0, 0.1])
    assert (P_X * h).sum().log().item() == pytest.approx(-0.653926, abs=1e-6)
    single = (P_X * h).log()
    expected = torch.tensor([-1.609438, -1.203973, -3.912023])
    torch.testing.assert_close(single, expected, atol=1e-6, rtol=0)
    assert (single <= (P_X * h).sum().log()).all()


def test_smim_bound_6_14():
    evaluation, terms, cells = cell_by_cell(sentence_mim)
    loss = terms["distortion"] + (terms["encoder_nll"] + terms["latent_nll"]) / 2
    torch.testing.assert_close(evaluation.loss, loss[cells].mean())
    q_x, p_z = marginals()
    exact = -0.5 * (DECODER.T.log() + p_z.log() + ENCODER.log() + q_x.log()[:, None])
    half_entropy = -0.5 * (P_X * P_X.log()).sum()
    found = [(ENCODED * exact).sum(), (ENCODED * loss).sum(), half_entropy]
    assert [v.item() for v in found] == pytest.approx([1.745210, 1.570400, 0.514827], abs=1e-6)
    bound = found[1] + half_entropy
    assert bound.item() == pytest.approx(2.085227, abs=1e-6) and bound >= found[0]


def test_decoder_marginal_elbo_6_11():
    _, terms, _ = cell_by_cell(elbo)
    bound = -(ENCODED * (terms["distortion"] + terms["rate"])).sum()
    exact = (P_X * marginals()[0].log()).sum()
    assert exact.item() == pytest.approx(-1.058082, abs=1e-6)
    assert bound.item() == pytest.approx(-1.071839, abs=1e-6) and bound <= exact


def exact_under_the_sentences():
    """log p(x; T) with z from the mean of the three posteriors."""
    return (ENCODER.mean(0) @ DECODER).log()


def f3_melbo():
    """Both forms with exact expectations over z: as many copies of a draw as its chance in 10."""
    rows = [
        torch.cat([DECODER[z, x].log().repeat(round(10 * ENCODER[x, z].item())) for z in range(3)])
        for x in range(3)
    ]
    return diagnostics.melbo(torch.stack(rows))


def test_melbo_6_16():
    exact, found = exact_under_the_sentences().numpy(), f3_melbo()
    assert exact == pytest.approx([-0.998767, -1.103625, -1.203973], abs=1e-6)
    assert found.tight == pytest.approx([-1.617806, -1.651998, -1.643339], abs=1e-6)
    assert found.bound == pytest.approx([-1.734608, -1.852136, -1.844469], abs=1e-6)
    assert (exact >= found.tight).all() and (found.tight >= found.bound).all()
    double = diagnostics.melbo(np.zeros((3, 2)), sentences=6)
    assert double.bound == pytest.approx(diagnostics.melbo(np.zeros(3)).bound - math.log(2))


def test_melbo_nll_6_17():
    exact = -exact_under_the_sentences().mean().item()
    assert f3_melbo().nll == pytest.approx(1.810404, abs=1e-6)
    assert exact == pytest.approx(1.102122, abs=1e-6) and f3_melbo().nll >= exact


def test_melbo_tight_case():
    found = diagnostics.melbo(np.zeros((3, 4)))
    assert found.nll == pytest.approx(1.098612, abs=1e-6) == -found.tight.mean()


def test_ppl_from_nll():
    tokens = [113.46 / math.log(148.18), 67.46 / math.log(19.53), 34.66 / math.log(4.6)]
    assert tokens == pytest.approx([22.699138, 22.698888, 22.712137], abs=1e-6)
    for nll, ppl, count in zip((113.46, 67.46, 34.66), (148.18, 19.53, 4.6), tokens, strict=True):
        assert diagnostics.perplexity(nll, count) == pytest.approx(ppl)
    assert max(tokens) / min(tokens) < 1.003
    others = [228.58 / math.log(9.98), 215.02 / math.log(18.17), 337.58 / math.log(21.95)]
    assert others == pytest.approx([99.357420, 74.150660, 109.292797], abs=1e-6)


def test_melbo_sample_size():
    reconstruction = 67.46 - math.log(3761)
    assert reconstruction == pytest.approx(59.227560, abs=1e-6)
    at_1000 = diagnostics.melbo(np.full(5, -reconstruction), sentences=1000)
    assert at_1000.nll == pytest.approx(66.135315, abs=1e-6)
    needed = diagnostics.sentences_needed(reconstruction, 113.46)
    assert needed == pytest.approx(23.552850, abs=1e-6)


def test_kl_annealing_schedule():
    objective, found = annealed(elbo, over=10_000), []
    for step in (0, 2500, 10_000, 20_000):
        objective.tick.fill_(step)
        found.append(objective.weight.item())
    assert found == [0.0, 0.25, 1.0, 1.0]


class Independently:
    """Words drawn alike at every place, END never: p_seq without a chance to stop."""

    words = torch.tensor([0.0, 0.5, 0.3, 0.2])

    def __call__(self, tokens, context):
        return torch.zeros(*tokens.shape, 1)

    def log_prob(self, hidden):
        return self.words.log().expand(len(hidden), 4)


class Head(Independently):
    def __call__(self, hidden, target):
        return self.words.log()[target]


def test_length_factorisation_6_2():
    lengths = Lengths(torch.tensor([1, 2, 2, 2]), 2, added=0)
    x = torch.tensor([r for r in itertools.product(range(4), repeat=2) if r[0] or not r[1]])
    written = (x != 0).sum(1)
    texts = TokenSequences(Independently(), Head(), torch.zeros(len(x), 1), 4, 2, written)
    total = texts.log_prob(x) + lengths().log_prob(written)
    assert total.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    sequence = (x == torch.tensor([1, 3])).all(1)  # the words numbered 0 and 2 of the page
    assert total[sequence].item() == pytest.approx(-2.590267, abs=1e-6)


def test_p1_mrr():
    found = diagnostics.ranking([1, 3, 2, 1])
    assert found == pytest.approx((0.5, 0.708333), abs=1e-6)


def test_qa_score():
    mean, code, scale = np.array([0.0, 1.0]), np.array([0.6, 1.8]), np.array([0.5, 0.4])
    score = diagnostics.answer_scores(mean[None], code[None, None], scale[None])
    assert score.item() == pytest.approx(2.332381, abs=1e-6)
    density = Independent(Normal(*map(torch.from_numpy, (mean, scale))), 1)
    nats = -density.log_prob(torch.from_numpy(code)).item()
    assert nats == pytest.approx(2.948439, abs=1e-6)
    rest = np.log(scale).sum() + math.log(2 * math.pi)
    assert score.item() ** 2 / 2 + rest == pytest.approx(nats)


def test_bleu1():
    found = diagnostics.bleu1("the the cat sat", "the cat sat on the mat")
    assert found == pytest.approx(0.606531, abs=1e-6)


def test_bleu1_clipping():
    found = diagnostics.bleu1("the " * 7, "the cat is on the mat")
    assert found == pytest.approx(0.285714, abs=1e-6)


def test_gaussian_shell():
    assert math.sqrt(512) == pytest.approx(22.627417, abs=1e-6)
    assert diagnostics.shell_radius(1.0, 512) == pytest.approx(22.616371, abs=1e-6)
    assert diagnostics.shell_radius(2.5, 1) == pytest.approx(2.5 * math.sqrt(2 / math.pi))
    torch.manual_seed(0)
    lengths = (3 * torch.randn(4000, 512)).norm(dim=1)
    assert lengths.mean().item() == pytest.approx(diagnostics.shell_radius(3.0, 512), rel=1e-3)
