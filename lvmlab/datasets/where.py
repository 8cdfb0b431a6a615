"""Finds the files of a data set: $LVMLAB_DATA first, then the data folder, then a download.

The data folder is `data/` of a checkout; for an installed package it is the user's cache folder
(`pooch.os_cache("lvmlab")`). Each set has a folder of its own name in either place.
LVMLAB_OFFLINE=1 forbids downloads.
"""

import csv
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    zlib.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    csv.Error,
)


@dataclass(frozen=True)
class File:
    """A file of a data set: its name, the splits that need it, size in bytes, address, checksum.

    `checksum` is "sha256:..." or "md5:..."; `bytes` is None where no size is published; prepared
    copies have no address.
    """

    name: str
    splits: tuple[str, ...]
    bytes: int | None
    url: str
    checksum: str


@dataclass(frozen=True)
class Source:
    """A named data set: what it is, what it may be used for, and the files it is read from.

    `originals` can be downloaded; `prepared` are smaller or quicker copies in the layout of
    data/README.md. Both are empty for a set that comes with an installed package.
    """

    name: str
    title: str
    items: str
    licence: str
    address: str
    originals: tuple[File, ...] = ()
    prepared: tuple[File, ...] = ()
    note: str = ""
    shares: str = ""
    """The set in whose folder the files lie, where that is not its own."""

    @property
    def folder(self) -> str:
        """The name of the folder with the files."""
        return self.shares or self.name

    def files(self, form: str, split: str) -> tuple[File, ...]:
        """The files of one form ("prepared" or "originals") that a split needs; () for none."""
        rows: tuple[File, ...] = getattr(self, form)
        return tuple(row for row in rows if split in row.splits)


@dataclass(frozen=True)
class Found:
    """The files of one split, all there, in one form and one folder."""

    source: Source
    form: str
    folder: Path
    files: tuple[File, ...]

    def read(self, name: str, reader: Callable[..., T], *args: Any) -> T:
        """What `reader(path, ...)` gives; any failure becomes a ValueError that names the file."""
        path = self.folder / name
        size = next(file.bytes for file in self.files if file.name == name)
        if self.form == "originals" and size is not None and path.stat().st_size != size:
            raise ValueError(self._advice(path, "it is incomplete or another version", size))
        try:
            return reader(path, *args)
        except UNREADABLE as error:
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(self._advice(path, reason, size)) from error

    def _advice(self, path: Path, reason: str, size: int | None) -> str:
        here = f"{path.stat().st_size:,} bytes are there" if path.is_file() else "it is not there"
        expected = f", {size:,} expected" if size is not None else ""
        return (
            f"{path} cannot be read as part of {self.source.name!r} ({reason}; {here}{expected}). "
            f"It is probably truncated or corrupt: delete it, then load {self.source.name!r} again "
            f"to download it, or copy it again from where it came"
        )


def data_folder() -> Path:
    """The folder that downloads go to: `data/` of a checkout, else the user's cache folder."""
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file() and (root / "data" / "README.md").is_file():
        return root / "data"
    import pooch

    return Path(pooch.os_cache("lvmlab"))


def folders() -> list[Path]:
    """The folders that are looked through, in this order.

    Raises ValueError when $LVMLAB_DATA names something that is not a folder.
    """
    named = os.environ.get("LVMLAB_DATA")
    if not named:
        return [data_folder()]
    if not Path(named).expanduser().is_dir():
        raise ValueError(
            f"the environment variable LVMLAB_DATA must name a folder with data sets; came "
            f"{named!r}, which is not a folder. Correct it or unset it"
        )
    return [Path(named).expanduser(), data_folder()]


def find(source: Source, split: str) -> Found | None:
    """The files of a split if they are on this machine, prepared copies first; None if not."""
    for folder in folders():
        for form in ("prepared", "originals"):
            files = source.files(form, split)
            if files and all((folder / source.folder / file.name).is_file() for file in files):
                return Found(source, form, folder / source.folder, files)
    return None


def locate(source: Source, split: str, download: bool = True) -> Found:
    """The files of a split, downloaded first if they are missing and a download is allowed.

    Raises ValueError when they are missing and must not be downloaded, or a download fails.
    """
    found = find(source, split)
    if found is None:
        if not download or offline():
            raise ValueError(_missing(source, split, "download=False" if not download else ""))
        fetch(source, split)
        found = Found(
            source, "originals", data_folder() / source.folder, source.files("originals", split)
        )
    return found


def offline() -> bool:
    """Whether LVMLAB_OFFLINE forbids downloads."""
    return os.environ.get("LVMLAB_OFFLINE", "").lower() not in ("", "0", "false", "no")


def fetch(source: Source, split: str) -> None:
    """Downloads the missing files of a split and says what, from where, how big.

    Each file is written under a temporary name, compared with its published checksum and then
    renamed, so a failure leaves nothing behind. Raises ValueError.
    """
    import pooch

    folder = data_folder() / source.folder
    there = folder.is_dir()
    files = [f for f in source.files("originals", split) if not (folder / f.name).is_file()]
    print(_announcement(source, files, folder), file=sys.stderr, flush=True)
    for file in files:
        try:
            downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, timeout=60)
            pooch.retrieve(file.url, file.checksum, file.name, folder, downloader=downloader)
        except (
            OSError,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a bad sum ValueError
            if not there and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
            raise ValueError(
                f"{file.name} of {source.name!r} could not be downloaded from {file.url} "
                f"({type(error).__name__}: {error}). Nothing was kept. Try again later, or put the "
                f"file with {file.checksum} into {folder} by hand"
            ) from error


def _announcement(source: Source, files: list[File], folder: Path) -> str:
    return (
        f"Downloading {source.title} ({megabytes(files)}) from "
        f"{', '.join(sorted({file.url.rsplit('/', 1)[0] for file in files}))} to {folder}. "
        f"Licence: {source.licence}. About the data: {source.address}"
    )


def megabytes(files: list[File] | tuple[File, ...]) -> str:
    """The published size of some files, for people to read."""
    if any(file.bytes is None for file in files):
        return "size not published"
    return f"{sum(file.bytes or 0 for file in files) / 1e6:.1f} MB"


def _missing(source: Source, split: str, reason: str) -> str:
    wanted = [
        " + ".join(file.name for file in source.files(form, split))
        for form in ("prepared", "originals")
        if source.files(form, split)
    ]
    files = source.files("originals", split)
    return (
        f"data set {source.name!r}, split {split!r}, is not on this machine, and downloads are "
        f"switched off ({reason or 'LVMLAB_OFFLINE is set'}). Looked for {' or '.join(wanted)} in "
        f"{' and '.join(str(folder / source.folder) for folder in folders())}. Either allow the "
        f"download ({megabytes(files)} from {files[0].url.rsplit('/', 1)[0]}), or set LVMLAB_DATA "
        f"to a folder that holds it"
    )
