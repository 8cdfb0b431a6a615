"""The collapse report: models of known state, closed forms, and what it refuses."""

import dataclasses
import json
import math

import numpy as np
import pytest
import strangers
import torch
from strangers import BENCH, CALIBRATION
from torch import nn
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal

from lvmlab import report
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.diagnostics import Report, gaussian_information, judge, report_from_json
from lvmlab.diagnostics.aggregate import _gains
from lvmlab.diagnostics.encoded import densities, encode, width_gains
from lvmlab.diagnostics.estimators import Estimate
from lvmlab.diagnostics.finite import add_up
from lvmlab.diagnostics.given import looking
from lvmlab.diagnostics.information import _gaussian_log_density
from lvmlab.diagnostics.weights import weigh
from lvmlab.joint import Joint
from lvmlab.models import dense_gaussian
from lvmlab.networks import MLP

NAMES = ("distortion", "rate", "information", "mismatch", "nll", "gap")
QUICK = {"samples": 32, "weighed": 200}


def pair_of(name):
    return strangers.calibration(name)


@pytest.mark.parametrize("name", BENCH)
def test_the_bench_of_known_states(name):
    state, pair, data = BENCH[name]
    for seed in range(3):
        found = report(*pair(), data(seed, 500), **QUICK)
        assert found.verdict.state == state, (seed, found.verdict)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALIBRATION)
def test_five_strangers_on_larger_data(name):
    wanted = {
        "healthy": "healthy", "ignored by both": "ignored", "encoder asleep": "asleep",
        "prior off": "prior off", "tiny codes": "ignored",
    }  # fmt: skip
    for seed in range(5):  # notebook 13 has twenty
        found = report(*pair_of(name), strangers.line(seed, 2000), samples=32, weighed=300)
        assert found.verdict.state == wanted[name], (seed, found.verdict)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALIBRATION)
def test_calibration_rows_within_four_standard_errors(name):
    found = report(*pair_of(name), strangers.line(1, 5000), samples=200, weighed=1500)
    for number, exact in zip(NAMES, CALIBRATION[name], strict=True):
        error = found.errors[number]
        rounding = 6e-5  # of the table
        bias = 0.0 if number not in ("nll", "gap") else 0.01  # of a bound by 200 samples
        off = abs(getattr(found, number) - exact)
        assert off < 4 * error + rounding + bias, (number, exact, getattr(found, number), error)


@pytest.mark.parametrize("name", CALIBRATION)
def test_elbo_surgery_on_estimates(name):
    """Identity `elbo-surgery`: rate = information + mismatch, each estimated by itself."""
    for seed in range(3):
        found = report(*pair_of(name), strangers.line(seed, 500), **QUICK)
        errors = [found.errors[k] for k in ("rate", "information", "mismatch")]
        left = found.rate - found.information - found.mismatch
        assert abs(left) < 3 * math.hypot(*errors) + 1e-6
        left = found.distortion + found.rate - found.negative_bound
        assert abs(left) < 1e-9


@pytest.mark.slow
def test_active_units_do_not_show_information():
    """Identity `active-units`: tiny codes count as one unit and hold nothing."""
    for seed in range(5):
        found = report(*pair_of("tiny codes"), strangers.line(seed, 2000), **QUICK)
        assert found.active == 1 and found.information < 0.02
        assert "1 unit counts as active" in found.verdict.evidence


def test_swap_of_a_consistent_linear_pair_is_known():
    found = report(*pair_of("healthy"), strangers.line(0, 1500), **QUICK)
    assert abs(found.swap - (math.exp(2 * 1.3863) - 1)) < 4 * found.errors["swap"]
    assert report(*pair_of("ignored by both"), strangers.line(0, 500), **QUICK).swap == 0


def test_likelihood_cannot_see_collapse():
    healthy, ignored = (
        report(*pair_of(name), strangers.line(0, 2000), **QUICK)
        for name in ("healthy", "ignored by both")
    )
    assert abs(healthy.nll - ignored.nll) < 0.02
    assert healthy.verdict.state != ignored.verdict.state


