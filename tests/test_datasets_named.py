"""The Dataset, `load`, sets without files, and the real sets where $LVMLAB_DATA holds them."""

import ast
import hashlib
import re
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from lvmlab.datasets import Dataset, catalogue, docstrings, load, names, where
from lvmlab.datasets.dataset import bucket, chosen_rows

HINT = "set LVMLAB_DATA to a folder with the prepared sets"


def prepared(name, split="train"):
    """A real data set, or a skip that says how to get it."""
    found = where.find(catalogue.source(name), split)
    if found is None or found.form != "prepared":
        pytest.skip(HINT)
    return load(name, split)


# The Dataset


def test_a_dataset_has_variables_by_name():
    data = Dataset("toy", "all", {"x": torch.zeros(3, 2)}, ("a", "b", "c"))
    assert len(data) == 3
    assert data["index"].tolist() == [0, 1, 2]
    assert "x" in data and "label" not in data
    assert repr(data) == "Dataset toy all, 3 rows: index (3,) int64, x (3, 2) float32, 3 texts"
    with pytest.raises(ValueError, match=r"no variable 'label'; it has index, x; the texts are in"):
        data["label"]
    with pytest.raises(ValueError, match=r"\.select\(rows\)"):
        data[0]
    with pytest.raises(AttributeError):
        data.name = "other"


def test_select_renumbers_and_remembers():
    data = Dataset("toy", "all", {"x": torch.arange(4.0)}, ("a", "b", "c", "d"))
    part = data.select([3, 1])
    assert part["x"].tolist() == [3, 1]
    assert part.texts == ("d", "b")
    assert part["index"].tolist() == [0, 1]
    assert part["row"].tolist() == [3, 1]
    assert part.select(torch.tensor([True, False]))["row"].tolist() == [3]
    for rows in ([4], [-1], [], [0.5], [[0]], [True, False]):
        with pytest.raises(ValueError, match="rows must"):
            data.select(rows)


def test_a_dataset_of_unequal_or_no_rows_is_refused():
    for values in ({}, {"x": torch.zeros(0, 2)}, {"x": torch.zeros(2), "y": torch.zeros(3)}):
        with pytest.raises(ValueError, match="same number of rows"):
            Dataset("toy", "all", values)


def test_subsets_are_prefixes_of_one_permutation():
    rows = chosen_rows(1000, 100)
    assert chosen_rows(1000, 10).tolist() == rows[:10].tolist()
    assert len(set(rows.tolist())) == 100
    assert chosen_rows(10, 10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]  # the same everywhere
    assert chosen_rows(10, None) is None
    for size in (0, -1, 11, 2.0, "3", True):
        with pytest.raises(ValueError, match="size"):
            chosen_rows(10, size)


def test_bucket_is_the_same_on_every_machine():
    assert [bucket(text, 10) for text in ("a", "b", "ä")] == [0, 6, 2]


# Names


def test_an_unknown_name_or_split_gets_the_closest():
    with pytest.raises(ValueError, match="Did you mean 'fashion_mnist'") as caught:
        load("fashion-mnits")
    for name in names():
        assert name in str(caught.value)
    with pytest.raises(ValueError, match=r"split of 'digits'.*all.*Did you mean 'validation'"):
        load("digits", "valid")
    with pytest.raises(ValueError, match="split of 'mnist'; known: train, validation, test"):
        load("mnist", "all")


def test_the_data_folder_of_a_checkout_and_of_an_installation(monkeypatch, tmp_path):
    root = where.Path(__file__).resolve().parents[1]
    assert where.data_folder() == root / "data"
    ignored = (root / "data" / ".gitignore").read_text(encoding="utf-8").split()
    assert ignored == ["*", "!.gitignore", "!README.md"]
    monkeypatch.setattr(where, "__file__", str(tmp_path / "lvmlab" / "datasets" / "where.py"))
    assert "lvmlab" in str(where.data_folder()) and root not in where.data_folder().parents


# Digits


