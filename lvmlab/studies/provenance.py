"""Where a number comes from: the command, the machine's class, versions and the commit."""

import os
import platform
import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_COMMAND = re.compile(r"lvmlab run (\S+) --preset (smoke|lesson|paper) --seeds ([1-9]\d*)")


class Provenance(TypedDict):
    """What a row carries beside its number."""

    command: str
    """What measures it again."""
    hardware: str
    """A class of machine, such as "2 CPU cores (x86_64), 1 thread": minutes depend on it."""
    versions: str
    commit: str
    """Of the checkout, with "-dirty" when files were changed since; "installed" without one."""


def command(study: str, preset: str, seeds: int) -> str:
    """The line that measures these rows again."""
    return f"lvmlab run {study} --preset {preset} --seeds {seeds}"


def check_command(text: str) -> tuple[str, str, int]:
    """The study, preset and seeds of a reproducing command.

    Raises `ValueError` for anything else: a row without a command that gives it is not admitted.
    """
    if found := _COMMAND.fullmatch(text):
        return found[1], found[2], int(found[3])
    raise ValueError(
        f"command must be 'lvmlab run STUDY --preset PRESET --seeds N', got {text!r}: a number "
        "that no command gives again is not admitted to the ledger"
    )


def here(study: str, preset: str, seeds: int) -> Provenance:
    """The provenance of what is measured in this process."""
    return Provenance(
        command=command(study, preset, seeds),
        hardware=hardware(),
        versions=versions(),
        commit=commit(),
    )


def hardware() -> str:
    """The class of this machine: cores, threads in use, accelerators."""
    import torch

    threads = torch.get_num_threads()
    words = f"{os.cpu_count()} CPU cores ({platform.machine()}), {threads} thread"
    words += "s" if threads > 1 else ""
    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


@cache
def versions() -> str:
    """Of lvmlab, Python and the libraries that compute, such as "torch 2.13.0, ..."."""
    found = [f"Python {platform.python_version()}"]
    for package in ("lvmlab", "torch", "numpy", "scipy", "scikit-learn"):
        try:
            found.append(f"{package} {version(package).partition('+')[0]}")
        except PackageNotFoundError:  # a source tree that is not installed
            found.append(f"{package} not installed")
    return ", ".join(found)


@cache
def commit() -> str:
    """The checkout's commit, twelve digits; "installed" when the package is not in one."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return "installed"
    words = ["git", "--no-optional-locks", "-C", str(root), "describe", "--always", "--dirty"]
    words += ["--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()