def exact_numbers(w, a, sigma, s):
    """Every number of a linear pair in closed form, for the same judge."""
    v = strangers.V
    z2 = a**2 * v + sigma**2
    rate = 0.5 * (z2 - 1) - math.log(sigma)
    information = 0.5 * math.log(z2 / sigma**2)
    misfit = (v - 2 * w * a * v + w**2 * z2) / (2 * s**2)
    distortion = 0.5 * math.log(2 * math.pi * s**2) + misfit
    total = w**2 + s**2
    nll = 0.5 * math.log(2 * math.pi * total) + v / (2 * total)
    return distortion, rate, information, rate - information, nll, distortion + rate - nll


def test_closed_forms_of_the_calibration_rows():
    w, a, sigma, s = strangers.optimum(eta=0.05)
    assert np.allclose(exact_numbers(w, a, sigma, s), CALIBRATION["prior off"], atol=1e-4)
    w, a, sigma, s = strangers.optimum()
    assert np.allclose(exact_numbers(w, a, sigma, s), CALIBRATION["healthy"], atol=1e-4)


@pytest.mark.slow
def test_random_linear_pairs_are_read_within_their_errors():
    random = np.random.default_rng(5)
    for seed in range(8):
        w, a = random.uniform(0.3, 2.0), random.uniform(0.05, 0.6)
        sigma, s = random.uniform(0.2, 1.2), random.uniform(0.4, 2.0)
        found = report(*strangers.linear(w, a, sigma, s), strangers.line(seed, 2000), samples=200)
        for number, exact in zip(NAMES, exact_numbers(w, a, sigma, s), strict=True):
            slack = 4.5 * found.errors[number] + (0.03 if number in ("nll", "gap") else 2e-3)
            assert abs(getattr(found, number) - exact) < slack, (seed, number)


def test_importance_weighted_nll_of_a_line(float64):
    """Identity `importance-weighted-nll`: an upper bound that comes down to the exact value."""
    exact = CALIBRATION["prior off"][4]
    p, q = pair_of("prior off")
    batch = {"x": strangers.line(3, 1000)["x"].double()}
    scale = math.sqrt(strangers.optimum(eta=0.05)[0] ** 2 + strangers.S**2)
    truth = -Normal(0.0, scale).log_prob(batch["x"][:, 0]).numpy()
    torch.manual_seed(7)
    few, many = weigh(p, q, batch, 16, 4.0).nll - truth, weigh(p, q, batch, 400, 4.0).nll - truth
    assert few.mean() > many.mean() > -3 * many.std() / 1000**0.5
    assert abs(many.mean()) < 0.02 and exact > 3
    alone = weigh(p, q, batch, 400).nll - truth  # without wider copies the gap is missed
    assert alone.mean() > many.mean()


def test_widths_gain_what_the_closed_form_says(float64):
    w, a, sigma, s = strangers.optimum()
    p, q = strangers.linear(w, a, sigma / 10, s)
    torch.manual_seed(11)
    gains = width_gains(p, q, {"x": strangers.line(2, 20_000)["x"].double()})
    for factor, rows in gains.items():
        ratio = (factor / 10) ** 2
        cost = 0.5 * (ratio - 1 - math.log(ratio))
        exact = 0.5 * (0.01 - 1 - math.log(0.01)) - cost
        assert abs(rows.mean() - exact) < 4 * rows.std() / 20_000**0.5 + 1e-6, factor


def test_sums_over_categories_against_a_table(float64):
    p, q = strangers.categories(temperature=3.0)
    batch = {"x": strangers.blobs(0, 40)["x"].double()}
    found = add_up(p, q, batch)
    means, x = strangers.CENTRES.double().numpy(), batch["x"].numpy()
    log_x = -0.5 * ((x[:, None] - means) ** 2).sum(-1) - math.log(2 * math.pi)
    logits = (log_x + math.log(2 * math.pi)) / 3
    posterior = np.exp(logits - np.logaddexp.reduce(logits, 1, keepdims=True))
    log_model = log_x - math.log(4)
    nll = -np.logaddexp.reduce(log_model, 1)
    assert np.allclose(found.posteriors, posterior)
    assert np.allclose(found.nll, nll)
    assert np.allclose(found.distortion, -(posterior * log_x).sum(1))
    assert np.allclose(found.rate, (posterior * (np.log(posterior) + math.log(4))).sum(1))
    assert np.allclose(found.distortion + found.rate - found.nll, found.gap)
    model = np.exp(log_model + nll[:, None])
    assert np.allclose(found.wanted, (model * np.log(4 * model)).sum(1))
    assert np.allclose(found.swapped, -(log_x @ posterior.mean(0)))


