"""Words and sentences: numbers by frequency, what is unknown, long, empty or in another script."""

import pytest
import torch

from lvmlab import datasets
from lvmlab.datasets import where
from lvmlab.datasets.words import Words, question_and_answer, sentences, separated

TEXTS = ["the cat sat on the mat", "the <unk> sat", "a cat"]


def test_words_are_numbered_by_frequency_and_then_by_the_alphabet():
    words = Words.fit(TEXTS)
    assert words.words == ("the", "cat", "sat", "<unk>", "a", "mat", "on")
    assert len(words) == 8 and words.unknown == 4
    assert Words.fit(reversed(TEXTS)).words == words.words
    few = Words.fit(TEXTS, vocabulary=4)  # END, <unk> and two words
    assert few.words == ("<unk>", "the", "cat") and Words.fit(TEXTS, least=2).words == (
        "<unk>",
        "the",
        "cat",
        "sat",
    )
    assert Words.fit(["a a b"], vocabulary=10).words == ("a", "b", "<unk>")  # there in any case


def test_rows_are_words_then_the_end_and_come_back():
    words = Words.fit(TEXTS)
    found = words.encode(TEXTS, 7)
    assert found.x.tolist()[1:] == [[1, 4, 3, 0, 0, 0, 0], [5, 2, 0, 0, 0, 0, 0]]
    assert found.lengths.tolist() == [7, 4, 3] and found.cut == 0
    assert words.decode(found.x) == TEXTS
    short = words.encode(TEXTS, 3)  # longer than the limit: the first words and no end
    assert short.cut == 1 and short.lengths.tolist() == [3, 3, 3]
    assert words.decode(short.x) == ["the cat sat", "the <unk> sat", "a cat"]


def test_unknown_words_are_all_one_and_counted():
    words = Words.fit(TEXTS)
    assert words.encode(["dogs bark"], 4).x.tolist() == [[4, 4, 0, 0]]
    assert words.decode(words.encode(["the dog"], 4).x) == ["the <unk>"]
    assert words.unknown_share(["dogs bark"]) == 1 and words.unknown_share(TEXTS) == 1 / 11
    assert words.unknown_share([]) == 0


def test_other_alphabets_are_words_like_any():
    texts = ["кот сидит на ковре", "η γάτα κάθεται", "猫坐在垫子上"]
    words = Words.fit(texts)
    assert words.decode(words.encode(texts, 6).x) == texts
    assert words.encode(texts[2:], 6).lengths.tolist() == [2]  # no blanks: one word
    assert Words.fit(TEXTS).unknown_share(texts) == 1


def test_unfit_words_and_texts_are_named():
    words = Words.fit(TEXTS)
    for texts, match in (([], "texts are empty"), (["a cat", " "], "1 of 2 texts.*row 1")):
        with pytest.raises(ValueError, match=match):
            words.encode(texts, 3)
    with pytest.raises(ValueError, match="limit"):
        words.encode(["a"], 0)
    with pytest.raises(ValueError, match="no word"):
        Words.fit(["", "  "])
    with pytest.raises(ValueError, match="vocabulary must be 3"):
        Words.fit(TEXTS, vocabulary=2)
    with pytest.raises(ValueError, match="<unk>"):
        Words(["a", "b"])
    for wrong in (["<unk>", "a", "a"], ["<unk>", "a b"], ["<unk>", ""]):
        with pytest.raises(ValueError, match="different"):
            Words(wrong)


def test_words_and_marks_are_put_apart_in_lower_case():
    assert separated("Don't stop: it's well-known (_UNK).") == (
        "don't stop : it's well-known ( <unk> ) ."
    )
    assert separated("handle_unknown _unk_ _UNK") == "handle_unknown _unk_ <unk>"


# -- sets of sentences


@pytest.mark.slow
def test_docstrings_are_cut_to_sentences_of_these_lengths():
    few = sentences("docstrings", most=8, least=5, size=40)
    assert len(few) == 40 and few["label"].shape == (40,)
    assert all(5 <= len(text.split()) <= 8 and text == text.lower() for text in few.texts)
    whole = datasets.load("docstrings")
    assert separated(whole.texts[int(few["row"][3])]) == few.texts[3]
    assert few["label"][3] == whole["label"][few["row"][3]] and "of 5 to 8 words" in few.note
    assert sentences("docstrings", most=8, least=5, size=10).texts == few.texts[:10]


def test_your_own_file_is_split_by_a_hash(tmp_path):
    path = tmp_path / "mine.txt"
    lines = [f"Sentence number {i}, short." for i in range(200)]
    path.write_text("\n".join([*lines, "", "This one is far too long to be kept by anybody."]))
    parts = [sentences(path, split, most=6).texts for split in ("train", "validation", "test")]
    assert sorted(sum(parts, ())) == sorted(map(separated, lines))
    assert len(parts[0]) > 130 and min(map(len, parts)) > 5
    assert sentences(str(path), most=6).texts == parts[0]


def test_unfit_files_names_and_limits_are_named(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("gr\xfc\xdfe aus k\xf6ln".encode("latin-1"))
    with pytest.raises(ValueError, match="must be UTF-8"):
        sentences(path)
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="holds no text"):
        sentences(tmp_path / "empty.txt")
    with pytest.raises(ValueError, match="Did you mean 'docstrings'"):
        sentences("docstring")
    with pytest.raises(ValueError, match="holds no texts"):
        sentences("digits")
    with pytest.raises(ValueError, match="least <= most"):
        sentences("docstrings", most=3, least=4)
    (tmp_path / "one.txt").write_text("one two three")
    splits = ("train", "validation", "test")
    with pytest.raises(ValueError, match="0 texts"):
        [sentences(tmp_path / "one.txt", split) for split in splits]
    with pytest.raises(ValueError, match="to 2 words"):
        [sentences(tmp_path / "one.txt", split, most=2) for split in splits]


def test_yahoo_without_its_training_texts_cuts_its_validation_texts(monkeypatch):
    texts = tuple(f"what is {i} ? it is _UNK ." for i in range(100))
    whole = datasets.Dataset("yahoo_answers", "validation", {"label": torch.arange(100)}, texts)
    monkeypatch.setattr(datasets, "load", lambda name, split: whole)
    monkeypatch.setattr(where, "folders", list)  # none of the set is here
    train, held_out = (sentences("yahoo_answers", split) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 100 and 3 <= len(held_out) <= 20
    assert not set(train.texts) & set(held_out.texts)
    assert train.texts[5].endswith("? it is <unk> .")
    assert torch.equal(train["label"], train["row"])


def test_questions_end_at_their_first_mark():
    assert question_and_answer("is it ? yes ? no") == ("is it", "yes ? no")
    for text in ("no mark", "? only an answer", "only a question ?", "twice ? ?"):
        assert question_and_answer(text) is None
