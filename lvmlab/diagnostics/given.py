"""The door of the report: two joints and a batch out of what the reader has, or a `ValueError`."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from lvmlab.diagnostics import arrays
from lvmlab.joint import Batch, Joint, parents_of
from lvmlab.train import evaluating, quietly

LOOK = 2  # rows that a first look at the conditionals takes
APART = 7_919_317  # from the seeds that readers draw their data with


def joints(p: Any, q: Any, data: Any, prior: Any = None) -> tuple[Joint, Joint, Batch]:
    """The decoding joint, the encoding joint and the batch, checked on the first rows.

    p and q are joints, or a decoder and an encoder: callables that return a distribution, then
    with `prior` (a callable or a distribution), a standard normal when None and uniform for
    categories. data: a batch by name, a data set with `values`, or one array or tensor, the rows
    of the only variable that q is given. Raises `ValueError` for anything that cannot be read,
    conditionals that return no distribution, NaN, and rows of unequal number.
    """
    q = q if isinstance(q, Joint) else _encoding(q)
    if isinstance(p, Joint) and any(factor is None for factor in p.factors.values()):
        raise ValueError(
            f"p must be the decoding joint, but {p} has data among its factors. Call "
            "report(p, q, data): p is p(z) p(x|z), q is q(x) q(z|x); are they exchanged?"
        )
    batch = _batch(data, p, q)
    device = _device(p, q)
    first = {name: value[:LOOK].to(device) for name, value in batch.items()}
    with looking(p, q), _naming_whole_numbers(batch):
        drawn = _look(q, first)
        if not isinstance(p, Joint):
            p = _decoding(p, prior, drawn, q)
        _check_names(p, q, batch)
        _look(p, drawn)
        p.score(q.draw(first).values)
    return p, q, {name: value.to(device) for name, value in batch.items()}


@contextmanager
def looking(p: Any, q: Any, seed: int = 0) -> Iterator[None]:
    """Eval mode, no gradients and a random state of its own, for joints and plain callables."""
    modules = {}
    for number, owner in enumerate(_owners(p, q)):
        modules[str(number)] = owner
    with evaluating(modules), torch.no_grad(), quietly(seed + APART):
        yield


@contextmanager
def _naming_whole_numbers(batch: Batch) -> Iterator[None]:
    """A model that fails on whole numbers may want floats: torch's own words do not say so."""
    try:
        yield
    except RuntimeError as error:
        whole = [n for n, v in batch.items() if not v.is_floating_point() and v.ndim > 1]
        if not whole:
            raise
        raise ValueError(
            f"data[{whole[0]!r}] are whole numbers, which are read as tokens, and the model cannot "
            f"take them ({error}). For pixels or counts give floats, as of data.astype('float32')."
        ) from error


def labels_of(labels: Any, batch: Batch) -> np.ndarray | None:
    """The labels (N,) given, else those in the batch, else None; `ValueError` for another length.

    Continuous columns called "label" are no labels and are left alone.
    """
    if labels is None:
        found = batch.get("label")
        if found is None or found.is_floating_point() or found.ndim != 1:
            return None
        return found.cpu().numpy()
    rows = len(next(iter(batch.values())))
    array = arrays.labels("labels", labels)
    if len(array) != rows:
        raise ValueError(
            f"labels must have one entry for each of the {rows} rows of data, but has "
            f"{len(array)}. Check that both come from the same split."
        )
    return array


def _owners(*given: Any) -> list[nn.Module]:
    """The modules behind joints and callables, bound methods such as `model.encode` included."""
    found: list[nn.Module] = []
    seen: set[int] = set()
    waiting = [(one, 0) for one in given]
    while waiting:
        part, depth = waiting.pop()
        if id(part) in seen or depth > 4:
            continue
        seen.add(id(part))
        if isinstance(part, nn.Module):
            found.append(part)
        waiting += [(inside, depth + 1) for inside in _behind(part)]
    return found


def _behind(part: Any) -> list[Any]:
    """What a joint, an adapter, a method or a function around a module gets its module from."""
    if isinstance(part, Joint):
        return list(part.factors.values())
    if isinstance(part, nn.Module):
        return [v for v in vars(part).values() if inspect.isroutine(v)]
    if not inspect.isroutine(part):
        return []
    inside = [getattr(part, "__self__", None), getattr(part, "__wrapped__", None)]
    for cell in getattr(part, "__closure__", None) or ():
        try:
            inside.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    code, scope = getattr(part, "__code__", None), getattr(part, "__globals__", {})
    return inside + [scope.get(name) for name in (code.co_names if code else ())]


def _device(*given: Any) -> torch.device:
    tensors = (t for m in _owners(*given) for group in (m.parameters(), m.buffers()) for t in group)
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def _encoding(q: Any) -> Joint:
    if not callable(q):
        raise ValueError(
            f"q must be a joint or an encoder that can be called with x, but is a "
            f'{type(q).__name__}. Try Joint("q", {{"x": None, "z|x": encoder}}).'
        )
    return Joint("q", {"x": None, "z|x": q})