def test_pairs_of_densities_by_both_roads(float64):
    """One call for all z, every pair by itself, and SciPy-free Gaussians say the same."""
    p, q = strangers.two_floors()
    batch = {"x": strangers.line(0, 12)["x"].double()}
    drawn = q.draw(batch).values
    latents = {v: drawn[v] for v in ("z1", "z2")}
    matrix = densities(q, batch, latents)
    for i, j in ((0, 5), (3, 3), (11, 0)):
        pair = {"x": batch["x"][j : j + 1]} | {v: z[i : i + 1] for v, z in latents.items()}
        assert abs(matrix[i, j] - float(q.score(pair).nats(["z1", "z2"]))) < 1e-9
    only = Joint("q", {"x": None, "z1|x": q.factors["z1|x"]})
    beside = densities(only, batch, {"z1": latents["z1"]})
    assert beside.shape == (12, 12)
    last = q.score({"x": batch["x"]} | latents).nats(["z2"])
    assert np.allclose(np.diag(matrix) - last.numpy(), np.diag(beside))
    del p


def test_full_covariances_are_read_like_diagonal_ones():
    p, q = strangers.some_off()
    data = strangers.plane(0, 400)

    def full(x):
        here = q.factors["z|x"](x)
        return MultivariateNormal(here.mean, torch.diag_embed(here.variance))

    twin = Joint("q", {"x": None, "z|x": full})
    one, other = (report(p, either, data, **QUICK) for either in (q, twin))
    assert one.verdict.state == other.verdict.state == "some off"
    assert abs(one.rate - other.rate) < 0.1  # no closed form for full covariances: drawn
    assert abs(one.information - other.information) < 0.1  # other draws


def test_information_is_that_of_the_library():
    p, q = pair_of("healthy")
    batch = strangers.line(0, 800)
    found = report(p, q, batch, **QUICK)
    torch.manual_seed(3)
    drawn = encode(p, q, batch)
    mean, scale = drawn.moments["z"]
    twin = gaussian_information(drawn.latents["z"], mean, scale).information
    assert abs(found.information - twin) < 4 * found.errors["information"]


def test_the_own_row_is_left_out_as_the_library_does():
    random = np.random.default_rng(2)
    mean, scale = random.normal(size=(300, 2)), random.uniform(0.3, 1, (300, 2))
    z = mean + scale * random.normal(size=(300, 2))
    own, inside, alone = _gains(_gaussian_log_density(z, mean, scale), 0)
    for given, known in ((inside, False), (alone, True)):
        twin = gaussian_information(z, mean, scale, leave_own_out=known).information
        assert abs((own - given).mean() - twin) < 1e-9


def test_what_is_called_at_least_is_at_most_the_mismatch():
    """No mismatch, 30 dimensions, few rows: chance alone must not look like one."""
    found = [
        report(*strangers.at_cap(30, 0.3), strangers.cube(seed, 150, 30), **QUICK)
        for seed in range(6)
    ]
    low = np.array([one.mismatch_low for one in found])
    assert low.mean() < 0.1 and all(one.mismatch_low <= max(one.mismatch, 0) for one in found)
    shrunk = report(*strangers.linear(*strangers.optimum(eta=0.05)), strangers.line(0, 600))
    assert 0.9 < shrunk.mismatch_low <= shrunk.mismatch < 1.15  # exactly 1.0229


