"""Questions with checks of the mathematics, one file a notebook.

In a notebook: `start_here.collapse_beta(my_function)` shows a verdict and never stops the run;
`start_here.collapse_beta.solution()` shows one way to answer.
"""

import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Wrong(Exception):  # noqa: N818 - an answer is wrong, the program is not
    """Raised by a check: what is wrong with the answer, as a hint and not as the solution."""


class _Unanswered(Exception):  # noqa: N818
    pass


@dataclass(frozen=True)
class Verdict:
    """What a check found: status "right", "wrong" or "unanswered", and a sentence."""

    status: str
    message: str

    def _repr_markdown_(self) -> str:
        mark = {"right": "✓", "wrong": "✗", "unanswered": "○"}[self.status]
        return f"{mark} {self.message}"

    def __str__(self) -> str:
        return self._repr_markdown_()


@dataclass(frozen=True)
class Exercise:
    """A question, the check of its answer, and a solution to show afterwards.

    Call it with the student's function or functions. An answer that is still `...` (or returns
    None) gives "complete this first"; an answer that fails gives a hint.
    """

    title: str
    check: Callable[..., None]
    answers: tuple[Callable[..., Any], ...]

    def __call__(self, *functions: Callable[..., Any]) -> Verdict:
        """Check the given functions and return a `Verdict`; nothing is raised for wrong ones."""
        if len(functions) != len(self.answers) or not all(callable(f) for f in functions):
            names = ", ".join(a.__name__ for a in self.answers)
            return Verdict("wrong", f"**{self.title}**: hand over {names} itself, without calling")
        try:
            self.check(*(_asked(f) for f in functions))
        except _Unanswered as missing:
            return Verdict("unanswered", f"**{self.title}**: complete this first: `{missing}`")
        except Wrong as hint:
            return Verdict("wrong", f"**{self.title}**: {hint}")
        except Exception as error:
            return Verdict(
                "wrong", f"**{self.title}**: your code raised {type(error).__name__}: {error}"
            )
        return Verdict("right", f"**{self.title}**: right")

    def solution(self) -> Any:
        """The source of one right answer, as Markdown."""
        from IPython.display import Markdown

        code = "\n\n".join(textwrap.dedent(inspect.getsource(a)) for a in self.answers)
        return Markdown(f"```python\n{code}```")


def expect(condition: Any, hint: str) -> None:
    """Raise `Wrong` with this hint unless the condition holds."""
    if not condition:
        raise Wrong(hint)


def number(name: str, value: Any, infinite: bool = False) -> float:
    """The answer as a float; `Wrong` for several numbers and for one that is not finite.

    infinite: whether infinity is an answer, as for the condition number of a singular matrix.
    """
    value = value.detach().cpu() if hasattr(value, "detach") else value
    held = np.asarray(value, dtype=float)
    expect(held.size == 1, f"{name} must be one number, yours has shape {held.shape}")
    found = float(held.reshape(()))
    fine = not math.isnan(found) if infinite else math.isfinite(found)
    expect(fine, f"{name} must be {'a number' if infinite else 'finite'}, yours is {found}")
    return found


def array(name: str, value: Any, shape: tuple[int, ...], mind: str = "") -> Any:
    """The answer as an array of this shape; `Wrong` for another and for values not finite."""
    found = np.asarray(value, dtype=float)
    expect(found.shape == shape, f"{name} must have shape {shape}, yours is {found.shape}")
    expect(np.isfinite(found).all(), "; ".join(filter(None, (f"{name} must be finite", mind))))
    return found


def _asked(function: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*arguments: Any, **keywords: Any) -> Any:
        try:
            result = function(*arguments, **keywords)
        except NotImplementedError:
            result = None
        if result is None or result is ...:
            raise _Unanswered(getattr(function, "__name__", "your answer"))
        return result

    return ask
