"""The ensemble study: bags, members, baselines, and what they are worth on texts that we made."""

import itertools
import math
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout

from lvmlab import datasets, exact_posterior, studies
from lvmlab.datasets.dataset import Dataset
from lvmlab.diagnostics import ensembles, hungarian_accuracy
from lvmlab.studies import ensemble, ensemble_runs, pretrained, text, text_runs
from lvmlab.studies.ensemble_runs import corpus, fit_unigrams, supervised_posterior, tf_idf

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

TINY = {"members": 3, "keep": 2, "sweeps": 2, "rows": 500, "labels": (32, 64)}
STUDY = "collike-ensemble"


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    # rows come from every set at hand: the same ones with and without prepared data
    monkeypatch.setattr(datasets, "at_hand", lambda: {"docstrings"})


def letters(number):
    """A word of letters alone for a number."""
    return "w" + "".join(chr(97 + int(digit)) for digit in f"{number:03d}")


def made(rows, seed, topics=4, words=60, length=14):
    """Texts of four topics: four words of five from the own fifteen, the rest from all."""
    random = np.random.default_rng(seed)
    topic = random.integers(topics, size=rows)
    own = topic[:, None] * (words // topics) + random.integers(words // topics, size=(rows, length))
    anything = random.integers(words, size=(rows, length))
    drawn = np.where(random.random((rows, length)) < 0.8, own, anything)
    texts = tuple(" ".join(letters(word) for word in row) for row in drawn)
    return texts, torch.tensor(topic)


@pytest.fixture
def peaked(monkeypatch):
    """A corpus of these texts, under the name of a set of texts."""

    def load(name, split, size=None, download=False):
        assert not download
        texts, topic = made(1000, 0) if split == "train" else made(400, 1)
        rows = slice(size)
        return Dataset(name, split, {"label": topic[rows]}, texts[rows], tuple("abcd"))

    monkeypatch.setattr(ensemble_runs.datasets, "load", load)
    monkeypatch.setattr(ensemble_runs, "WORDS", slice(0, 4000))
    corpus.cache_clear()
    ensemble._members.cache_clear()
    yield corpus("made")
    corpus.cache_clear()
    ensemble._members.cache_clear()


def test_the_study_has_rows_claims_and_three_presets_of_the_same_settings(peaked, monkeypatch):
    table = ensemble.SIZES[STUDY]
    assert list(table) == ["smoke", "lesson", "paper"]
    assert table["smoke"].keys() == table["lesson"].keys() == table["paper"].keys()
    monkeypatch.setitem(table, "smoke", table["smoke"] | TINY)
    rows = ensemble.collike_ensemble("smoke", 2)
    assert {row["dataset"] for row in rows} == {"docstrings"}
    assert all(row["seeds"] == 2 and math.isfinite(row["value"]) for row in rows)
    found = {(row["objective"], row["metric"]) for row in rows}
    assert ("CoLLike, average", "information") in found
    assert {("EM, best", "accuracy_percent"), ("EM", "spread_percent")} <= found
    accuracies = {m for _, m in found if "percent" in m}
    assert accuracies == {"accuracy_percent", "spread_percent"}
    assert "Figure" in studies.about(STUDY) and STUDY in studies.names()


def test_claims_are_about_rows_of_the_full_size():
    size = ensemble.SIZES[STUDY]["lesson"]
    cells = ensemble._cells("docstrings", ensemble.sizes(ensemble.SIZES[STUDY], "lesson"))
    titles = {cell.objective for cell in cells}
    for claim in ensemble.CLAIMS[STUDY]:
        assert claim.objective in titles and (claim.relation == "is" or claim.to in titles), claim
    assert size["labels"][0] == 32 and size["labels"][-1] == 2048


def test_an_ensemble_of_transformers_is_made_of_its_own_members(monkeypatch, tmp_path):
    names = torch.arange(60) % 4
    noise = torch.Generator().manual_seed(0)
    sure = 4 * torch.eye(4)[names]
    opinions = [(sure + torch.randn(60, 4, generator=noise)).softmax(1).double() for _ in range(4)]
    asked = []

    def train(objective, data, recipe, seed, place):
        with pytest.raises(Timeout):  # another process would wait until this member is done
            FileLock(place.with_name(f"{place.name}.lock")).acquire(timeout=0)
        asked.append((recipe.start, objective, seed, place.parent.name, place.name))
        return SimpleNamespace(p=seed)

    data = SimpleNamespace(labels={"test": names}, texts={"test": None})
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path))
    monkeypatch.setattr(text, "corpus", lambda *_: data)
    monkeypatch.setattr(text, "trained", train)
    monkeypatch.setattr(text, "posteriors", lambda p, texts: (opinions[p], None))
    rows = text.collike_news_ensemble("smoke", 2)
    systems = {"drawn": "Transformer", "piles": text.FROM_PILES}
    assert asked == [  # each once, for three rows
        (start, "CoLLike", i, system.replace(" ", "-"), f"collike-{i}")
        for start, system in systems.items()
        for i in range(4)
    ]
    titles = ("CoLLike", "CoLLike, average", "CoLLike, best")
    for system, (which, title) in itertools.product(systems.values(), enumerate(titles)):
        wanted = system, title, "accuracy_percent"
        (row,) = [r for r in rows if (r["system"], r["objective"], r["metric"]) == wanted]
        by_hand = [
            ensemble.ensemble_numbers(opinions[first : first + 2], names, 1)[which]
            for first in (0, 2)
        ]
        assert row["each"] == pytest.approx([one["accuracy_percent"] for one in by_hand])
    text._members.cache_clear()


