"""Section D of the identities: TzK on a table of three t and two kinds (fixture F4)."""

import itertools
import math

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from lvmlab import amim
from lvmlab.flows import AffineCoupling, Chain, Flow
from lvmlab.flows.bijections import Bijection
from lvmlab.models import Kind, Knowledge
from lvmlab.objectives import per_knowledge

P_T = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
P_K1 = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]], dtype=torch.float64)  # p(k1|t), a row a t
P_K2 = torch.tensor([[0.3, 0.7], [0.6, 0.4], [0.1, 0.9]], dtype=torch.float64)
F4 = P_T[:, None, None] * P_K1[:, :, None] * P_K2[:, None, :]  # (t, k1, k2)
CELLS = torch.tensor(list(itertools.product(range(3), range(2), range(2))))
VALUES = {"t": CELLS[:, 0], "e_one": CELLS[:, 1], "e_two": CELLS[:, 2]}

pytestmark = pytest.mark.usefixtures("float64")


class Whole(torch.nn.Module):
    """A density over t in {0, 1, 2} in the place of a flow: z is t."""

    def __init__(self, table):
        super().__init__()
        self.table, self.shape = table, ()
        self.bijection, self.base = _Same(), self

    def forward(self):
        return Categorical(self.table)


class _Same(Bijection):
    def forward(self, x, context=None):
        return x, torch.zeros(x.shape, dtype=torch.float64)

    def inverse(self, y, context=None):
        return y


def table_kind(rows, columns=None, weights=None):
    """A kind from p(k|t); p(t|k) (2, 3) and p(k) by Bayes' rule where they are not given."""
    joint = P_T[:, None] * rows
    weights = joint.sum(0) if weights is None else weights
    columns = (joint / joint.sum(0)).T if columns is None else columns
    return Kind(lambda e: Categorical(columns[e]), lambda: Categorical(weights), _rows(rows))


def _rows(rows):
    return lambda t: Categorical(rows[t])


def exact():
    knowledge = Knowledge(Whole(P_T))
    knowledge.add("one", table_kind(P_K1))
    knowledge.add("two", table_kind(P_K2))
    return knowledge


def entropy(table):
    return -(table * table.log()).sum()


def test_tzk_factorisation_8_4():
    knowledge = exact()
    forms = {
        "encoder": knowledge.encoding().score(VALUES).nats().exp(),
        "decoder": knowledge.log_decoding(VALUES).exp(),
    }
    cell = CELLS.eq(torch.tensor([0, 0, 1])).all(1)
    for form in forms.values():
        assert form[cell].item() == pytest.approx(0.315, abs=1e-9)
        assert form.sum().item() == pytest.approx(1.0, abs=1e-9)
        torch.testing.assert_close(form, F4.flatten())
    p, _ = knowledge.pair("one")
    assert p.factors["e_one"]().probs[0].item() == pytest.approx(0.61, abs=1e-9)
    given = p.factors["t|e_one"](torch.zeros(1, dtype=torch.long))
    assert given.log_prob(torch.zeros(1, dtype=torch.long)).exp().item() == pytest.approx(
        0.737705, abs=1e-6
    )
    # the k_i need not be independent of each other: on F4 they are not
    k = F4.sum(0)
    assert (k - k.sum(1, keepdim=True) * k.sum(0)).abs().max() > 1e-3


def test_combining_is_exact_when_and_only_when_the_kinds_are_independent_given_t():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        tables = [torch.rand(3, 2, generator=generator).double() + 0.05 for _ in range(2)]
        rows = [table / table.sum(1, keepdim=True) for table in tables]
        knowledge = Knowledge(Whole(P_T))
        for name, table in zip(("one", "two"), rows, strict=True):
            knowledge.add(name, table_kind(table))
        truth = (P_T[:, None, None] * rows[0][:, :, None] * rows[1][:, None, :]).flatten()
        found = knowledge.log_decoding(VALUES).exp()
        torch.testing.assert_close(found, truth, atol=1e-12, rtol=1e-12)
    # k2 = k1: each p(t|k_i) p(k_i) is right, their combination is not
    knowledge = Knowledge(Whole(P_T))
    knowledge.add("one", table_kind(P_K1))
    knowledge.add("two", table_kind(P_K1))
    same = P_T[:, None, None] * torch.diag_embed(P_K1)
    assert (knowledge.log_decoding(VALUES).exp() - same.flatten()).abs().max() > 0.05


