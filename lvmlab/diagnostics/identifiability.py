"""Have two encoders found the same latents? Mean correlation over a matching, beside its floor."""

from typing import Any, NamedTuple

import numpy as np

from lvmlab.diagnostics import arrays

CORRELATIONS = ("pearson", "spearman", "rdc")
ALIGNMENTS = ("none", "matching", "cca")
RDC_FEATURES = 20  # sines a column, and the spread of their frequencies, as ICE-BeeM takes them
RDC_SPREAD = 0.5

Pair = tuple[np.ndarray, np.ndarray]


class MCC(NamedTuple):
    """Mean correlation coefficient of two representations, 0 ... 1, and what chance would score."""

    mcc: float
    floor: float  # mean score when the rows of b are shuffled, by the very same procedure
    floor_scale: float  # standard deviation of that score over the shuffles
    correlations: np.ndarray  # (D, E), or (components, components), signed except for RDC
    matching: np.ndarray  # (P, 2), the columns of `correlations` that were paired
    setting: str  # correlation, alignment and rows, in words

    def __repr__(self) -> str:
        chance = f"floor {self.floor:.3f} ± {self.floor_scale:.3f}"
        return f"MCC {self.mcc:.3f} ({chance}; {self.setting})"


def mcc(
    a: Any,
    b: Any,
    correlation: str = "pearson",
    align: str | None = None,
    components: int | None = None,
    held_out: tuple[Any, Any] | None = None,
    shuffles: int = 20,
    seed: int = 0,
) -> MCC:
    """Mean |correlation| over the columns of a (N, D) paired one to one with those of b (N, E).

    `correlation` is "pearson", "spearman" (monotone bends are forgiven) or "rdc" (any bend is).
    `align` says what else is forgiven: "none" pairs column i with column i; "matching" (default)
    takes the best one-to-one pairing, so order, signs, scales and shifts do not count; "cca"
    (default when `components` is given) first turns each side to its leading canonical variates,
    `components` of them or as many as there are, so no invertible affine map counts.

    With `held_out`, another pair (M, D), (M, E), canonical maps and pairing are chosen on a, b and
    scored on it alone. Without, the score is in sample, and after CCA it flatters: it is 1 as soon
    as D reaches N - 1. `floor` repeats everything `shuffles` times with the rows of b shuffled.

    Give posterior means, on rows that were not trained on. Raises `ValueError` for unequal numbers
    of rows, fewer rows than columns, constant columns, more components than dimensions, unequal
    numbers of columns under "none", and NaN.

    Source: Khemakhem et al. (2020), section 5; Hungarian matching on absolute values.
    """
    align = align or ("matching" if components is None else "cca")
    _known("correlation", correlation, CORRELATIONS)
    _known("align", align, ALIGNMENTS)
    if components is not None and align != "cca":
        raise ValueError(
            f"components is a number of canonical variates, but align is {align!r}. "
            "Leave components out, or take align='cca'."
        )
    shuffles = arrays.whole_number("shuffles", shuffles, 2)
    fit = _checked("a", a, "b", b)
    test = None if held_out is None else _checked_like(fit, held_out)
    if align == "none" and fit[0].shape[1] != fit[1].shape[1]:
        raise ValueError(
            f"a has {fit[0].shape[1]} columns and b has {fit[1].shape[1]}, so there is no column i "
            "for each column i. Take align='matching'."
        )
    bench = _Bench(fit, test, correlation, align, components)
    found, matching = bench.score()
    rng = np.random.default_rng(seed)
    chance = np.array([_mean(*bench.score(rng)) for _ in range(shuffles)])
    setting = f"{correlation}, {bench.alignment}, {bench.rows}"
    return MCC(
        _mean(found, matching), float(chance.mean()), float(chance.std(ddof=1)), found, matching,
        setting,
    )  # fmt: skip