@pytest.mark.parametrize("objective", ["EM", "CoLLike"])
def test_members_find_topics_that_are_there_and_an_ensemble_is_no_worse(peaked, objective):
    members = []
    for seed in range(4):
        p = fit_unigrams(objective, peaked.x, len(peaked.words), 4, seed, 15)
        members.append(exact_posterior(p, {"x": peaked.test_x}).detach().double().numpy())
    single, average, best = ensemble.ensemble_numbers(members, peaked.test_labels, 2)
    alone = [100 * hungarian_accuracy(m, peaked.test_labels).accuracy for m in members]
    assert single["accuracy_percent"] == pytest.approx(np.mean(alone))
    assert single["spread_percent"] == pytest.approx(np.std(alone, ddof=1))
    assert average["accuracy_percent"] > 95 and average["accuracy_percent"] > np.mean(alone) - 1
    chosen = ensembles.top_k_by_coherence(members, 2)
    by_hand = ensembles.average([members[i] for i in chosen])
    accuracy = hungarian_accuracy(by_hand, peaked.test_labels).accuracy
    assert best["accuracy_percent"] == pytest.approx(100 * accuracy)
    assert best["information"] + best["aggregated_kl"] <= math.log(4) + 1e-9


def test_piles_are_what_bags_of_words_agree_on(peaked):
    found = text_runs.piles("ours", 1000, 0)
    assert found.shape == (1000,) and found.dtype == torch.long
    assert hungarian_accuracy(found, peaked.labels).accuracy > 0.95
    recipe = text_runs.Recipe(1, looks=1, start="piles")
    data = text_runs.Corpus("ours", None, {"train": SimpleNamespace(x=peaked.x)}, {})
    assert torch.equal(text_runs._stored(data, recipe, 0), found)


def test_collike_keeps_the_latents_that_were_drawn_and_only_deals_them_anew(peaked):
    seen = {}

    def look(sweep, p, stored):
        seen[sweep] = stored.clone()

    fit_unigrams("CoLLike", peaked.x, len(peaked.words), 4, 0, 6, look)
    assert sorted(seen) == list(range(7))
    counts = [torch.bincount(stored, minlength=4).tolist() for stored in seen.values()]
    assert counts == [counts[0]] * 7
    assert (seen[0] != seen[1]).float().mean() > 0.3
    agree = [hungarian_accuracy(stored, peaked.labels).accuracy for stored in seen.values()]
    assert agree[0] < 0.4 and agree[-1] > 0.8


