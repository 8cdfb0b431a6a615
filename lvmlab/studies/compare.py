"""What the papers print or say, beside what was measured."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from lvmlab.studies.ledger import Record, Row, recorded, summarise


class Claim(NamedTuple):
    """One statement of a paper about one metric: a number, or a relation to another objective.

    Curves without printed numbers are relations: "MIM lies above VAE in Figure 5.2".
    """

    source: str
    """Where it stands, such as "Figure 5.2"."""
    objective: str
    metric: str
    relation: str
    """One of "above", "below" (another objective) and "is" (a number)."""
    to: str | float
    """The other objective, or the number."""
    systems: tuple[str, ...] | None = None
    """The systems it is about; None for all."""
    datasets: tuple[str, ...] | None = None

    def covers(self, row: Row) -> bool:
        """Whether this claim is about that row."""
        return (
            row["objective"] == self.objective
            and row["metric"] == self.metric
            and (self.systems is None or row["system"] in self.systems)
            and (self.datasets is None or row["dataset"] in self.datasets)
        )


class Verdict(NamedTuple):
    """A claim, and in how many of the seeds it holds."""

    claim: Claim
    holds: int | None
    """Seeds for which a relation holds; None for a number."""
    equal: int
    """Seeds for which both sides are equal: neither for the claim nor against it."""
    pairs: int
    """Seeds that both sides of a relation have."""

    def __str__(self) -> str:
        claim, to = self.claim, self.claim.to
        if self.holds is None:
            return f"{to:g} ({claim.source})"
        fared = f"{self.holds} of {self.pairs}" if self.pairs else f"no {to} measured"
        ties = f", {self.equal} equal" if self.equal else ""
        return f"{claim.relation} {to} ({claim.source}): {fared}{ties}"

    def as_dict(self) -> dict[str, Any]:
        """What the paper says, where, and how it fared, ready for JSON."""
        claim = self.claim
        says = claim.to if self.holds is None else f"{claim.relation} {claim.to}"
        counts = {"holds": self.holds, "equal": self.equal, "pairs": self.pairs}
        return {"says": says, "source": claim.source} | counts


class Compared(NamedTuple):
    """A row, and what the paper says about it."""

    row: Row
    verdicts: tuple[Verdict, ...]

    def __str__(self) -> str:
        return "; ".join(str(verdict) for verdict in self.verdicts)

    def as_dict(self) -> dict[str, Any]:
        """The row with `paper`, a list of what it says, where, and in how many seeds it holds."""
        return {**self.row, "paper": [verdict.as_dict() for verdict in self.verdicts]}


def compared(records: Iterable[Record], claims: Iterable[Claim]) -> list[Compared]:
    """The rows of some records of one study, each with the claims about it."""
    records, claims = list(records), list(claims)
    return [
        Compared(row, tuple(_judged(records, row, c) for c in claims if c.covers(row)))
        for row in summarise(records)
    ]


def everything() -> list[Compared]:
    """All that is on record, each row beside the claims of its study.

    Records of a study that is no longer known are shown without claims.
    """
    from lvmlab import studies

    groups: dict[tuple[str, str], list[Record]] = {}
    for record in recorded():
        groups.setdefault((record["study"], record["preset"]), []).append(record)
    known = set(studies.names())
    return [
        one
        for (study, _), records in groups.items()
        for one in compared(records, studies.claims(study) if study in known else ())
    ]


def _judged(records: list[Record], row: Row, claim: Claim) -> Verdict:
    if claim.relation == "is":
        return Verdict(claim, None, 0, 0)
    mine, other = (_by_seed(records, row, o) for o in (claim.objective, str(claim.to)))
    gaps = [mine[seed] - other[seed] for seed in mine if seed in other]
    sign = 1 if claim.relation == "above" else -1
    return Verdict(claim, sum(sign * gap > 0 for gap in gaps), gaps.count(0.0), len(gaps))


def _by_seed(records: list[Record], row: Row, objective: str) -> dict[int, float]:
    return {
        r["seed"]: r["values"][row["metric"]]
        for r in records
        if (r["objective"], r["system"], r["dataset"], r["preset"])
        == (objective, row["system"], row["dataset"], row["preset"])
        and row["metric"] in r["values"]
    }
