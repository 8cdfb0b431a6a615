"""Your own data: arrays, folders of images, texts and tables, each read into a `Dataset`.

Nothing is unpickled. Bad input gets a ValueError that says what was expected, what came and what
to try.
"""

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lvmlab.datasets.dataset import Dataset

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")

PathLike = str | Path


def array(path: PathLike, key: str | None = None, label_key: str | None = None) -> Dataset:
    """Rows of a `.npy` file, or of one array of a `.npz` file, as `x` float32 with rows first.

    `key` names the array of a `.npz` (not needed when it holds only one), `label_key` one of whole
    numbers beside it. Pixels (uint8 with three or four axes) become (N, C, H, W) in [0, 1];
    a single axis becomes (N, 1). Raises ValueError for another ending, a missing key, arrays of
    objects or text, NaN or infinite values.
    """
    path = _existing(path, (".npy", ".npz"), "array")
    arrays = _arrays(path)
    if path.suffix.lower() == ".npy" and (key or label_key):
        raise ValueError(f"key and label_key are for .npz archives; {path} holds one array only")
    if key is None and len(arrays) - (label_key is not None) == 1:
        key = next(name for name in arrays if name != label_key)
    for argument, name in (("key", key), ("label_key", label_key)):
        if name not in arrays and (argument == "key" or name is not None):
            raise ValueError(
                f"{argument} must name an array of {path}: {', '.join(arrays)}; came {name!r}"
            )
    x, note = _rows(arrays[str(key)], path)
    values = {"x": x}
    names: tuple[str, ...] = ()
    if label_key is not None:
        values["label"], names = _labels(arrays[label_key], path, label_key)
    return Dataset(path.stem, "all", values, (), names, note)