def test_an_estimate_never_passes_its_cap():
    """Identity `mi-estimator-ceiling`: 18 nats read log N, and the report says "at least"."""
    for rows in (100, 500):
        found = report(*strangers.at_cap(), strangers.cube(0, rows), **QUICK)
        assert found.ceiling == math.log(rows) and found.at_ceiling
        assert all(e.information <= e.ceiling + 1e-9 for e in found.estimates)
        assert found.verdict.headline == f"z holds at least {math.log(rows):.1f} nats"
        assert found.mismatch_low < found.mismatch  # between 0 and 11: not told
        assert found.verdict.open


def test_a_mismatch_below_the_cap_is_still_told():
    """High information and codes far from the prior: single dimensions show it."""
    w, dim, s = math.sqrt(1 - 0.01**2), 4, 0.01
    p, _ = strangers.at_cap()
    shifted = Joint("q", {"x": None, "z|x": lambda x: strangers.normal(w * x + 3.0, s)})
    moved = Joint(
        "p",
        {"z": p.factors["z"], "x|z": lambda z: strangers.normal(w * (z - 3.0), s)},
    )
    found = report(moved, shifted, strangers.cube(0, 500), **QUICK)
    assert found.verdict.state == "prior off" and "at its cap" in [
        one.state for one in found.verdict.also
    ]
    assert found.mismatch_low > 0.8 * dim * 3**2 / 2


def test_few_rows_cannot_tell():
    for rows in (1, 5, 29):
        found = report(*pair_of("healthy"), strangers.line(0, rows), **QUICK)
        assert found.verdict.state == "cannot tell" and f"{rows} rows" in found.verdict.evidence
    states = [
        report(*pair_of("tiny codes"), strangers.line(s, 40), **QUICK).verdict.state
        for s in range(5)
    ]
    assert set(states) <= {"ignored", "cannot tell"}


def test_a_number_close_to_its_threshold_decides_nothing():
    sigma = 0.9
    a = math.sqrt((1 - sigma**2) / strangers.V)
    p, q = strangers.linear(a * strangers.V, a, sigma, 1.5)
    found = report(p, q, strangers.line(0, 300), **QUICK)
    near = judge(found, {"rate": found.rate + 0.5 * found.errors["rate"]})
    assert near.state == "cannot tell" and "rate" in near.evidence
    assert judge(found, {"rate": 10.0}).state in ("ignored", "asleep")
    with pytest.raises(ValueError, match="thresholds must be among"):
        judge(found, {"rates": 1.0})


def test_an_encoder_and_a_decoder_alone_are_a_pair():
    p, q = pair_of("healthy")
    data = strangers.line(0, 300)["x"]
    whole = report(p, q, data, **QUICK)
    alone = report(p.factors["x|z"], q.factors["z|x"], data.numpy(), **QUICK)
    given = report(p.factors["x|z"], q.factors["z|x"], {"x": data}, prior=p.factors["z"](), **QUICK)
    for name in ("rate", "distortion", "nll", "information"):
        values = [getattr(one, name) for one in (whole, alone, given)]
        assert max(values) - min(values) < 1e-6, name
    k, decode = strangers.categories()[1].factors["k|x"], strangers.categories()[0].factors["x|k"]
    assert report(decode, k, strangers.blobs(0, 300)).verdict.state == "healthy"


