"""Byte-level BPE: deterministic, lossless up to the limit, loud about what it cannot encode."""

import subprocess
import sys

import pytest
import torch

from lvmlab.datasets.tokens import END, BytePairs

TEXTS = [f"the {word} of the house number {i}" for i, word in enumerate(["cat", "dog", "owl"] * 9)]
ODD = ["Größe, naïve; 日本語 🙂", "<end> [PAD] </s>", "tabs\tand\nlines", "a", "  two blanks"]


@pytest.fixture(scope="module")
def pairs():
    return BytePairs.fit(TEXTS, 300)


def test_texts_come_back_and_unseen_characters_too(pairs):
    encoded = pairs.encode(TEXTS + ODD, 200)
    assert pairs.decode(encoded.x)[: len(TEXTS)] == TEXTS
    assert [t.strip() for t in pairs.decode(encoded.x)[len(TEXTS) :]] == [t.strip() for t in ODD]
    assert encoded.cut == 0 and encoded.x.dtype == torch.long
    assert encoded.x.max() < len(pairs) <= 300


def test_lengths_count_the_end_and_end_fills_the_rest(pairs):
    encoded = pairs.encode(TEXTS + ODD, 200)
    for row, length in zip(encoded.x, encoded.lengths, strict=True):
        assert (row[: length - 1] != END).all() and (row[length - 1 :] == END).all()


def test_a_word_is_the_same_pieces_at_the_start_and_within(pairs):
    start, within = (pairs.encode([t], 20) for t in ("house", "the house"))
    one, more = (e.x[0, : e.lengths[0] - 1].tolist() for e in (start, within))
    assert more[-len(one) :] == one and len(more) > len(one)


def test_a_longer_text_is_cut_and_counted(pairs):
    whole = pairs.encode(TEXTS, 200)
    size = int(whole.lengths[0]) - 1  # without END
    for limit, cut, length in ((size + 1, 0, size + 1), (size, 0, size), (size - 1, 1, size - 1)):
        encoded = pairs.encode(TEXTS[:1], limit)
        assert torch.equal(encoded.x, whole.x[:1, :limit])
        assert (encoded.cut, int(encoded.lengths[0])) == (cut, length)


def test_numbers_follow_the_frequency_in_the_texts_learned_from(pairs):
    x = pairs.encode(TEXTS, 200).x
    counts = x[x != END].bincount(minlength=len(pairs))[1:]
    assert (counts.diff() <= 0).all() and counts[0] > 0


@pytest.mark.slow
def test_the_same_texts_give_the_same_pieces_in_another_process(pairs):
    script = (
        "import sys; sys.path.insert(0, 'tests'); import test_tokens as t; "
        "sys.stdout.write(t.BytePairs.fit(t.TEXTS, 300).state)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert found.stdout == pairs.state
    again = BytePairs(pairs.state)
    assert torch.equal(again.encode(ODD, 50).x, pairs.encode(ODD, 50).x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: p.encode(["a", "", " \n"], 9), ("2 of 3", "row 1")),
        (lambda p: p.encode([], 9), ("texts are empty",)),
        (lambda p: p.encode(["a"], 0), ("limit", "0")),
        (lambda p: BytePairs.fit(["a"], 256), ("vocabulary", "257")),
        (lambda p: BytePairs.fit(["", " "], 300), ("texts", "2 empty")),
        (lambda p: BytePairs.fit([], 300), ("texts", "0 empty")),
    ],
)
def test_what_cannot_be_encoded_is_said(pairs, call, words):
    with pytest.raises(ValueError) as caught:
        call(pairs)
    assert all(word in str(caught.value) for word in words)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"lvmlab\[text\]"):
        BytePairs.fit(TEXTS, 300)
