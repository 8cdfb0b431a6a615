"""Studies of the mixtures: the same start for all objectives, honest looks, numbers by hand."""

from types import SimpleNamespace

import pytest
import torch

from lvmlab import wasserstein
from lvmlab.diagnostics import hungarian_accuracy
from lvmlab.models import match_clusters
from lvmlab.studies import mixture_runs as runs
from lvmlab.studies import mixtures

SIZE = SimpleNamespace(
    rows=60, points=50, encoder=(4,), decoder=(6, 4), kernel=3, trials=16, weight=40.0,
    least=0.0,
    coarse=False, batch=10, lr=5e-3, beta1=0.5, steps=6, moments=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return runs.loaded("digits", SIZE)


def test_all_objectives_begin_with_the_same_weights_and_see_the_same_batches(data):
    starts = {
        name: runs.trained(name, SIZE, data, "equidistant", 0).shares[0]
        for name in ("GM-VAE", "GM-WAE joint kernel")
    }
    one, other = starts.values()
    torch.testing.assert_close(one, other)
    other_seed = runs.trained("GM-VAE", SIZE, data, "equidistant", 1).shares[0]
    assert (one - other_seed).abs().max() > 1e-4


@pytest.mark.slow
def test_looking_more_often_does_not_change_the_run(data):
    rare, often = (
        runs.trained("GM-WAE", SIZE, data, "pinwheel", 0, looks=looks)
        for looks in ([4], list(range(7)))
    )
    assert rare.steps == [0, 4, 6] and often.steps == list(range(7))
    torch.testing.assert_close(rare.shares, often.shares[[0, 4, 6]], rtol=0, atol=0)
    assert rare.end == often.end and list(rare.curves) == [6]
    marked = runs.trained("GM-WAE", SIZE, data, "pinwheel", 0, marks=[0, 3])
    assert marked.steps == [0, 3, 6] and list(marked.curves) == [0, 3, 6]
    assert marked.end == rare.end


def test_a_second_training_goes_on_from_the_first_and_leaves_it_alone(data):
    first = runs.trained("GM-WAE", SIZE, data, "equidistant", 0)
    kept = [v.clone() for v in first.q.parameters()]
    start = first.p, first.q
    second = runs.trained("GM-VAE", SIZE, data, "equidistant", 0, start, marks=[0])
    assert second.curves[0] == first.end
    assert all((a == b).all() for a, b in zip(kept, first.q.parameters(), strict=True))


@pytest.mark.slow
def test_from_k_means_only_the_weights_of_k_begin_elsewhere(data):
    """The clusters are those of k-means, and whatever follows is the objective that is named."""
    plain, clustered = (
        runs.trained("GM-VAE" + start, SIZE, data, "equidistant", 0, looks=[1], marks=[0])
        for start in ("", runs.FROM_K_MEANS)
    )
    assert (plain.shares[0] - clustered.shares[0]).abs().max() > 0.02
    fitted = runs.clusters(data[0], 0)
    _, q = runs.begun(SIZE, data[0]["x"], "equidistant", 0)
    match_clusters(q, data[0]["x"], torch.as_tensor(fitted.labels_).long())
    torch.testing.assert_close(runs.responsibilities(q, data[1]["x"]).mean(0), clustered.shares[0])
    agreed = runs.responsibilities(q, data[0]["x"]).argmax(1) == torch.as_tensor(fitted.labels_)
    assert agreed.double().mean() > 0.9
    found = runs.objective("GM-WAE" + runs.FROM_K_MEANS, 40.0, 0.0)
    assert found.func is wasserstein and found.keywords == {"weight": 40.0, "least": 0.0}


def test_measured_by_hand(data):
    """Shares, accuracies and errors of untrained joints, computed without the study."""
    _, test = data
    p, q = runs.begun(SIZE, data[0]["x"], "equidistant", 3)
    found = runs.measured(p, q, test, 3)
    p.eval(), q.eval()
    with torch.no_grad():
        pi = q.factors["k|x"].network(test["x"]).softmax(1)
    assert found["largest_share"] == pytest.approx(pi.mean(0).max().item(), abs=1e-6)
    assert found["components_alive"] + found["components_shut_off"] == 10
    accuracy = 100 * hungarian_accuracy(pi.double(), test["label"]).accuracy
    assert found["hungarian_accuracy_percent"] == pytest.approx(accuracy)
    assert found["greedy_accuracy_percent"] <= accuracy
    kl = (pi * (10 * pi).log()).sum(1).mean().item()
    assert found["discrete_rate"] == pytest.approx(kl, abs=1e-5)
    with torch.no_grad():
        errors = [wasserstein(p, q, test).terms["squared_error"].mean() for _ in range(20)]
    errors = torch.stack(errors)
    assert abs(found["squared_error"] - errors.mean()) < 6 * errors.std()


def test_modes_covered_counts_modes_with_codes():
    prior = runs.PRIORS["pinwheel"]()
    torch.manual_seed(0)
    everyone = prior(torch.arange(10).repeat(200)).sample()
    assert runs.covered(prior, everyone) == 10
    three = prior(torch.arange(3).repeat(300)).sample()
    assert runs.covered(prior, three) in (3.0, 4.0, 5.0)  # petals overlap near the middle


def test_unknown_objectives_are_named():
    with pytest.raises(ValueError, match=r"objective must be one of GM-VAE, .*got 'VAE'"):
        runs.objective("VAE", 1.0, 0.0)


def test_k_means_beside_them(data):
    found = runs.k_means(data, 0)
    assert found["greedy_accuracy_percent"] <= found["hungarian_accuracy_percent"]
    assert 30 < found["hungarian_accuracy_percent"] < 100 and found["largest_share"] < 0.5


def test_the_life_of_components_is_read_from_the_shares(data, monkeypatch):
    """Written by hand: one is off for good, one comes back, one has most from step 100 on."""
    shares = torch.full((4, 10), 0.1)
    shares[1, :2] = torch.tensor([0.01, 0.19])
    shares[2] = torch.tensor([0.01, 0.82, 0.01, *7 * [0.16 / 7]])
    shares[3] = torch.tensor([0.01, 0.7, *8 * [0.29 / 8]])
    run = runs.Run(None, None, [0, 10, 100, 200], shares, {200: {"largest_share": 0.7}})
    monkeypatch.setattr(runs, "trained", lambda *given, **more: run)
    size = SimpleNamespace(**vars(SIZE) | {"steps": 200})
    found = mixtures._life("GM-VAE", size, data, 0)
    assert found["components_shut_off_at_10"] == 1 and found["revived"] == 1
    assert found["largest_share_at_10"] == pytest.approx(0.19)
    assert found["largest_share_from_100"] == pytest.approx(0.82)
    assert found["steps_until_one_has_most"] == 100 and found["largest_share"] == 0.7
    run.shares[2] = 0.1
    assert mixtures._life("GM-VAE", size, data, 0)["steps_until_one_has_most"] == 200
