"""Studies of TzK: the toy's exact answers, the same rows for all, numbers by another road."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Categorical

from lvmlab.diagnostics import bits_per_dim, conditional_likelihood
from lvmlab.flows import Flow, dequantise
from lvmlab.models import Kind, Knowledge, dense_flow
from lvmlab.noise import generator
from lvmlab.studies import knowledge, knowledge_runs, knowledge_toy

TOY = SimpleNamespace(**knowledge._TOY | {"rows": 200, "batch": 50, "flow_steps": 4,
                                         "kind_steps": 4, "layers": 2, "points": 31})  # fmt: skip
SETS = SimpleNamespace(**knowledge._SMOKE | {"rows": 40, "points": 25})


@pytest.fixture
def flow():
    return knowledge_toy.toy_flow(TOY, 0)


# -- the toy


def test_the_grid_holds_the_toy():
    grid = knowledge_toy.grid(101)
    assert grid.density.sum().item() * grid.area == pytest.approx(1.0, abs=3e-4)
    for names in (["upper"], ["left"], ["upper", "left"]):
        assert grid.exactly(names).sum().item() * grid.area == pytest.approx(1.0)
    share = (grid.density * grid.known["upper"]).sum().item() * grid.area
    assert share == pytest.approx(0.5, abs=1e-3)  # the moons are each other's mirror image


def test_rows_follow_the_exact_densities_and_e_are_independent_given_t():
    rows = knowledge_toy.toy_rows(40_000, 3)
    exact = knowledge_toy.known(rows["t"])
    for name, p in exact.items():
        e = rows[f"e_{name}"].double()
        error = ((e - p) / (p * (1 - p)).clamp_min(1e-6).sqrt()).clamp(-50, 50)
        assert abs(error.mean()) < 5 / 200
        for some in (p < 0.3, (p > 0.3) & (p < 0.7), p > 0.7):
            assert abs(e[some].mean() - p[some].mean()) < 5 * 0.5 / some.sum() ** 0.5
    rest = [rows[f"e_{name}"] - p for name, p in exact.items()]
    assert abs((rest[0] * rest[1]).mean()) < 5 * 0.25 / 200
    assert not torch.equal(rows["t"], knowledge_toy.toy_rows(40_000, 4)["t"])


def test_distance_and_cross_entropy_of_normals():
    """Total variation of N(0, I) and N((m, 0), I) is 2 Phi(m / 2) - 1."""
    grid = knowledge_toy.grid(161)
    a = torch.distributions.Normal(0.0, 0.5).log_prob(grid.t.double()).sum(1).exp()
    moved = grid.t.double() - torch.tensor([0.5, 0.0])
    b = torch.distributions.Normal(0.0, 0.5).log_prob(moved).sum(1).exp()
    exact = math.erf(0.5 / math.sqrt(2))  # m / scale = 1
    assert grid.distance(a, b) == pytest.approx(exact, abs=2e-3)
    entropy = math.log(2 * math.pi * math.e * 0.25)
    assert grid.cross_entropy(a, a) == pytest.approx(entropy, abs=1e-3)
    assert grid.cross_entropy(a, b) - entropy == pytest.approx(0.5, abs=1e-3)


class Exact(torch.nn.Module):
    """The toy's own density in the place of a flow."""

    shape = (2,)

    def forward(self):
        return Scored(knowledge_toy.moons().log_prob)


class Scored(torch.distributions.Distribution):
    def __init__(self, log_prob, rows=()):
        super().__init__(rows, (2,), validate_args=False)
        self.scores = log_prob

    def log_prob(self, value):
        return self.scores(value.double())


def exact_kinds():
    found = Knowledge(Exact())
    shares = {}
    grid = knowledge_toy.grid(121)
    for name in ("upper", "left"):
        shares[name] = (grid.density * grid.known[name]).sum() * grid.area
        found.add(name, _exact_kind(name, shares[name]))
    found.pair = lambda name, latent=False: (_joint(found.kinds[name], name), None)
    found.encoding = lambda names=None, latent=False: _encoding(found, names)
    return found, grid


def _exact_kind(name, share):
    def decoder(e):
        def nats(t):
            one = knowledge_toy.known(t)[name]
            return knowledge_toy.moons().log_prob(t) + (one / share).log()

        return Scored(nats, e.shape)

    def told(t):
        one = knowledge_toy.known(t)[name]
        return Categorical(torch.stack([1 - one, one], 1))

    return Kind(decoder, lambda: Categorical(torch.stack([1 - share, share])), told)


