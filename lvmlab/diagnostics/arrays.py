"""The door of the diagnostics: array-like in, checked NumPy array out, or a `ValueError`.

Every function takes the name of the argument first, so that the message can say which one it was.
"""

from typing import Any

import numpy as np

ROUNDING = 1e-4  # how far probabilities may be from a sum of 1: float32 is, a mistake is not


def numeric(name: str, value: Any) -> np.ndarray:
    """An array of booleans, integers or float64 out of anything array-like, tensors included."""
    if hasattr(value, "detach"):  # a tensor: maybe with a gradient, on an accelerator, bfloat16
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must be one rectangular array of numbers, but its rows differ in shape. "
            "Pad them or cut them to one length."
        ) from error
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold real numbers, but has dtype {array.dtype}. "
            "Convert it first, for instance with `.astype(float)`."
        )
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def non_empty(name: str, array: np.ndarray) -> np.ndarray:
    """The array itself, unless there is nothing in it."""
    if array.size == 0:
        raise ValueError(
            f"{name} must hold at least one number, but has shape {array.shape}. "
            "Check the selection that made it."
        )
    return array


def shaped(name: str, array: np.ndarray, axes: tuple[str, ...]) -> np.ndarray:
    """The array itself, unless it has another number of axes than the named ones."""
    if array.ndim != len(axes):
        wanted = f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"
        raise ValueError(
            f"{name} must have shape {wanted}, but has shape {array.shape}. "
            "Reshape it, for instance with `.reshape(len(a), -1)`."
        )
    return array


def finite(name: str, value: Any) -> np.ndarray:
    """Float64 of any shape, not empty, without NaN and infinity."""
    array = non_empty(name, numeric(name, value)).astype(np.float64)
    if bad := int((~np.isfinite(array)).sum()):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(
            f"{name} must be finite, but {bad} of {array.size} entries are NaN or infinite, "
            f"the first at {where}. Find the step that made them, or leave those rows out."
        )
    return array


def samples(name: str, value: Any) -> np.ndarray:
    """Finite samples, one a row, (N, D); a vector (N,) becomes one column."""
    array = finite(name, value)
    return array[:, None] if array.ndim == 1 else shaped(name, array, ("N", "D"))


def labels(name: str, value: Any) -> np.ndarray:
    """One integer a row, (N,); booleans count as 0 and 1."""
    return shaped(name, integers(name, value), ("N",))


def integers(name: str, value: Any) -> np.ndarray:
    """Int64 of any shape, not empty; booleans count as 0 and 1, floats are refused."""
    array = non_empty(name, numeric(name, value))
    if array.dtype.kind == "f":
        raise ValueError(
            f"{name} must hold integers or booleans, but has dtype float. Use `.astype(int)` for "
            "labels, or a threshold such as `x > 0.5` for measurements."
        )
    return array.astype(np.int64)


def probabilities(name: str, value: Any, by_row: bool = False) -> np.ndarray:
    """Non-negative numbers with sum 1, in all, or in each row (N, K); rounding is divided out."""
    array = finite(name, value)
    if by_row:
        shaped(name, array, ("N", "K"))
    if array.min() < 0:
        where = tuple(int(i) for i in np.argwhere(array < 0)[0])
        raise ValueError(
            f"{name} must hold probabilities, but entry {where} is {array[where]:.4g} < 0. "
            "Pass probabilities, not their logarithms or logits."
        )
    total = array.sum(-1, keepdims=True) if by_row else array.sum(keepdims=True)
    if np.abs(total - 1).max() > ROUNDING:
        worst = total.ravel()[np.abs(total - 1).argmax()]
        what = f"the rows of {name}" if by_row else name
        raise ValueError(
            f"{what} must sum to 1, but came with a sum of {worst:.6g}. "
            "Divide by the sum, or take the softmax in float32 or float64."
        )
    return array / total


def same_length(**named: np.ndarray) -> None:
    """Nothing, unless the arrays differ in their number of rows."""
    lengths = {name: len(array) for name, array in named.items()}
    if len(set(lengths.values())) > 1:
        came = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(
            f"{' and '.join(lengths)} must have one row for each example, but {came}. "
            "Check that they come from the same split."
        )


def whole_number(name: str, value: Any, low: int, high: int | None = None, why: str = "") -> int:
    """An integer between low and high, both included; `why` says where the limit comes from."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"between {low} and {high}"
        too_high = whole and value >= low
        raise ValueError(
            f"{name} must be a whole number {limits}{why and ' ' + why}, but is {value!r}. "
            f"{'Take a smaller one, or more rows.' if too_high else f'Try {low} or more.'}"
        )
    return int(value)