def rdc(x: Any, y: Any) -> float:
    """Randomised dependence coefficient of two variables (N,), 0 ... 1: any dependence counts.

    The largest canonical correlation between random sines of the ranks of x and of y. Both sides
    share one fixed draw of frequencies, so a rising map of x or y changes nothing. It is 1 for y =
    x^2, where `pearson` is near 0: never take the larger of the two. Independent variables score
    about 0.09 at N = 2,000. Raises `ValueError` for constants, NaN and unequal lengths.

    Source: Lopez-Paz, Hennig and Schölkopf (2013).
    """
    pair = _checked("x", x, "y", y)
    for name, side in zip("xy", pair, strict=True):
        if side.shape[1] != 1:
            raise ValueError(f"{name} must have shape (N,), but has shape {side.shape}. Use mcc.")
    features = [_features("rdc", side) for side in pair]
    return float(_correlate(*features)[0, 0])


class _Bench:
    """Both sides prepared once; the score may then be asked with the rows of b in other orders."""

    def __init__(
        self, fit: Pair, test: Pair | None, correlation: str, align: str, components: int | None
    ) -> None:
        self.correlation, self.align = correlation, align
        self.held_out = test is not None
        self.alignment = align
        if align == "cca":
            maps = [_whitening(side) for side in fit]
            self.components = _components(components, maps)
            self.alignment = f"{self.components} CCA components"
            prepare = [_applied(*m) for m in maps]
        else:
            prepare = [lambda side: _features(correlation, side)] * 2
        self.fit = tuple(f(side) for f, side in zip(prepare, fit, strict=True))
        self.test = tuple(f(side) for f, side in zip(prepare, test or (), strict=False))
        rows = len(fit[0])
        self.rows = f"{len(test[0])} held-out rows" if test else f"{rows} rows, in sample"

    def score(self, rng: np.random.Generator | None = None) -> Pair:
        """Correlations (D, E) of the scored rows, and the pairs chosen on the fitted ones."""
        fit, test = _shuffled(self.fit, rng), _shuffled(self.test, rng)
        if self.align == "cca":
            u, _, v = np.linalg.svd(fit[0].T @ fit[1], full_matrices=False)
            turns = u[:, : self.components], v[: self.components].T
            fit, test = self._turned(fit, turns), self._turned(test, turns)
        chosen = _correlate(*fit)
        matching = np.stack([np.arange(len(chosen))] * 2, 1)
        if self.align != "none":
            matching = _best_matching(chosen)
        return (_correlate(*test) if self.held_out else chosen), matching

    def _turned(self, sides: tuple, turns: Pair) -> tuple:
        pairs = zip(sides, turns, strict=False)
        return tuple(_features(self.correlation, side @ turn) for side, turn in pairs)


def _shuffled(sides: tuple, rng: np.random.Generator | None) -> tuple:
    if rng is None or not sides:
        return sides
    return sides[0], sides[1][rng.permutation(len(sides[1]))]


def _mean(correlations: np.ndarray, matching: np.ndarray) -> float:
    return float(np.abs(correlations[matching[:, 0], matching[:, 1]]).mean())


def _best_matching(correlations: np.ndarray) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    return np.stack(linear_sum_assignment(np.abs(correlations), maximize=True), 1)


def _features(correlation: str, side: np.ndarray) -> np.ndarray:
    """Orthonormal features (N, D, F) of each column: the column itself, its ranks, or sines."""
    if correlation == "pearson":
        return _unit(side)[:, :, None]
    from scipy.stats import rankdata

    ranks = rankdata(side, axis=0)
    if correlation == "spearman":
        return _unit(ranks)[:, :, None]
    return np.stack([_sines(column / len(ranks)) for column in ranks.T], 1)


def _unit(side: np.ndarray) -> np.ndarray:
    """Centred columns of length 1."""
    centred = side - side.mean(0)
    return centred / np.linalg.norm(centred, axis=0)