def test_digits_are_all_there_and_split_once():
    everything = load("digits", "all")
    assert everything["x"].shape == (1797, 1, 8, 8)
    assert everything["x"].dtype == torch.float32
    assert everything["x"].max() == 1 and everything["x"].min() == 0
    variances = everything["x"].flatten(1).double().var(0, correction=0)
    assert float(variances.sum()) == pytest.approx(4.693, abs=5e-3)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert everything["label"].bincount().tolist() == counts
    parts = [load("digits", split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1257, 180, 360]
    images = [tuple(image.flatten().tolist()) for part in parts for image in part["x"]]
    assert sorted(images) == sorted(tuple(i.flatten().tolist()) for i in everything["x"])
    assert all(part["label"].bincount().min() >= 0.06 * len(part) for part in parts)


def test_a_subset_of_digits():
    few, whole = load("digits", size=50), load("digits")
    assert torch.equal(few["x"], whole["x"][few["row"]])
    assert few["index"].tolist() == list(range(50))
    assert len(set(few["label"].tolist())) == 10
    with pytest.raises(ValueError, match=r"size=2,000 asks for more rows than there are: 1,257"):
        load("digits", size=2000)
    load("digits")["x"].zero_()
    assert load("digits")["x"].max() == 1  # nobody's change is seen by the next


def test_digits_load_at_once():
    load("digits", "all")
    start = time.process_time()
    load("digits", "all")
    assert time.process_time() - start < 0.1


# Docstrings


DOCSTRING = '''
# a comment first
"""Summary of the module. A second sentence, e.g. this one, follows here."""
import os

TABLE = """This text is data and not a docstring."""

class Thing(Base):  # with a remark
    r"""Apply the ``fast`` transform to every row of :class:`~package.Table`.

    It costs :math:`O(n)` and never more than that. The result is
    a new table with the same columns. Call ``thing.run(x_1)`` to start it.

    >>> Thing().run()
    The output of an example is not prose.

    - Items of a list are left out here.

    Parameters
    ----------
    x : array
        The rows that are to be changed by it.

    Notes
    -----
    Rows with missing values are silently skipped.

    References
    ----------
    The book of a famous author tells all of it.
    """
    def run(self, x):
        \'\'\'Run it with these settings.

        Args:
            x: The value that is given to the function.
        \'\'\'
'''


def test_sentences_are_prose():
    found = [s for text in docstrings.docstrings(DOCSTRING) for s in docstrings.sentences(text)]
    assert found == [
        "Summary of the module.",
        "A second sentence, e.g. this one, follows here.",
        "Apply the fast transform to every row of Table.",
        "The result is a new table with the same columns.",
        "Rows with missing values are silently skipped.",
        "Run it with these settings.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Too short.",
        "No capital letter. ".lower() * 2,
        "There is no full stop at the end",
        "Set x = 3 before you call it.",
        "See numpy.linalg.norm for what is done.",
        "The size is n_samples by n_features here.",
        "Call the function foo() to start it now.",
        "The set {a, b} is given to it.",
        "Values from 1e-3 up to 10x are what is allowed.",
        "A " + "very " * 40 + "long sentence.",
        "A bracket that is (never closed in it.",
        "TODO write the documentation of this thing.",
    ],
)
def test_other_text_is_left_out(text):
    assert docstrings.sentences(text) == []


def test_docstrings_found_as_text_are_those_that_the_parser_finds():
    def walk(tree):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        for node in ast.walk(tree):
            if isinstance(node, kinds) and ast.get_docstring(node):
                yield ast.get_docstring(node)

    as_text, parsed = set(), set()
    for path in sorted(where.Path(np.__file__).parent.glob("lib/*.py")):
        source = path.read_text(encoding="utf-8")
        as_text.update(s for t in docstrings.docstrings(source) for s in docstrings.sentences(t))
        parsed.update(s for t in walk(ast.parse(source)) for s in docstrings.sentences(t))
    assert len(parsed) > 500
    assert len(as_text & parsed) > 0.98 * len(as_text | parsed)


@pytest.mark.slow
def test_the_corpus_is_clean_split_and_labelled():
    parts = {split: load("docstrings", split) for split in catalogue.SPLITS}
    texts = [text for part in parts.values() for text in part.texts]
    assert len(texts) > 8000
    assert len({text.casefold() for text in texts}) == len(texts)  # within and across libraries
    shares = [len(part) / len(texts) for part in parts.values()]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
    words = np.array([len(text.split()) for text in texts])
    assert words.min() >= 4 and words.max() <= 40
    assert all(re.fullmatch(r"[A-Z][^=_<>{}\[\]|\\^~@#*$/`]*[.!?]", text) for text in texts)
    train = parts["train"]
    assert train.label_names == ("NumPy", "SciPy", "scikit-learn", "PyTorch")
    counts = train["label"].bincount()
    assert len(counts) == 4 and counts.min() > 1000
    assert train["label"][:200].bincount().min() > 10  # labels are mixed from the start
    assert (
        load("docstrings", size=10).texts[0] == train.texts[load("docstrings", size=10)["row"][0]]
    )


