"""The study of CoLLike on images: rows, what is measured, noise that is the same for all."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lvmlab import Joint, noise
from lvmlab.conditionals import Proportions
from lvmlab.flows import Logit
from lvmlab.studies import images, ledger
from lvmlab.studies.images import DequantisedBatches

TINY = {"rows": 70, "points": 20, "scales": 1, "steps": 1, "width": 4, "epochs": 2, "lr": 1e-2}
METRICS = {
    "bits_per_dim_upper_bound",
    "information",
    "aggregated_kl",
    "ceiling",
    "accuracy_percent",
    "largest_share",
    "collapsed",
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LVMLAB_DATA", str(tmp_path / "data"))
    table = images.SIZES[images.STUDY]
    monkeypatch.setitem(table, "smoke", table["smoke"] | {"sets": {"digits": TINY, "mnist": TINY}})
    return tmp_path / "runs"


def test_a_margin_reaches_the_flow_and_its_name():
    size = SimpleNamespace(**TINY | {"epochs": 1, "margin": 0.05})
    p, _, _ = images.trained("digits", "CoLLike", size, 0)
    first = p.factors["x|z"].bijection.parts[0]
    assert isinstance(first, Logit) and first.margin == 0.05
    plain = images.system(SimpleNamespace(**TINY))
    assert images.system(size) == f"logit, {plain}" and "logit" not in plain


def test_the_study_runs_on_what_is_here_and_goes_on_from_its_checkpoints(runs, monkeypatch):
    rows = images.collike_images("smoke", 2)
    assert {row["dataset"] for row in rows} == {"digits"}  # mnist is not at hand
    assert {row["metric"] for row in rows} == METRICS
    assert {row["objective"] for row in rows} == {"CoLLike", "MaL"}
    assert all(row["seeds"] == 2 and math.isfinite(row["value"]) for row in rows)
    values = {(row["objective"], row["metric"]): row["value"] for row in rows}
    for objective in ("CoLLike", "MaL"):
        total = values[objective, "information"] + values[objective, "aggregated_kl"]
        assert total <= values[objective, "ceiling"] + 1e-9 == math.log(10) + 1e-9
    names = {(row["objective"], row["metric"]) for row in rows}
    for claim in images.CLAIMS[images.STUDY]:
        assert (claim.objective, claim.metric) in names
        assert claim.relation == "is" or (claim.to, claim.metric) in names
    checkpoints = sorted(runs.rglob("run.safetensors"))
    assert [c.parent.name for c in checkpoints] == [
        f"digits-{objective}-{seed}" for objective in ("collike", "mal") for seed in (0, 1)
    ]
    records = list(runs.rglob("*.jsonl"))
    assert len(records) == 2
    for record in records:
        record.unlink()
    steps = []
    for name in ("match_then_descend", "descend"):
        monkeypatch.setattr(images, name, _counted(getattr(images, name), steps))
    again = images.collike_images("smoke", 2)
    assert not steps  # nothing trained anew
    strip = [{k: v for k, v in row.items() if k != "minutes"} for row in again]
    assert strip == [{k: v for k, v in row.items() if k != "minutes"} for row in rows]
    assert len(ledger.recorded()) == 4


def _counted(make, steps):
    def made(*given):
        step = make(*given)
        move = step.move

        def counted(batch):
            steps.append(1)
            return move(batch)

        object.__setattr__(step, "move", counted)
        return step

    return made


class Blobs(nn.Module):
    """p(x|z) over 1 x 2 x 2 images: N(0.25, s^2) or N(0.75, s^2) in every pixel."""

    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, z):
        loc = torch.tensor([0.25, 0.75])[z].view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        return Independent(Normal(loc, self.scale.expand_as(loc)), 3)


def test_measured_agrees_with_sums_written_out():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(2, (200,), generator=generator)
    x = ((torch.rand(200, 1, 2, 2, generator=generator) + label.view(-1, 1, 1, 1)) * 8).floor() / 16
    p = Joint("p", {"z": Proportions(2), "x|z": Blobs(0.3)})
    batch = {"x": x, "label": label}
    found = images.measured(p, batch, levels=17)
    assert set(found) == METRICS and found == images.measured(p, batch, levels=17)
    y = images.dequantise(x, 17, noise.generator(0, "look")).double()
    scale = p.factors["x|z"].scale.item()
    parts = [Normal(m, scale).log_prob(y).flatten(1).sum(1) - math.log(2) for m in (0.25, 0.75)]
    log_joint = torch.stack(parts, 1)
    nll = -log_joint.logsumexp(1).mean().item()
    bits = nll / (4 * math.log(2)) + math.log2(17)
    assert found["bits_per_dim_upper_bound"] == pytest.approx(bits, rel=1e-5)
    posterior = log_joint.softmax(1)
    mean = posterior.mean(0)
    entropy = -(mean * mean.log()).sum()
    information = entropy + (posterior * log_joint.log_softmax(1)).sum(1).mean()
    assert found["information"] == pytest.approx(information.item(), abs=1e-5)
    assert found["aggregated_kl"] == pytest.approx(math.log(2) - entropy.item(), abs=1e-5)
    correct = (posterior.argmax(1) == label).double().mean().item()
    assert found["accuracy_percent"] == pytest.approx(100 * correct)
    assert found["collapsed"] == 0.0 and found["largest_share"] == pytest.approx(mean.max().item())
    collapsed = images.measured(p, {"x": x[label == 0] * 0, "label": label[label == 0]}, 17)
    assert collapsed["collapsed"] == (collapsed["largest_share"] > 0.99)


def test_noise_is_new_at_every_step_and_the_same_when_asked_again():
    x = torch.arange(6).view(6, 1, 1, 1).expand(6, 1, 2, 2) / 16
    data = {"x": x, "index": torch.arange(6)}

    def stream(seed=0):
        return DequantisedBatches(data, 6, seed, shuffle=False, levels=17)

    one = stream().at(0)
    assert torch.equal(one["x"], stream().at(0)["x"])
    assert torch.equal((one["x"] * 17).floor(), x * 16) and torch.equal(one["index"], data["index"])
    for other in (stream().at(1), stream(1).at(0), next(iter(stream()))):
        assert torch.equal((other["x"] * 17).floor(), x * 16)
        assert not (other["x"] == one["x"]).any()
    assert torch.equal(next(iter(stream()))["x"], next(iter(stream()))["x"])
    assert stream().describe()["levels"] == 17
    with pytest.raises(ValueError, match="choose levels"):
        DequantisedBatches(data, 6, levels=256).at(0)


def test_both_objectives_start_from_the_same_weights_and_batches(monkeypatch):
    started = {}

    def no_fit(step, batches, **settings):
        module = step.modules["p"]
        started[step.name] = ({n: v.clone() for n, v in module.state_dict().items()}, batches.at(3))

    monkeypatch.setattr(images, "fit", no_fit)
    for objective in ("CoLLike", "MaL"):
        images.trained("digits", objective, SimpleNamespace(**TINY), seed=5)
    (one, first), (other, second) = started.values()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(first["x"], second["x"]) and torch.equal(first["index"], second["index"])
