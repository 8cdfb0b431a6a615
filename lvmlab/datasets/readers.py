"""Readers of file formats, each from a path to arrays or texts; they know no data set by name.

They raise whatever their library raises; `where.Found.read` turns that into advice.
"""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

_IDX_TYPES: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CIFAR_RECORD = 1 + 3 * 32 * 32


def npz(path: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """The named arrays of a NumPy archive, read without pickle."""
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        absent = [key for key in keys if key not in archive.files]
        if absent:
            raise ValueError(f"no array {', '.join(absent)}; it holds {', '.join(archive.files)}")
        return {key: archive[key] for key in keys}


def idx(path: Path) -> np.ndarray:
    """The array in a gzipped IDX file, the format of MNIST: two zero bytes, type, axes, sizes."""
    with gzip.open(path) as stream:
        content = stream.read()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError(f"not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], ">i4").tolist())
    dtype = _IDX_TYPES[content[2]]
    expected = int(np.prod(shape)) * dtype.itemsize
    if len(content) - start != expected:
        raise ValueError(f"{len(content) - start:,} bytes of data for {shape}: {expected:,} wanted")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).copy()


def cifar_binary(path: Path, members: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) and labels (N,) in named members of the binary CIFAR-10 archive."""
    wanted = _tar_members(path, members)
    for name, content in wanted.items():
        if not content or len(content) % _CIFAR_RECORD:
            raise ValueError(f"{name} has {len(content):,} bytes, no multiple of {_CIFAR_RECORD:,}")
    records = np.concatenate(
        [np.frombuffer(content, np.uint8).reshape(-1, _CIFAR_RECORD) for content in wanted.values()]
    )
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].copy()


def zip_names(path: Path, suffix: str) -> list[str]:
    """The sorted names of the members of a zip archive that end in a suffix."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(suffix)]
    return sorted(name for name in names if not name.startswith("__MACOSX"))


def zip_drawings(path: Path, members: Iterable[str]) -> np.ndarray:
    """Black-and-white drawings in a zip archive, (N, H, W) uint8, 1 for ink (black)."""
    from PIL import Image

    drawings = []
    with zipfile.ZipFile(path) as archive:
        for name in members:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                drawings.append(np.asarray(image.convert("1")) == 0)
    return np.stack(drawings).astype(np.uint8)


def json_lines(path: Path) -> tuple[list[str], list[int]]:
    """Texts and labels in a gzipped file with one JSON object {"text", "label"} a line."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    if not rows:
        raise ValueError("it holds no line")
    return [str(row["text"]) for row in rows], [int(row["label"]) for row in rows]


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, gzipped or not, without blanks at their ends."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as stream:
        return _stripped(stream)


def csv_rows(path: Path, columns: int) -> list[list[str]]:
    """The rows of a CSV file without a header, each with this number of columns."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    for number, row in enumerate(rows, 1):
        if len(row) != columns:
            raise ValueError(f"row {number} has {len(row)} columns, {columns} wanted")
    return rows


def tar_lines(path: Path, member: str) -> list[str]:
    """The lines of one UTF-8 member of a gzipped tar archive, without blanks at their ends."""
    content = _tar_members(path, [member])[member]
    return _stripped(io.StringIO(content.decode("utf-8")))


def _stripped(stream: Iterable[str]) -> list[str]:
    lines = [line.strip() for line in stream]
    if not lines:
        raise ValueError("it holds no line")
    return lines


def _tar_members(path: Path, members: Iterable[str]) -> dict[str, bytes]:
    """The contents of named members; reads on to the end, where gzip's own checksum is."""
    wanted = dict.fromkeys(members, b"")
    with gzip.open(path) as content:
        with tarfile.open(fileobj=content, mode="r|") as archive:
            for info in archive:
                name = info.name.rsplit("/", 1)[-1]
                stream = archive.extractfile(info) if name in wanted else None
                if stream is not None:
                    wanted[name] = stream.read()
        while content.read(1 << 20):
            pass
    absent = [name for name, content in wanted.items() if not content]
    if absent:
        raise ValueError(f"no member {', '.join(absent)}")
    return wanted