def _joint(kind, name):
    from lvmlab import Joint

    return Joint("p", {f"e_{name}": kind.existence, f"t|e_{name}": kind.decoder})


def _encoding(found, names):
    from lvmlab import Joint

    told = {f"e_{n}|t": found.kinds[n].discriminator for n in names}
    return Joint("q", {"t": found.density, **told})


def test_three_ways_to_combine_on_exact_factors():
    found, grid = exact_kinds()
    names = ("upper", "left")
    exact = grid.exactly(names)
    mass = (grid.density * grid.known["upper"] * grid.known["left"]).sum() * grid.area
    for way in ("decoders / p(t)", "p(t) discriminators"):
        nats = knowledge_toy.combined(found, names, grid.t, way)
        assert grid.distance(grid.normal(nats), exact) < 1e-6
        assert nats.exp().sum() * grid.area == pytest.approx(mass.item(), rel=1e-5)
    assert grid.normal(1e6 + nats).sum() * grid.area == pytest.approx(1)  # no overflow
    product = knowledge_toy.combined(found, names, grid.t, "decoders")
    assert grid.distance(grid.normal(product), exact) > 0.1


def test_a_code_is_integrated_out(flow):
    """Against an average over 4000 codes weighted by p(e=1|c), and as a density of mass 1."""
    grid = knowledge_toy.grid(61)
    z = flow.knowledge.latent(knowledge_toy.toy_rows(200, 0)["t"]).detach()
    rows = {"z": z, "e_left": knowledge_toy.toy_rows(200, 0)["e_left"]}
    knowledge_runs.attach(flow.knowledge, "left", "TzK", rows, TOY, 0)
    p, _ = flow.knowledge.pair("left")
    with torch.no_grad():  # existence must depend on the code, or leaving it out would not be seen
        p.factors["e_left|c_left"].network.layers[-1].weight.mul_(20)
    density = knowledge_toy.given_kind(flow.knowledge, "left", grid.t)
    torch.manual_seed(0)
    some, average = torch.tensor([700, 1860, 2500]), torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        c, one = torch.randn(4000, 1), torch.ones(4000, dtype=torch.long)
        weights = p.factors["e_left|c_left"](c).probs[:, 1].double()
        for place, i in enumerate(some):
            t = grid.t[i].expand(4000, 2)
            given = p.factors["t|e_left,c_left"](one, c).log_prob(t).double().exp()
            average[place] = (weights * given).sum() / weights.sum()
    torch.testing.assert_close(density[some], average, rtol=0.05, atol=1e-6)


# -- training


