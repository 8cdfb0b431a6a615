"""Your own data: what is read, and what is refused with which words."""

import numpy as np
import pytest
import torch
from PIL import Image

from lvmlab.datasets import files


def save(tmp_path, name, array):
    path = tmp_path / name
    np.save(path, array, allow_pickle=True)
    return path


# Arrays


def test_an_npy_becomes_rows(tmp_path):
    values = np.random.default_rng(0).normal(size=(7, 3))
    data = files.array(save(tmp_path, "mine.npy", values))
    assert data.name == "mine" and data["x"].dtype == torch.float32
    np.testing.assert_allclose(data["x"].numpy(), values, rtol=1e-6)
    assert files.array(save(tmp_path, "line.npy", np.arange(4)))["x"].shape == (4, 1)
    assert files.array(str(save(tmp_path, "big.npy", values.astype(">f8"))))["x"].shape == (7, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 8, 9), (5, 1, 8, 9)),
        ((5, 8, 9, 3), (5, 3, 8, 9)),
        ((5, 3, 8, 9), (5, 3, 8, 9)),
        ((5, 6), (5, 6)),
    ],
)
def test_pixels_become_images(tmp_path, shape, expected):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = files.array(save(tmp_path, "pixels.npy", pixels))
    assert data["x"].shape == expected
    if len(shape) > 2:
        assert float(data["x"].max()) == pytest.approx(pixels.max() / 255)
        assert "255" in data.note
    if shape == (5, 8, 9, 3):
        np.testing.assert_allclose(data["x"][2, 1].numpy() * 255, pixels[2, :, :, 1], rtol=1e-5)


def test_an_npz_with_labels(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, codes=np.eye(3), kind=np.array(["cat", "ant", "cat"]))
    data = files.array(path, key="codes", label_key="kind")
    assert data["label"].tolist() == [1, 0, 1] and data.label_names == ("ant", "cat")
    assert torch.equal(files.array(path, label_key="kind")["x"], torch.eye(3))
    for words, arguments in (
        ("key must name an array of .*codes, kind; came None", {}),
        ("key must name an array of .*; came 'x'", {"key": "x"}),
        ("label_key must name", {"key": "codes", "label_key": "y"}),
        ("real numbers", {"key": "kind"}),
        ("one whole number or word a row", {"key": "codes", "label_key": "codes"}),
    ):
        with pytest.raises(ValueError, match=words):
            files.array(path, **arguments)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{"a": 1}, None]), "never unpickled"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), "1 of 4 are NaN or infinite.*row 0"),
        (np.array([[1.0, 2.0], [2.0, -np.inf]]), "row 1"),
        (np.array([1e300]), "beyond float32"),
        (np.zeros((0, 3)), "at least one row"),
        (np.float64(3), "at least one row"),
        (np.array(["a", "b"]), "real numbers"),
        (np.array([1j]), "real numbers"),
    ],
)
def test_arrays_that_are_refused(tmp_path, array, words):
    path = save(tmp_path, "mine.npy", array)
    with pytest.raises(ValueError, match=words), np.errstate(over="ignore"):
        files.array(path)


