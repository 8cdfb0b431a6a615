"""The named sets of images: digits, MNIST, Fashion-MNIST, Omniglot, CIFAR-10.

Every image is (C, H, W), float32, in [0, 1]. `label` is an index into `label_names`.
"""

from functools import lru_cache

import numpy as np
import torch

from lvmlab.datasets import readers
from lvmlab.datasets.dataset import ORDER_SEED, Dataset, chosen_rows
from lvmlab.datasets.where import Found

DIGIT_NAMES = tuple("0123456789")
CLOTHING_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

DIGIT_SIZES = {"train": 1257, "validation": 180, "test": 360}
MNIST_TRAIN = 50_000
OMNIGLOT_HELD_OUT = 18  # drawers 19 and 20 of each background character are the validation split
OMNIGLOT_SIDE = 28


def digits(split: str, size: int | None) -> Dataset:
    """scikit-learn's 1,797 digits, 8 x 8, sixteenths of ink; split by one fixed permutation."""
    x, y = _digits()
    if split == "all":
        rows = np.arange(len(y))
    else:
        ends = np.cumsum(list(DIGIT_SIZES.values()))
        parts = np.split(np.random.default_rng(ORDER_SEED).permutation(len(y)), ends[:-1])
        rows = np.sort(parts[list(DIGIT_SIZES).index(split)])
    note = "grey levels 0 ... 16 divided by 16; split by a fixed permutation of the 1,797 images"
    return _dataset("digits", split, x[rows], y[rows], size, 16.0, DIGIT_NAMES, note)


def mnist_like(found: Found, split: str, size: int | None) -> Dataset:
    """MNIST or Fashion-MNIST: 50,000 for training, the last 10,000 for validation, 10,000 test."""
    part = "test" if split == "test" else "train"
    if found.form == "prepared":
        keys = (f"x_{part}", f"y_{part}")
        x, y = found.read(f"{found.source.name}.npz", _image_pair, *keys)
    else:
        stem = "t10k" if part == "test" else "train"
        x = found.read(f"{stem}-images-idx3-ubyte.gz", readers.idx)
        y = found.read(f"{stem}-labels-idx1-ubyte.gz", readers.idx)
    _check_pair(found, x, y, (28, 28))
    keep = {"train": slice(MNIST_TRAIN), "validation": slice(MNIST_TRAIN, None)}
    rows = keep.get(split, slice(None))
    note = "the last 10,000 of the 60,000 training images are the validation split"
    label_names = DIGIT_NAMES if found.source.name == "mnist" else CLOTHING_NAMES
    return _dataset(
        found.source.name, split, x[rows, None], y[rows], size, 255.0, label_names, note
    )


def cifar10(found: Found, split: str, size: int | None) -> Dataset:
    """CIFAR-10: the whole set from its binary archive, or the prepared 20,000 + 3,000 + 1,000."""
    if found.form == "prepared":
        name = "cifar10_train20k.npz" if split == "train" else "cifar10_eval.npz"
        part = {"validation": "heldout"}.get(split, split)
        x, y = found.read(name, _image_pair, f"x_{part}", f"y_{part}")
        x = x.transpose(0, 3, 1, 2)
        note = (
            "SUBSET: train is 20,000 of the 50,000 training images (the first 2,000 of each class),"
            " validation 3,000 others (300 of each class), test the first 1,000 of 10,000 (classes"
            " not balanced)"
        )
    else:
        members = {
            "train": [f"data_batch_{i}.bin" for i in range(1, 5)],
            "validation": ["data_batch_5.bin"],
            "test": ["test_batch.bin"],
        }
        x, y = found.read(found.files[0].name, readers.cifar_binary, members[split])
        note = "the last 10,000 of the 50,000 training images are the validation split"
    _check_pair(found, x, y, (3, 32, 32))
    return _dataset("cifar10", split, x, y, size, 255.0, CIFAR_NAMES, note)


def omniglot(found: Found, split: str, size: int | None) -> Dataset:
    """Omniglot at 28 x 28: background alphabets for train and validation, evaluation for test.

    Beside `x` and `label` (the character) come `alphabet` (0 ... 49, 30 in background) and
    `drawer` (1 ... 20).
    """
    read = _omniglot_prepared if found.form == "prepared" else _omniglot_zip
    facts, drawings = read(found, split)
    held_out = facts["drawer"] > OMNIGLOT_HELD_OUT
    keep = {"train": ~held_out, "validation": held_out}.get(split, np.ones_like(held_out))
    kept = np.nonzero(keep)[0]
    rows = chosen_rows(len(kept), size)
    taken = kept if rows is None else kept[rows]
    values = {"x": area_averaged(drawings(taken), OMNIGLOT_SIDE)}
    for name in ("label", "alphabet", "drawer"):
        values[name] = torch.from_numpy(facts[name][taken].astype(np.int64))
    if rows is not None:
        values["row"] = torch.from_numpy(rows)
    note = (
        "28 x 28 by area averaging of the 105 x 105 originals: NOT the 28 x 28 file of most VAE "
        "papers, so likelihoods cannot be compared with theirs; 1 is ink. Validation: drawers 19 "
        "and 20 of each background character; test: the evaluation alphabets, whose characters do "
        "not occur in training"
    )
    return Dataset("omniglot", split, values, (), tuple(facts["names"].tolist()), note)