def test_amgm_gap_8_11():
    """On two constants, and inside L_MIM: what Jensen's inequality costs is the expected gap."""
    q, p = torch.tensor(0.3), torch.tensor(0.2)
    left, gap = (q.log() + p.log()) / 2, (((q / p).sqrt() + (p / q).sqrt()) / 2).log()
    assert left.item() == pytest.approx(-1.406705, abs=1e-6)
    assert gap.item() == pytest.approx(0.020411, abs=1e-6)
    assert left.item() == pytest.approx((((q + p) / 2).log() - gap).item(), abs=1e-12)
    pair = learned().pair("one")
    terms = per_knowledge(*pair, VALUES).terms
    log_q = -(terms["encoder_nll"] + terms["data_nll"])
    log_p = -(terms["distortion"] + terms["latent_nll"])
    gaps = torch.cosh((log_q - log_p) / 2).log()
    mixture = torch.logaddexp(log_q, log_p) - math.log(2)
    torch.testing.assert_close((log_q + log_p) / 2, mixture - gaps)
    assert (gaps >= 0).all() and gaps.max() > 1e-3


def test_tzk_entropy_8_12():
    assert entropy(F4).item() == pytest.approx(2.053297, abs=1e-6)
    assert entropy(P_T).item() == pytest.approx(1.029653, abs=1e-6)
    total = entropy(P_T)
    knowledge = exact()
    for name, h, information in (("one", 0.668748, 0.217456), ("two", 0.647447, 0.075094)):
        # E log p(t|k) - log p(t) of the joints, over all cells
        p, q = knowledge.pair(name)
        terms = per_knowledge(p, q, VALUES).terms
        gain = (F4.flatten() * (terms["data_nll"] - terms["distortion"])).sum()
        encoder = (F4.flatten() * (terms["latent_nll"] - terms["encoder_nll"])).sum()
        assert gain.item() == pytest.approx(information, abs=1e-6)
        assert encoder.item() == pytest.approx(information, abs=1e-6)  # I(z;k) = I(t;k)
        assert entropy(p.factors[f"e_{name}"]().probs).item() == pytest.approx(h, abs=1e-6)
        total = total + h - (gain + encoder) / 2
    assert total.item() == pytest.approx(2.053297, abs=2e-6)


def learned():
    """F4's factors, but for an encoder and a decoder of k1 that agree with nothing."""
    columns = torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.5, 0.3]])
    encoder = torch.tensor([[0.85, 0.15], [0.25, 0.75], [0.45, 0.55]])
    knowledge = Knowledge(Whole(P_T))
    knowledge.add("one", table_kind(encoder, columns, torch.tensor([0.55, 0.45])))
    knowledge.add("two", table_kind(P_K2))
    return knowledge


