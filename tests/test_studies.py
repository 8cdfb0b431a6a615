"""Studies: rows, records that survive a kill, what papers say beside them, and the MIM studies."""

import json
import math
import statistics
from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from lvmlab import Joint, amim, studies
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.diagnostics import ksg_ceiling
from lvmlab.models import MixtureOfNormals
from lvmlab.studies import (
    compare,
    export,
    knowledge,
    ledger,
    mim,
    mim_1d,
    mim_runs,
    provenance,
    sentences,
)
from lvmlab.studies.compare import Claim
from lvmlab.studies.ledger import Cell, Record
from lvmlab.studies.text_runs import Recipe

ROW = {"study", "system", "objective", "dataset", "metric", "value", "std", "seeds", "preset"}
ROW |= {"minutes", "each", "command", "hardware", "versions", "commit"}
GM = {"sets": {"digits": {"rows": 40, "points": 30, "encoder": (3,), "decoder": (4, 3), "kernel": 3,
                          "trials": 16, "weight": 40.0, "least": 0.01,
                          "coarse": False, "batch": 8,
                          "lr": 1e-2, "beta1": 0.5, "steps": 2, "moments": 1,
                          "objectives": ("GM-VAE", "GM-VAE beta = 20", "GM-WAE")}}}  # fmt: skip
PICTURES = {"epochs": 1, "rows": 70}
DIGITS = {"dataset": "digits", "latents": 3, "components": 4}
HVAE = {"sets": {"digits": {"rows": 40, "points": 20, "latents": (3, 2), "width": 6, "channels": 4,
                            "layers": 2, "pseudo": 5, "batch": 20, "lr": 1e-2, "epochs": 1,
                            "warm_up": 1, "patience": 1, "samples": 2,
                            "systems": ("convHVAE (S)", "PixelHVAE (VP)")}}}  # fmt: skip
CRITICS = {"sets": {"digits": {"rows": 40, "points": 20, "latent": 2, "width": 4, "kernels": (3, 3),
                               "maps": 1, "blocks": 1, "features": 6, "refinements": 2, "most": 2,
                               "batch": 10, "lr": 1e-2, "head": 2, "steps": 4, "every": 1,
                               "patience": 4, "plateau": 1, "samples": 2, "turns": 2,
                               "methods": ("VAE", "SA-VAE", "Skip-VAE", "Lagging-VAE",
                                           "self critic", "hybrid critic",
                                           "neural critic")}}}  # fmt: skip