def area_averaged(packed: np.ndarray, side: int, chunk: int = 1024) -> torch.Tensor:
    """Square bit images shrunk to side x side, each new pixel the mean over the area it covers.

    `packed` (N, ceil(S S / 8)) uint8 from np.packbits of S x S images; gives (N, 1, side, side)
    float32 in [0, 1]. Two matrix products an image, in chunks, so memory stays small.
    """
    original = int(np.sqrt(packed.shape[1] * 8))
    average = averaging_matrix(original, side)
    out = torch.empty(len(packed), 1, side, side)
    for start in range(0, len(packed), chunk):
        bits = np.unpackbits(packed[start : start + chunk], axis=1, count=original**2)
        images = torch.from_numpy(bits).float().view(-1, original, original)
        out[start : start + chunk, 0] = average @ (images @ average.T)
    return out.clamp_(0, 1)  # sums of weights may round to a little more than 1


def averaging_matrix(original: int, side: int) -> torch.Tensor:
    """Weights (side, original) that average `original` cells of a line into `side` equal ones."""
    edges = np.arange(side + 1) * original / side
    left, right = edges[:-1, None], edges[1:, None]
    cell = np.arange(original)
    overlap = np.clip(np.minimum(right, cell + 1) - np.maximum(left, cell), 0, None)
    return torch.from_numpy(overlap * side / original).float()


def _omniglot_prepared(found: Found, split: str):
    keys = ("x_packed", "alphabet", "character_in_alphabet", "character", "drawer", "split")
    archive = found.read("omniglot.npz", readers.npz, (*keys, "alphabet_names"))
    part = archive["split"] == (split == "test")
    alphabet = archive["alphabet_names"][archive["alphabet"]]
    first = np.unique(archive["character"], return_index=True)[1]
    names = [f"{alphabet[i]}/{archive['character_in_alphabet'][i]:02d}" for i in first]
    facts = {key: archive[key][part] for key in ("alphabet", "drawer")}
    facts |= {"label": archive["character"][part], "names": np.array(names)}
    packed = archive["x_packed"][part]
    return facts, lambda rows: packed[rows]


def _omniglot_zip(found: Found, split: str):
    file = found.files[0].name
    members = found.read(file, readers.zip_names, ".png")
    parts = [member.split("/")[-3:] for member in members]
    alphabets = sorted({part[0] for part in parts})
    characters = sorted({(a, c) for a, c, _ in parts})
    first_alphabet, first_character = (30, 964) if split == "test" else (0, 0)
    alphabet_at = {name: i + first_alphabet for i, name in enumerate(alphabets)}
    label_at = {pair: i + first_character for i, pair in enumerate(characters)}
    names = [f"{a}/{c.removeprefix('character')}" for a, c in characters]
    facts = {
        "label": np.array([label_at[a, c] for a, c, _ in parts]),
        "alphabet": np.array([alphabet_at[a] for a, _, _ in parts]),
        "drawer": np.array([int(f.removesuffix(".png").split("_")[-1]) for _, _, f in parts]),
        "names": np.array([""] * first_character + names),
    }

    def drawings(rows: np.ndarray) -> np.ndarray:
        taken = found.read(file, readers.zip_drawings, [members[i] for i in rows])
        return np.packbits(taken.reshape(len(taken), -1), axis=1)

    return facts, drawings


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[:, None].astype(np.uint8), bunch.target.astype(np.int64)


def _image_pair(path, x_key: str, y_key: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = readers.npz(path, (x_key, y_key))
    return arrays[x_key], arrays[y_key]


def _check_pair(found: Found, x: np.ndarray, y: np.ndarray, shape: tuple[int, ...]) -> None:
    if x.shape != (len(y), *shape) or x.dtype != np.uint8 or y.ndim != 1 or y.max() > 9:
        raise ValueError(
            f"{' + '.join(str(found.folder / file.name) for file in found.files)}: expected uint8 "
            f"images (N, {', '.join(map(str, shape))}) with N labels 0 ... 9; came {x.dtype} "
            f"{x.shape} with {y.shape} labels up to {y.max()}. Delete the file and load "
            f"{found.source.name!r} again"
        )


def _dataset(
    name: str,
    split: str,
    x: np.ndarray,
    y: np.ndarray,
    size: int | None,
    levels: float,
    label_names: tuple[str, ...],
    note: str,
) -> Dataset:
    rows = chosen_rows(len(y), size)
    values = {}
    if rows is not None:
        x, y = x[rows], y[rows]
        values["row"] = torch.from_numpy(rows)
    values["x"] = torch.from_numpy(np.ascontiguousarray(x)).float().div_(levels)
    values["label"] = torch.from_numpy(y.astype(np.int64))
    return Dataset(name, split, values, (), label_names, note)
