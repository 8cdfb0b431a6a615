"""The checks of notebook 02: right answers pass, typical wrong ones meet their hint."""

import math

import numpy as np
import pytest
from answers import rejects
from scipy.special import gammaln, logsumexp, softmax

from lvmlab.exercises import likelihood_as_a_joint_kl as exercises


def test_another_right_answer_to_the_exact_marginal():
    def answer(scores, log_prior):
        joint = scores + log_prior
        return logsumexp(joint, axis=1), softmax(joint, axis=1)

    assert exercises.log_marginal(answer).status == "right"


def _naive(scores, log_prior):
    joint = np.exp(scores + log_prior)
    return np.log(joint.sum(1)), joint / joint.sum(1, keepdims=True)


def _mean_of_exponentials(scores, log_prior):
    return np.log(np.exp(scores).mean(1)), softmax(scores, axis=1)


def _one_maximum(scores, log_prior):
    joint = scores + log_prior
    top = joint.max()
    nats = top + np.log(np.exp(joint - top).sum(1))
    return nats, np.exp(joint - nats[:, None])


WRONG_MARGINALS = {
    "no prior": (
        lambda s, b: (logsumexp(s, axis=1), softmax(s, axis=1)),
        "for K=4 you are off by log 4",
    ),
    "largest score": (lambda s, b: ((s + b).max(1), softmax(s + b, axis=1)), "the others add"),
    "overflow": (_naive, "subtract the maximum first"),
    "mean of exponentials": (_mean_of_exponentials, "must weigh the scores inside the sum"),
    "posterior without prior": (
        lambda s, b: (logsumexp(s + b, axis=1), softmax(s, axis=1)),
        "the posterior weighs with the prior as well",
    ),
    "unnormalised": (
        lambda s, b: (logsumexp(s + b, axis=1), np.exp(s + b)),
        "sums to 1",
    ),
    "one maximum for all rows": (_one_maximum, "each row has a maximum of its own"),
    "summed over rows": (
        lambda s, b: (logsumexp(s + b, axis=0), softmax(s + b, axis=1)),
        "one number a row",
    ),
    "columns kept": (
        lambda s, b: (logsumexp(s + b, axis=1, keepdims=True), softmax(s + b, axis=1)),
        "one number a row",
    ),
    "one thing": (lambda s, b: logsumexp(s + b, axis=1), "return two things"),
    "prior divided out": (
        lambda s, b: (logsumexp(s - b, axis=1), softmax(s - b, axis=1)),
        "the prior sums to 1 already",
    ),
    "negative": (lambda s, b: (-logsumexp(s + b, axis=1), softmax(s + b, axis=1)), "-2.132771"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_MARGINALS.values(), ids=WRONG_MARGINALS)
def test_wrong_marginals(answer, hint):
    rejects(exercises.log_marginal, hint, answer)


def _posterior(joint):
    return joint / joint.sum(1, keepdims=True)


def _kl_rows(q, p):
    return np.where(q > 0, q * np.log(np.where(q > 0, q / p, 1)), 0).sum(1)


def _by_subtraction(q, joint):
    bound = np.where(q > 0, q * np.log(joint / np.where(q > 0, q, 1)), 0).sum(1)
    return np.log(joint.sum(1)) - bound


WRONG_GAPS = {
    "the other way round": (
        lambda q, joint: _kl_rows(_posterior(joint), q),
        "the expectation is under the encoder",
    ),
    "averaged": (lambda q, joint: _kl_rows(q, _posterior(joint)).mean(), "average last"),
    "gap of the mean row": (
        lambda q, joint: _kl_rows(q.mean(0)[None], _posterior(joint).mean(0)[None])[0],
        "average last",
    ),
    "joint for posterior": (lambda q, joint: _kl_rows(q, joint), "divide each row by its sum"),
    "negative": (lambda q, joint: -_kl_rows(q, _posterior(joint)), "never negative"),
    "bits": (lambda q, joint: _kl_rows(q, _posterior(joint)) / math.log(2), "0.028168"),
    "posterior by columns": (lambda q, joint: _kl_rows(q, joint / joint.sum(0)), "0.028168"),
    "no convention for 0 log 0": (
        lambda q, joint: (q * np.log(q / _posterior(joint))).sum(1),
        "0 log 0 = 0",
    ),
    "remembers the three gaps": (
        lambda q, joint: np.array([0.028168, 0.020411, 0.003807, 0, 0])[: len(q)],
        "not log p(x) minus the bound",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_GAPS.values(), ids=WRONG_GAPS)
def test_wrong_gaps(answer, hint):
    rejects(exercises.elbo_gap, hint, answer)


def test_a_gap_by_subtraction_is_accepted_when_it_is_exact_enough():
    assert exercises.elbo_gap(_by_subtraction).status == "right"


E_STEP, M_STEP = exercises.em_for_counts.answers


def _scores(counts, rates):
    return counts[:, None] * np.log(rates) - rates - gammaln(counts + 1)[:, None]


def _hard(counts, rates, weights):
    return np.eye(2)[(_scores(counts, rates) + np.log(weights)).argmax(1)]


def _powers(counts, rates, weights):
    with np.errstate(all="ignore"):
        joint = weights * rates ** counts[:, None].astype(float) * np.exp(-rates)
        return joint / joint.sum(1, keepdims=True)


def _medians(counts, rows):
    order = np.argsort(counts)
    half = [np.searchsorted(np.cumsum(rows[order, k]), rows[:, k].sum() / 2) for k in (0, 1)]
    return counts[order][half].astype(float), rows.mean(0)


WRONG_E_STEPS = {
    "no weights": (lambda c, r, w: softmax(_scores(c, r), axis=1), "a rare component must explain"),
    "hard": (_hard, "keep the probabilities"),
    "over the data": (lambda c, r, w: softmax(_scores(c, r) + np.log(w), axis=0), "sum to 1 over"),
    "powers": (_powers, "add logarithms"),
    "weights as logarithms": (lambda c, r, w: softmax(_scores(c, r) + w, axis=1), "for a count of"),
    "transposed": (lambda c, r, w: softmax(_scores(c, r) + np.log(w), axis=1).T, "a row for each"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_E_STEPS.values(), ids=WRONG_E_STEPS)
def test_wrong_e_steps(answer, hint):
    rejects(exercises.em_for_counts, hint, answer, M_STEP)


WRONG_M_STEPS = {
    "medians": (_medians, "set the derivative"),
    "means over all": (lambda c, r: (c @ r / len(c), r.mean(0)), "set the derivative"),
    "counts for weights": (lambda c, r: (c @ r / r.sum(0), r.sum(0)), "the share of the counts"),
    "even weights": (lambda c, r: (c @ r / r.sum(0), np.full(2, 0.5)), "the share of the counts"),
    "rates only": (lambda c, r: c @ r / r.sum(0), "return two things"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_M_STEPS.values(), ids=WRONG_M_STEPS)
def test_wrong_m_steps(answer, hint):
    rejects(exercises.em_for_counts, hint, E_STEP, answer)


def test_an_m_step_alone_is_unanswered_when_it_is_missing():
    verdict = exercises.em_for_counts(E_STEP, lambda counts, rows: ...)
    assert verdict.status == "unanswered"


WRONG_EXAMPLES = {
    "wide posterior": ((1.0, 1.0, 0.5, 0.25), "when is a density above 1?"),
    "negative scale": ((2.0, -0.1, 1.0, 0.5), "scale is a standard deviation"),
    "scale 0": ((2.0, 0.0, 1.0, 0.5), "scale is a standard deviation"),
    "narrow but far off": ((2.0, 0.1, 1.0, 0.0), "standard deviations off"),
    "not finite": ((2.0, 0.1, math.inf, 0.0), "finite"),
    "three numbers": ((2.0, 0.1, 1.0), "return four numbers"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_EXAMPLES.values(), ids=WRONG_EXAMPLES)
def test_wrong_counterexamples(answer, hint):
    rejects(exercises.counterexample, hint, lambda: answer)


@pytest.mark.parametrize("w", [1.5, -2.0, 5.0])
def test_other_counterexamples_are_right(w):
    answer = w, 0.3, 0.7, w * 0.7 / (w**2 + 0.09)
    assert exercises.counterexample(lambda: answer).status == "right"
