"""What happened in a run, one number a step for every term."""

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class History:
    """What happened in a run: one number a step for every term, in the term's own unit.

    `history["rate"]` is the list of batch means of that term; "loss" is the loss. `validation`
    holds (step, value) pairs, `seconds` the time spent training in all sessions together.
    """

    terms: dict[str, list[float]] = field(default_factory=dict)
    validation: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    outcome: str = "not started"

    def __getitem__(self, term: str) -> list[float]:
        if term not in self.terms:
            raise ValueError(f"no term {term!r} in this history, it has {sorted(self.terms)}")
        return self.terms[term]

    def __len__(self) -> int:
        return len(self.terms.get("loss", ()))

    def last(self, term: str, steps: int = 100) -> float:
        """The mean of a term over the last `steps` steps."""
        window = self[term][-steps:]
        return sum(window) / len(window)

    def append(self, rows: list[dict[str, Tensor]]) -> None:
        """Convert waiting batch means with one transfer a term; a missing term counts as NaN."""
        steps, nan = len(self), torch.full((), torch.nan, device=rows[0]["loss"].device)
        for name in {name: None for row in rows for name in row} | self.terms:
            column = torch.stack([row.get(name, nan).to(nan.dtype) for row in rows])
            self.terms.setdefault(name, [torch.nan] * steps).extend(column.tolist())