SENTENCES = {"sets": {"docstrings": sentences._SMOKE | {"epochs": 1, "points": 20}}}
TINY = {
    "collapse-2d": {"widths": (5,), "epochs": 1, "points": 80},
    "entropy-regulariser-2d": {"widths": (5,), "epochs": 1, "points": 80},
    "collapse-20d": {"latents": (2,), "epochs": 1, "points": 80, "standardise": True},
    "pca-fashion-20d": {"latents": (2,), "epochs": 1, "points": 80, "rows": 300},
    "mim-consistency-1d": {"steps": 3, "batch": 20},
    "collike-lap-timing": {"rows": (256,), "tokens": 2, "repeats": 3},
    "collike-minibatch-digits": {"rows": 60, "batches": (2,), "sweeps": 1},
    "collike-relatives": {"rows": 20, "steps": 2},
    "collike-ensemble": {"members": 2, "keep": 1, "sweeps": 1, "rows": 300,
                         "labels": (32, 64, 128)},
    "collike-images": {"sets": {"digits": {"rows": 70, "points": 20, "scales": 1, "steps": 1,
                                           "width": 4, "epochs": 1, "lr": 1e-2}}},
    "collike-text": {"rows": 40, "vocabulary": 300, "limit": 8, "recipe": Recipe(1, looks=1)},
    "collike-news": {"rows": 40, "vocabulary": 300, "limit": 8, "recipe": Recipe(1, looks=1)},
    "collike-news-ensemble": {"rows": 40, "vocabulary": 300, "limit": 8,
                              "systems": {"Transformer": Recipe(1, looks=1)}},
    "collike-recipe": {"rows": 70, "vocabulary": 600, "limit": 8, "recipe": Recipe(1, looks=1)},
    "ica-synthetic": {"steps": 4, "flow_steps": 2, "hidden": (6,), "flow_hidden": (5,),
                      "mixings": ({"layers": 2, "per_segment": 13},)},
    "ica-grid": {"steps": 4, "short_steps": 2, "hidden": (6,), "changes": ("K = 20",),
                 "mixings": ({"layers": 2, "per_segment": 13}, {"layers": 3, "per_segment": 13}),
                 "per_segment": (14,)},
    "ica-images": PICTURES | {"systems": ({**DIGITS, "network": "MLP", "width": (8, 4)},)},
    "ica-hashed": PICTURES | {"systems": ({**DIGITS, "network": "MLP", "width": (8, 4)},)},
    "ica-vq": PICTURES | {"systems": ({**DIGITS, "network": "grid", "width": 2},)},
    "hvae-images": HVAE, "hvae-annealing": HVAE,
    "critics-omniglot": CRITICS, "critics-cost": CRITICS, "critics-information": CRITICS,
    "gm-petals-2d": GM, "gm-digits-10d": GM, "gm-vae-from-wae": GM, "gm-component-life": GM,
    "gm-recipe": GM,
    "tzk-toy": {"rows": 100, "batch": 20, "flow_steps": 2, "kind_steps": 2, "points": 9},
    "tzk-images": {"sets": {"digits": knowledge._SMOKE | {"rows": 30, "points": 20, "batch": 10,
                                                          "flow_steps": 2, "kind_steps": 2}}},
    "sentences-ptb": SENTENCES, "sentences-histograms": SENTENCES | {"pairs": 12},
    "sentences-melbo-size": SENTENCES | {"trials": 3},
    "sentences-qa": {"sets": {"docstrings": sentences._SMOKE | {"epochs": 1, "points": 20,
                                                                "others": 2, "blanks": 0.2}}},
    "critics-text": {"sets": {"docstrings": sentences._LSTM_SMOKE | {"points": 20}}},
}  # fmt: skip
FEWER = {"collike-ensemble": 4, "collike-images": 4, "collike-text": 4, "collike-news": 8}
FEWER |= {"collike-recipe": 4, "ica-grid": 5, "tzk-images": 3}
FEWER |= {"critics-omniglot": 5, "critics-cost": 5, "critics-information": 5}
FEWER |= {"critics-text": 5, "collike-news-ensemble": 4}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(mim_runs, "EPOCH", 5)
    monkeypatch.setattr(export, "SHIPPED", tmp_path / "no rows of ours.csv")
    export.shipped.cache_clear()
    yield tmp_path / "runs"
    export.shipped.cache_clear()


class Counted:
    """A cell that notes which seeds it was asked for; its numbers are 10, 11, 12, ..."""

    def __init__(self, objective="A", stops=False, value=10.0):
        self.asked, self.stops, self.value = [], stops, value
        self.cell = Cell("small", objective, "toy", self.measure)

    def measure(self, seeds):
        if self.stops:
            raise KeyboardInterrupt
        self.asked += seeds
        return [{"information": self.value + seed, "rate": 0.5} for seed in seeds]


ORIGIN = provenance.here("s", "smoke", 2)


def record(objective, seed, system="small", **values):
    names = {"study": "s", "system": system, "objective": objective, "dataset": "toy"}
    return Record(**names, **ORIGIN, preset="smoke", seed=seed, minutes=0.5, values=values)


# -- the framework


