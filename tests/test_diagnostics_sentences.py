"""BLEU-1 against sacrebleu, MELBO and ELBO side by side, ranks of answers."""

import math
import random

import numpy as np
import pytest

from lvmlab import diagnostics
from lvmlab.diagnostics import Bounds, bleu1, bounds_table, melbo, ranking, ranks
from lvmlab.diagnostics.sentences import SIDE_BY_SIDE


def texts(size, seed, longest=12):
    """Sentences of a few words, so that words repeat and are shared."""
    draw = random.Random(seed)
    return [" ".join(draw.choices("abcdefgh", k=draw.randint(1, longest))) for _ in range(size)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("longest", "size"), [(12, 40), (5, 40), (30, 40), (8, 1)])
def test_bleu1_agrees_with_sacrebleu(seed, longest, size):
    metrics = pytest.importorskip("sacrebleu.metrics")
    metric = metrics.BLEU(max_ngram_order=1, tokenize="none", smooth_method="none", force=True)
    ours, theirs = texts(size, seed, longest), texts(size, 100 + seed)
    expected = metric.corpus_score(ours, [theirs]).score / 100
    assert bleu1(ours, theirs) == pytest.approx(expected, abs=1e-9)


def test_bleu1_at_its_ends_and_what_it_refuses():
    assert bleu1("a b c", "a b c") == 1 == bleu1("c b a", "a b c")
    assert bleu1("", "a") == 0 == bleu1("x y", "a b") and bleu1(["", "a"], ["", "a"]) == 1
    for ours, theirs in ((["a"], ["a", "b"]), ([], [])):
        with pytest.raises(ValueError, match="as many"):
            bleu1(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_melbo_bounds_a_gaussian_whose_answer_is_known(seed):
    """x = z + e with z from the mean of the N posteriors: a mixture of N normals, exactly known."""
    draw = np.random.default_rng(seed)
    x, spread, noise = 3 * draw.normal(size=40), 0.5, 0.7
    z = x[:, None] + spread * draw.normal(size=(40, 4000))
    found = melbo(-0.5 * ((x[:, None] - z) / noise) ** 2 - math.log(noise * math.sqrt(2 * math.pi)))
    wide = math.hypot(spread, noise)
    each = -0.5 * ((x[:, None] - x) / wide) ** 2 - math.log(wide * math.sqrt(2 * math.pi))
    exact = diagnostics.log_mean_exp(each, 1)
    own = each.diagonal() - math.log(40)
    assert found.tight == pytest.approx(own, abs=0.1) and (found.tight <= exact + 0.1).all()
    assert (found.bound <= found.tight).all() and found.sentences == 40
    assert found.nll >= -exact.mean()


def test_melbo_refuses_what_is_no_score():
    for wrong in ([], [np.nan], [-np.inf], [[[0.0]]]):
        with pytest.raises(ValueError, match="scores"):
            melbo(wrong)
    with pytest.raises(ValueError, match="sentences"):
        melbo([0.0], 0)


def test_both_bounds_stand_side_by_side_unsorted_and_with_their_meaning():
    rows = [Bounds("sMIM", 600.0, 40.0, 9.0, 100), Bounds("sVAE", 45.0, 50.0, 9.0, 100)]
    lines = bounds_table(rows)
    assert [line.split()[0] for line in lines[1:3]] == ["sMIM", "sVAE"]
    assert f"{math.exp(60):.4g}" in lines[1] and f"{math.exp(40 / 9):.4g}" in lines[1]
    assert f"{math.exp(4.5):.4g}" in lines[2] and "N = 100" in lines[3]
    assert lines[-1] == SIDE_BY_SIDE and "no ranking" in SIDE_BY_SIDE
    assert bounds_table(rows[::-1])[1:3] == lines[2:0:-1]
    assert "e+" in bounds_table([rows[0]._replace(elbo_nll=1e9)])[1]  # no overflow
    for change in ({"sentences": 50}, {"words": 8.0}):
        with pytest.raises(ValueError, match=r"sMIM: 100 .*sVAE"):
            bounds_table([rows[0], rows[1]._replace(**change)])
    assert bounds_table([])[-1] == SIDE_BY_SIDE


def test_ranks_count_ties_against_the_answer():
    scores = [[1.0, 2.0, 3.0], [2.0, 2.0, 1.0], [5.0, 1.0, 2.0]]
    assert ranks(scores).tolist() == [1, 3, 3]
    assert ranks(scores, true=1).tolist() == [2, 3, 1]
    assert ranking(ranks(np.zeros((4, 5)))) == (0.0, 0.2)
    with pytest.raises(ValueError, match="true"):
        ranks(scores, true=3)
    with pytest.raises(ValueError, match="scores"):
        ranks([1.0, 2.0])
    with pytest.raises(ValueError, match="from 1"):
        ranking([0, 1])


def test_answers_are_scored_by_the_scale_of_their_question():
    draw = np.random.default_rng(0)
    blank, scale = draw.normal(size=(3, 2)), 0.5 + draw.random((3, 2))
    answered = draw.normal(size=(3, 4, 2))
    found = diagnostics.answer_scores(blank, answered, scale)
    assert found.shape == (3, 4)
    assert found[1, 2] == pytest.approx(math.hypot(*((blank[1] - answered[1, 2]) / scale[1])))
    each = np.repeat(blank[:, None], 4, 1), answered, np.repeat(scale[:, None], 4, 1)
    assert np.array_equal(diagnostics.answer_scores(*each), found)
    with pytest.raises(ValueError, match="positive"):
        diagnostics.answer_scores(blank, answered, 0 * scale)
