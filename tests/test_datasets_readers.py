"""Files in the form of the originals, tiny ones written here, and what happens to broken ones."""

import dataclasses
import gzip
import hashlib
import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from lvmlab.datasets import at_hand, catalogue, images, load, readers, status, where


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder, and nothing in $LVMLAB_DATA."""
    monkeypatch.delenv("LVMLAB_DATA", raising=False)
    monkeypatch.setattr(where, "data_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def put(folder, monkeypatch):
    """Writes files of a set and makes the catalogue expect their sizes and checksums."""

    def write(name, contents):
        (folder / name).mkdir(exist_ok=True)
        row = catalogue.source(name)
        for form in ("originals", "prepared"):
            files = []
            for file in getattr(row, form):
                if file.name in contents:
                    content = contents[file.name]
                    (folder / name / file.name).write_bytes(content)
                    sum_ = f"sha256:{hashlib.sha256(content).hexdigest()}"
                    file = dataclasses.replace(file, bytes=len(content), checksum=sum_)
                files.append(file)
            row = dataclasses.replace(row, **{form: tuple(files)})
        others = [source for source in catalogue.SOURCES if source.name != name]
        monkeypatch.setattr(catalogue, "SOURCES", (*others, row))

    return write


def idx(array):
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    code = codes[array.dtype.str[1:]]
    header = struct.pack(f">4B{array.ndim}i", 0, 0, code, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(array.dtype.newbyteorder(">")).tobytes())


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def tar(**members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo("a-folder/" + name.replace("__", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def json_lines(*rows):
    return gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode())


def mnist_arrays(count=9, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return x, rng.integers(0, 10, count, dtype=np.uint8)


def mnist_files(x, y, stem="train"):
    return {f"{stem}-images-idx3-ubyte.gz": idx(x), f"{stem}-labels-idx1-ubyte.gz": idx(y)}


@pytest.mark.parametrize("kind", ["u1", "i1", "<i2", "<i4", "<f4", "<f8"])
def test_idx_round_trip(tmp_path, kind):
    array = (np.arange(24).reshape(2, 3, 4) - 7).astype(kind)
    path = tmp_path / "some.gz"
    path.write_bytes(idx(array))
    np.testing.assert_array_equal(readers.idx(path), array)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_from_the_original_files_and_from_an_archive(put, monkeypatch, name):
    monkeypatch.setattr(images, "MNIST_TRAIN", 6)
    x, y = mnist_arrays()
    put(name, mnist_files(x, y))
    train, held_out = load(name), load(name, "validation")
    assert train["x"].shape == (6, 1, 28, 28)
    np.testing.assert_allclose(train["x"][:, 0].numpy(), x[:6] / 255, rtol=1e-6)
    np.testing.assert_allclose(held_out["x"][:, 0].numpy(), x[6:] / 255, rtol=1e-6)
    assert held_out["label"].tolist() == y[6:].tolist()
    with pytest.raises(ValueError, match="t10k-images"):
        load(name, "test")
    put(name, {f"{name}.npz": npz(x_train=x, y_train=y, x_test=x[::-1], y_test=y[::-1])})
    assert torch.equal(load(name)["x"], train["x"])
    assert load(name, "test")["label"].tolist() == y[::-1].tolist()


def test_cifar10_from_the_binary_archive(put):
    rng = np.random.default_rng(1)
    records = {
        f"{part}__bin": np.concatenate(
            [rng.integers(0, 10, (4, 1)), rng.integers(0, 256, (4, 3072))], 1
        ).astype(np.uint8)
        for part in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    }
    archive = tar(readme__html=b"text", **{k: v.tobytes() for k, v in records.items()})
    put("cifar10", {"cifar-10-binary.tar.gz": archive})
    train = load("cifar10")
    first_red = records["data_batch_1__bin"][0, 1:1025].reshape(32, 32) / 255
    last_blue = records["data_batch_4__bin"][3, 2049:].reshape(32, 32) / 255
    assert train["x"].shape == (16, 3, 32, 32)
    np.testing.assert_allclose(train["x"][0, 0].numpy(), first_red, rtol=1e-6)
    np.testing.assert_allclose(train["x"][15, 2].numpy(), last_blue, rtol=1e-6)
    for split, part in (("validation", "data_batch_5__bin"), ("test", "test_batch__bin")):
        assert load("cifar10", split)["label"].tolist() == records[part][:, 0].tolist()


def test_cifar10_from_the_prepared_archives(put):
    rng = np.random.default_rng(4)
    x = {part: rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8) for part in ("a", "b", "c")}
    y = {part: np.arange(5, dtype=np.uint8) + k for k, part in enumerate("abc")}
    held_out_and_test = npz(x_heldout=x["b"], y_heldout=y["b"], x_test=x["c"], y_test=y["c"])
    put("cifar10", {"cifar10_train20k.npz": npz(x_train=x["a"], y_train=y["a"])})
    put("cifar10", {"cifar10_eval.npz": held_out_and_test})
    for split, part in zip(catalogue.SPLITS, "abc", strict=True):
        data = load("cifar10", split)
        assert data["label"].tolist() == y[part].tolist()
        np.testing.assert_allclose(data["x"][3, 2, 7, 9] * 255, x[part][3, 7, 9, 2], rtol=1e-5)


def omniglot_drawings(seed=2):
    """Two characters of each of two alphabets by twenty drawers, sparse ink."""
    ink = np.random.default_rng(seed).random((2, 2, 20, 105, 105)) < 0.1
    return ("Alpha_(one)", "Beta"), ink.astype(np.uint8)


def omniglot_zip(folder):
    alphabets, ink = omniglot_drawings()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("__MACOSX/._0001_01.png", b"not an image")
        for a, alphabet in enumerate(alphabets):
            for c in range(2):
                for d in range(20):
                    picture = io.BytesIO()
                    Image.fromarray(ink[a, c, d] == 0).save(picture, "PNG")
                    name = f"{folder}/{alphabet}/character{c + 1:02d}/07{a}{c}_{d + 1:02d}.png"
                    archive.writestr(name, picture.getvalue())
    return stream.getvalue()


def omniglot_npz():
    alphabets, ink = omniglot_drawings()
    a, c, d = (i.ravel() for i in np.indices((2, 2, 20)))
    return npz(
        x_packed=np.packbits(ink.reshape(80, -1), axis=1),
        image_shape=np.array([105, 105]),
        alphabet=a.astype(np.uint8),
        character_in_alphabet=(c + 1).astype(np.uint8),
        character=(2 * a + c).astype(np.uint16),
        drawer=(d + 1).astype(np.uint8),
        split=np.zeros(80, np.uint8),
        alphabet_names=np.array(alphabets),
    )


def test_omniglot_from_the_zip_equals_the_prepared_form(put):
    put("omniglot", {"images_background.zip": omniglot_zip("images_background")})
    zipped = {split: load("omniglot", split) for split in ("train", "validation")}
    few = load("omniglot", size=5)
    put("omniglot", {"omniglot.npz": omniglot_npz()})
    for split, rows in (("train", 72), ("validation", 8)):
        prepared = load("omniglot", split)
        assert len(prepared) == rows
        assert prepared.label_names == zipped[split].label_names
        assert prepared.label_names[1] == "Alpha_(one)/02"
        for name in ("x", "label", "alphabet", "drawer"):
            assert torch.equal(prepared[name], zipped[split][name]), name
        assert {"train": 18, "validation": 20}[split] == prepared["drawer"].max()
        assert (prepared["drawer"] > 18).all() == (split == "validation")
    assert torch.equal(few["x"], load("omniglot")["x"][few["row"]])


def test_omniglot_evaluation_characters_are_numbered_after_the_background(put):
    put("omniglot", {"images_evaluation.zip": omniglot_zip("images_evaluation")})
    data = load("omniglot", "test")
    assert len(data) == 80
    assert sorted(set(data["label"].tolist())) == [964, 965, 966, 967]
    assert sorted(set(data["alphabet"].tolist())) == [30, 31]
    assert data.label_names[967] == "Beta/02"


def test_area_averaging_is_the_mean_over_the_area():
    ink = (np.random.default_rng(3).random((5, 105, 105)) < 0.3).astype(np.uint8)
    fine = ink.repeat(4, 1).repeat(4, 2).reshape(5, 28, 15, 28, 15)  # 420 = 4 x 105 = 15 x 28
    packed = np.packbits(ink.reshape(5, -1), axis=1)
    x = images.area_averaged(packed, 28, chunk=2)
    np.testing.assert_allclose(x[:, 0].numpy(), fine.mean((2, 4)), atol=1e-6)
    np.testing.assert_allclose(images.averaging_matrix(105, 28).sum(1).numpy(), 1, rtol=1e-6)
    full = images.area_averaged(np.packbits(np.ones((1, 105 * 105), np.uint8), 1), 28)
    assert full.max() <= 1 and full.min() > 1 - 1e-6  # a grey level is a chance


def test_ag_news_from_the_original_csv(put):
    rows = [(k % 4 + 1, f"Title {k}, with comma", f'He said ""no"" {k}\\') for k in range(200)]
    lines = "".join(f'"{label}","{title}","{text}"\n' for label, title, text in rows)
    put("ag_news", {"train.csv": lines.encode(), "test.csv": lines.encode()})
    test, train, held_out = (load("ag_news", s) for s in ("test", "train", "validation"))
    assert test.texts[0] == 'Title 0, with comma He said "no" 0\\'
    assert test["label"].tolist() == [k % 4 for k in range(200)]
    assert set(train.texts) | set(held_out.texts) == set(test.texts)
    assert not set(train.texts) & set(held_out.texts)
    assert 1 <= len(held_out) <= 25
    prepared = [
        {"text": t, "label": int(k)} for t, k in zip(test.texts, test["label"], strict=True)
    ]
    put("ag_news", {"train_subset.jsonl.gz": json_lines(*prepared)})
    assert load("ag_news", "validation").texts == held_out.texts  # a text keeps its split
    assert "SUBSET" in load("ag_news").note


def test_ag_news_in_lower_case_reads_the_same_files_as_ag_news(put, folder):
    lines = "".join(f'"{k % 4 + 1}","Title {k}","Some TEXT {k}\\"\n' for k in range(200)).encode()
    put("ag_news_lower", {"train.csv": lines, "test.csv": lines})
    (folder / "ag_news_lower").rename(folder / "ag_news")
    test, train, held_out = (load("ag_news_lower", s) for s in ("test", "train", "validation"))
    assert test.texts[:2] == ("some text 0\\", "some text 1\\")
    assert test["label"].tolist() == [k % 4 for k in range(200)]
    assert set(train.texts) | set(held_out.texts) == set(test.texts)
    assert not set(train.texts) & set(held_out.texts)


def test_ptb_and_yahoo_from_the_originals(put):
    put("ptb", {"ptb.valid.txt": b" no it was n't <unk> \n the N shares \n"})
    assert load("ptb", "validation").texts == ("no it was n't <unk>", "the N shares")
    members = {f"yahoo__{s}__txt": f"{s} one\n{s} two\n".encode() for s in ("train", "valid")}
    put("yahoo_answers", {"yahoo-answer-100k.tar.gz": tar(vocab__txt=b"a\n", **members)})
    assert load("yahoo_answers").texts == ("train one", "train two")
    assert load("yahoo_answers", "validation").texts == ("valid one", "valid two")
    assert "label" not in load("yahoo_answers")
    with pytest.raises(ValueError, match="yahoo-answer-100k"):
        load("yahoo_answers", "test")


def broken(content, how):
    middle = len(content) // 2
    if how == "truncated":
        return content[:middle]
    if how == "corrupt":
        return content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 20]) + content[
            middle + 20 :
        ]  # fmt: skip
    return {"empty": b"", "another format": b"<html>404</html>"}[how]


@pytest.mark.parametrize("how", ["truncated", "corrupt", "empty", "another format"])
@pytest.mark.parametrize("form", ["npz", "idx", "tar", "zip", "jsonl", "txt.gz", "yahoo"])
def test_a_broken_file_is_named_with_what_to_do(put, folder, form, how, monkeypatch):
    x, y = mnist_arrays()
    records = np.random.default_rng(0).integers(0, 9, (12, 3073)).astype(np.uint8).tobytes()
    name, split, file, content = {
        "npz": ("mnist", "train", "mnist.npz", npz(x_train=x, y_train=y)),
        "idx": ("mnist", "train", "train-images-idx3-ubyte.gz", idx(x)),
        "tar": ("cifar10", "test", "cifar-10-binary.tar.gz", tar(test_batch__bin=records)),
        "zip": ("omniglot", "test", "images_evaluation.zip", omniglot_zip("images_evaluation")),
        "jsonl": ("ag_news", "test", "test.jsonl.gz",
                  json_lines(*({"text": f"{k} {k**9}", "label": 1} for k in range(99)))),
        "txt.gz": ("ptb", "train", "train.txt.gz",
                   gzip.compress(b"".join(b"%d words\n" % k**7 for k in range(99)))),
        "yahoo": ("yahoo_answers", "train", "yahoo-answer-100k.tar.gz",
                  tar(yahoo__train__txt=b"".join(b"%d words\n" % k**7 for k in range(99)))),
    }[form]  # fmt: skip
    if form == "idx":
        put(name, mnist_files(x, y))
    put(name, {file: broken(content, how)})
    path = folder / name / file
    with pytest.raises(ValueError, match="cannot be read") as caught:
        load(name, split)
    message = str(caught.value)
    assert str(path) in message
    assert "delete it" in message
    assert f"{path.stat().st_size:,} bytes are there" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x01\x05", "it begins with 01 00 08 01"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x01\x05", "it begins with 00 00 07 01"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x03\x05\x05", r"2 bytes of data for \(3,\): 3 wanted"),
        (b"\x00\x00\x08\x03\x00\x00\x00\x03", "bytes of data"),
    ],
)
def test_idx_headers_are_checked(tmp_path, content, words):
    path = tmp_path / "some.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=words):
        readers.idx(path)


def test_an_original_of_another_size_is_refused(put, folder):
    put("ptb", {"ptb.test.txt": b"a whole sentence\nand another\n"})
    path = folder / "ptb" / "ptb.test.txt"
    path.write_bytes(b"a whole sentence\n")
    with pytest.raises(ValueError, match=r"17 bytes are there, 29 expected"):
        load("ptb", "test")


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": np.zeros((4, 28, 28), np.uint8)},
        {"x_train": np.zeros((4, 28, 28), np.uint8), "y_train": np.zeros(3, np.uint8)},
        {"x_train": np.zeros((4, 28, 27), np.uint8), "y_train": np.zeros(4, np.uint8)},
        {"x_train": np.zeros((4, 28, 28), np.float32), "y_train": np.zeros(4, np.uint8)},
        {"x_train": np.zeros((4, 28, 28), np.uint8), "y_train": np.full(4, 10, np.uint8)},
        {"x_train": np.array([{}, {}], object), "y_train": np.zeros(2, np.uint8)},
    ],
)
def test_an_archive_with_the_wrong_arrays_is_refused(put, folder, arrays):
    put("mnist", {"mnist.npz": npz(**arrays)})
    with pytest.raises(ValueError, match=r"mnist\.npz"):
        load("mnist")


def test_lvmlab_data_comes_before_the_data_folder(put, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MNIST_TRAIN", 6)
    x, y = mnist_arrays()
    put("mnist", {"mnist.npz": npz(x_train=x, y_train=y)})
    shared = tmp_path / "shared" / "mnist"
    shared.mkdir(parents=True)
    (shared / "mnist.npz").write_bytes(npz(x_train=x[::-1], y_train=y[::-1]))
    assert load("mnist")["label"].tolist() == y[:6].tolist()
    monkeypatch.setenv("LVMLAB_DATA", str(shared.parent))
    assert load("mnist")["label"].tolist() == y[::-1][:6].tolist()
    monkeypatch.setenv("LVMLAB_DATA", str(shared / "mnist.npz"))
    with pytest.raises(ValueError, match="LVMLAB_DATA must name a folder"):
        load("mnist")


def test_status_tells_what_is_here(put, folder):
    x, y = mnist_arrays()
    content = npz(x_train=x, y_train=y)
    put("mnist", {"mnist.npz": content})
    put("ptb", {"ptb.valid.txt": b"a sentence\n"})
    rows = {row["name"]: row for row in json.loads(json.dumps(status()))}
    assert rows["mnist"]["here"] == str(folder / "mnist")
    assert rows["mnist"]["megabytes"] == round(len(content) / 1e6, 1)
    assert rows["ptb"]["splits"] == ["validation"]
    assert rows["cifar10"]["here"] == "missing"
    assert rows["cifar10"]["megabytes"] == 170.1
    assert rows["yahoo_answers"]["megabytes"] is None
    assert "scikit-learn" in rows["digits"]["here"]
    assert all(row["licence"] and row["address"] for row in rows.values())
    assert at_hand() == {name for name, row in rows.items() if row["splits"]}
    assert {"mnist", "ptb", "digits"} <= at_hand() < set(rows)