def test_every_study_has_a_function_a_sentence_and_three_presets_of_the_same_settings():
    assert studies.names()[:2] == ["collapse-2d", "entropy-regulariser-2d"]
    assert set(studies.names()) == set(TINY)
    for name in studies.names():
        assert callable(studies.find(name))
        assert any(place in studies.about(name) for place in ("Figure", "Table", "Section"))
        table = studies.sizes(name)
        assert list(table) == ["smoke", "lesson", "paper"]
        assert table["smoke"].keys() == table["lesson"].keys() == table["paper"].keys()
        # "mean and standard deviation of 10 experiments"; four ensembles
        assert table["paper"]["seeds"] == FEWER.get(name, 10)
        assert studies.claims(name)


def test_rows_are_means_and_spreads_over_seeds(runs):
    rows = ledger.measure("s", "smoke", 3, [Counted().cell])
    assert set(rows[0]) == ROW and rows[0]["each"] == [10.0, 11.0, 12.0]
    first = {key: rows[0][key] for key in ("metric", "value", "std", "seeds")}
    assert first == {"metric": "information", "value": 11.0, "std": 1.0, "seeds": 3}
    assert [row["metric"] for row in rows] == ["information", "rate"]
    assert ledger.measure("s", "smoke", 1, [Counted().cell])[0]["std"] is None


def test_a_killed_run_goes_on_with_the_next_cell(runs):
    done, killed = Counted("A"), Counted("B", stops=True)
    with pytest.raises(KeyboardInterrupt):
        ledger.measure("s", "smoke", 2, [done.cell, killed.cell])
    killed.stops = False
    rows = ledger.measure("s", "smoke", 2, [done.cell, killed.cell])
    assert done.asked == [0, 1] and killed.asked == [0, 1]
    assert [row["objective"] for row in rows] == ["A", "A", "B", "B"]


def test_only_missing_seeds_are_measured_and_fewer_give_a_part(runs):
    one = Counted()
    ledger.measure("s", "smoke", 2, [one.cell])
    assert ledger.measure("s", "smoke", 4, [one.cell])[0]["seeds"] == 4
    assert one.asked == [0, 1, 2, 3]
    assert ledger.measure("s", "smoke", 2, [one.cell])[0]["value"] == 10.5
    assert one.asked == [0, 1, 2, 3]


def test_another_preset_or_version_of_the_code_is_measured_anew(runs, monkeypatch):
    one = Counted()
    ledger.measure("s", "smoke", 1, [one.cell])
    ledger.measure("s", "lesson", 1, [one.cell])
    monkeypatch.setattr(ledger, "code_version", lambda: "another")
    one.value = 20.0
    assert ledger.measure("s", "smoke", 1, [one.cell])[0]["value"] == 20.0
    assert one.asked == [0, 0, 0]
    found = {(r["preset"], r["values"]["information"]) for r in ledger.recorded()}
    assert found == {("lesson", 10.0), ("smoke", 20.0)}  # the version measured last


def test_the_version_follows_what_measures_and_not_what_draws(tmp_path, monkeypatch):
    package = tmp_path / "lvmlab"
    for name in ("studies", "plots"):
        (package / name).mkdir(parents=True)
        (package / name / "some.py").write_text("1")
    monkeypatch.setattr(ledger, "__file__", str(package / "studies" / "ledger.py"))
    version = ledger.code_version.__wrapped__
    first = version()
    (package / "plots" / "some.py").write_text("2")
    assert version() == first and len(first) == 12
    (package / "studies" / "some.py").write_text("2")
    assert version() != first


def test_a_file_is_replaced_whole_and_a_line_cut_short_is_measured_again(runs):
    one = Counted()
    ledger.measure("s", "smoke", 2, [one.cell])
    (file,) = runs.glob("s/smoke/*/*.jsonl")
    lines = file.read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1]
    assert [p.name for p in file.parent.iterdir()] == ["toy-small-a.jsonl"]  # nothing unfinished
    file.write_text(lines[0] + "\n" + lines[1][:30])
    ledger.measure("s", "smoke", 2, [one.cell])
    assert one.asked == [0, 1, 1]
    assert len(file.read_text().splitlines()) == 2


