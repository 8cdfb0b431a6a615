"""compare: your own data of every kind, resumed where it stopped, errors as entries."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lvmlab
from lvmlab import annealed, elbo
from lvmlab.comparison import OBJECTIVES, _columns, _read, _Task, compare
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.datasets import Dataset, toys
from lvmlab.joint import Joint
from lvmlab.networks import MLP

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

TINY = {"latents": 2, "hidden": 8, "steps": 12, "size": 32, "samples": 5}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


CALLS = []


def counted(p, q, batch):
    CALLS.append(1)
    return elbo(p, q, batch)


@pytest.fixture(scope="module")
def blobs():
    return toys.five_blobs().sample(200, seed=10_000)


def by_metric(found, objective):
    return {row["metric"]: row["each"] for row in found.rows if row["objective"] == objective}


def test_one_table_and_one_figure_of_several_objectives(blobs):
    found = lvmlab.compare(blobs["x"].numpy(), labels=blobs["label"].numpy(), seeds=2, **TINY)
    assert found.errors == {}
    for name in OBJECTIVES:
        values = by_metric(found, name)
        assert set(values) == {
            "nll_upper_bound", "information", "information_ceiling", "ksg_information",
            "ksg_ceiling", "knn5_accuracy", "seconds", "steps",
        }  # fmt: skip
        assert all(len(each) == 2 and np.isfinite(each).all() for each in values.values())
        assert values["information_ceiling"] == pytest.approx([math.log(40)] * 2)
        assert max(values["information"]) <= math.log(40) and values["steps"] == [12, 12]
    assert "200 rows of 2 numbers, standardised" in str(found) and "A-MIM" in str(found)
    assert "nll, bound: VAE" in found.picture.alt
    for row in found.rows:
        assert row["command"].startswith("lvmlab.compare(") and row["hardware"]


def test_what_is_done_is_not_done_again_and_other_data_are(blobs):
    CALLS.clear()
    one = compare(blobs["x"], {"mine": counted}, seeds=1, **TINY)
    done = len(CALLS)
    assert done >= 12
    assert compare(blobs["x"], {"mine": counted}, seeds=1, **TINY).rows == one.rows
    assert len(CALLS) == done
    compare(blobs["x"] + 1, {"mine": counted}, seeds=1, **TINY)
    assert len(CALLS) > done
    done = len(CALLS)
    compare(blobs["x"], {"mine": counted}, seeds=1, **(TINY | {"steps": 13}))
    assert len(CALLS) > done


def test_a_killed_comparison_goes_on_with_the_next_objective(blobs):
    CALLS.clear()

    def killed(p, q, batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(blobs["x"], {"first": counted, "next": killed}, seeds=1, **TINY)
    done = len(CALLS)
    found = compare(blobs["x"], {"first": counted, "next": elbo}, seeds=1, **TINY)
    assert len(CALLS) == done and {row["objective"] for row in found.rows} == {"first", "next"}


def test_an_objective_that_fails_is_an_entry_and_stops_no_other(blobs):
    def diverges(p, q, batch):
        return elbo(p, q, batch)._replace(loss=torch.tensor(math.nan, requires_grad=True))

    found = compare(blobs["x"], {"bad": diverges, "good": elbo}, seeds=1, **TINY)
    assert set(found.errors) == {"bad"} and "FloatingPointError" in found.errors["bad"]
    assert {row["objective"] for row in found.rows} == {"good"}
    assert "! bad: FloatingPointError" in str(found)


def test_the_likelihood_is_in_the_units_of_the_data():
    """A standard normal encoder and decoder without weights: the NLL is known in closed form."""

    def blind():
        def standard(given):
            normal = torch.distributions.Normal(torch.zeros(len(given), 3), 1.0)
            return torch.distributions.Independent(normal, 1)

        p = Joint("p", {"z": StandardNormal(3), "x|z": standard})
        return p, Joint("q", {"x": None, "z|x": standard})

    x = 5 + 10 * torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    task = _Task(x, torch.ones(3), Dataset("d", "all", {"x": x}), blind, (0.5, 1, 8, 1e-3, 5))
    task.trained = lambda objective, seeds, batches: [blind() for _ in seeds]
    (found,) = task.measure(elbo, [0])
    train, test = task.split(0)
    scale = test["unit"]
    rows = test["x"] * scale  # about their own mean
    exact = (0.5 * (rows / scale) ** 2 + 0.5 * math.log(2 * math.pi) + scale.log()).sum(1).mean()
    assert found["nll_upper_bound"] == pytest.approx(float(exact), abs=1e-4)
    assert found["nll_upper_bound"] == pytest.approx(3 * (math.log(10) + 1.4189), abs=0.4)
    assert abs(found["information"]) < 1e-5  # the encoder ignores x
    assert len(train["x"]) == len(test["x"]) == 200 and "label" not in test


def test_every_seed_has_a_split_of_its_own_without_shared_rows():
    x = torch.arange(100.0)[:, None]
    task = _Task(x, None, Dataset("d", "all", {"x": x}), None, (0.2, 1, 8, 1e-3, 5))
    splits = [task.split(seed) for seed in range(2)]
    for train, test in splits:
        assert len(test["x"]) == 20
        assert set(train["x"][:, 0].tolist()).isdisjoint(test["x"][:, 0].tolist())
    assert splits[0][1]["x"].tolist() != splits[1][1]["x"].tolist()


def test_an_architecture_and_objectives_of_your_own_with_state(blobs):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(()))

        def forward(self, p, q, batch):
            found = elbo(p, q, batch)
            return found._replace(loss=found.loss + self.shift**2)

    def mine():
        p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(MLP(1, 4, 4), floor=0.05)})
        return p, Joint("q", {"x": None, "z|x": Gaussian(MLP(2, 4, 2), floor=0.05)})

    found = compare(blobs["x"], [Shifted(), elbo], seeds=1, make=mine, **TINY)
    assert {(row["objective"], row["system"]) for row in found.rows} == {
        ("Shifted", "mine"),
        ("elbo", "mine"),
    }


def test_every_seed_starts_from_the_state_the_objective_was_given(blobs):
    betas = []

    def noted(p, q, batch, beta):
        betas.append(float(beta))
        return elbo(p, q, batch, beta)

    objective = annealed(noted, over=10)
    compare(blobs["x"], {"annealed": objective}, seeds=2, **TINY)
    assert len(betas) == 24 and betas[:12] == betas[12:] and betas[0] < betas[11] == 1
    assert objective.tick == 0


def test_models_are_measured_in_evaluation_mode(blobs):
    encoders, modes = [], []

    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            parts = [MLP(2, 8, 8), nn.Dropout(0.8), nn.BatchNorm1d(8), nn.Linear(8, 4)]
            self.layers = nn.Sequential(*parts)
            encoders.append(self)

        def forward(self, x):
            if len(x) in (40, 160):  # the test and training rows, not a batch
                modes.append(self.training)
            return self.layers(x)

    def mine():
        p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 4), floor=0.05)})
        return p, Joint("q", {"x": None, "z|x": Gaussian(Noisy(), floor=0.05)})

    found = compare(blobs["x"], ["VAE"], labels=blobs["label"], seeds=1, make=mine, **TINY)
    assert found.errors == {} and modes and not any(modes)
    assert encoders[-1].training and encoders[-1].layers[2].num_batches_tracked == TINY["steps"]


# -- data of every kind


def test_binary_data_get_a_bernoulli_decoder_and_no_ksg():
    x = (torch.rand(120, 2, 3, 3, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    found = compare(x, ["VAE"], seeds=1, **TINY)
    values = by_metric(found, "VAE")
    assert "120 rows of 18 zeros and ones" in found.note and "ksg_information" not in values
    assert 10 < values["nll_upper_bound"][0] < 16  # 18 coins: 12.5 nats


def test_texts_become_bags_of_words(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(f"word{i % 7} other{i % 3}" for i in range(60)))
    rows, unit, _ = _columns(_read(path, None, None))
    assert rows.shape == (60, 10) and unit is None and rows.sum(1).tolist() == [2.0] * 60


def test_a_column_of_a_table_a_label_column_and_constant_columns(tmp_path):
    path = tmp_path / "table.csv"
    lines = [f"{i},{i % 2},7,some word{i % 5},{'ab'[i % 2]}" for i in range(60)]
    path.write_text("\n".join(["a,b,c,words,kind", *lines]))
    texts = _read(path, "kind", "words")
    assert _columns(texts)[0].shape == (60, 6) and texts["label"].tolist()[:3] == [0, 1, 0]
    numbers = Dataset("t", "all", {"x": torch.tensor([[i, 7.0] for i in range(60)])})
    rows, _, note = _columns(numbers)
    assert rows.shape == (60, 1) and "1 constant columns left out" in note


def test_folders_of_images_and_arrays(tmp_path):
    from PIL import Image

    for i in range(4):
        folder = tmp_path / "images" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2), 60 * i).save(folder / f"{i}.png")
    images = _read(tmp_path / "images", None, None)
    assert _columns(images)[0].shape == (4, 6) and images.label_names == ("a", "b")
    np.save(tmp_path / "x.npy", np.arange(120.0).reshape(60, 2))
    assert _columns(_read(tmp_path / "x.npy", None, None))[0].shape == (60, 2)


BAD = {
    "too few": (lambda x: (x[:20], {}), "50 rows or more"),
    "labels": (lambda x: (x, {"labels": [0, 1]}), "labels must be 200 whole numbers"),
    "unknown": (lambda x: (x, {"objectives": ["VEA"]}), "names among VAE, MIM, A-MIM"),
    "twice": (lambda x: (x, {"objectives": [elbo, elbo]}), "different names"),
    "none": (lambda x: (x, {"objectives": []}), "came none"),
    "seeds": (lambda x: (x, {"seeds": 0}), "seeds must be a whole number"),
    "held out": (lambda x: (x, {"held_out": 1.0}), "held_out must be a share"),
    "few held out": (lambda x: (x, {"held_out": 0.01}), "leaves 10 rows or more"),
    "NaN": (lambda x: (torch.where(x > 0, x, math.nan), {}), "NaN or infinite values in"),
    "constant": (lambda x: (torch.full((60, 2), 3.0), {}), "every column of the data is constant"),
    "missing file": (lambda x: ("nowhere.csv", {}), "not there"),
    "other file": (lambda x: ("table.xls", {}), "a folder of images, or a file ending in"),
    "steps": (lambda x: (x, {"steps": 0}), "steps and latents must be 1 or more"),
}


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_named(given, words, blobs, runs):
    data, more = given(blobs["x"])
    with pytest.raises(ValueError, match=words):
        compare(data, **(TINY | more))
    assert not runs.exists()