def images(folder: PathLike, resize: tuple[int, int] | None = None) -> Dataset:
    """The images below a folder, sorted by path, as `x` (N, C, H, W) float32 in [0, 1].

    Sub-folders are labels. C is 1 when every image is grey, else 3. `resize=(height, width)` brings
    them to one size by area averaging; without it they must have one already. Raises ValueError
    for a folder without images, mixed sizes, unreadable images.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"folder must be a folder of images; {folder} is not one")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise ValueError(
            f"{folder} holds no image: none of its files ends in {', '.join(IMAGE_ENDINGS)}"
        )
    if resize is not None and (len(resize) != 2 or min(resize) < 1):
        raise ValueError(f"resize must be (height, width) in pixels; came {resize!r}")
    pictures = [_picture(path, resize) for path in paths]
    _check_one_size(folder, paths, pictures)
    channels = max(len(picture) for picture in pictures)
    x = np.stack([np.broadcast_to(p, (channels, *p.shape[1:])) for p in pictures])
    values = {"x": torch.from_numpy(x).float().div_(255)}
    parents = [path.parent.relative_to(folder).as_posix() for path in paths]
    names = tuple(sorted(set(parents) - {"."}))
    if names and "." in parents:
        loose = paths[parents.index(".")].name
        raise ValueError(
            f"{folder} holds images beside its sub-folders (such as {loose}), and "
            f"sub-folders are labels: move them into one"
        )
    if names:
        values["label"] = torch.tensor([names.index(parent) for parent in parents])
    return Dataset(folder.name, "all", values, (), names, "grey levels divided by 255")


def text(path: PathLike, unit: str = "line") -> Dataset:
    """The texts of a UTF-8 file, one a line (`unit="line"`) or one a paragraph between blank lines.

    Empty lines are left out. Raises ValueError for an empty file or another encoding.
    """
    if unit not in ("line", "paragraph"):
        raise ValueError(f"unit must be 'line' or 'paragraph'; came {unit!r}")
    path = _existing(path, None, "text file")
    content = _decoded(path).replace("\r\n", "\n").replace("\r", "\n")
    lines = [" ".join(line.split()) for line in content.split("\n")]
    pieces = lines if unit == "line" else [" ".join(p.split()) for p in _paragraphs(lines)]
    texts = tuple(piece for piece in pieces if piece)
    if not texts:
        raise ValueError(f"{path} holds no text: every line of it is empty")
    return Dataset(path.stem, "all", {}, texts, (), f"one text a {unit}")


def table(
    path: PathLike,
    columns: Sequence[str] | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    delimiter: str = ",",
) -> Dataset:
    """A CSV file with a header: one column of texts, or columns of numbers as `x` (N, columns).

    `columns` chooses the columns of numbers (default without `text_column`: all but the label's).
    Labels may be any words; they are numbered in sorted order. Raises ValueError for an unknown
    column, a cell that is not a finite number, rows of another length, an empty table.
    """
    path = _existing(path, (".csv", ".tsv", ".txt"), "table")
    header, rows = _table(path, delimiter)
    if columns is None:
        columns = [] if text_column else [name for name in header if name != label_column]
    for argument, name in [("text_column", text_column), ("label_column", label_column)] + [
        ("columns", name) for name in columns
    ]:
        if name is not None and name not in header:
            raise ValueError(
                f"{argument} must name a column of {path}: {', '.join(header)}; came {name!r}"
            )
    values: dict[str, torch.Tensor] = {}
    names: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    if columns:
        values["x"] = _numbers(path, header, rows, columns)
    if label_column is not None:
        cells = np.array([row[header.index(label_column)] for row in rows])
        values["label"], names = _labels(cells, path, label_column)
    if text_column is not None:
        texts = tuple(row[header.index(text_column)] for row in rows)
        empty = [number for number, cell in enumerate(texts, 2) if not cell.strip()]
        if empty:
            raise ValueError(f"{path}, row {empty[0]}: column {text_column!r} is empty")
    elif not columns:
        raise ValueError(f"{path} has no column left for x; its columns: {', '.join(header)}")
    note = f"columns {', '.join(columns)}" if columns else f"column {text_column}"
    return Dataset(path.stem, "all", values, texts, names, note)


def _existing(path: PathLike, endings: tuple[str, ...] | None, what: str) -> Path:
    path = Path(path).expanduser()
    if endings is not None and path.suffix.lower() not in endings:
        raise ValueError(f"path must be a {what} ending in {' or '.join(endings)}; came {path}")
    if not path.is_file():
        what_it_is = "a folder" if path.is_dir() else "not there"
        raise ValueError(f"path must be a file; {path} is {what_it_is}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty (0 bytes)")
    return path


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x": loaded}
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} cannot be read as arrays ({error}). It is truncated, corrupt, or holds "
            "Python objects, which are never unpickled: save plain numbers with np.save or np.savez"
        ) from error


def _rows(values: np.ndarray, path: Path) -> tuple[torch.Tensor, str]:
    if values.dtype.kind not in "fiub":
        raise ValueError(
            f"{path} must hold real numbers; came {values.dtype}. "
            f"Try values.astype('float32') before saving"
        )
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"{path} must hold at least one row; came shape {values.shape}")
    note = "as given"
    if values.dtype == np.uint8 and values.ndim in (3, 4):
        note = "pixels divided by 255"
        if values.ndim == 3:
            values = values[:, None]
        elif values.shape[-1] in (1, 3) and values.shape[1] not in (1, 3):
            values = np.moveaxis(values, -1, 1)
            note += ", channels moved to the second axis"
        values = values.astype(np.float32) / 255
    values = values[:, None] if values.ndim == 1 else values
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    _check_finite(x, str(path))
    return x, note


def _check_finite(x: torch.Tensor, where: str) -> None:
    bad = ~x.isfinite()
    if bad.any():
        first = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{where} must hold finite numbers; {int(bad.sum())} of {x.numel()} are "
            f"NaN or infinite (or beyond float32), the first in row {first[0]}. "
            f"Drop or fill such rows first"
        )


def _labels(values: np.ndarray, path: Path, name: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    if values.ndim != 1 or values.dtype.kind not in "iubUS":
        raise ValueError(
            f"labels {name!r} of {path} must be one whole number or word a row; came "
            f"{values.dtype} of shape {values.shape}"
        )
    known, numbers = np.unique(values, return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64)), tuple(str(value) for value in known)


def _picture(path: Path, resize: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":
                raise ValueError(f"mode {image.mode}, more than 8 bits a channel: use 8 bits")
            image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
            if resize is not None:
                image = image.resize((resize[1], resize[0]), Image.Resampling.BOX)
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}). Remove or replace it"
        ) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _check_one_size(folder: Path, paths: list[Path], pictures: list[np.ndarray]) -> None:
    sizes: dict[tuple[int, ...], Path] = {}
    for picture, path in zip(pictures, paths, strict=True):
        sizes.setdefault(picture.shape[1:], path)
    if len(sizes) > 1:
        examples = "; ".join(f"{path.name} is {h} x {w}" for (h, w), path in sizes.items())
        raise ValueError(
            f"the images below {folder} must all have one size (height x width): "
            f"{examples[:200]}. Try resize=(height, width)"
        )


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be UTF-8 text; byte {error.start} is not ({error.reason}). Save it again "
            "as UTF-8, for example with: iconv -f latin1 -t utf-8"
        ) from error


def _paragraphs(lines: list[str]) -> list[str]:
    return "\n".join(lines).split("\n\n")


def _table(path: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    if len(delimiter) != 1:
        raise ValueError(f"delimiter must be one character; came {delimiter!r}")
    try:
        rows = [
            r for r in csv.reader(io.StringIO(_decoded(path), newline=""), delimiter=delimiter) if r
        ]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table ({error})") from error
    if len(rows) < 2:
        raise ValueError(f"{path} must hold a header and at least one row; came {len(rows)} rows")
    header = rows[0]
    if len(set(header)) != len(header):
        raise ValueError(f"{path}: column names must differ; came {', '.join(header)}")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, row {number}: {len(header)} cells expected ({', '.join(header)}), "
                f"came {len(row)}. Is delimiter={delimiter!r} right?"
            )
    return header, rows[1:]


def _numbers(
    path: Path, header: list[str], rows: list[list[str]], columns: Sequence[str]
) -> torch.Tensor:
    places = [header.index(name) for name in columns]
    numbers = np.empty((len(rows), len(places)), np.float32)
    for number, row in enumerate(rows):
        for column, place in enumerate(places):
            try:
                numbers[number, column] = float(row[place])
            except ValueError:
                raise ValueError(
                    f"{path}, row {number + 2}, column {header[place]!r}: a number was expected, "
                    f"came {row[place]!r}. Choose other columns=, or fill the cell"
                ) from None
    x = torch.from_numpy(numbers)
    _check_finite(x, str(path))
    return x