def test_a_failing_write_keeps_the_file_that_is_there(runs):
    path = runs / "x.jsonl"
    ledger.write(path, [record("A", 0, information=1.0)])
    before = path.read_text()
    with pytest.raises(ValueError):
        ledger.write(path, [record("A", 1, information=math.nan)])
    assert path.read_text() == before and list(runs.iterdir()) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_named_and_never_written(runs, value):
    with pytest.raises(ValueError, match="s, A with small, seed 0: information is"):
        ledger.measure("s", "smoke", 1, [Counted(value=value).cell])
    assert not list(runs.rglob("*.jsonl"))


@pytest.mark.parametrize("seeds", [0, -1, 2.0, True])
def test_seeds_are_a_positive_whole_number(seeds):
    with pytest.raises(ValueError, match="seeds must be a whole number from 1 up"):
        ledger.measure("s", "smoke", seeds, [Counted().cell])


def test_unknown_studies_and_presets_are_refused_with_what_is_known(monkeypatch):
    with pytest.raises(
        ValueError, match=r"expected one of collapse-2d.*Did you mean 'collapse-2d'"
    ):
        studies.run("collapse_2D")
    with pytest.raises(ValueError, match="preset must be one of smoke, lesson, paper, got 'huge'"):
        studies.run("collapse-2d", "huge")
    monkeypatch.setenv("LVMLAB_PRESET", "tiny")
    with pytest.raises(ValueError, match="LVMLAB_PRESET"):
        studies.run("collapse-2d")


def test_foreign_files_in_the_folder_are_no_records(runs):
    (runs / "mine" / "notes").mkdir(parents=True)
    (runs / "mine" / "notes" / "history.json").write_text("{}")
    (runs / "s" / "smoke" / "v").mkdir(parents=True)
    (runs / "s" / "smoke" / "v" / "x.jsonl").write_text('[1]\n{"seed": 0}\nnonsense\n')
    assert ledger.recorded() == []


# -- beside the paper


def test_relations_are_counted_seed_by_seed():
    records = [record("MIM", s, information=v) for s, v in enumerate([3.0, 1.0, 2.0, 9.0])]
    records += [record("VAE", s, information=v) for s, v in enumerate([1.0, 2.0, 2.0])]
    records += [record("VAE", 3, system="large", information=0.0)]
    claims = [Claim("Figure 1", "MIM", "information", "above", "VAE")]
    found = compare.compared(records, claims)
    assert str(found[0]) == "above VAE (Figure 1): 1 of 3, 1 equal"
    counts = {"holds": 1, "equal": 1, "pairs": 3}
    said = {"says": "above VAE", "source": "Figure 1", "state": "not shown", "id": ""}
    assert found[0].as_dict() == found[0].row | {"paper": [said | counts]}
    below = compare.compared(records, [*claims, claims[0]._replace(relation="below")])[0]
    assert [verdict.holds for verdict in below.verdicts] == [1, 1]
    assert all(c.verdicts == () for c in found[1:])


def test_numbers_and_systems_of_claims():
    records = [record("none", 0, share=70.0), record("none", 0, system="large", share=75.0)]
    claim = Claim("Section 4.2", "none", "share", "is", 78.5, systems=("large",))
    small, large = compare.compared(records, [claim])
    assert str(small) == "" and small.as_dict()["paper"] == []
    assert str(large) == "78.5 (Section 4.2): ours is -3.5"
    assert large.as_dict()["paper"][0]["says"] == 78.5
    assert large.verdicts[0].state == "fails" and large.verdicts[0].apart == -3.5
    elsewhere = claim._replace(systems=None, datasets=("other",))
    assert all(c.verdicts == () for c in compare.compared(records, [elsewhere]))


def test_a_relation_without_its_other_side_says_so():
    claim = Claim("Figure 1", "MIM", "information", "above", "VAE")
    (only,) = compare.compared([record("MIM", 0, information=1.0)], [claim])
    assert str(only) == "above VAE (Figure 1): no VAE measured"