def test_sentences_of_two_libraries_and_of_tests_are_left_out(tmp_path):
    texts = {
        "one/a.py": "Shared by both of the two. Only in the first one. Only in the First one.",
        "two/__init__.py": "Shared by both of the two. Only in the second one.",
        "two/tests/b.py": "Only in a file of tests.",
        "torch/_private/c.py": "Only in the private half of it.",
        "torch/__init__.py": "Only in the public half of it.",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f'"""{text}"""', encoding="utf-8")
    roots = tuple(str(tmp_path / name) for name in ("one", "two", "torch"))
    found, labels = docstrings._corpus.__wrapped__(roots)
    assert dict(zip(found, labels, strict=True)) == {
        "Only in the first one.": 0,
        "Only in the second one.": 1,
        "Only in the public half of it.": 2,
    }
    assert list(found) == sorted(found, key=lambda text: bucket(text, 2**64))


@pytest.mark.slow
def test_some_sentences_are_where_they_belong():
    texts, labels = docstrings.corpus()
    label = dict(zip(texts, labels, strict=True))
    assert label["Return a new array of given shape and type, filled with ones."] == 0
    assert label["A normal continuous random variable."] == 1
    assert sum("estimator" in t for t, k in label.items() if k == 2) > 50
    assert sum("gradient" in t for t, k in label.items() if k == 3) > 50


@pytest.mark.slow
def test_reading_the_corpus_imports_none_of_the_libraries():
    code = (
        "import sys; from lvmlab import datasets; assert len(datasets.load('docstrings'));"
        "assert not {'scipy', 'sklearn'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


# The real sets


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "sums"),
    [
        (
            "mnist",
            33.318,
            {
                "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
                "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
            },
        ),
        (
            "fashion_mnist",
            72.940,
            {
                "train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
                "test": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
            },
        ),
    ],
)
def test_mnist_and_fashion_mnist_are_the_original_files(name, mean, sums):
    train, held_out, test = (prepared(name, split) for split in catalogue.SPLITS)
    assert [len(part) for part in (train, held_out, test)] == [50_000, 10_000, 10_000]
    assert train["x"].shape[1:] == (1, 28, 28)
    assert train["x"].min() == 0 and train["x"].max() == 1
    whole = torch.cat([train["x"], held_out["x"]])
    labels = torch.cat([train["label"], held_out["label"]])
    assert float(whole.double().mean()) * 255 == pytest.approx(mean, abs=5e-4)
    expected = [5923, 6742, 5958] if name == "mnist" else [6000] * 3
    assert labels.bincount()[:3].tolist() == expected
    for part, x, y in (("train", whole, labels), ("test", test["x"], test["label"])):
        pixels = (x * 255).round().to(torch.uint8).numpy()
        headers = struct.pack(">4i", 2051, len(x), 28, 28), struct.pack(">2i", 2049, len(y))
        for header, array, sum_ in zip(
            headers, (pixels, y.numpy().astype(np.uint8)), sums[part], strict=True
        ):
            assert hashlib.md5(header + array.tobytes()).hexdigest() == sum_


@pytest.mark.slow
def test_omniglot_has_its_characters_and_drawers():
    train, held_out, test = (prepared("omniglot", split) for split in catalogue.SPLITS)
    assert [len(part) for part in (train, held_out, test)] == [17_352, 1_928, 13_180]
    assert train["x"].shape[1:] == (1, 28, 28)
    assert train["x"].min() >= 0 and train["x"].max() <= 1.0001
    ink = sum(float(part["x"].double().sum()) for part in (train, held_out, test)) / (32_460 * 784)
    assert ink == pytest.approx(0.0805157, abs=1e-6)  # averaging keeps the mean of the bits
    assert train["label"].bincount().tolist() == [18] * 964
    assert held_out["label"].bincount().tolist() == [2] * 964
    assert test["label"].bincount()[964:].tolist() == [20] * 659
    assert not set(train["label"].tolist()) & set(test["label"].tolist())
    assert train["alphabet"].max() == 29 and test["alphabet"].min() == 30
    assert train.label_names[0] == "Alphabet_of_the_Magi/01" and len(train.label_names) == 1623
    assert "area averaging" in train.note