def test_the_same_seed_gives_the_same_report_and_the_outer_state_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (
        report(*pair_of("healthy"), strangers.line(0, 200), seed=seed, **QUICK)
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert one.distortion == two.distortion != other.distortion


def test_noise_is_not_that_of_data_drawn_from_the_same_seed():
    torch.manual_seed(0)
    data = torch.randn(100, 1)
    with looking(*pair_of("healthy"), seed=0):
        assert not torch.equal(torch.randn(100, 1), data)
    found = report(*pair_of("healthy"), 2 * data, **QUICK)
    assert abs(found.distortion - 0.7258) < 5 * found.errors["distortion"]


def test_dropout_sleeps_during_the_report():
    class Wobbly(nn.Module):
        def __init__(self):
            super().__init__()
            self.line, self.drop = nn.Linear(1, 1), nn.Dropout(0.5)

        def posterior(self, x):
            return strangers.normal(self.line(self.drop(x)), 0.5)

    model = Wobbly()
    p, _ = pair_of("healthy")
    data = strangers.line(0, 200)
    ways = {
        "a method": model.posterior,
        "a function": lambda x: model.posterior(x),
        "a name of a script": eval("lambda x: model.posterior(x)", {"model": model}),
        "a joint": Joint("q", {"x": None, "z|x": lambda x: model.posterior(x)}),
    }
    found = {name: report(p, way, data, **QUICK).rate for name, way in ways.items()}
    model.eval()
    right = report(p, model.posterior, data, **QUICK).rate
    assert all(rate == right for rate in found.values())
    model.train()
    report(p, model.posterior, data, **QUICK)
    assert model.training and model.drop.training


def test_json_goes_round_and_holds_no_nan():
    for name in ("healthy line", "exact categories", "point encoder", "mixture prior"):
        _, pair, data = BENCH[name]
        found = report(*pair(), data(0, 200), title=name, **QUICK)
        text = found.json()
        assert "NaN" not in text and "Infinity" not in text
        assert json.loads(text) == found.as_dict()
        again = report_from_json(text)
        assert isinstance(again, Report) and again == found and again.json() == text
        assert again.table() == found.table()
    known = (Estimate("closed form", 1.0, math.inf, ""),)
    open_ended = dataclasses.replace(found, estimates=known, gap=math.nan)
    assert json.loads(open_ended.json())["estimates"][0]["ceiling"] is None
    assert report_from_json(open_ended.json()).estimates == known
    for bad in ("no json", "{}", "[1]"):
        with pytest.raises(ValueError, match="text must be the JSON of a report"):
            report_from_json(bad)


def test_the_table_says_verdict_bounds_ceilings_and_conventions():
    found = report(*pair_of("prior off"), strangers.line(0, 500), title="stranger", **QUICK)
    table = found.table()
    for words in (
        "THE CODES HAVE LEFT THE PRIOR", "stranger", "upper bound, 32 samples", "ceiling 6.21",
        "05_images_and_priors", "conventions: rate 0.05", "KSG", "also: the encoder is sharper",
    ):  # fmt: skip
        assert words in table
    assert str(found) == table
    found = report(*strangers.categories(dead=3), strangers.blobs(0, 200))
    assert "exact" in found.table() and "mass of 7 components" in found.table()


def test_labels_are_judged_by_neighbours_in_z_and_in_x():
    data = strangers.blobs(0, 400)
    label = (data["x"][:, None] - strangers.CENTRES).square().sum(-1).argmin(1)
    torch.manual_seed(0)
    p, q = dense_gaussian(2, 2)
    found = report(p, q, data, labels=label, **QUICK)
    assert found.accuracy_of_data > 0.95 and 0 <= found.accuracy <= 1
    within = report(p, q, data | {"label": label}, **QUICK)
    assert within.accuracy == found.accuracy
    with pytest.raises(ValueError, match="one entry for each of the 400 rows of data, but has 399"):
        report(p, q, data, labels=label[1:])


def test_tokens_have_labels_but_no_distances():
    class Words(nn.Linear):
        def forward(self, z):
            return Independent(Categorical(logits=super().forward(z).unflatten(1, (5, 6))), 1)

    class Codes(nn.Embedding):
        def forward(self, x):
            return Independent(Normal(super().forward(x).sum(1), 1.0), 1)

    torch.manual_seed(0)
    label = torch.randint(0, 2, (100,))
    x = torch.randint(0, 3, (100, 5)) + 3 * label[:, None]  # each label has words of its own
    codes = Codes(6, 2)
    with torch.no_grad():
        codes.weight.copy_(torch.tensor([[0.0, 0.0]] * 3 + [[2.0, 2.0]] * 3))
    found = report(Words(2, 30), codes, x, labels=label, **QUICK)
    assert found.accuracy == 1 and found.accuracy_of_data is None
    assert "labels by 5 neighbours: 100.0 % in z\n" in found.table() + "\n"
    assert report_from_json(found.json()).accuracy_of_data is None


def test_images_of_yes_and_no_are_numbers_and_whole_numbers_are_named():
    torch.manual_seed(0)
    p = Joint("p", {"z": StandardNormal(2), "x|z": Bernoulli(MLP(2, 8, 6))})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(6, 8, 4))})
    x = np.random.default_rng(0).random((100, 6)) > 0.5
    wanted = report(p, q, x.astype("float32"), **QUICK)
    for given in (x, torch.from_numpy(x)):
        assert report(p, q, given, **QUICK).negative_bound == wanted.negative_bound
    with pytest.raises(ValueError, match=r"data\['x'\] are whole numbers.*give floats"):
        report(p, q, x.astype(int), **QUICK)


