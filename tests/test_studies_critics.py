"""Studies of critics and hierarchies: the same start for all, honest looks, numbers by hand."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import kl_divergence

from lvmlab import Batches, Binarised, elbo
from lvmlab.batches import binarise
from lvmlab.conditionals import VampPrior
from lvmlab.diagnostics import knn_accuracy
from lvmlab.models import Refined
from lvmlab.noise import generator
from lvmlab.objectives import (
    HybridCritic,
    NeuralCritic,
    SelfCritic,
    amim,
    annealed,
    criticised,
    mim,
)
from lvmlab.studies import critic_runs, critics, hierarchies, hierarchy_runs

CRITICS = SimpleNamespace(
    rows=40, points=20, latent=2, width=4, kernels=(3, 3, 3), maps=1, blocks=1, features=6,
    refinements=2, most=3, batch=10, lr=1e-2, head=3, steps=4, every=2, patience=4, plateau=1,
    samples=3, turns=2,
)  # fmt: skip
HVAE = SimpleNamespace(
    rows=40, points=20, latents=(3, 2), width=6, channels=4, layers=2, pseudo=5, batch=20, lr=1e-2,
    epochs=2, warm_up=1, patience=1, samples=2,
)  # fmt: skip
SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def data():
    return hierarchy_runs.loaded("digits", CRITICS)


def weights(*joints):
    return torch.cat([v.detach().flatten() for joint in joints for v in joint.parameters()])


# -- binary images


def test_binarised_pixels_are_one_as_often_as_they_are_grey():
    x = torch.tensor([0.0, 0.25, 0.9, 1.0]).expand(500, 4)
    batches = Binarised({"x": x}, 500, seed=3)
    seen = torch.cat([batches.at(step)["x"] for step in range(40)])
    assert set(seen.unique().tolist()) == {0.0, 1.0}
    for grey, share in zip(x[0], seen.mean(0), strict=True):
        error = math.sqrt(grey * (1 - grey) / len(seen))
        assert abs(share - grey) <= 4 * error + 1e-9
    torch.testing.assert_close(batches.at(7)["x"], Binarised({"x": x}, 500, seed=3).at(7)["x"])
    assert not torch.equal(batches.at(7)["x"], batches.at(8)["x"])
    assert not torch.equal(batches.at(7)["x"], Binarised({"x": x}, 500, seed=4).at(7)["x"])
    first, again = next(iter(batches))["x"], next(iter(batches))["x"]
    assert torch.equal(first, again) and not torch.equal(first, batches.at(0)["x"])


def test_binarised_batches_hold_the_rows_of_plain_ones():
    x = torch.rand(30, 1, 2, 2).round()
    for step in (0, 5):
        ours, plain = (kind({"x": x}, 8, seed=2).at(step) for kind in (Binarised, Batches))
        assert torch.equal(ours["index"], plain["index"]) and torch.equal(ours["x"], plain["x"])


def test_grey_levels_are_chances():
    for wrong in (torch.tensor([[0.0], [255.0]]), torch.tensor([[-0.1], [0.5]])):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\].*divide 8-bit images by 255"):
            Binarised({"x": wrong}, 1)
        with pytest.raises(ValueError, match="must lie in"):
            binarise(wrong, generator(0))


# -- critics


def test_all_methods_begin_with_the_same_encoder_and_decoder():
    plain = critic_runs.begun("VAE", CRITICS, SHAPE, 0)
    for method in critic_runs.METHODS:
        p, q = critic_runs.begun(method, CRITICS, SHAPE, 0)
        assert torch.equal(weights(q), weights(plain[1]))
        if method != "Skip-VAE":
            assert torch.equal(weights(p), weights(plain[0]))
        assert isinstance(q.factors["z|x"], Refined) == (method == "SA-VAE")
    assert len(weights(critic_runs.begun("Skip-VAE", CRITICS, SHAPE, 0)[0])) > len(weights(p))
    assert not torch.equal(weights(critic_runs.begun("VAE", CRITICS, SHAPE, 1)[1]), weights(q))
    with pytest.raises(ValueError, match=r"method must be one of VAE, .*got 'GAN'"):
        critic_runs.begun("GAN", CRITICS, SHAPE, 0)


@pytest.mark.slow
def test_a_head_start_teaches_the_decoder_alone(data):
    size = SimpleNamespace(**vars(CRITICS) | {"head": 30})
    p, q = critic_runs.begun("VAE", size, SHAPE, 0)
    before = weights(p), weights(q)
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    critic_runs.head_start(p, size, data, 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (weights(p) != before[0]).any() and torch.equal(weights(q), before[1])
    x, z = data.train["x"].round(), torch.randn(40, 2)
    new, _ = critic_runs.begun("VAE", size, SHAPE, 0)
    with torch.no_grad():
        costs = [-one.score({"x": x, "z": z}).nats(["x"]).mean() for one in (new, p)]
    assert costs[1] < costs[0] - 1
    given = critic_runs.made("VAE", size, data, 0, new.state_dict())[0]
    again = critic_runs.made("VAE", size, data, 0)[0]
    assert torch.equal(weights(given), weights(new)) and torch.equal(weights(again), weights(p))
    none = SimpleNamespace(**vars(CRITICS) | {"head": 0})
    assert torch.equal(weights(critic_runs.made("VAE", none, data, 0)[0]), before[0])


def test_each_method_descends_what_it_says(data):
    kinds = {
        "self critic": SelfCritic,
        "hybrid critic": HybridCritic,
        "neural critic": NeuralCritic,
    }
    batch = {"x": binarise(data.train["x"][:10], generator(1))}
    for method in critic_runs.METHODS:
        p, q, step, batches = critic_runs.made(method, CRITICS, data, 0)
        goal = critic_runs.objective(method, q, CRITICS, SHAPE, 5)
        before = weights(p), weights(q)
        terms = step(batches.at(0)).terms
        assert ("infonce" in terms) == (method in kinds)
        assert (weights(p) != before[0]).any() and (weights(q) != before[1]).any()
        assert ("lag" in step.modules) == (method == "Lagging-VAE")
        if method in kinds:
            assert isinstance(goal, criticised) and type(goal.critic) is kinds[method]
            trained = {id(v) for o in step.optimisers.values() for v in o.param_groups[0]["params"]}
            assert {id(v) for v in step.modules["objective"].parameters()} <= trained
        if method == "hybrid critic":
            assert goal.critic.trunk is q.factors["z|x"].network[0]
        if method == "VAE beta = 0.5":
            torch.manual_seed(0)
            found = goal(p, q, batch)
            mean = {name: values.mean() for name, values in found.terms.items()}
            torch.testing.assert_close(found.loss, mean["distortion"] + 0.5 * mean["rate"])


def test_a_run_is_seen_from_its_start_and_ends_with_its_best_weights(data):
    run = critic_runs.trained("self critic", CRITICS, data, 0)
    assert len(run.curve) == 3  # at 0, 2 and 4 steps
    again = critic_runs.trained("self critic", CRITICS, data, 0)
    assert run.curve == again.curve and torch.equal(weights(run.p), weights(again.p))
    best = min(one["nll_upper_bound"] for one in run.curve[1:])
    with hierarchy_runs.quietly():
        assert critic_runs.look(run.p, run.q, data, 10)["nll_upper_bound"] == pytest.approx(best)
    assert critic_runs.trained("self critic", CRITICS, data, 1).curve != run.curve


def test_measured_by_hand(data):
    p, q = critic_runs.begun("VAE", CRITICS, SHAPE, 5)
    found = critic_runs.measured(p, q, data, 0, CRITICS)
    p.eval(), q.eval()
    x = data.test["x"]
    with torch.no_grad():
        posterior = q.factors["z|x"](x)
        kl = kl_divergence(posterior, p.factors["z"]()).mean().item()
        means = posterior.mean
        bounds = [elbo(p, q, {"x": x}).terms for _ in range(30)]
    assert found["rate"] == pytest.approx(kl, rel=1e-5)
    assert found["active_units"] == (means.var(0, correction=0) > 0.01).sum()
    distortions = torch.stack([b["distortion"].mean() for b in bounds])
    assert abs(found["distortion"] - distortions.mean()) < 5 * distortions.std() + 1e-4
    assert found["minibatch_ceiling"] == pytest.approx(math.log(10))
    assert found["information_ceiling"] == pytest.approx(math.log(20))
    assert found["minibatch_information"] <= found["minibatch_ceiling"]
    losses = torch.stack([(b["distortion"] + b["rate"]).mean() for b in bounds])
    assert found["iw_nll"] < losses.mean() + 4 * losses.std()
    assert critic_runs.ceiling(CRITICS, data) == pytest.approx(math.log(10))


def test_costs_are_ratios_of_steps_in_turn(data):
    found = critic_runs.costs("Lagging-VAE", CRITICS, data, 0)
    assert set(found) == {"step_ratio", "epoch_ratio", "step_ms", "vae_step_ms"}
    assert all(value > 0 for value in found.values())


def test_curves_are_told_at_shares_of_the_training(data):
    size = SimpleNamespace(**vars(CRITICS) | {"steps": 8})
    curve = critic_runs.trained("VAE", size, data, 0).curve
    found = critics._curve("VAE", size, data, 0)
    places = {0: 0, 25: 1, 50: 2, 75: 3, 100: 4}
    for share, place in places.items():
        expected = curve[place]["minibatch_information"]
        assert found[f"information_at_{share}_percent"] == expected
    assert found["information_ceiling"] == pytest.approx(math.log(10))


# -- hierarchies


@pytest.mark.parametrize("name", hierarchy_runs.SYSTEMS)
def test_systems_have_the_prior_and_the_floor_of_their_name(name, data):
    p, q = hierarchy_runs.begun(name, HVAE, data.train["x"], 0)
    assert isinstance(p.factors["z2"], VampPrior) == ("VP" in name)
    assert (q.factors["z2|x"].limits[0] > -6) == ("floor" in name)
    assert p.draw(size=2).values["x"].shape == (2, *SHAPE)
    again, _ = hierarchy_runs.begun(name, HVAE, data.train["x"], 0)
    assert torch.equal(weights(p), weights(again))
    if "VP" in name:
        off = p.factors["z2"].pseudo_inputs - data.train["x"][:5]
        assert off.abs().max() < 0.06


def test_a_hierarchy_measured_by_hand(data):
    p, q = hierarchy_runs.begun("HVAE (S)", HVAE, data.train["x"], 2)
    found = hierarchy_runs.measured(p, q, data, 0, 3)
    p.eval(), q.eval()
    with torch.no_grad():
        bounds = [elbo(p, q, {"x": data.test["x"]}).terms for _ in range(30)]
        scale = q.factors["z2|x"](data.test["x"]).stddev.mean().item()
    for name in ("distortion", "rate"):
        values = torch.stack([b[name].mean() for b in bounds])
        assert abs(found[name] - values.mean()) < 5 * values.std() + 1e-4
    assert found["upper_scale"] == pytest.approx(scale, rel=1e-5)
    assert found["upper_ceiling"] == pytest.approx(math.log(20))
    codes = hierarchy_runs.encoded(p, q, data.test["x"], 0)
    grey = binarise(data.train["x"], generator("binarised", "train"))
    train = hierarchy_runs.encoded(p, q, grey, 0)
    z, z_train = (torch.cat([one["z1"], one["z2"]], 1) for one in (codes, train))
    accuracy = knn_accuracy(z_train, data.train["label"], z, data.test["label"], 5)
    assert found["knn5_accuracy"] == accuracy and z.shape == (20, 5)
    apart = data._replace(test=data.test | {"label": data.test["label"] + 100})
    assert "knn5_accuracy" not in hierarchy_runs.measured(p, q, apart, 0, 1)


def test_annealing_starts_without_the_rate_and_all_see_the_same_batches(data, monkeypatch):
    seen = []
    monkeypatch.setattr(
        hierarchy_runs, "fit", lambda step, batches, **more: seen.append((step, batches, more))
    )
    for anneal in (True, False):
        for objective in ("VAE", "MIM"):
            hierarchy_runs.trained("HVAE (VP)", objective, HVAE, data, 0, anneal)
    names = [step.name for step, _, _ in seen]
    assert names == [
        "descend annealed elbo", "descend annealed waiting_mim",
        "descend elbo", "descend waiting_mim",
    ]  # fmt: skip
    first = seen[0][1].at(3)["x"]
    assert all(torch.equal(first, batches.at(3)["x"]) for _, batches, _ in seen)
    assert [more["patience"] for _, _, more in seen] == [2, 2, 1, 1]
    assert seen[0][0].modules["objective"].over == 2  # one epoch of two batches


def test_mim_waits_for_its_decoder_until_the_warm_up_is_over(data):
    p, q = hierarchy_runs.begun("HVAE (S)", HVAE, data.train["x"], 0)
    batch = {"x": data.validation["x"]}
    ramp = annealed(hierarchy_runs.waiting_mim, over=2)
    for beta, alone in ((0.0, partial(amim, beta=0.0)), (0.5, partial(amim, beta=0.5)), (1.0, mim)):
        torch.manual_seed(7)
        found = ramp(p, q, batch)
        torch.manual_seed(7)
        expected = alone(p, q, batch)
        assert found.loss.item() == expected.loss.item(), beta
        assert found.terms.keys() == expected.terms.keys()
    ramp.eval()
    assert "drawn_distortion" in ramp(p, q, batch).terms


def test_printed_cells_are_all_quoted():
    for study, tables in (("hvae-images", ("4.1", "4.2")), ("hvae-annealing", ("5.1", "5.2"))):
        quoted = [c for c in hierarchies.CLAIMS[study] if c.relation == "is"]
        sources = [c.source for c in quoted]
        assert [sources.count(f"Table {t}") for t in tables] == [16, 16]  # two sets of the three
    mnist = next(
        c for c in hierarchies.CLAIMS["hvae-images"]
        if c.datasets == ("mnist",) and c.systems == ("convHVAE (VP)",) and c.objective == "VAE"
    )  # fmt: skip
    assert mnist.to == 79.66 and mnist.metric == "iw_nll"
    table = [c for c in critics.CLAIMS["critics-omniglot"] if c.relation == "is"]
    assert len(table) == 21