def test_no_pairing_of_a_batch_lowers_the_score_of_its_pairs(peaked):
    torch.manual_seed(0)
    stored = torch.randint(4, (len(peaked.x),))
    p = fit_unigrams("EM", peaked.x, len(peaked.words), 4, 0, 3)
    scores = p.enumerate({"x": peaked.x}).log_joint.detach()
    before = scores.gather(1, stored[:, None]).sum()
    weights = ensemble_runs.pair_by_batches(stored, 4)(p, {"x": peaked.x})
    after = (weights * scores).sum()
    assert after > before
    assert torch.equal(weights.argmax(1), stored)


def test_bags_hold_the_words_of_the_texts_and_tf_idf_is_that_of_scikit_learn(peaked):
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = [peaked.words[i] for i in peaked.x[5].tolist()]
    assert sorted(words) == sorted(peaked.texts[5].split())
    vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=list(peaked.words))
    expected = vectorizer.fit_transform(peaked.texts)
    train, test = tf_idf(peaked)
    assert abs(train - expected).max() < 1e-12
    assert abs(test - vectorizer.transform(peaked.test_texts)).max() < 1e-12


def test_the_commonest_words_and_words_of_other_texts_are_left_out(peaked, monkeypatch):
    monkeypatch.setattr(ensemble_runs, "WORDS", slice(5, 20))
    corpus.cache_clear()
    fewer = corpus("made", rows=200)
    assert len(fewer.words) == 15 and len(fewer.x) == 200 and len(fewer.test_x) == 400
    counted = Counter(" ".join(peaked.texts[:200]).split())
    most = sorted(counted.values(), reverse=True)
    assert [counted[word] for word in fewer.words] == most[5:20]
    used = torch.bincount(fewer.x[fewer.x >= 0], minlength=15)
    assert used.tolist() == most[5:20]


def test_labels_help_and_folds_are_averages(peaked):
    train, test = tf_idf(peaked)
    labels, truth = peaked.labels.numpy(), peaked.test_labels.numpy()

    def right(count, folds, seed):
        found = supervised_posterior(train, labels, test, count, folds, seed)
        np.testing.assert_allclose(found.sum(1), 1)
        return (found.argmax(1) == truth).mean()

    few = [right(16, 1, seed) for seed in range(4)]
    many = [right(512, 1, seed) for seed in range(4)]
    assert np.mean(many) > 0.95 > np.mean(few) + 0.05
    assert np.mean([right(16, 8, seed) for seed in range(4)]) > np.mean(few) - 0.02
    with pytest.raises(ValueError, match="count must lie between 8 and the 1000 rows, got 2000"):
        supervised_posterior(train, labels, test, 2000, 1, 0)


def test_k_means_is_scored_under_its_best_naming(peaked):
    assert ensemble._k_means("made", 1000, 0)["accuracy_percent"] > 60


def test_another_objective_is_refused(peaked):
    with pytest.raises(ValueError, match="objective must be EM or CoLLike, got 'ELBO'"):
        fit_unigrams("ELBO", peaked.x, 5, 4, 0, 1)


# -- the optional extra


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'lvmlab\[pretrained\]'"):
        pretrained.fine_tuned_posterior(["a text"], [0], ["another"])


def test_without_weights_the_error_says_that_nothing_was_downloaded(monkeypatch):
    class Absent:
        @staticmethod
        def from_pretrained(name, local_files_only, **settings):
            raise OSError(f"{name}: {local_files_only}")

    class Transformers:
        AutoTokenizer = AutoModelForSequenceClassification = Absent

    monkeypatch.setitem(sys.modules, "transformers", Transformers)
    for download, offline, said in (
        (False, "0", "and nothing was downloaded"),
        (True, "1", "and nothing was downloaded"),
        (True, "0", "and could not be downloaded"),
    ):
        monkeypatch.setenv("LVMLAB_OFFLINE", offline)
        with pytest.raises(ValueError, match=said):
            pretrained.fine_tuned_posterior(["a text"], [0], ["other"], download=download)
    with pytest.raises(ValueError, match="labels: expected one for each of 1 texts, got 2"):
        pretrained.fine_tuned_posterior(["a text"], [0, 1], ["other"])