def test_the_control_sees_no_labels_and_kinds_do_not_move_the_flow(flow):
    rows = knowledge_toy.toy_rows(200, 0)
    z = flow.knowledge.latent(rows["t"]).detach()
    before = [v.clone() for v in flow.knowledge.density.parameters()]
    controls = []
    for e in (rows["e_left"], rows["e_upper"]):
        extra, seconds = knowledge_runs.control({"z": z, "e_left": e}, TOY, 0)
        controls.append(extra().log_prob(z))
        assert seconds > 0
    assert torch.equal(*controls)
    for name in knowledge_runs.OBJECTIVES:
        knowledge_runs.attach(
            flow.knowledge, "left", name, {"z": z, "e_left": rows["e_left"]}, TOY, 0
        )
    after = list(flow.knowledge.density.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_rare_kind_is_in_every_batch():
    e = torch.zeros(200, dtype=torch.long)
    e[:10] = 1
    batches = knowledge_runs.Spread({"z": torch.arange(200.0), "e_rare": e}, 20, 3)
    for epoch in (0, 1):
        seen = [batches.at(10 * epoch + i) for i in range(10)]
        assert [int(batch["e_rare"].sum()) for batch in seen] == [1] * 10
        assert torch.cat([batch["z"] for batch in seen]).sort().values.tolist() == list(range(200))
    orders = [batches.at(i)["index"].tolist() for i in (0, 10)]
    assert orders[0] != orders[1]
    plain = knowledge_runs.Spread({"z": torch.arange(200.0)}, 20, 3)
    assert torch.equal(plain.at(0)["z"], knowledge_runs.Batches(plain.values, 20, 3).at(0)["z"])


def test_unknown_ways_to_learn_a_kind_are_named(flow):
    with pytest.raises(ValueError, match="objective must be one of e alone, TzK, got 'VAE'"):
        knowledge_runs.attach(flow.knowledge, "left", "VAE", {"z": torch.zeros(4, 2)}, TOY, 0)


def test_flows_are_remembered_by_what_they_are(monkeypatch):
    monkeypatch.setattr(knowledge_runs, "_flows", {})
    monkeypatch.setattr(knowledge_runs, "KEPT", 2)
    asked = []

    def make(size, seed):
        asked.append(seed)
        return knowledge_runs.Trained(Knowledge(Flow(dense_flow(2, 1, 2), (2,))), 1.0)

    first = knowledge_runs.remembered(make, TOY, 0)
    assert knowledge_runs.remembered(make, TOY, 0) is first and asked == [0]
    other = SimpleNamespace(**vars(TOY) | {"width": 3})
    assert knowledge_runs.remembered(make, other, 0) is not first
    knowledge_runs.remembered(make, TOY, 1)
    assert knowledge_runs.remembered(make, TOY, 0) is not first  # two are kept, not three


# -- images


def test_parts_of_a_set():
    train = knowledge_runs.images(SETS, "train")
    assert train.x.shape == (80, 1, 8, 8) and train.names == ("low", "high")
    assert train.existence("low").tolist() == [1] * 40 + [0] * 40
    assert train.rows(("high",)).tolist() == list(range(40, 80))
    wide = SimpleNamespace(**vars(SETS) | {"side": 12, "channels": 3})
    framed = knowledge_runs.images(wide, "train").x
    assert framed.shape == (80, 3, 12, 12)
    torch.testing.assert_close(framed[:, 1, 2:10, 2:10], train.x[:, 0])
    assert framed[:, :, :2].sum() == 0 and framed[:, :, :, 10:].sum() == 0
    grey = (train.x * 16) - (train.x * 16).round()
    assert grey.abs().max() < 1e-5


def test_bits_per_dimension_through_z_are_those_through_t():
    trained = knowledge_runs.image_flow(SETS, ("low", "high"), 0)
    test = knowledge_runs.images(SETS, "test")
    rows = knowledge_runs.stored(trained.knowledge, test, 1, 0, "low")
    train = knowledge_runs.stored(
        trained.knowledge, knowledge_runs.images(SETS, "train"), 2, 0, "low"
    )
    assert len(train["z"]) == 160 and len(rows["z"]) == 50
    train.pop("log_det")
    knowledge_runs.attach(trained.knowledge, "low", "e alone", train, SETS, 0)
    p, q = trained.knowledge.pair("low", latent=True)
    found = knowledge_runs.measured(p, q, rows, "low", test.levels, 0)
    t = dequantise(test.x, test.levels, generator(0, "stored"))[test.existence("low") == 1]
    over_t, _ = trained.knowledge.pair("low")
    with torch.no_grad():
        given = over_t.factors["t|e_low"](torch.ones(len(t), dtype=torch.long)).log_prob(t)
    direct = bits_per_dim(-given.double().mean().item(), 64, bins=17)
    assert found["bits_per_dim_upper_bound"] == pytest.approx(direct, abs=1e-4)
    assert found["distortion_bits_per_dim"] == found["bits_per_dim_upper_bound"]
    assert found["rate_bits_per_dim"] == 0 and 0 <= found["accuracy_percent"] <= 100


@pytest.mark.slow
def test_what_a_code_hides_is_the_rate():
    trained = knowledge_runs.image_flow(SETS, ("low", "high"), 0)
    rows = knowledge_runs.stored(
        trained.knowledge, knowledge_runs.images(SETS, "test"), 1, 0, "low"
    )
    inside = {name: rows[name] for name in ("z", "e_low")}
    knowledge_runs.attach(trained.knowledge, "low", "TzK", inside, SETS, 0)
    found = knowledge_runs.measured(
        *trained.knowledge.pair("low", latent=True), rows, "low", SETS.levels, 0
    )
    summed = found["distortion_bits_per_dim"] + found["rate_bits_per_dim"]
    batch = {name: value[rows["e_low"] == 1] for name, value in inside.items()}
    pair = trained.knowledge.pair("low", latent=True)
    rate = conditional_likelihood(*pair, batch, samples=5).rate.mean()
    assert found["rate_bits_per_dim"] == pytest.approx(rate / 64 / math.log(2)) and rate > 0
    assert found["bits_per_dim_upper_bound"] <= summed + 1e-9  # importance weights may tighten it