def test_files_that_are_no_arrays(tmp_path):
    whole = save(tmp_path, "mine.npy", np.zeros((9, 9)))
    for name, content, words in (
        ("cut.npy", whole.read_bytes()[:-10], "cannot be read as arrays"),
        ("text.npy", b"hello", "cannot be read as arrays"),
        ("text.npz", b"PK\x03\x04 hello", "cannot be read as arrays"),
        ("empty.npy", b"", "is empty"),
        ("mine.pkl", b"hello", r"ending in \.npy or \.npz"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            files.array(tmp_path / name)
    with pytest.raises(ValueError, match="is not there"):
        files.array(tmp_path / "nothing.npy")
    with pytest.raises(ValueError, match=r"for \.npz archives"):
        files.array(whole, key="x")


# Images


def picture(path, shape, level=None, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, shape, dtype=np.uint8)
    if level is not None:
        pixels[:] = level
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return pixels


def test_a_folder_of_images_with_labels(tmp_path):
    red = picture(tmp_path / "b" / "2.png", (4, 6, 3))
    picture(tmp_path / "a" / "1.png", (4, 6), level=51)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    data = files.images(tmp_path)
    assert data["x"].shape == (2, 3, 4, 6)
    assert data["label"].tolist() == [0, 1] and data.label_names == ("a", "b")
    assert torch.allclose(data["x"][0], torch.tensor(0.2))
    np.testing.assert_allclose(data["x"][1].numpy() * 255, red.transpose(2, 0, 1), rtol=1e-5)


def test_grey_images_sorted_and_resized(tmp_path):
    for name, level in (("10.png", 10), ("2.png", 20), ("1.PNG", 30)):
        picture(tmp_path / name, (8, 4), level)
    picture(tmp_path / "3.jpg", (2, 2), 40)
    with pytest.raises(ValueError, match=r"1.PNG is 8 x 4.*3.jpg is 2 x 2.*resize="):
        files.images(tmp_path)
    data = files.images(tmp_path, resize=(4, 2))
    assert data["x"].shape == (4, 1, 4, 2)
    assert (data["x"][:, 0, 0, 0] * 255).round().tolist() == [30, 10, 20, 40]
    assert "label" not in data


def test_resizing_averages_areas(tmp_path):
    pixels = picture(tmp_path / "1.png", (8, 8))
    data = files.images(tmp_path, resize=(4, 4))
    means = pixels.reshape(4, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(data["x"][0, 0].numpy() * 255, means, atol=1.01)


def test_transparency_and_palettes_become_colours(tmp_path):
    picture(tmp_path / "1.png", (4, 4, 4))
    picture(tmp_path / "2.png", (4, 4, 3), mode="P")
    assert files.images(tmp_path)["x"].shape == (2, 3, 4, 4)


def test_sixteen_bits_are_refused_and_photos_turned(tmp_path):
    picture(tmp_path / "a" / "1.png", (4, 6))
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(tmp_path / "a" / "2.png")
    with pytest.raises(ValueError, match=r"2\.png cannot be read.*more than 8 bits"):
        files.images(tmp_path / "a")
    turned = Image.fromarray(np.zeros((4, 6), np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6  # a camera held upright
    (tmp_path / "b").mkdir()
    turned.save(tmp_path / "b" / "1.jpg", exif=exif)
    assert files.images(tmp_path / "b")["x"].shape == (1, 1, 6, 4)


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        files.images(tmp_path)
    with pytest.raises(ValueError, match="must be a folder"):
        files.images(tmp_path / "nothing")
    picture(tmp_path / "a" / "1.png", (4, 4))
    with pytest.raises(ValueError, match="resize must be"):
        files.images(tmp_path, resize=(0, 4))
    content = (tmp_path / "a" / "1.png").read_bytes()
    (tmp_path / "a" / "2.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"2\.png cannot be read as an image"):
        files.images(tmp_path)
    (tmp_path / "a" / "2.png").unlink()
    picture(tmp_path / "loose.png", (4, 4))
    with pytest.raises(ValueError, match=r"images beside its sub-folders \(such as loose\.png\)"):
        files.images(tmp_path)


# Texts


def test_lines_and_paragraphs(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(
        "\ufeffOne line\r\n and  another\r\n\r\n\r\nA second paragraph, ä\r\n".encode()
    )
    assert files.text(path).texts == ("One line", "and another", "A second paragraph, ä")
    data = files.text(path, unit="paragraph")
    assert data.texts == ("One line and another", "A second paragraph, ä")
    assert data["index"].tolist() == [0, 1]


def test_texts_that_are_refused(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("naïve".encode("latin-1"))
    with pytest.raises(ValueError, match=r"must be UTF-8 text; byte 2 is not.*iconv"):
        files.text(path)
    path.write_text(" \n\n")
    with pytest.raises(ValueError, match="holds no text"):
        files.text(path)
    path.write_text("")
    with pytest.raises(ValueError, match="is empty"):
        files.text(path)
    with pytest.raises(ValueError, match="is a folder"):
        files.text(tmp_path)
    with pytest.raises(ValueError, match="unit must be"):
        files.text(path, unit="word")


# Tables


TABLE = 'height,width,kind,remark\n1,2.5,cat,"a, quoted\nremark"\n-3,4e1,ant,plain\n'


def test_columns_of_a_table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(TABLE, newline="")
    numbers = files.table(path, columns=("width", "height"), label_column="kind")
    assert numbers["x"].tolist() == [[2.5, 1], [40, -3]]
    assert numbers["label"].tolist() == [1, 0] and numbers.label_names == ("ant", "cat")
    texts = files.table(path, text_column="remark", label_column="kind")
    assert texts.texts == ("a, quoted\nremark", "plain") and "x" not in texts
    (tmp_path / "tabs.tsv").write_text("a\tb\n1\t2\n")
    assert files.table(tmp_path / "tabs.tsv", delimiter="\t")["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (TABLE, {}, "row 2, column 'kind': a number was expected, came 'cat'"),
        (TABLE, {"columns": ["depth"]}, "columns must name a column of .*height, width"),
        (TABLE, {"text_column": "text"}, "text_column must name"),
        (TABLE, {"columns": ["height"], "label_column": "y"}, "label_column must name"),
        ("a,b\n1,2\n3\n", {}, "row 3: 2 cells expected.*came 1.*delimiter"),
        ("a,b\n1,nan\n", {}, "NaN or infinite"),
        ("a,b\n1,\n", {}, "came ''"),
        ("a,a\n1,2\n", {}, "names must differ"),
        ("a,b\n", {}, "at least one row"),
        ("a,b\n1, \n", {"text_column": "b"}, "row 2: column 'b' is empty"),
        ("a\nx\n", {"label_column": "a"}, "no column left for x"),
        (TABLE, {"delimiter": ""}, "delimiter must be one character"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, arguments, words):
    path = tmp_path / "mine.csv"
    path.write_text(content, newline="")
    with pytest.raises(ValueError, match=words):
        files.table(path, **arguments)


def test_a_table_needs_its_ending(tmp_path):
    (tmp_path / "mine.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"ending in \.csv"):
        files.table(tmp_path / "mine.xlsx")
