"""What the papers print or say, beside what was measured."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lvmlab.studies import export, papers
from lvmlab.studies.ledger import Record, Row, recorded, summarise

STATES = ("holds", "one seed", "not shown", "fails", "not tried")
"""What became of a claim: in every one of two seeds or more, in the only one, in some, in none.

A printed number holds, fails, or is not shown where our seeds spread too far to tell.
"""

PAPER_SIZE = {"collike-news": "collike-text", "collike-recipe": "collike-text"}
"""Studies that are never the paper's size, and the one whose size at `paper` is."""


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
    paper: str = ""
    """The `id` of its row in papers.csv, where there is one."""

    def covers(self, row: Row) -> bool:
        """Whether this claim is about that row."""
        return (
            row["objective"] == self.objective
            and row["metric"] == self.metric
            and (self.systems is None or row["system"] in self.systems)
            and (self.datasets is None or row["dataset"] in self.datasets)
        )


def quoted(id: str, objective: str, metric: str, **covers: Any) -> Claim:
    """The claim that one of our metrics is the printed number with this `id` of papers.csv.

    covers: `systems` and `datasets` of a `Claim`. Raises `ValueError` for an unknown id.
    """
    row = papers.find(id)
    return Claim(row.source, objective, metric, "is", row.value, paper=id, **covers)


class Verdict(NamedTuple):
    """A claim, and in how many of the seeds it holds."""

    claim: Claim
    holds: int | None
    """Seeds for which a relation holds; None for a number."""
    equal: int
    """Seeds for which both sides are equal: neither for the claim nor against it."""
    pairs: int
    """Seeds that both sides of a relation have, or seeds of a number."""
    apart: float | None = None
    """Ours minus the printed number; None for a relation."""
    margin: float = 0.0
    """How far apart they may be by chance: see `margin_of`."""
    blur: float = 0.0
    """The part of the margin that is ours: half a 95 % interval of our mean."""

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if not self.pairs:
            return "not tried"
        if self.apart is not None:
            if abs(self.apart) > self.margin:
                return "fails"
            if self.vague:
                return "not shown"
            return "holds" if self.pairs > 1 else "one seed"
        if self.holds == self.pairs:
            return "holds" if self.pairs > 1 else "one seed"
        return "not shown" if self.holds or self.equal == self.pairs else "fails"

    @property
    def vague(self) -> bool:
        """Whether our seeds spread so far (a fifth of the number) that agreeing shows nothing."""
        known = self.margin - self.blur
        return self.apart is not None and self.blur > known + 0.2 * abs(float(self.claim.to))

    def __str__(self) -> str:
        claim, to = self.claim, self.claim.to
        if self.apart is not None:
            far = f"ours is {self.apart:+.3g}"
            if abs(self.apart) <= self.margin:
                far = "agrees" if not self.vague else f"{far}, our seeds spread too far to tell"
            return f"{to:g} ({claim.source}): {far}"
        fared = f"{self.holds} of {self.pairs}" if self.pairs else f"no {to} measured"
        ties = f", {self.equal} equal" if self.equal else ""
        return f"{claim.relation} {to} ({claim.source}): {fared}{ties}"

    def as_dict(self) -> dict[str, Any]:
        """What the paper says, where, and how it fared, ready for JSON."""
        claim = self.claim
        says = claim.to if self.apart is not None else f"{claim.relation} {claim.to}"
        counts = {"holds": self.holds, "equal": self.equal, "pairs": self.pairs}
        numbers = {} if self.apart is None else {"apart": self.apart, "margin": self.margin}
        said = {"says": says, "source": claim.source, "state": self.state, "id": claim.paper}
        return said | counts | numbers


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


def everything(shipped: bool = True) -> list[Compared]:
    """All studies on record, each row beside what its paper says about it.

    shipped: with the rows that come with the package, where this machine has no records of that
    study and preset. Records of a study that is no longer known are shown without claims.
    """
    from lvmlab import studies

    known = set(studies.names())
    return [
        one
        for (study, _), records in _grouped(shipped).items()
        for one in compared(records, studies.claims(study) if study in known else ())
    ]


class Fared(NamedTuple):
    """A claim of a study, what became of it, and the rows that speak about it."""

    study: str
    claim: Claim
    preset: str
    """The preset it was judged at; "" when it was not tried."""
    verdicts: tuple[Verdict, ...]
    """One for each system and data set it covers."""
    differs: str
    """What differs from the paper's size, in words."""

    @property
    def state(self) -> str:
        """The worst of its verdicts, so that a claim holds only where it holds everywhere."""
        states = [verdict.state for verdict in self.verdicts]
        worst = ("fails", "not shown", "one seed", "holds")
        return next((state for state in worst if state in states), "not tried")

    def as_dict(self) -> dict[str, Any]:
        """The claim and its counts, ready for JSON."""
        verdicts = [verdict.as_dict() for verdict in self.verdicts]
        return {
            "study": self.study,
            "objective": self.claim.objective,
            "metric": self.claim.metric,
            "says": f"{self.claim.relation} {self.claim.to}",
            "source": self.claim.source,
            "id": self.claim.paper,
            "preset": self.preset,
            "state": self.state,
            "differs": self.differs,
            "verdicts": verdicts,
        }


