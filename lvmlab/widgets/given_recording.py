"""A recording as the widgets' users may give it: itself, or a mapping with its fields."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar

R = TypeVar("R")


def as_recording(kind: type[R], name: str, given: R | Mapping[str, Any]) -> R:
    """Make a recording of one kind, a dataclass, of what was given under this name.

    Raises `ValueError` that says `name`, for another type and for fields that are missing or
    unknown.
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(
            f"{name}: expected a {kind.__name__}, or a mapping with its fields, got "
            f"{type(given).__name__}"
        )
    every: Any = fields(kind)  # type: ignore[arg-type]
    needed = [field.name for field in every if field.default is MISSING]
    spare = [field.name for field in every if field.name not in needed]
    if not set(needed) <= set(given) <= {*needed, *spare}:
        raise ValueError(
            f"{name}: expected {_listed(needed)}, perhaps {_listed(spare)}; "
            f"got {', '.join(map(str, given))}"
        )
    return kind(**given)


def _listed(names: list[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