def _sines(ranks: np.ndarray) -> np.ndarray:
    """An orthonormal basis (N, F) of random sines of ranks in (0, 1]; columns it lacks are 0."""
    frequency, phase = RDC_SPREAD * np.random.default_rng(0).standard_normal((2, RDC_FEATURES))
    waves = np.sin(ranks[:, None] * frequency + phase)
    u, s, _ = np.linalg.svd(waves - waves.mean(0), full_matrices=False)
    kept = u * (s > 1e-9 * s[0])  # the sines are nearly dependent: about six directions are left
    return np.pad(kept, ((0, 0), (0, RDC_FEATURES - kept.shape[1])))


def _correlate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlations (D, E) of features (N, D, F) and (N, E, F), signed where F is 1."""
    (rows, d, f), e = a.shape, b.shape[1]
    products = a.reshape(rows, d * f).T @ b.reshape(rows, e * f)
    if f > 1:
        blocks = products.reshape(d, f, e, f).transpose(0, 2, 1, 3)
        products = np.linalg.norm(blocks, ord=2, axis=(2, 3))
    return products.clip(-1, 1)  # rounding passes 1 by some 1e-15


def _whitening(side: np.ndarray) -> Pair:
    """Mean (D,) and map (D, R) to orthonormal columns, R the rank of the centred side."""
    mean, scale = side.mean(0), side.std(0)
    _, s, v = np.linalg.svd(np.linalg.qr((side - mean) / scale, mode="r"))
    kept = s > s[0] * max(side.shape) * np.finfo(float).eps
    return mean, (v[kept].T / s[kept]) / scale[:, None]


def _applied(mean: np.ndarray, to: np.ndarray) -> Any:
    return lambda side: (side - mean) @ to


def _components(wanted: int | None, maps: list[Pair]) -> int:
    most = min(to.shape[1] for _, to in maps)
    if wanted is None:
        return most
    dims = " and ".join(f"{to.shape[1]} of {to.shape[0]}" for _, to in maps)
    return arrays.whole_number(
        "components", wanted, 1, most, f"for a and b with {dims} independent dimensions"
    )


def _known(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)}, but is {value!r}. Try {known[0]!r}."
        )


def _checked(name_a: str, a: Any, name_b: str, b: Any) -> Pair:
    pair = {name_a: arrays.samples(name_a, a), name_b: arrays.samples(name_b, b)}
    arrays.same_length(**pair)
    for name, side in pair.items():
        rows, columns = side.shape
        if rows < columns:
            raise ValueError(
                f"{name} must have at least as many rows as columns, but has {rows} rows and "
                f"{columns} columns: any two such clouds correlate perfectly after CCA. "
                "Encode more examples, or transpose it if its rows are dimensions."
            )
        _moving(name, side)
    return pair[name_a], pair[name_b]


def _checked_like(fit: Pair, held_out: Any) -> Pair:
    if not isinstance(held_out, tuple | list) or len(held_out) != 2:
        raise ValueError(
            "held_out must be a pair of arrays, other rows of a and of b, but is a "
            f"{type(held_out).__name__}. Try held_out=(a_test, b_test)."
        )
    names = "held_out[0]", "held_out[1]"
    pair = arrays.samples(names[0], held_out[0]), arrays.samples(names[1], held_out[1])
    arrays.same_length(**dict(zip(names, pair, strict=True)))
    for name, side, like in zip(names, pair, fit, strict=True):
        if side.shape[1] != like.shape[1]:
            raise ValueError(
                f"{name} must have the {like.shape[1]} columns of its fitted side, but has "
                f"{side.shape[1]}. Encode both with one model."
            )
        _moving(name, side)
    return pair


def _moving(name: str, side: np.ndarray) -> None:
    still = np.flatnonzero(np.ptp(side, 0) <= 1e-12 * np.abs(side).max(0))
    if len(still):
        raise ValueError(
            f"{name} must vary in every column, but {len(still)} of {side.shape[1]} are constant, "
            f"the first column {still[0]}: a latent that is off correlates with nothing. "
            "Leave it out of the array, and say how many you left out."
        )