@pytest.mark.slow
def test_cifar10_subset_says_so():
    train, held_out, test = (prepared("cifar10", split) for split in catalogue.SPLITS)
    assert [len(part) for part in (train, held_out, test)] == [20_000, 3_000, 1_000]
    assert train["x"].shape[1:] == (3, 32, 32)
    assert train["label"].bincount().tolist() == [2000] * 10
    assert held_out["label"].bincount().tolist() == [300] * 10
    counts = test["label"].bincount()
    assert (counts.min(), counts.max()) == (86, 112)
    means = train["x"].double().mean((0, 2, 3)) * 255
    np.testing.assert_allclose(means, [125.3, 122.95, 113.87], atol=1.0)
    seen = {image.numpy().tobytes() for image in train["x"]}
    assert not any(image.numpy().tobytes() in seen for image in (*held_out["x"], *test["x"]))
    assert "SUBSET" in train.note


def test_ag_news_has_its_topics():
    train, held_out, test = (prepared("ag_news", split) for split in catalogue.SPLITS)
    assert len(train) + len(held_out) == 15_184
    assert 600 < len(held_out) < 920
    assert test["label"].bincount().tolist() == [1900] * 4
    both = torch.cat([train["label"], held_out["label"]]).bincount()
    assert both.tolist() == [4649, 2825, 2825, 4885]
    assert not set(train.texts) & set(held_out.texts)
    assert not (set(train.texts) | set(held_out.texts)) & set(test.texts)
    assert test.texts[0].startswith("Fears for T N pension") and test["label"][0] == 2
    assert "SUBSET" in train.note


def test_ag_news_in_lower_case_has_its_topics():
    train, held_out, test = (prepared("ag_news_lower", split) for split in catalogue.SPLITS)
    assert len(train) + len(held_out) == 20_985 and 950 < len(held_out) < 1150
    both = torch.cat([train["label"], held_out["label"]]).bincount()
    assert both.tolist() == [5203, 5266, 5358, 5158]
    assert test["label"].bincount().tolist() == [1900] * 4
    assert not (set(train.texts) | set(held_out.texts)) & set(test.texts)
    assert all(text == text.lower() for text in test.texts)
    whole = prepared("ag_news", "test")
    assert torch.equal(whole["label"], test["label"])
    assert "SUBSET" in train.note and train.label_names == whole.label_names


def test_ptb_has_its_words():
    parts = [prepared("ptb", split) for split in catalogue.SPLITS]
    assert [len(part) for part in parts] == [42_068, 3_370, 3_761]
    words = [sum(len(text.split()) for text in part.texts) for part in parts]
    assert words == [887_521, 70_390, 78_669]
    kinds = {word for text in parts[0].texts for word in text.split()}
    assert len(kinds | {"<eos>"}) == 10_000
    whole = "".join(f" {text} \n" for text in parts[0].texts)
    assert hashlib.md5(whole.encode()).hexdigest() == "f26c4b92c5fdc7b3f8c7cdcb991d8420"
    assert "label" not in parts[0] and "no open licence" in parts[0].note


def test_yahoo_answers_labels_are_called_inferred():
    for split in ("validation", "test"):
        data = prepared("yahoo_answers", split)
        assert data["label"].bincount().tolist() == [1000] * 10
        assert max(len(text.split()) for text in data.texts) <= 210
        assert "INFERRED" in data.note
    sports = load("yahoo_answers", "test").select(load("yahoo_answers", "test")["label"] == 5)
    assert sum("team" in text.split() for text in sports.texts) > 100
    with pytest.raises(ValueError, match="yahoo-answer-100k"):
        load("yahoo_answers", "train", download=False)


@pytest.mark.parametrize("name", [name for name in catalogue.names() if name != "docstrings"])
def test_index_label_and_size_of_every_set_that_is_here(name):
    whole = load(name, "test") if name == "digits" else prepared(name, "test")
    few = load(name, "test", size=100)
    assert few["index"].tolist() == list(range(100))
    assert whole["index"].tolist() == list(range(len(whole)))
    for key in ("x", "label"):
        if key in whole:
            assert torch.equal(few[key], whole[key][few["row"]])
    if whole.texts:
        assert few.texts == tuple(whole.texts[i] for i in few["row"].tolist())
    if "label" in whole:
        assert whole["label"].dtype == torch.long
        assert whole["label"].min() >= 0 and whole["label"].max() < len(whole.label_names)
    assert whole.note and whole.split == "test" and whole.name == name