def _decoding(p: Any, prior: Any, drawn: Batch, q: Joint) -> Joint:
    if not callable(p):
        raise ValueError(
            f"p must be a joint or a decoder that can be called with z, but is a "
            f'{type(p).__name__}. Try Joint("p", {{"z": prior, "x|z": decoder}}).'
        )
    latents = [v for v, f in zip(q.variables, q.factors.values(), strict=True) if f is not None]
    if latents != ["z"]:
        raise ValueError(
            f"p is a decoder alone, which is read as p(x|z), but {q} draws {latents}: write p as "
            "a joint with all of its factors"
        )
    if isinstance(prior, Distribution):
        chosen = prior
        prior = lambda: chosen  # noqa: E731
    return Joint("p", {"z": prior or _standard(q, drawn), "x|z": p})


def _standard(q: Joint, drawn: Batch) -> Callable[[], Distribution]:
    """A standard normal of the shape of z, or even proportions of its categories."""
    here = q.factors["z|x"](drawn["x"])  # type: ignore[misc]
    if isinstance(here, Categorical):
        logits = torch.zeros(here.logits.shape[-1], device=here.logits.device)
        return lambda: Categorical(logits=logits)
    zero = torch.zeros_like(drawn["z"][0])
    return lambda: Independent(Normal(zero, torch.ones_like(zero)), zero.ndim)


def _batch(data: Any, p: Any, q: Joint) -> Batch:
    """Tensors by name, rows first; floats, bytes and yes or no as the parameters' kind of float."""
    values = getattr(data, "values", None) if not isinstance(data, dict) else data
    if not isinstance(values, dict):
        given = [v for v, f in zip(q.variables, q.factors.values(), strict=True) if f is None]
        if not given and isinstance(p, Joint):  # q(x) is a density: what p and q share, undrawn
            given = [v for v in q.variables if v == "x"]
        if len(given) != 1:
            raise ValueError(
                f"data must be a batch by name for {q}, whose data are {given or 'not named'}, "
                f"but is a {type(data).__name__}. Try {{'x': data}}."
            )
        values = {given[0]: data}
    kind = next((v.dtype for m in _owners(p, q) for v in m.parameters()), None)
    kind = kind if kind is not None and kind.is_floating_point else torch.get_default_dtype()
    used = _used(p, q)
    batch = {n: _tensor(n, v, kind) for n, v in values.items() if n in used or n == "label"}
    if not batch or not set(batch) & used:
        raise ValueError(
            f"data must hold the variables {sorted(used)} of p and q, but holds {sorted(values)}"
        )
    lengths = {name: len(value) for name, value in batch.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"data must have one row for each example, but the lengths are {lengths}. "
            "Check that all come from one split."
        )
    return batch


def _used(p: Any, q: Joint) -> set[str]:
    texts = [*q.factors, *(p.factors if isinstance(p, Joint) else ("z", "x|z"))]
    return {v for text in texts for v in (text.partition("|")[0], *parents_of(text))}


def _tensor(name: str, value: Any, kind: torch.dtype) -> Tensor:
    if not isinstance(value, Tensor):
        value = torch.from_numpy(np.ascontiguousarray(arrays.numeric(f"data[{name!r}]", value)))
    value = value.detach()
    if value.ndim == 0 or len(value) == 0:
        raise ValueError(
            f"data[{name!r}] must have one row or more, but has shape {tuple(value.shape)}"
        )
    if not value.is_floating_point():
        pixels = value.dtype in (torch.uint8, torch.bool) and value.ndim > 1
        return value.to(kind) if pixels else value.long()
    if bad := int((~value.isfinite()).reshape(len(value), -1).any(1).sum()):
        raise ValueError(
            f"data[{name!r}] must be finite, but {bad} of {len(value)} rows hold NaN or infinite "
            "values. Drop or fill those rows first."
        )
    return value.to(kind)


def _check_names(p: Joint, q: Joint, batch: Batch) -> None:
    latents = [v for v in q.variables if v not in batch]
    unknown = [v for v in latents if v not in p.variables]
    unseen = [v for v in p.variables if v not in batch and v not in latents]
    if not latents or unknown or unseen:
        raise ValueError(
            f"p and q must share their latents, but {q} draws {latents} beside the data "
            f"{sorted(batch)}, and {p} defines {p.variables}. "
            + (f"q has no encoder for {unseen}. " if unseen else "")
            + 'Name the factors alike, such as "z|x" in q and "z" in p.'
        )


def _look(joint: Joint, values: Batch) -> Batch:
    """Call every conditional once, so that one that gives no distribution is named."""
    values = dict(values)
    for text, factor in joint.factors.items():
        parents = parents_of(text)
        if factor is None or any(v not in values for v in parents):
            continue  # draw says what is missing
        here = factor(*(values[v] for v in parents))
        if not (hasattr(here, "log_prob") and hasattr(here, "sample")):
            raise ValueError(
                f"{joint.name}({text}) must return a torch distribution, but returned "
                f"{_words(here)}. For a model that returns means and log-variances, or logits, "
                "try lvmlab.adapters.from_moments(encode, decode, scale=...)."
            )
        variable = text.partition("|")[0]
        if variable not in values:
            values[variable] = here.sample() if parents else here.sample((LOOK,))
    return values


def _words(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
