"""Questions and answers by codes of sentences: ranking, and answers written where words are blank.

Every text is a question, a question mark and its answer. Where fewer than half of the texts of a
set hold a question mark, both halves of every text stand in for them: which end belongs to which
beginning. The rivals of the true answer are answers to other questions, of the same topic where
the set has labels, drawn once for all systems of a seed.
"""

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lvmlab.datasets.words import UNKNOWN, question_and_answer, sentences
from lvmlab.diagnostics import answer_scores, bleu1, ranking, ranks
from lvmlab.joint import Joint
from lvmlab.studies.sentence_runs import ROWS_AT_ONCE, Corpus, numbered, trained, written
from lvmlab.train import evaluating, quietly

BASELINES = ("random", "TF-IDF")
LENGTHS = {"short": 5, "medium": 10, "long": 15}  # blanks for an answer


class Pair(NamedTuple):
    """A question and its answer, words apart by blanks, and their topic."""

    question: str
    answer: str
    topic: int = 0

    def joined(self, answer: str | None = None) -> str:
        """The text that is encoded, with another answer where one is given."""
        return f"{self.question} ? {self.answer if answer is None else answer}"


@cache
def paired(
    name: str, most: int, vocabulary: int, rows: int | None, points: int | None
) -> tuple[Corpus, tuple[Pair, ...]]:
    """Texts of at most `most` words and a mark to train on, and the pairs of the test texts."""
    pairs = {}
    for split, wanted in (("train", rows), ("validation", points), ("test", points)):
        part = sentences(name, split, most)
        topics = part["label"].tolist() if "label" in part else [0] * len(part)
        found = [
            Pair(*cut, topic)
            for cut, topic in zip(_cut(part.texts), topics, strict=True)
            if cut is not None
        ]
        order = np.random.default_rng(0).permutation(len(found))[:wanted]
        pairs[split] = tuple(found[i] for i in order)
    texts = {split: tuple(one.joined() for one in some) for split, some in pairs.items()}
    return numbered(name, texts, vocabulary), pairs["test"]


def rivals(pairs: tuple[Pair, ...], others: int, seed: int) -> list[list[str]]:
    """The true answer of each question first, then so many of other questions."""
    draw, answers = np.random.default_rng(10_000 + seed), []
    for i, pair in enumerate(pairs):
        near = [j for j, other in enumerate(pairs) if j != i and other.topic == pair.topic]
        if len(near) < others:
            near = [j for j in range(len(pairs)) if j != i]
        chosen = draw.choice(near, others, replace=len(near) < others)
        answers.append([pair.answer, *(pairs[j].answer for j in chosen)])
    return answers


def ranked(
    p: Joint, q: Joint, data: Corpus, pairs: tuple[Pair, ...], answers: list[list[str]], seed: int
) -> dict[str, float]:
    """P@1 and MRR of the true answers (Table 7.8), without any training on ranks.

    The code of a question with an answer is compared with the mean of that of the question with as
    many unknown words, in units of the latter's posterior; an autoencoder has scale 1.
    """
    blank = [[" ".join([UNKNOWN] * len(a.split())) for a in several] for several in answers]
    with_, without = (
        _coded(p, q, data, _joined(pairs, given), noise)
        for given, noise in ((answers, seed), (blank, seed + 1))
    )
    shape = len(pairs), len(answers[0]), -1
    scores = answer_scores(*(v.reshape(shape) for v in (without.mean, with_.z, without.scale)))
    return _row(scores)


def answered(
    p: Joint, q: Joint, data: Corpus, pairs: tuple[Pair, ...], seed: int, blanks: int = 10
) -> list[str]:
    """An answer to every question, by as many blanks: greedy, unknown words banned.

    What is written after the first question mark; "" where there is none (Table 7.9).
    """
    asked = [pair.joined(" ".join([UNKNOWN] * blanks)) for pair in pairs]
    z = _coded(p, q, data, asked, seed).z
    texts = written(p, z, data.words, banned=(data.words.unknown,))
    return [text.partition("?")[2].strip() for text in texts]


