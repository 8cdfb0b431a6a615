"""The studies on sentences: what is measured, who shares weights, how answers are ranked."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lvmlab import Joint
from lvmlab.distributions import Delta
from lvmlab.language import END
from lvmlab.models.sentences import AtTheMean
from lvmlab.objectives import criticised
from lvmlab.studies import (
    answer_runs,
    critic_text_runs,
    sentence_figures,
    sentence_runs,
    sentences,
)
from lvmlab.studies.answer_runs import Pair
from lvmlab.studies.sentence_runs import numbered

SIZE = SimpleNamespace(
    **sentences._SMOKE
    | {"embedding": 16, "hidden": 32, "lr": 1e-2, "dropout": 0.5, "epochs": 15, "patience": 15}
)
WORDS = 3


def grammar(size, seed):
    """Three words, each even among four: a decoder that does not know z can only guess."""
    draw = random.Random(seed)
    return tuple(" ".join(draw.choices("abcd", k=WORDS)) for _ in range(size))


@pytest.fixture(scope="module")
def data():
    texts = {"train": grammar(400, 0), "validation": grammar(60, 1), "test": grammar(60, 2)}
    return numbered("toy", texts, 20)


def trained(size, data):
    torch.set_num_threads(1)
    return {
        name: sentence_runs.trained(name, size, data, 8, seed=0) for name in ("sMIM", "sVAE", "AE")
    }


@pytest.fixture(scope="module")
def pairs(data):
    """Trained a little, for what holds at any weights."""
    return trained(SimpleNamespace(**vars(SIZE) | {"epochs": 4}), data)


@pytest.mark.slow
def test_smim_keeps_the_code_and_the_vae_does_not(data):
    pairs = trained(SIZE, data)
    found = {name: sentence_runs.measured(*pair, data, 0) for name, pair in pairs.items()}
    guess = WORDS * math.log(4)
    assert found["sVAE"]["rate"] < 0.5 and abs(found["sVAE"]["nll_gap"]) < 0.3
    assert found["sVAE"]["distortion"] == pytest.approx(guess, abs=0.5)
    assert found["sMIM"]["distortion"] < guess - 1 and found["sMIM"]["nll_gap"] > 2
    assert found["sMIM"]["bleu1"] > found["sVAE"]["bleu1"] + 0.1
    assert found["sMIM"]["bleu1"] > found["sMIM"]["bleu1_floor"] + 0.1
    assert found["sMIM"]["information"] > 2 and found["sVAE"]["information"] < 0.5
    assert "rate" not in found["AE"] and "elbo_nll" not in found["AE"]
    assert found["AE"]["distortion"] < guess - 1


def test_numbers_fit_each_other_and_come_again(data, pairs):
    p, q = pairs["sMIM"]
    found = sentence_runs.measured(p, q, data, 0)
    assert found == sentence_runs.measured(p, q, data, 0)  # its own random state
    assert found != sentence_runs.measured(p, q, data, 1)
    assert found["elbo_nll"] == pytest.approx(found["distortion"] + found["rate"], rel=1e-5)
    gap = found["prior_nll"] - found["distortion"]
    assert found["nll_gap"] == pytest.approx(gap, abs=1e-3)
    # as many words a sentence and END, whose nats MELBO leaves out
    assert found["melbo_nll"] < found["distortion"] + math.log(60)
    assert found["melbo_perplexity"] == pytest.approx(math.exp(found["melbo_nll"] / WORDS))
    assert found["elbo_perplexity"] == pytest.approx(
        math.exp(found["elbo_nll"] / (WORDS + 1)), rel=1e-4
    )
    assert found["normal_entropy"] == pytest.approx(4 * math.log(2 * math.pi * math.e))
    x = data.rows["test"].x
    coded, decoder = sentence_runs.coded(p, q, x, 0), p.eval().factors["x|z"]
    with torch.no_grad():
        nats = decoder(coded.z).token_log_prob(x)
        torch.testing.assert_close(coded.distortion, -nats.sum(1), rtol=1e-4, atol=1e-4)
        words = -nats.masked_fill(x == END, 0).sum(1)
        torch.testing.assert_close(coded.words, words, rtol=1e-4, atol=1e-4)
    assert found["melbo_nll"] == pytest.approx(words.mean().item() + math.log(60), rel=1e-4)


def test_the_table_of_pairs_is_that_of_single_pairs(data, pairs):
    p, q = (joint.eval() for joint in pairs["sMIM"])
    x = data.rows["test"].x[:7]
    texts, codes = sentence_figures.tables(p, q, x, 3)
    with torch.no_grad(), sentence_runs.quietly(10_003):
        drawn = q.draw({"x": x})
        z, posterior = drawn.values["z"], drawn.distributions["z|x"]
        for i, j in ((0, 0), (2, 5), (6, 1)):
            own = p.factors["x|z"](z[j : j + 1]).log_prob(x[i : i + 1])
            assert texts[i, j].item() == pytest.approx(own.item(), rel=1e-4)
            density = torch.distributions.Normal(posterior.mean[j], posterior.stddev[j])
            expected = density.log_prob(z[i]).sum().item()
            assert codes[i, j].item() == pytest.approx(expected, rel=1e-4)
    overlap = {n: sentence_figures.overlapping(*pairs[n], data, 0, 60) for n in ("sMIM", "sVAE")}
    for side in ("decoder_overlap", "encoder_overlap"):
        assert overlap["sMIM"][side] < overlap["sVAE"][side]
    assert overlap["sMIM"]["encoder_own_log_prob"] > overlap["sMIM"]["encoder_other_log_prob"] + 5


def test_histograms_share_all_of_one_distribution_and_nothing_of_two():
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=4000), draw.normal(size=40_000)
    assert sentence_figures.overlap(one, other) > 0.95
    assert sentence_figures.overlap(one, other + 20) == 0
    wide = sentence_figures.overlap(draw.random(40_000), 0.5 + draw.random(40_000))
    assert wide == pytest.approx(0.5, abs=0.03)


def test_melbo_of_fewer_sentences_follows_the_logarithm(data, pairs):
    found = sentence_figures.by_size(*pairs["sMIM"], data, 0, (5, 30, 60, 1000), 400)
    rest = found["melbo_nll"] - math.log(60)
    for count in (5, 30, 60):
        spread = found[f"melbo_std_percent_at_{count}"] / 100 * found[f"melbo_nll_at_{count}"]
        off = found[f"melbo_nll_at_{count}"] - rest - math.log(count)
        assert abs(off) < 5 * spread / math.sqrt(400) + 1e-9
    assert found["melbo_std_percent_at_60"] == pytest.approx(0, abs=1e-9)  # all of them each time
    assert found["melbo_std_percent_at_5"] > found["melbo_std_percent_at_30"] > 0
    assert "melbo_nll_at_1000" not in found
    fresh = sentence_runs.begun("sMIM", SIZE, data, 3, 0)  # END has its cost still
    coded = sentence_runs.coded(*fresh, data.rows["test"].x, 0)
    assert (coded.distortion - coded.words).mean() > 1
    needed = sentence_figures.by_size(*fresh, data, 0, (), 1)["log10_sentences_needed"]
    assert (coded.prior - coded.prior_words).mean() > 1
    gap = (coded.prior_words - coded.words).mean().item()
    assert needed == pytest.approx(gap / math.log(10), abs=1e-5)


def test_objectives_of_a_seed_begin_alike_and_studies_share_weights(data):
    one, other = (sentence_runs.begun(o, SIZE, data, 3, 0)[0] for o in ("sMIM", "sVAE annealed"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert isinstance(sentence_runs.begun("AE", SIZE, data, 3, 0)[1].factors["z|x"], AtTheMean)
    with pytest.raises(ValueError, match="one of sMIM, sVAE"):
        sentence_runs.begun("MIM", SIZE, data, 3, 0)
    places = [sentences._place(study, "smoke") for study in (sentences.PTB, sentences.HISTOGRAMS)]
    assert places[0] == places[1] != sentences._place(sentences.ANSWERS, "smoke")


def test_a_trained_pair_is_not_trained_again(data, tmp_path, monkeypatch):
    size = SimpleNamespace(**vars(SIZE) | {"epochs": 4})
    place = tmp_path / "run.safetensors"
    first = sentence_runs.trained("sVAE", size, data, 2, 0, place)
    assert not place.is_file() and (tmp_path / "best.safetensors").is_file()
    monkeypatch.delattr(sentence_runs, "fit")
    again = sentence_runs.trained("sVAE", size, data, 2, 0, place)
    for one, other in zip(first, again, strict=True):
        values = one.state_dict().values(), other.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


# -- answers


def test_pairs_are_cut_at_the_mark_or_in_the_middle():
    assert answer_runs._cut(("a b ? c d", "e ? f", "no mark")) == [("a b", "c d"), ("e", "f"), None]
    assert answer_runs._cut(("a b c d e", "f", "g h")) == [("a b", "c d e"), None, ("g", "h")]


@pytest.mark.slow
def test_pairs_of_the_docstrings_are_cut_in_the_middle():
    data, pairs = answer_runs.paired("docstrings", 8, 200, 60, 30)
    assert len(pairs) == 30 and all(" ? " in text for text in data.texts["train"])
    assert data.texts["test"][3] == pairs[3].joined()


def test_rivals_answer_other_questions_of_the_same_topic():
    pairs = tuple(Pair(f"q{i}", f"a{i}", i % 2) for i in range(40))
    for seed in range(3):
        found = answer_runs.rivals(pairs, 4, seed)
        for i, answers in enumerate(found):
            others = [int(a[1:]) for a in answers[1:]]
            assert answers[0] == f"a{i}" and len(set(others)) == 4 and i not in others
            assert {other % 2 for other in others} == {i % 2}
    assert found != answer_runs.rivals(pairs, 4, 0)
    few = answer_runs.rivals(pairs[:3], 4, 0)  # too few of any topic: any other, more than once
    assert all(len(a) == 5 and a[0] not in a[1:] for a in few)


class Counting:
    """A code of one number: how often a word stands in the text."""

    def __init__(self, number):
        self.number = number

    def __call__(self, x):
        return Delta((x == self.number).sum(1, keepdim=True).float())


def test_the_answer_that_moves_the_code_least_is_first(pairs):
    asked = tuple(Pair(f"what is {w}", "good") for w in "abc")
    texts = (*(pair.joined() for pair in asked), "bad bad")
    data = numbered("toy", dict.fromkeys(("train", "validation", "test"), texts), 30)
    (number,) = data.words.encode(["bad"], 1).x[0].tolist()
    q = Joint("q", {"x": None, "z|x": Counting(number)})
    p, _ = sentence_runs.begun("AE", SIZE, data, 1, 0)
    answers = [["good", "bad", "bad bad", "bad good"]] * 3
    assert answer_runs.ranked(p, q, data, asked, answers, 0) == {"p_at_1": 1.0, "mrr": 1.0}
    turned = [some[::-1] for some in answers]  # two rivals with "bad" too, one of them twice
    assert answer_runs.ranked(p, q, data, asked, turned, 0) == {"p_at_1": 0.0, "mrr": 1 / 3}


def test_baselines_guess_and_count_words():
    asked = tuple(Pair(f"what is {i}", f"{i} it is") for i in range(60))
    texts = dict.fromkeys(("train", "validation", "test"), tuple(a.joined() for a in asked))
    data = numbered("toy", texts, 100)
    answers = answer_runs.rivals(asked, 4, 0)
    found = answer_runs.baseline("TF-IDF", data, asked, answers, 0)
    assert found == {"p_at_1": 1.0, "mrr": 1.0}
    chance = [answer_runs.baseline("random", data, asked, answers, s)["p_at_1"] for s in range(50)]
    spread = math.sqrt(0.2 * 0.8 / 60)
    assert np.mean(chance) == pytest.approx(0.2, abs=5 * spread / math.sqrt(50))
    strange = [["x", "y", "z", "u", "v"]] * 60  # nothing in common: a guess, not a tie for all
    assert 0 < answer_runs.baseline("TF-IDF", data, asked, strange, 0)["p_at_1"] < 0.6


def test_answers_are_what_follows_the_first_mark(monkeypatch, data, pairs):
    seen = {}

    def written(p, z, words, banned):
        seen.update(rows=len(z), banned=banned)
        return ["a ? b c ? d", "no mark"]

    monkeypatch.setattr(answer_runs, "written", written)
    asked, (p, q) = (Pair("a", "b c"), Pair("c", "d e")), pairs["AE"]
    assert answer_runs.answered(p, q, data, asked, 0, blanks=2) == ["b c ? d", ""]
    assert seen == {"rows": 2, "banned": (data.words.unknown,)}
    found = answer_runs.generated(p, q, data, asked, 0)
    assert found["answered_percent"] == 50
    assert (found["answer_bleu1_medium"], found["answer_bleu1_medium_floor"]) == (0.5, 0.25)


def test_long_questions_are_read_to_their_end(data, pairs):
    """Their codes are those of the same texts beside no longer ones, and no word is left out."""
    p, q = pairs["AE"]
    short, long = "a b c", " ".join(["a"] * 40 + ["b"])
    one, other = (
        answer_runs._coded(p, q, data, texts, 0).mean for texts in ([short], [short, long])
    )
    torch.testing.assert_close(other[:1], one)
    changed = answer_runs._coded(p, q, data, [long[:-1] + "c"], 0).mean
    assert (changed - other[1:]).abs().max() > 1e-6


# -- critics


def test_rows_are_told_apart_within_batches_of_all_lengths():
    texts = tuple(" ".join(["a"] * (1 + i // 8)) for i in range(40))
    data = numbered("toy", dict.fromkeys(("train", "validation", "test"), texts), 10)
    kept = critic_text_runs._data(data)
    for part, split in zip(kept, ("train", "validation", "test"), strict=True):
        assert sorted(part["x"].tolist()) == sorted(data.rows[split].x.tolist())
    lengths = (kept.validation["x"] != END).sum(1)
    assert (lengths.diff() < 0).any() and (data.rows["validation"].lengths.diff() >= 0).all()


LSTM = SimpleNamespace(**sentences._LSTM_SMOKE)


def test_methods_of_a_seed_begin_with_the_same_networks(data):
    plain = list(critic_text_runs.begun("VAE", LSTM, data, 1)[0].parameters())
    for method in critic_text_runs.METHODS:
        p, _ = critic_text_runs.begun(method, LSTM, data, 1)
        same = [
            a.shape == b.shape and torch.equal(a, b)
            for a, b in zip(plain, p.parameters(), strict=True)
        ]
        assert all(same) is (method != "Skip-VAE")
    with pytest.raises(ValueError, match="one of VAE, SA-VAE"):
        critic_text_runs.begun("AE", LSTM, data, 0)


def test_the_hybrid_critic_hears_the_embeddings_and_the_neural_one_has_its_own(data):
    batch = {"x": data.rows["train"].x[:6]}
    for method, calls in (("hybrid critic", 1), ("neural critic", 1), ("self critic", 1)):
        p, q = critic_text_runs.begun(method, LSTM, data, 0)
        goal, heard = critic_text_runs.objective(method, q, LSTM, data), []
        q.factors["z|x"].network[0].register_forward_hook(lambda *_, heard=heard: heard.append(1))
        assert isinstance(goal, criticised)
        evaluation = goal(p, q, batch)
        assert len(heard) == calls and evaluation.terms["infonce"].max() <= math.log(6) + 1e-6
        own = {id(v) for v in goal.parameters()} & {id(v) for v in q.parameters()}
        assert len(own) == (method == "hybrid critic")