def test_tzk_per_knowledge_bound_G_2():
    knowledge = learned()
    whole = (knowledge.encoding().score(VALUES).nats() + knowledge.log_decoding(VALUES)) / 2
    left = (F4.flatten() * whole).sum().item()
    right = 0.0
    for name in ("one", "two"):
        terms = per_knowledge(*knowledge.pair(name), VALUES, kinds=2).terms
        halves = sum(terms[k] for k in ("encoder_nll", "data_nll", "distortion", "latent_nll")) / 2
        right -= (F4.flatten() * (halves - terms["data_nll"] / 2)).sum().item()
    assert left == pytest.approx(-2.082454, abs=1e-6)
    assert right == pytest.approx(-2.082454, abs=1e-6)
    # the loss is this sum, here over rows that come as often as F4 says (tenths of tenths)
    rows = (F4.flatten() * 1000).round().long()
    assert rows.sum() == 1000
    batch = {name: value.repeat_interleave(rows) for name, value in VALUES.items()}
    losses = [per_knowledge(*knowledge.pair(n), batch, kinds=2).loss for n in ("one", "two")]
    assert -sum(losses).item() == pytest.approx(-2.082454, abs=1e-6)
    # as printed, with the factors inside the logarithms, every kind is off by a constant
    printed = right + 2 * (2 * math.log(0.5) - math.log(0.5) / 2)
    assert abs(printed - left) > 0.1


def test_what_misses_nothing_and_is_alone_is_the_objective_of_the_mutual_information_machine():
    """For one kind L_MIM is the whole bound: compared with `mim` where e and t are both data."""
    p, q = learned().pair("one")
    mine, theirs = per_knowledge(p, q, VALUES), amim(p, q, VALUES)
    assert mine.loss.item() == pytest.approx(theirs.loss.item(), abs=1e-12)


def test_with_three_kinds_the_flow_can_lower_the_loss_without_limit():
    """Three kinds whose p(t|k) move with z: q(t) is charged 1.5 times and paid for 1 time."""

    def loss(shift):
        flow = Flow(_Moved(shift), (2,))
        knowledge, batch = Knowledge(flow), {"t": torch.zeros(4, 2)}
        for name in ("a", "b", "c"):
            knowledge.add(name, _kind_at(shift))
            batch[f"e_{name}"] = torch.tensor([0, 1, 0, 1])
        pairs = {name: knowledge.pair(name) for name in ("a", "b", "c")}
        return [
            sum(per_knowledge(*pairs[n], batch, kinds=c).loss for n in ("a", "b", "c")[:c]).item()
            for c in (1, 2, 3)
        ]

    near, far, further = loss(0.0), loss(10.0), loss(20.0)
    assert far[0] > near[0] and far[1] == pytest.approx(near[1])
    # -log N(z) grows by 100 for z = (10, 10) and counts 1 - C/2 = -1/2
    assert far[2] - near[2] == pytest.approx(-50.0) and further[2] - near[2] == pytest.approx(-200)


class _Moved(Bijection):
    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, x, context=None):
        return x + self.shift, torch.zeros(len(x))

    def inverse(self, y, context=None):
        return y - self.shift


def _kind_at(shift):
    return Kind(
        lambda e: Independent(Normal(torch.full((len(e), 2), shift), 1.0), 1),
        lambda: Categorical(torch.ones(2)),
        lambda z: Categorical(torch.ones(len(z), 2)),
    )


def test_a_code_with_a_learned_prior_shrinks_and_lowers_the_loss_without_limit():
    """Codes a times as small under both sides: a halving gains C log 2 nats (G.2.1)."""

    def loss(a):
        kind = Kind(
            lambda e, c: Independent(Normal(c / a, 1.0), 1),
            lambda c: Categorical(torch.ones(len(c), 2)),
            lambda z: Categorical(torch.ones(len(z), 2)),
            lambda: Independent(Normal(torch.zeros(2), a), 1),
            lambda e, z: Independent(Normal(a * z, 0.3 * a), 1),
        )
        knowledge = Knowledge(Flow(Chain(AffineCoupling(_Zero())), (2,)))
        knowledge.add("a", kind)
        batch = {"t": torch.randn(50, 2), "e_a": torch.arange(50) % 2}
        return per_knowledge(*knowledge.pair("a"), batch).loss.item()

    values = []
    for a in (1.0, 0.5, 0.25):
        torch.manual_seed(7)
        values.append(loss(a))
    assert values[0] - values[1] == pytest.approx(2 * math.log(2))
    assert values[1] - values[2] == pytest.approx(2 * math.log(2))


class _Zero(torch.nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 2)