def generated(
    p: Joint, q: Joint, data: Corpus, pairs: tuple[Pair, ...], seed: int
) -> dict[str, float]:
    """BLEU-1 of written answers, beside the same answers given to other questions.

    `answer_bleu1_short`, `_medium` and `_long` by the blanks of `LENGTHS`, each with `_floor`;
    `answered_percent`, how many of the medium ones hold a word.
    """
    found = {}
    for name, blanks in LENGTHS.items():
        texts, true = answered(p, q, data, pairs, seed, blanks), [one.answer for one in pairs]
        found[f"answer_bleu1_{name}"] = bleu1(texts, true)
        found[f"answer_bleu1_{name}_floor"] = bleu1(texts[1:] + texts[:1], true)
        if name == "medium":
            found["answered_percent"] = 100 * sum(map(bool, texts)) / len(texts)
    return found


def baseline(
    name: str, data: Corpus, pairs: tuple[Pair, ...], answers: list[list[str]], seed: int
) -> dict[str, float]:
    """The same ranks by chance, or by the angle between word counts weighted by rarity."""
    if name == "random":
        shape = len(pairs), len(answers[0])
        return _row(np.random.default_rng(20_000 + seed).random(shape))
    from sklearn.feature_extraction.text import TfidfVectorizer

    weigh = TfidfVectorizer(analyzer=str.split).fit(data.texts["train"])
    questions = weigh.transform([pair.question for pair in pairs])
    angles = [-questions[i].dot(weigh.transform(a).T).toarray()[0] for i, a in enumerate(answers)]
    scores = np.stack(angles)
    noise = np.random.default_rng(20_000 + seed).random(scores.shape)  # no word in common: a guess
    return _row(scores + 1e-9 * noise)


def each(
    system: str, objective: str, size: Any, name: str, place: Path, seeds: list[int]
) -> list[dict[str, float]]:
    """The numbers of every seed: of a trained pair, or of a baseline when there is no training."""
    data, pairs = paired(name, size.most, size.vocabulary, size.rows, size.points)
    found = []
    for seed in seeds:
        answers = rivals(pairs, size.others, seed)
        if objective in BASELINES:
            found.append(baseline(objective, data, pairs, answers, seed))
            continue
        blanks = size.blanks if system == BLANKED else 0.0
        here = place / f"{name}-{system}-{objective}-{seed}".lower().replace(" ", "-")
        checkpoint = here / "run.safetensors"
        p, q = trained(objective, size, data, size.latents[0], seed, checkpoint, blanks)
        row = ranked(p, q, data, pairs, answers, seed)
        found.append(row | generated(p, q, data, pairs, seed))
    return found


PLAIN, BLANKED = "words as they are", "words read as blanks"
"""Systems: the second hides some of the encoder's words in training (appendix E.4)."""


def _joined(pairs: tuple[Pair, ...], answers: list[list[str]]) -> list[str]:
    return [pair.joined(a) for pair, some in zip(pairs, answers, strict=True) for a in some]


def _coded(p: Joint, q: Joint, data: Corpus, texts: list[str], seed: int) -> SimpleNamespace:
    """A draw, the mean and the scale of each posterior; an encoder reads texts of any length."""
    x = data.words.encode(texts, 1 + max(len(text.split()) for text in texts)).x
    device = next(p.parameters()).device
    parts: list[tuple[Tensor, ...]] = []
    with torch.no_grad(), evaluating({"q": q}), quietly(10_000 + seed):
        for some in x.split(ROWS_AT_ONCE):
            pairs = q.draw({"x": some.to(device)})
            z, posterior = pairs.values["z"], pairs.distributions["z|x"]
            wide = hasattr(posterior, "base_dist")
            scale = posterior.stddev if wide else torch.ones_like(z)
            parts.append(tuple(v.cpu() for v in (z, posterior.mean, scale)))
    z, mean, scale = (torch.cat(some) for some in zip(*parts, strict=True))
    return SimpleNamespace(z=z, mean=mean, scale=scale)


def _row(scores: Any) -> dict[str, float]:
    found = ranking(ranks(scores))
    return {"p_at_1": found.p_at_1, "mrr": found.mrr}


def _cut(texts: tuple[str, ...]) -> list[tuple[str, str] | None]:
    found = [question_and_answer(text) for text in texts]
    if 2 * sum(one is not None for one in found) >= len(texts):
        return found
    halves: list[tuple[str, str] | None] = []
    for words in (text.split() for text in texts):
        half = len(words) // 2
        halves.append((" ".join(words[:half]), " ".join(words[half:])) if half else None)
    return halves