# -- the studies of the MIM thesis


@pytest.mark.slow
@pytest.mark.parametrize("name", list(TINY))
def test_every_study_runs_and_its_claims_are_about_its_rows(name, monkeypatch, runs):
    table = studies.sizes(name)
    monkeypatch.setitem(table, "smoke", table["smoke"] | TINY[name])
    rows = studies.run(name, "smoke", 2)
    assert {row["study"] for row in rows} == {name}
    assert all(row["seeds"] == 2 and math.isfinite(row["value"]) for row in rows)
    trained = [row for row in rows if row["objective"] != "none"]
    assert any(row["std"] > 0 for row in trained) and any(row["minutes"] > 0 for row in trained)
    known = {(row["objective"], row["metric"]) for row in rows}
    for claim in studies.claims(name):
        assert (claim.objective, claim.metric) in known
        assert claim.relation == "is" or (claim.to, claim.metric) in known
    assert studies.run(name, "smoke", 2) == rows  # from the records
    assert {c.row["study"] for c in compare.everything()} == {name}


def test_measured_agrees_with_a_linear_gaussian_in_closed_form():
    """x = w z + s e with its exact posterior: the bound is tight, lengths and scales are known."""
    w, s = 2.0, 0.5
    variance = w**2 + s**2
    post = s / math.sqrt(variance)

    def normal(loc, scale):
        return Independent(Normal(loc, torch.full_like(loc, scale)), 1)

    p = Joint("p", {"z": lambda: normal(torch.zeros(1), 1.0), "x|z": lambda z: normal(w * z, s)})
    q = Joint("q", {"x": None, "z|x": lambda x: normal(w * x / variance, post)})
    torch.manual_seed(1)
    x = p.draw(size=4000).values["x"]
    batch = {"x": x, "label": (x[:, 0] > 0).long()}
    unit = torch.tensor([3.0])
    found = mim_runs.measured(p, q, batch, batch, 0, unit)
    exact = -Normal(0, math.sqrt(variance)).log_prob(x).mean() + math.log(3)
    assert found["nll_upper_bound"] == pytest.approx(exact.item(), abs=1e-4)
    assert found["posterior_scale"] == pytest.approx(post)
    # x - x' is normal with variance 2 s^2 (posterior noise and decoder noise around x)
    length = 3 * math.sqrt(2 / math.pi) * math.sqrt(_residual(w, s))
    assert found["reconstruction_error"] == pytest.approx(length, rel=0.05)
    assert found["ksg_information"] == pytest.approx(math.log(variance / s**2) / 2, abs=0.06)
    assert found["ksg_ceiling"] == ksg_ceiling(4000, 5)
    assert found["knn5_accuracy"] > 0.85
    assert found == mim_runs.measured(p, q, batch, batch, 0, unit)  # its own random state


def _residual(w, s):
    """Var(x - x') for x' = w z + s e', z = w x / v + post e, x ~ N(0, v)."""
    v = w**2 + s**2
    return v * (1 - w**2 / v) ** 2 + w**2 * s**2 / v + s**2


def test_vae_plus_entropy_is_amim_with_the_marginal_of_the_decoder_plus_a_constant():
    """The exact q(x) takes all of the encoder's entropy out; the rest is H(P(x))'s sample."""
    p, exact = mim._plane(6, True)
    marginal = Joint("q", {"x": None, "z|x": exact.factors["z|x"]})
    batch = {"x": torch.randn(50, 2)}
    with mim_runs.quietly(0):
        ours = mim.vae_plus_entropy(p, exact, batch)
    with mim_runs.quietly(0):
        bridge = amim(p, marginal, batch)
    constant = -exact.factors["x"]().log_prob(batch["x"]).mean()
    torch.testing.assert_close(ours.loss, bridge.loss + constant)
    with mim_runs.quietly(0):
        half = mim.vae_plus_entropy(p, marginal, batch)
    t = half.terms
    coded = 2 * (t["distortion"] + t["latent_nll"]) - t["encoder_nll"]
    torch.testing.assert_close(half.loss, coded.mean())