def claims(shipped: bool = True) -> list[Fared]:
    """Every claim of every study, judged at the largest preset on record, or not tried."""
    from lvmlab import studies

    groups, found = _grouped(shipped), []
    for study in studies.names():
        tried = [preset for name, preset in groups if name == study]
        preset = max(tried, key=("smoke", "lesson", "paper").index, default="")
        records = groups.get((study, preset), [])
        rows = compared(records, studies.claims(study))
        seeds = max((row.row["seeds"] for row in rows), default=0)
        table = studies.sizes(study)
        table = table | {"paper": studies.sizes(PAPER_SIZE.get(study, study))["paper"]}
        words = differs(table, preset, seeds) if preset else ""
        for claim in studies.claims(study):
            verdicts = tuple(v for row in rows for v in row.verdicts if v.claim is claim)
            found.append(Fared(study, claim, preset if verdicts else "", verdicts, words))
    return found


def differs(table: dict[str, dict[str, Any]], preset: str, seeds: int) -> str:
    """What a preset has smaller than the paper's size, in words: "epochs 30 (paper 200)"."""
    mine, paper = _flat(table[preset] | {"seeds": seeds}), _flat(table["paper"])
    words = [
        f"{name} {_short(value)} (paper {_short(paper[name])})"
        for name, value in mine.items()
        if name != "minutes" and value != paper.get(name, value)
    ]
    return ", ".join(words) or "the paper's size"


def coverage(shipped: bool = True) -> dict[str, dict[str, int]]:
    """For each paper: its printed numbers, how many a claim names, how many of those were tried.

    A number that several studies name agrees when it does in every one that was tried.
    """
    states: dict[str, list[str]] = {}
    for one in claims(shipped):
        if one.claim.paper:
            states.setdefault(one.claim.paper, []).append(one.state)
    table = {
        name: {"printed": 0, "claimed": 0, "measured": 0, "agrees": 0} for name in papers.NAMES
    }
    for row in papers.printed():
        counts, named = table[row.paper], states.get(row.id, [])
        tried = [state for state in named if state != "not tried"]
        counts["printed"] += 1
        counts["claimed"] += bool(named)
        counts["measured"] += bool(tried)
        counts["agrees"] += bool(tried) and set(tried) <= {"holds", "one seed"}
    return table


def summary(claims: Sequence[Fared], papers_: dict[str, dict[str, int]]) -> list[str]:
    """Lines of text: what became of the claims, what failed, what differs, what is missing."""
    counts = {state: sum(one.state == state for one in claims) for state in STATES}
    lines = ["claims: " + ", ".join(f"{count} {state}" for state, count in counts.items())]
    for one in claims:
        if one.state in ("fails", "not shown"):
            said = f"{one.claim.objective} {one.claim.metric} {one.claim.relation} {one.claim.to}"
            lines.append(f"  {one.state}: {one.study}, {said} ({one.claim.source})")
    for study, words in {one.study: one.differs for one in claims if one.differs}.items():
        lines.append(f"{study} differs: {words}")
    if untried := list(dict.fromkeys(one.study for one in claims if one.state == "not tried")):
        lines.append(f"claims not tried yet in: {', '.join(untried)}")
    lines.append("printed numbers of each paper, how many a study measures here, how many agree:")
    for name, n in papers_.items():
        told = f"{n['printed']:>4} printed, {n['measured']} measured, {n['agrees']} agree"
        lines.append(f"  {papers.NAMES[name]:<20} {told}")
    return lines


def margin_of(values: Sequence[float], claim: Claim) -> float:
    """How far our mean and a printed number may be apart by chance.

    Half a 95 % interval of our mean (Student's t), two printed standard deviations where the paper
    prints one, and one unit of the last printed digit.
    """
    row = papers.find(claim.paper) if claim.paper else None
    scale = abs(float(claim.to)) / row.value if row and row.value else 1.0  # percent of a fraction
    decimals = len(str(float(claim.to)).partition(".")[2])
    margin = row.digit * scale if row else 10.0**-decimals
    if row and row.std:
        margin += 2 * row.std * scale
    return margin + blur_of(values)


def blur_of(values: Sequence[float]) -> float:
    """Half a 95 % interval of a mean (Student's t); 0 for one value."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return 0.0
    spread = statistics.stdev(values) / math.sqrt(len(values))
    return float(stdtrit(len(values) - 1, 0.975)) * spread


def _grouped(shipped: bool) -> dict[tuple[str, str], list[Record]]:
    """Records by study and preset; this machine's own win over the shipped."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in recorded():
        groups.setdefault((record["study"], record["preset"]), []).append(record)
    mine = set(groups)
    for record in export.records(export.shipped()) if shipped else ():
        if (key := (record["study"], record["preset"])) not in mine:
            groups.setdefault(key, []).append(record)
    return groups


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings, with those inside of others beside them, such as the epochs of a recipe."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if hasattr(value, "_asdict"):
            found |= value._asdict()
        elif isinstance(value, dict):
            for one, inside in value.items():
                parts = inside._asdict() if hasattr(inside, "_asdict") else inside
                found |= {f"{one} {part}": v for part, v in parts.items()}
        else:
            found[name] = value
    return found


def _short(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    if any(isinstance(one, dict) for one in value):
        return f"{len(value)} others"
    few = value if len(value) < 4 else (value[0], "...", value[-1])
    return ", ".join(map(str, few)) or "none"


def _judged(records: list[Record], row: Row, claim: Claim) -> Verdict:
    if claim.relation == "is":
        values = row["each"]
        apart, margin = row["value"] - float(claim.to), margin_of(values, claim)
        return Verdict(claim, None, 0, len(values), apart, margin, blur_of(values))
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
