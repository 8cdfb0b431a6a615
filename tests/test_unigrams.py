"""Mixture of unigrams: torch's Multinomial, enumeration of all short texts, EM's own guarantees."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array, csr_array
from torch.distributions import Multinomial

from lvmlab import Joint, exact_posterior, expect_then_maximise, marginal_likelihood
from lvmlab.diagnostics import hungarian_accuracy
from lvmlab.models import Unigrams, padded, unigram_mixture
from lvmlab.objectives import quota_posterior

SEEDS = range(4)


def random_mixture(seed, categories=3, vocabulary=5, length=4):
    torch.manual_seed(seed)
    p, q = unigram_mixture(categories, vocabulary, length)
    p.factors["x|k"].logits.data.normal_()
    return p, q


def peaked(seed, texts=400, length=12, vocabulary=40, topics=2):
    """Texts whose topic draws nine words of ten from its own share of the vocabulary."""
    p, _ = unigram_mixture(topics, vocabulary, length)
    own = torch.arange(vocabulary) * topics // vocabulary == torch.arange(topics)[:, None]
    share = vocabulary / topics
    p.factors["x|k"].logits.data = torch.where(own, 0.9 / share, 0.1 / (vocabulary - share)).log()
    torch.manual_seed(seed + 10_000)
    return p, p.draw(size=texts).values


@pytest.mark.parametrize("seed", SEEDS)
def test_all_texts_of_three_words_sum_to_one(seed):
    p, _ = random_mixture(seed, length=3)
    texts = torch.tensor(list(product(range(5), repeat=3)))
    nll = marginal_likelihood(p, p, {"x": texts}).terms["nll"].double()
    assert torch.exp(-nll).sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_the_multinomial_without_its_coefficient(seed):
    p, _ = random_mixture(seed)
    counts = np.random.default_rng(seed).integers(0, 3, (20, 5))
    x = padded(counts)
    words = Unigrams(3, 5, x.shape[1])
    words.logits.data = p.factors["x|k"].logits.data
    k, c = torch.arange(20) % 3, torch.tensor(counts, dtype=torch.float32)
    bag = Multinomial(1, logits=words.logits[k], validate_args=False).log_prob(c)
    coefficient = torch.lgamma(c.sum(1) + 1) - torch.lgamma(c + 1).sum(1)
    torch.testing.assert_close(words(k).log_prob(x), bag - coefficient)


def test_padded_rows_hold_each_word_as_often_as_it_counts():
    counts = np.array([[2, 0, 1], [0, 0, 0], [0, 3, 0]])
    expected = [[0, 0, 2], [-1, -1, -1], [1, 1, 1]]
    assert padded(counts).tolist() == expected
    assert padded(csr_array(counts)).tolist() == expected
    mixed = coo_array(([3, 2, 1], ([2, 0, 0], [1, 0, 2])), shape=(3, 3))  # rows not in order
    assert padded(mixed).tolist() == expected
    assert padded(counts, length=4)[0].tolist() == [0, 0, 2, -1]
    assert padded(np.zeros((2, 3), int)).tolist() == [[-1], [-1]]
    p, _ = random_mixture(0, vocabulary=3, length=3)
    nothing = exact_posterior(p, {"x": padded(counts)})[1]
    torch.testing.assert_close(nothing, torch.full((3,), 1 / 3))  # no words: the prior


@pytest.mark.parametrize("seed", SEEDS)
def test_the_m_step_is_the_maximum_of_the_smoothed_likelihood(seed):
    """Where the gradient of weighted log-likelihood + 0.1 sum of log-probabilities is zero."""
    p, _ = random_mixture(seed)
    x, words = p.draw(size=50).values["x"], p.factors["x|k"]
    weights = torch.rand(50, 3).softmax(1)
    words.maximise(x, weights)
    scores = torch.stack([words(torch.full((50,), k)).log_prob(x) for k in range(3)], 1)
    penalised = (weights * scores).sum() + 0.1 * words.logits.log_softmax(1).sum()
    penalised.backward()
    assert words.logits.grad.abs().max() < 1e-4
    half = Unigrams(3, 5, 4, smoothing=2.0)
    half.maximise(x, weights)
    assert half.logits.softmax(1).std() < words.logits.softmax(1).std()


@pytest.mark.parametrize("seed", SEEDS)
def test_em_never_lowers_the_smoothed_likelihood_and_finds_peaked_topics(seed):
    truth, data = peaked(seed)
    p, _ = unigram_mixture(2, 40, 12)
    torch.manual_seed(seed)
    weights = torch.rand(400, 2)
    p.factors["x|k"].maximise(data["x"], weights / weights.sum(1, keepdim=True))
    step, path = expect_then_maximise(p, exact_posterior), []
    for _ in range(30):
        prior = 0.1 * p.factors["x|k"].logits.double().log_softmax(1).sum().item()
        path.append(prior - 400 * step({"x": data["x"]}).loss.double().item())
    assert np.diff(path).min() > -0.02  # float32 sums of about 15,000 nats
    posterior = exact_posterior(p, {"x": data["x"]})
    assert hungarian_accuracy(posterior, data["k"]).accuracy > 0.95
    known = exact_posterior(truth, {"x": data["x"]})
    assert hungarian_accuracy(posterior, known.argmax(1)).accuracy > 0.98


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quota_deals_texts_of_two_topics_evenly(seed):
    _, data = peaked(seed, texts=200)
    p, _ = unigram_mixture(2, 40, 12)
    torch.manual_seed(seed)
    stored = torch.arange(200) % 2
    p.factors["x|k"].maximise(data["x"], torch.nn.functional.one_hot(stored).float())
    step = expect_then_maximise(p, quota_posterior)
    for _ in range(10):
        step({"x": data["x"]})
    assert quota_posterior(p, {"x": data["x"]}).sum(0).tolist() == [100, 100]
    posterior = exact_posterior(p, {"x": data["x"]})
    assert hungarian_accuracy(posterior, data["k"]).accuracy > 0.85


def test_equal_categories_stay_equal_under_em():
    _, data = peaked(0)
    p, _ = unigram_mixture(2, 40, 12)
    step = expect_then_maximise(p, exact_posterior)
    for _ in range(5):
        step({"x": data["x"]})
    torch.testing.assert_close(exact_posterior(p, {"x": data["x"]}), torch.full((400, 2), 0.5))


def test_draws_are_words_in_the_given_shares():
    p, _ = unigram_mixture(2, 3, 50)
    p.factors["x|k"].logits.data = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]).log()
    torch.manual_seed(0)
    drawn = p.draw(size=2000).values
    assert drawn["x"].shape == (2000, 50)
    for k, expected in enumerate(([0.7, 0.2, 0.1], [0.1, 0.1, 0.8])):
        share = torch.bincount(drawn["x"][drawn["k"] == k].ravel(), minlength=3) / 50
        share = share / (drawn["k"] == k).sum()
        torch.testing.assert_close(share, torch.tensor(expected), atol=0.01, rtol=0)


def test_stored_pairs_make_q_an_assignment():
    stored = torch.tensor([0, 1, 1])
    _, q = unigram_mixture(2, 3, 4, stored)
    drawn = q.draw({"x": torch.zeros(2, 4).long(), "index": torch.tensor([2, 0])})
    assert drawn.values["k"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Unigrams(0, 5, 4), "categories must be a whole number from 1 up, got 0"),
        (lambda: Unigrams(2, 5, 0), "length must be a whole number from 1 up, got 0"),
        (lambda: Unigrams(2, 5, 4, smoothing=0), "smoothing must be positive, got 0"),
        (lambda: padded(np.array([[1, -1]])), "counts must be whole numbers from 0 up"),
        (lambda: padded(np.array([[2, 1]]), length=2), "length must be 3 or more"),
        (lambda: padded(np.array([[0.5, 1]])), "counts must be whole numbers from 0 up"),
    ],
)
def test_bad_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_words_outside_the_vocabulary_and_other_lengths_are_refused():
    p, _ = random_mixture(0)
    with pytest.raises(ValueError, match="outside the support"):
        exact_posterior(p, {"x": torch.full((2, 4), 5)})
    with pytest.raises(ValueError, match=r"over \(4,\), but the value has shape \(6, 3\)"):
        exact_posterior(p, {"x": torch.zeros(2, 3).long()})
    assert isinstance(p, Joint)