def test_mim_trains_its_encoder_half_alone_while_it_warms_up():
    p, q = mim._plane(6, True)
    batch = {"x": torch.randn(50, 2)}

    def loss(objective, beta):
        with mim_runs.quietly(0):
            return objective(p, q, batch, beta).loss

    torch.testing.assert_close(loss(mim.encoder_first, 0.3), loss(amim, 0.3))
    torch.testing.assert_close(loss(mim.encoder_first, 1.0), loss(mim.mim, 1.0))
    assert abs(loss(amim, 1.0) - loss(mim.mim, 1.0)) > 0.01


def test_mim_minus_entropy_is_zero_for_consistent_pairs_and_positive_for_others():
    """Its mean is half of KL(M || q) + KL(M || p): zero for independent but consistent joints."""
    p, q = mim._plane(6, True)
    density = q.factors["x"]

    def prior(x):
        return Independent(Normal(torch.zeros(len(x), 2), torch.ones(len(x), 2)), 1)

    class Data(torch.distributions.Distribution):
        has_rsample = True

        def __init__(self, rows):
            super().__init__(torch.Size([rows]), torch.Size([2]), validate_args=False)

        def rsample(self, sample_shape=()):
            return density().sample((self.batch_shape[0],))

        def log_prob(self, value):
            return density().log_prob(value)

    blind = Joint("p", {"z": p.factors["z"], "x|z": lambda z: Data(len(z))}, validate=False)
    collapsed = Joint("q", {"x": density, "z|x": prior})
    losses = {"consistent": [], "other": []}
    for seed in range(8):
        torch.manual_seed(seed)
        batch = {"x": density().sample((2000,))}
        losses["consistent"].append(mim.mim_minus_entropy(blind, collapsed, batch).loss.item())
        losses["other"].append(mim.mim_minus_entropy(p, q, batch).loss.item())
    assert abs(np.mean(losses["consistent"])) < 4 * np.std(losses["consistent"]) / math.sqrt(8)
    assert min(losses["other"]) > 0.1


def linear_pair(w, s, a, scale):
    """p(x|z) = N(wz, s^2) and q(z|x) = N(ax, scale^2)."""
    p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(lambda z: w * z, scale=s)})
    return p, Joint("q", {"x": None, "z|x": Gaussian(lambda x: a * x, scale=scale)})


def test_mim_minus_marginal_entropy_lets_go_of_the_data():
    """Zero for every posterior, whatever the data are; else E_M log cosh of half a log-ratio."""
    torch.manual_seed(0)
    for w, s in ((0.9, 0.4), (3.0, 0.2), (1e-6, 2.0)):
        a = w / (w**2 + s**2)
        for x in (torch.randn(500, 1), 5 + 3 * torch.rand(500, 1)):  # not the data of p
            p, q = linear_pair(w, s, a, math.sqrt(s**2 / (w**2 + s**2)))
            assert abs(mim.mim_minus_marginal_entropy(p, q, {"x": x}).loss) < 2e-4
            p, q = linear_pair(w, s, a + 0.3, 0.5)
            wrong = mim.mim_minus_marginal_entropy(p, q, {"x": x})
            ratio = {
                half: sum(wrong.terms[f"{half}{n}"] for n in ("distortion", "latent_nll"))
                - sum(wrong.terms[f"{half}{n}"] for n in ("encoder_nll", "data_nll"))
                for half in ("", "drawn_")
            }
            cosh = sum((r / 2).double().cosh().log().mean() for r in ratio.values()) / 2
            assert wrong.loss.item() == pytest.approx(cosh.item(), rel=1e-4)
            assert wrong.loss > 0.01