def test_neighbours_are_other_rows():
    found = report(*pair_of("healthy"), strangers.line(0, 100), **QUICK)
    rows = found.arrays["neighbours"]
    assert rows.shape == (18, 5) and all(i not in line for i, line in enumerate(rows))


def _bad_pairs():
    p, q = pair_of("healthy")
    loose = Joint("q", {"x": None, "z|x": lambda x: Normal(0.4 * x, 0.5)})
    renamed = Joint("q", {"x": None, "y|x": q.factors["z|x"]})
    return {
        "a tensor": ((p, lambda x: 0.4 * x), r"q\(z\|x\) must return a torch distribution.*tensor"),
        "a pair": ((p, lambda x: (x, x)), r"a tuple of 2.*from_moments"),
        "a decoded tensor": ((lambda z: z, q), r"p\(x\|z\) must return a torch distribution"),
        "no Independent": ((p, loose), r"log q\(z\|x\) has shape.*Independent"),
        "exchanged": ((q, p), "are they exchanged"),
        "other names": ((p, renamed), "must share their latents"),
        "a number": ((p, 3), "q must be a joint or an encoder"),
        "a word": (("p", q), "p must be a joint or a decoder"),
    }


@pytest.mark.parametrize("name", _bad_pairs())
def test_bad_models_are_refused(name):
    (p, q), words = _bad_pairs()[name]
    with pytest.raises(ValueError, match=words):
        report(p, q, strangers.line(0, 50))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"x": torch.tensor([[1.0], [math.nan], [2.0]])}, "1 of 3 rows hold NaN"),
        ({"y": torch.zeros(3, 1)}, r"must hold the variables \['x', 'z'\]"),
        ({"x": torch.zeros(3, 1), "z": torch.zeros(2, 1)}, "lengths are"),
        (torch.zeros(0, 1), "one row or more"),
        (["a", "b"], "real numbers"),
        (torch.zeros(50, 3), "x"),
    ],
)
def test_bad_data_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        report(*pair_of("healthy"), data)


def test_bad_numbers_and_models_without_finite_parameters_are_refused():
    p, q = pair_of("healthy")
    for wrong in ({"samples": 0}, {"weighed": 0}, {"samples": 1.5}):
        with pytest.raises(ValueError, match="must be a whole number"):
            report(p, q, strangers.line(0, 50), **wrong)
    broken = Joint("p", {"z": p.factors["z"], "x|z": lambda z: strangers.normal(z * math.nan, 1.0)})
    with pytest.raises(ValueError, match=r"NaN|nan|finite"):
        report(broken, q, strangers.line(0, 50), **QUICK)


def test_pairs_of_rows_are_never_all_in_memory():
    """Blocks of rows: the peak stays below one matrix of all pairs."""
    import tracemalloc

    p, q = dense_gaussian(2, 2)
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(10_000))
    tracemalloc.start()
    report(p, q, x, **QUICK)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 4000 * 8  # one matrix of all pairs; the usual way has four of them


def test_several_event_shapes():
    """Images as x and a matrix as z."""

    def decode(z):
        mean = z.mean((1, 2))[:, None, None, None].expand(-1, 1, 4, 4)
        return Independent(Normal(mean, 1.0), 3)

    def encoder(x):
        mean = x.mean((1, 2, 3))[:, None, None].expand(-1, 2, 3)
        return Independent(Normal(mean, torch.full_like(mean, 0.5)), 2)

    x = torch.randn(100, 1, 4, 4, generator=torch.Generator().manual_seed(1)).sigmoid()
    found = report(decode, encoder, x, **QUICK)
    assert len(found.dimensions) == 6 and found.arrays["decoded"].shape == (18, 1, 4, 4)
