"""The studies of nonlinear ICA: cells, starts, scores, pairs of seeds, L kept invertible."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lvmlab.conditionals import Mixture
from lvmlab.many import Trained
from lvmlab.models import mixture_prior, variability
from lvmlab.networks import images as networks
from lvmlab.objectives import elbo
from lvmlab.steps import descend
from lvmlab.studies import identifiability as study
from lvmlab.studies import identifiability_images as pictures
from lvmlab.studies import identifiability_runs as runs

TINY = {
    "lr": 1e-3, "hidden": (6,), "scale": 0.3, "components": 6, "start": "xavier",
    "flow_components": 4, "flow_hidden": (5,), "steps": 8, "flow_steps": 3,
    "kinds": (*study.KINDS, "iVAE given u"), "mixings": ({"layers": 2, "per_segment": 13},),
}  # fmt: skip


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LVMLAB_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.slow
def test_every_model_and_every_floor_is_a_row(records, monkeypatch):
    table = study.SIZES["ica-synthetic"]
    monkeypatch.setitem(table, "smoke", table["smoke"] | TINY)
    rows = study.ica_synthetic("smoke", 3)
    kinds = {row["objective"] for row in rows}
    assert kinds == {*study.KINDS, "iVAE given u", *runs.NO_MODEL}
    values = {(row["objective"], row["metric"]): row for row in rows}
    for kind in kinds - {"the truth"}:
        assert values[kind, "mcc_floor"]["value"] < 0.1 < values[kind, "mcc"]["value"] <= 1
    for claim in study.CLAIMS["ica-synthetic"]:
        assert (claim.objective, claim.metric) in values and (claim.to, claim.metric) in values
    truth = values["the truth", "nll"]["value"]
    assert truth < values["VaDE", "nll_upper_bound"]["value"]
    assert truth < values["GMM-flow", "nll"]["value"]
    given = values["the truth", "conditional_nll"]["value"]
    assert given < min(truth, values["iVAE", "conditional_nll_upper_bound"]["value"])
    found = study.bound_and_mcc(rows)
    ((r, count),) = found.values()
    each = [values["VaDE", name]["each"] for name in ("train_elbo", "mcc")]
    assert count == 3 and r == pytest.approx(np.corrcoef(*each)[0, 1])
    assert not study.bound_and_mcc([{**row, "each": row["each"][:2]} for row in rows])


def test_names_tell_the_mixing():
    assert study.system(2, 1000) == "2 layers (before), 1000 a segment"
    name = study.system(3, 100, "between", "uniform", 2, 0.5)
    assert name == (
        "3 layers (between), 100 a segment, uniform matrices, mixing 2, scales from 0.5"
    )


def test_a_warm_start_is_the_ivae_with_its_components_summed_out():
    torch.manual_seed(0)
    size = SimpleNamespace(**TINY)
    p, q = runs.model("iVAE", size)
    started, encoding = runs.warm_start(Trained(0, p, q))
    z, x = torch.randn(2, 9, 5)
    every = [
        p.score({"z": z, "x": x, "u": torch.full((9,), u)}).nats() for u in range(runs.SEGMENTS)
    ]
    exact = torch.stack(every, 1).logsumexp(1) - math.log(runs.SEGMENTS)
    torch.testing.assert_close(started.score({"z": z, "x": x}).nats(), exact)
    one, other = (j.factors["z|x"](x).mean for j in (q, encoding))
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["iVAE", "iVAE given u", "VaDE", "GMM-flow"])
def test_scores_are_of_held_out_rows_and_l_has_the_rank_its_components_allow(kind):
    data = runs.mixed(2, 40)
    torch.manual_seed(1)
    p, q = runs.model(kind, SimpleNamespace(**TINY))
    run = Trained(0, p, q)
    found = runs.scored(kind, run, data)
    rank = min(10, len(runs.mixture_of(p).means) - 1)
    assert found["l_rank"] == rank and (found["l_log10_condition"] == 300) == (rank < 10)
    latents = runs.latent_means(kind, run, data.test)
    assert latents.shape == data.test["x"].shape
    if kind == "GMM-flow":
        torch.testing.assert_close(
            p.factors["x"].bijection.inverse(latents), data.test["x"], atol=1e-4, rtol=1e-4
        )
        exact = -p.score({"x": data.test["x"]}).nats().mean().item()
        assert found["nll"] == pytest.approx(exact, rel=1e-5)
    with pytest.raises(ValueError, match="kind must be"):
        runs.model("VQ", SimpleNamespace(**TINY))


def test_l_is_looked_at_after_every_step_and_repaired_when_it_is_singular():
    torch.manual_seed(0)
    p, q = runs.model("VaDE", SimpleNamespace(**TINY | {"components": 12}))
    prior = runs.mixture_of(p)
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), 1e-3)
    step, repaired = runs.projected(descend(elbo, p, q, adam), prior)
    batch = {"x": runs.mixed(2, 13).train["x"]}
    for _ in range(3):
        step(batch)
    assert not repaired  # Xavier's start varies enough
    with torch.no_grad():
        prior.log_scales.zero_()
        prior.means.zero_()
    adam.param_groups[0]["lr"] = 0.0
    step(batch)
    assert repaired == [3] and variability(prior.means, prior.log_scales.exp()).satisfied
    assert runs.mixture_of(runs.model("VAE", SimpleNamespace(**TINY))[0]) is None
    assert isinstance(mixture_prior(3, 2), Mixture)


SMALL = {"epochs": 1, "rows": 80, "lr": 1e-3, "warm_up": 0.5, "systems": (
    {"dataset": "digits", "latents": 3, "components": 4, "network": "MLP", "width": (8, 6, 5, 4)},
    {"dataset": "mnist", "latents": 3, "components": 4, "network": "ConvNet", "width": 1},
)}  # fmt: skip
GRID = {"dataset": "digits", "latents": 3, "components": 4, "network": "grid", "width": 2}


@pytest.mark.parametrize("name", ["ica-images", "ica-hashed", "ica-vq"])
def test_image_studies_compare_pairs_of_seeds_on_what_is_at_hand(records, monkeypatch, name):
    table = pictures.SIZES[name]
    small = SMALL | ({"systems": (GRID,)} if name == "ica-vq" else {})
    monkeypatch.setitem(table, "smoke", table["smoke"] | small)
    rows = getattr(study, name.replace("-", "_"))("smoke", 2)
    assert {row["dataset"] for row in rows} == {"digits"}
    values = {(row["objective"], row["metric"]): row for row in rows}
    for claim in study.CLAIMS[name]:
        assert (claim.objective, claim.metric) in values and (claim.to, claim.metric) in values
    for row in rows:
        if row["metric"].startswith("mcc"):
            assert 0 <= row["value"] <= 1 and row["each"][0] == row["each"][1]  # one pair
    assert all(v["value"] > 0 for (_, m), v in values.items() if m.endswith("floor"))


def test_every_place_of_a_grid_is_compared_with_its_own():
    random = np.random.default_rng(1)
    a = random.normal(size=(60, 2, 3))
    turned = np.stack([a[:, g] @ random.normal(size=(3, 3)) for g in range(2)], 1)
    same, crossed = pictures.agreement([a, turned]), pictures.agreement([a, turned[:, ::-1]])
    assert same[0]["mcc_all_held_out"] == pytest.approx(1) == same[1]["mcc_all_held_out"]
    assert crossed[0]["mcc_all_held_out"] < 0.5


def test_linear_maps_of_one_another_agree_after_cca_and_independent_ones_do_not():
    random = np.random.default_rng(0)
    a = random.normal(size=(400, 4))
    mixed = a @ random.normal(size=(4, 4)) + 3
    same, other = pictures.scores_of(a, mixed), pictures.scores_of(a, random.normal(size=(400, 4)))
    assert same["mcc_20_held_out"] == pytest.approx(1) == same["mcc_all_in_sample"]
    assert same["mcc_plain_held_out"] < 0.97
    assert other["mcc_all_held_out"] < 0.15 and other["mcc_all_held_out_floor"] < 0.15
    few = pictures.scores_of(*random.normal(size=(2, 60, 8)))
    assert few["mcc_all_in_sample"] > few["mcc_all_held_out"] + 0.1  # 30 rows flatter


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", ["MLP", "ConvNet", "ResNet"])
def test_networks_of_appendix_a_fit_their_images(name, shape):
    encode, decode = pictures.NETWORKS[name]
    width = {"MLP": (7, 6, 5, 4), "ConvNet": 2, "ResNet": 2}[name]
    x = torch.rand(3, *shape)
    encoder, decoder = encode(shape, 10, width), decode(5, shape, width)
    assert encoder(x).shape == (3, 10) and decoder(torch.randn(3, 5)).shape == x.shape
    names = {type(m).__name__ for m in encoder.modules()}
    assert {"MLP": "Dropout", "ConvNet": "BatchNorm2d", "ResNet": "Down"}[name] in names


def test_paper_widths_are_those_of_the_tables():
    def linear(network):
        return [(m.in_features, m.out_features) for m in network.modules() if _is(m, nn.Linear)]

    dense = networks.dense_encoder((1, 28, 28), 100)
    assert linear(dense) == [(784, 512), (512, 384), (384, 256), (256, 256), (256, 100)]
    back = networks.dense_decoder(50, (1, 28, 28))
    assert linear(back) == [(50, 256), (256, 256), (256, 384), (384, 512), (512, 784)]
    for network, before in ((dense, 384), (back[0], 256)):
        kinds = list(network.layers)
        place = next(i for i, m in enumerate(kinds) if _is(m, nn.Dropout))
        assert kinds[place - 2].out_features == before and place == 4
    convolutions = networks.conv_encoder((3, 32, 32), 100)
    outs = [m.out_channels for m in convolutions.modules() if _is(m, nn.Conv2d)]
    assert outs == [8, 16, 32, 64, 64] and linear(convolutions)[0] == (64, 64)
    deep = networks.residual_encoder((3, 32, 32), 100)
    assert [b.second.out_channels for b in deep if _is(b, networks.Down)] == [32, 64, 128, 256, 512]
    with pytest.raises(ValueError, match="divided by 4"):
        networks.conv_encoder((1, 9, 8), 4)
    with pytest.raises(ValueError, match="sizes must be"):
        networks.Dropped([4], 1)


def _is(module, kind):
    return isinstance(module, kind)