def test_mim_minus_marginal_entropy_takes_a_fresh_latent_and_warms_up_as_mim_does():
    torch.manual_seed(0)
    p, q = linear_pair(0.9, 0.4, 0.6, 0.5)
    batch = {"x": torch.randn(400, 1)}
    whole = mim.mim_minus_marginal_entropy(p, q, batch)
    t = whole.terms
    assert (t["data_nll"] - t["distortion"] - t["latent_nll"] + t["encoder_nll"]).abs().max() > 0.1
    torch.manual_seed(1)
    full = mim.mim_minus_marginal_entropy(p, q, batch).loss
    torch.manual_seed(1)
    begun = mim.mim_minus_marginal_entropy(p, q, batch, beta=0.0)
    t = begun.terms
    pairs = [
        [
            sum(t[h + n] for n in names)
            for names in (("distortion", "latent_nll"), ("encoder_nll", "data_nll"))
        ]
        for h in ("", "drawn_")
    ]
    entropy = sum(math.log(2) - torch.logaddexp(-a, -b).mean() for a, b in pairs) / 2
    assert begun.loss.item() == pytest.approx((pairs[0][0].mean() / 2 - entropy).item(), abs=1e-5)
    even = sum((a + b).mean() for a, b in pairs) / 4
    assert full.item() == pytest.approx((even - entropy).item(), abs=1e-5)


def test_the_learning_rate_rises_for_three_epochs_and_then_falls_as_one_over_the_root():
    rates = [mim_runs.noam(epoch) for epoch in (1, 2, 3, 12, 27)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1.0, 0.5, 1 / 3])


def test_blobs_in_20_dimensions_are_standardised_behind_the_flag():
    raw, even = mim_runs.blobs(20, 2000), mim_runs.blobs(20, 2000, standardise=True)
    assert raw.test(0)["x"].abs().max() > 49 and (raw.unit == 1).all()
    x = even.test(0)["x"]
    assert x.mean(0).abs().max() < 0.1 and (x.std(0) - 1).abs().max() < 0.1
    torch.testing.assert_close(
        x * even.unit, raw.test(0)["x"] - raw.test(0)["x"].mean(0), atol=4, rtol=0
    )
    assert not torch.equal(even.test(0)["x"], even.held_out(0)["x"])
    assert not torch.equal(even.test(0)["x"], even.test(1)["x"])


def test_integrals_of_two_gaussian_joints_agree_with_closed_forms():
    """p(x, z) and q(x, z) bivariate normal: KL in closed form; a consistent pair gives zero."""

    def one(loc, scale):
        loc = torch.as_tensor(loc).reshape(-1, 1)
        return MixtureOfNormals(torch.zeros_like(loc), loc, torch.full_like(loc, scale))

    def flat(loc, scale):
        return MixtureOfNormals(torch.zeros(1), torch.tensor([loc]), torch.tensor([scale]))

    w, s = 0.8, 0.6  # x = w z + s e, so that Var x = 1
    p = Joint("p", {"z": lambda: flat(0.0, 1.0), "x|z": lambda z: one(w * z, s)})
    same = Joint("q", {"x": lambda: flat(0.0, 1.0), "z|x": lambda x: one(w * x, s)})
    found = mim_1d.integrals(p, same)
    zero = ("symmetric_kl", "data_prior_kl", "latent_prior_kl", "r_mim")
    assert max(abs(found[name]) for name in zero) < 1e-4
    shifted = Joint("q", {"x": lambda: flat(0.5, 1.0), "z|x": lambda x: one(0 * x, 1.0)})
    found = mim_1d.integrals(p, shifted)
    covariance = torch.tensor([[1.0, w], [w, 1.0]])
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), covariance)
    other = torch.distributions.MultivariateNormal(torch.tensor([0.5, 0.0]), torch.eye(2))
    kl = torch.distributions.kl_divergence
    assert found["symmetric_kl"] == pytest.approx(
        float(kl(exact, other) + kl(other, exact)) / 2, abs=1e-4
    )
    assert found["data_prior_kl"] == pytest.approx(0.125, abs=1e-4)  # a shift of half a scale
    assert found["latent_prior_kl"] == pytest.approx(0.0, abs=1e-4)
    assert found["r_mim"] > 0.05
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None]
    log_data, log_prior = mim_1d.DATA.log_prob(grid), Normal(0.5, 1.0).log_prob(grid[:, 0])
    anchor = torch.trapezoid(log_data.exp() * (log_data - log_prior), grid[:, 0])
    assert found["data_anchor_kl"] == pytest.approx(float(anchor), abs=1e-3)


def test_the_gap_between_both_losses_is_that_of_the_objectives_themselves():
    """`r_mim` by quadrature against L_MIM - L_CE on the same draws of both anchored joints."""
    torch.manual_seed(3)
    p, q = mim_1d.mixtures_1d(components=3, floor=0.2)
    anchor = Joint("anchor", {"z": lambda: mim_1d._density(mim_1d.CODE)})
    batch = {"x": mim_1d.DATA.sample(20_000, seed=1)["x"]}
    gaps = []
    for seed in range(4):
        with torch.no_grad(), mim_runs.quietly(seed):
            machine = mim.mim(p, q, batch, anchor=anchor).loss
        with torch.no_grad(), mim_runs.quietly(seed):
            gaps.append(float(machine - mim.mixture_cross_entropy(p, q, batch, anchor).loss))
    found = mim_1d.integrals(p, q)["r_mim"]
    assert found > 0.01
    assert statistics.fmean(gaps) == pytest.approx(found, abs=5 * statistics.stdev(gaps))
    assert statistics.stdev(gaps) < 0.1 * found


def test_a_second_phase_starts_from_the_first(monkeypatch):
    train, started, ended = mim_1d.fit_many, [], []

    def weights(p):
        return torch.cat([w.detach().flatten() for w in p.parameters()]).clone()

    def watched(make, *given, **settings):
        started.append(weights(make(4)[0]))
        runs = train(make, *given, **settings)
        ended.append(weights(runs[0].p))
        return runs

    monkeypatch.setattr(mim_1d, "fit_many", watched)
    monkeypatch.setattr(mim_1d, "integrals", lambda p, q: {"at the end": weights(p)})
    (found,) = mim_1d._trained(True, [mim.mim, mim.mixture_cross_entropy], 3, 20, [4])
    assert torch.equal(started[1], ended[0]) and not torch.equal(started[0], ended[0])
    assert torch.equal(found["at the end"], ended[1]) and not torch.equal(ended[0], ended[1])


@pytest.mark.slow
def test_who_collapses_at_20_hidden_units(monkeypatch):
    """Figures 5.2 and 5.4 with margins in all of three seeds; no ranking near the ceiling."""
    monkeypatch.setattr(mim_runs, "EPOCH", 78)
    data, found = mim_runs.blobs(2, 1000), {}
    exact = {"VAE": mim.elbo, "MIM": mim.encoder_first, "VAE+H": mim.vae_plus_entropy}
    for name, objective in (exact | {"MIM-H": mim.mim_minus_entropy}).items():
        make = partial(mim._plane, 20, name.endswith("H"))
        runs = mim_runs.trained(make, objective, data, 8, [0, 1, 2])
        found[name] = {metric: [run[metric] for run in runs] for metric in runs[0]}
    information = {name: values["ksg_information"] for name, values in found.items()}
    assert max(information["VAE"]) < 1.2 and max(information["MIM-H"]) < 1.2
    assert min(information["MIM"]) > 2 and min(information["VAE+H"]) > 2.5
    accuracy = {name: values["knn5_accuracy"] for name, values in found.items()}
    assert min(accuracy["MIM"]) > max(accuracy["VAE"]) + 0.3
    error = {name: statistics.fmean(v["reconstruction_error"]) for name, v in found.items()}
    assert error["MIM"] < error["VAE"] / 2 and error["VAE+H"] < error["VAE"] / 2
    nll = {name: values["nll_upper_bound"] for name, values in found.items()}
    assert max(nll["VAE"]) < min(nll["MIM"])
