"""The ledger: printed numbers, their consistency, rows as files, claims and what became of them."""

import csv
import json
import math

import pytest

from lvmlab import studies
from lvmlab.studies import compare, consistency, export, ledger, papers, provenance
from lvmlab.studies.compare import Claim, Verdict
from lvmlab.studies.ledger import Record
from lvmlab.studies.text_runs import Recipe

NEWS = "collike-t2-agnews-collike-accuracy"
ORIGIN = provenance.here("collapse-2d", "smoke", 2)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("LVMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def record(objective, seed, **values):
    names = {"study": "collapse-2d", "system": "20 hidden units", "dataset": "five_blobs"}
    return Record(
        **names,
        **ORIGIN,
        objective=objective,
        preset="smoke",
        seed=seed,
        minutes=0.5,
        values=values,
    )


def rows():
    found = [record("MIM", seed, ksg_information=2.0 + seed, ksg_ceiling=5.0) for seed in range(2)]
    return ledger.summarise(found)


# -- what the papers print


def test_all_printed_numbers_are_there_with_unit_and_a_paper_each():
    found = papers.printed()
    assert len(found) == 483 and len({row.id for row in found}) == 483
    assert {row.paper for row in found} == set(papers.NAMES)
    assert all(math.isfinite(row.value) and row.unit for row in found)
    assert {row.direction for row in found} == {"up", "down", "none"}
    assert max(len(row.setting.split()) for row in found) <= 16  # settings, not sentences


def test_a_row_knows_its_last_digit_and_its_ceiling():
    row = papers.find("collike-t2-agnews-collike-mi")
    assert (row.value, row.std, row.unit) == (1.32, None, "nats")
    assert row.digit == pytest.approx(0.01) and row.ceiling == pytest.approx(math.log(4), abs=1e-6)
    assert papers.find("collike-t2-agnews-collike-accuracy").std == 5.4
    assert papers.find("mim-t71-ptb-vocabulary").digit == 1
    with pytest.raises(ValueError, match="Did you mean 'mim-s42-pca-variance'"):
        papers.find("mim-s42-pca-varianz")


def test_numbers_of_different_units_are_not_compared():
    nats, bits = (papers.find(f"collike-t2-{n}") for n in ("agnews-mal-nll", "cifar-mal-bpd"))
    with pytest.raises(ValueError, match=r"nll in nats.* bpd in bits per dimension"):
        papers.apart(nats, bits)
    assert papers.apart(papers.find("collike-t2-cifar-collike-bpd"), bits) == pytest.approx(-0.01)


def test_claims_that_name_a_printed_number_say_that_number():
    named = [(s, c) for s in studies.names() for c in studies.claims(s) if c.paper]
    assert named
    for study, claim in named:
        row = papers.find(claim.paper)
        assert claim.relation == "is" and row.source.startswith(claim.source), study
        scale = 100 if row.unit == "fraction" and row.value != claim.to else 1
        assert claim.to == pytest.approx(scale * row.value), study


# -- consistency


def test_the_papers_own_failures_are_the_recorded_ones():
    assert {problem.id for problem in consistency.problems()} == set(consistency.RECORDED)


def planted(id, **changes):
    """All printed rows, with one changed."""
    return [r._replace(**changes) if r.id == id else r for r in papers.printed()]


PLANTED = {
    "rate": ("critics-t1-yelp-skipvae-mi", {"value": 0.3}, "information <= rate"),
    "uniform prior": ("collike-t2-cifar-mal-mi", {"value": 1.6}, "information <= ceiling"),
    "minibatch": ("critics-t2-omniglot-nn-mi", {"value": 3.93}, "information <= ceiling"),
    "length": ("mim-t72-ptb-smim512-ppl", {"value": 20.1}, "one length a test set"),
    "share": ("mim-t81-cifar10-percent-of-multidata", {"value": 3.3}, "share of the total"),
    "total": ("mim-t81-total", {"value": 1_892_915.0}, "total = sum"),
    "hours": ("critics-t3-laggingvae-factor", {"value": 3.8}, "factor = ratio"),
    "pairs": ("vade-max-dz-10", {"value": 5.0}, "counts"),
    "entropy": ("mim-t76-ptb-standard-normal-m-entropy", {"value": 181.5}, "entropy of N(0, I)"),
}


@pytest.mark.parametrize(("id", "changes", "check"), PLANTED.values(), ids=PLANTED)
def test_an_impossible_number_is_found_and_nothing_else(id, changes, check):
    found = {(p.check, p.id) for p in consistency.problems(planted(id, **changes))}
    before = {(p.check, p.id) for p in consistency.problems()}
    assert found - before == {(check, id)}


def test_aggkl_uniform_prior():
    """I012: slack log K - agg_kl - MI of the five rows, never below the rounding."""
    slack = {}
    for row in papers.printed():
        if row.source == "Table 2" and row.metric == "mi" and row.paper == "collike":
            kl = papers.find(row.id.replace("-mi", "-aggkl")).value
            slack[row.dataset, row.objective] = row.ceiling - kl - row.value
    assert slack["CIFAR", "CoLLike"] == pytest.approx(0.092585, abs=1e-5)
    assert slack["CIFAR", "MaL"] == pytest.approx(0.062585, abs=1e-5)
    assert slack["MNIST", "CoLLike"] == pytest.approx(0.342585, abs=1e-5)
    assert slack["MNIST", "MaL"] == pytest.approx(0.112585, abs=1e-5)
    assert slack["AG News", "CoLLike"] == pytest.approx(0.066294, abs=1e-5)


def test_ppl_from_nll():
    """I062: the same mean length from each row of one table, printed to the sixth decimal."""
    lengths = []
    for name in ("svae16", "smim512", "smim1024-extra"):
        nll, ppl = (papers.find(f"mim-t72-ptb-{name}-{m}").value for m in ("nll", "ppl"))
        lengths.append(nll / math.log(ppl))
    assert lengths == pytest.approx([22.699138, 22.698888, 22.712137], abs=1e-6)


def test_table8_1_arithmetic():
    """I077: counts and shares."""
    counted = {}
    for row in papers.printed():
        if row.metric in ("train_images", "valid_images"):
            counted[row.dataset] = counted.get(row.dataset, 0) + row.value
    total = sum(counted.values())
    assert total == 1_892_916 == papers.find("mim-t81-total").value
    shares = {name: 100 * count / total for name, count in counted.items()}
    assert shares["CIFAR10"] == pytest.approx(3.169713, abs=1e-6)
    assert shares["MNIST"] == pytest.approx(3.697998, abs=1e-6)
    assert shares["ImageNet"] == pytest.approx(75.606472, abs=1e-6)
    assert shares["Celeba"] == pytest.approx(10.565709, abs=1e-6)


def test_our_own_rows_are_tested_alike():
    assert consistency.measured(rows()) == []
    high = [record("MIM", 0, ksg_information=5.1, ksg_ceiling=5.0, knn5_accuracy=97.0)]
    found = consistency.measured(ledger.summarise(high))
    assert [p.check for p in found] == ["ksg_information <= ksg_ceiling", "accuracy in 0 ... 1"]
    assert "5.1 above 5" in found[0].words
    for rate, checks in ((0.96, []), (0.94, ["information <= rate"])):  # a draw may pass by chance
        found = consistency.measured(ledger.summarise([record("VAE", 0, information=1, rate=rate)]))
        assert [p.check for p in found] == checks
    assert consistency.measured(export.shipped()) == []


# -- provenance


def test_a_row_says_where_it_comes_from():
    row = rows()[0]
    assert row["command"] == "lvmlab run collapse-2d --preset smoke --seeds 2"
    assert "CPU cores" in row["hardware"] and "torch" in row["versions"] and row["commit"]
    assert provenance.check_command(row["command"]) == ("collapse-2d", "smoke", 2)


def test_the_command_of_a_part_asks_for_that_part():
    found = [record("MIM", 0, ksg_information=1.0)]
    assert ledger.summarise(found)[0]["command"].endswith("--seeds 1")


@pytest.mark.parametrize(
    "text", ["", "python train.py", "lvmlab run x", "lvmlab run x --preset huge --seeds 2"]
)
def test_commands_that_reproduce_nothing_are_refused(text):
    with pytest.raises(ValueError, match="not admitted to the ledger"):
        provenance.check_command(text)


def test_a_record_without_a_command_is_not_written(runs):
    bare = record("MIM", 0, rate=1.0) | {"command": " "}
    with pytest.raises(ValueError, match="needs the command"):
        ledger.write(runs / "x.jsonl", [bare])
    assert not runs.exists()


# -- rows as files


@pytest.mark.parametrize("seeds", [1, 3])
def test_rows_come_back_from_csv_as_they_were(tmp_path, seeds):
    origin = provenance.here("collapse-2d", "smoke", seeds)
    made = [record("MIM", s, nll=math.pi + s, rate=1e-7 * s) | origin for s in range(seeds)]
    before = ledger.summarise(made)
    export.write_rows(tmp_path / "x.csv", before)
    after = export.read_rows(tmp_path / "x.csv")
    for one, other in zip(before, after, strict=True):
        assert one.keys() == other.keys()
        assert other["each"] == pytest.approx(one["each"], rel=1e-8)
        assert other["std"] == (pytest.approx(one["std"], rel=1e-5) if seeds > 1 else None)
        assert (other["seeds"], other["command"]) == (seeds, one["command"])
    again = ledger.summarise(export.records(after))
    assert [row["value"] for row in again] == pytest.approx([row["value"] for row in before])


def test_rows_as_json_and_as_tables(tmp_path):
    for ending in ("json", "md", "tex"):
        export.write_rows(tmp_path / f"x.{ending}", rows())
    assert json.loads((tmp_path / "x.json").read_text()) == rows()
    assert (
        "| five_blobs | 20 hidden units | MIM | ksg information | 2.5 ± 0.71 | 2 |"
        in (tmp_path / "x.md").read_text()
    )
    latex = (tmp_path / "x.tex").read_text()
    assert r"five\_blobs & 20 hidden units" in latex and "% lvmlab run collapse-2d" in latex


BAD = {
    "no command": ({"command": ""}, "not admitted"),
    "another study": ({"command": "lvmlab run other --preset smoke --seeds 2"}, "does not measure"),
    "another preset": (
        {"command": "lvmlab run collapse-2d --preset paper --seeds 2"},
        "does not measure",
    ),
    "the best seed": ({"value": 3.0}, "not the mean 2.5 of its seeds"),
    "a seed missing": ({"each": [2.5]}, "2 finite numbers"),
    "not finite": ({"each": [math.nan, 2.0]}, "2 finite numbers"),
}


@pytest.mark.parametrize(("changes", "words"), BAD.values(), ids=BAD)
def test_rows_that_may_not_enter_are_refused_and_nothing_is_written(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        export.write_rows(tmp_path / "x.csv", [rows()[0] | changes])
    assert not list(tmp_path.iterdir())


def test_a_bad_line_of_a_file_is_named(tmp_path):
    path = tmp_path / "x.csv"
    export.write_rows(path, rows())
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    lines[1]["command"] = ""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        writer.writeheader()
        writer.writerows(lines)
    with pytest.raises(ValueError, match=r"x\.csv, line 3: command must be"):
        export.read_rows(path)
    path.write_text("study,value\na,1\n")
    with pytest.raises(ValueError, match=r"x\.csv, line 2"):
        export.read_rows(path)


def test_no_rows_and_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in one of \.csv"):
        export.write_rows(tmp_path / "x.xls", rows())
    with pytest.raises(ValueError, match="no rows to write"):
        export.write_rows(tmp_path / "x.csv", [])


def test_the_shipped_rows_are_admissible_and_of_studies_that_exist():
    for row in export.shipped():
        export.check(row)
        assert row["study"] in studies.names() and row["commit"]


# -- claims


def judged(values, other=None, to="VAE", relation="above", **more):
    claim = Claim("Figure 1", "MIM", "score", relation, to, **more)
    found = [record("MIM", s, score=v) for s, v in enumerate(values)]
    found += [record("VAE", s, score=v) for s, v in enumerate(other or [])]
    return compare.compared(found, [claim])[0].verdicts[0]


def test_states_of_relations():
    assert judged([2.0, 3.0], [1.0, 1.0]).state == "holds"
    assert judged([2.0], [1.0]).state == "one seed"
    assert judged([2.0, 0.0], [1.0, 1.0]).state == "not shown"
    assert judged([0.0, 0.0], [1.0, 1.0]).state == "fails"
    assert judged([1.0, 1.0], [1.0, 1.0]).state == "not shown"  # equal: not against it
    assert judged([1.0, 1.0]).state == "not tried"
    assert judged([0.0, 0.0], [1.0, 1.0], relation="below").state == "holds"


def test_numbers_agree_within_what_chance_and_rounding_allow():
    near = judged([78.46, 78.46], relation="is", to=78.5)
    assert near.state == "holds" and near.margin == pytest.approx(0.1)  # the last digit
    assert judged([77.0, 77.0], relation="is", to=78.5).state == "fails"
    assert judged([78.5], relation="is", to=78.5).state == "one seed"
    wide = judged([77.0, 79.0], relation="is", to=78.5)  # half an interval of two seeds: 12.7
    assert wide.margin == pytest.approx(0.1 + 12.7062, abs=1e-3)
    paper = judged([75.0, 75.0], relation="is", to=82.1, paper="collike-t2-agnews-collike-accuracy")
    assert paper.margin == pytest.approx(2 * 5.4 + 0.1) and paper.state == "holds"
    scaled = judged([78.5, 78.5], relation="is", to=78.5, paper="mim-s42-pca-variance")
    assert scaled.margin == pytest.approx(0.1)  # 0.785 is printed: a digit is 0.1 percent


def test_seeds_that_spread_too_far_show_nothing():
    slope = judged([1.4, 2.4, 3.4], relation="is", to=3.0)  # half an interval: 2.5
    assert slope.blur == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert slope.margin == pytest.approx(0.1 + slope.blur)
    assert slope.state == "not shown" and "too far to tell" in str(slope)
    assert judged([2.9, 3.0, 3.1], relation="is", to=3.0).state == "holds"
    assert judged([9.0, 10.0, 11.0], relation="is", to=3.0).state == "fails"
    small = judged([0.001, 0.003], relation="is", to=0.0)  # of zero a fifth is nothing
    assert small.state == "holds"


def test_this_machines_rows_win_over_the_shipped(tmp_path, monkeypatch, runs):
    mine = [record("MIM", s, ksg_information=9.0) for s in range(2)]
    for_all = [dict(r, preset="lesson") for r in mine]
    shipped = ledger.summarise([record("MIM", s, ksg_information=1.0) for s in range(2)])
    origin = provenance.here("collapse-2d", "lesson", 2)
    shipped += ledger.summarise([r | origin for r in for_all])
    monkeypatch.setattr(export, "shipped", lambda: tuple(shipped))
    assert {c.row["value"] for c in compare.everything()} == {1.0, 9.0}
    ledger.write(runs / "collapse-2d" / "smoke" / "v" / "x.jsonl", mine)
    assert {(c.row["preset"], c.row["value"]) for c in compare.everything()} == {
        ("smoke", 9.0),
        ("lesson", 9.0),
    }
    assert {c.row["preset"] for c in compare.everything(shipped=False)} == {"smoke"}


def test_claims_are_judged_at_the_largest_size_or_not_tried(monkeypatch, runs):
    monkeypatch.setattr(export, "shipped", tuple)
    assert {one.state for one in compare.claims()} == {"not tried"}
    found = [record("MIM", s, ksg_information=2.0) for s in range(2)]
    found += [record("VAE", s, ksg_information=1.0) for s in range(2)]
    ledger.write(runs / "collapse-2d" / "smoke" / "v" / "x.jsonl", found)
    (one,) = [c for c in compare.claims() if c.state != "not tried"]
    assert (one.state, one.preset, one.claim.metric) == ("holds", "smoke", "ksg_information")
    assert "seeds 2 (paper 10)" in one.differs and "epochs 4 (paper 200)" in one.differs
    assert one.as_dict()["verdicts"][0]["holds"] == 2
    lines = compare.summary(compare.claims(), compare.coverage())
    assert lines[0].startswith("claims: 1 holds") and any("not tried yet" in s for s in lines)


def test_coverage_counts_every_printed_number_once(monkeypatch):
    monkeypatch.setattr(export, "shipped", tuple)
    table = compare.coverage()
    assert {name: counts["printed"] for name, counts in table.items()} == {
        "collike": 41, "mim": 305, "critics": 103, "gmwae": 15, "vade": 19,
    }  # fmt: skip
    assert table["mim"]["claimed"] >= 1 and all(not c["measured"] for c in table.values())


@pytest.mark.parametrize(
    ("states", "measured", "agrees"),
    [
        (["not tried", "holds"], 1, 1),
        (["holds", "not tried"], 1, 1),
        (["holds", "fails"], 1, 0),
        (["not tried", "not tried"], 0, 0),
    ],
)
def test_a_number_that_two_studies_name_is_counted_once(monkeypatch, states, measured, agrees):
    def fared(state):
        claim = Claim("Table 2", "CoLLike", "accuracy_percent", "is", 82.1, paper=NEWS)
        verdict = Verdict(claim, None, 0, 2, 0.0 if state == "holds" else 9.0, 1.0)
        return compare.Fared("a", claim, "lesson", (verdict,) * (state != "not tried"), "")

    monkeypatch.setattr(compare, "claims", lambda shipped: [fared(state) for state in states])
    counts = compare.coverage()["collike"]
    assert counts == {"printed": 41, "claimed": 1, "measured": measured, "agrees": agrees}


def test_what_differs_looks_inside_recipes_and_sets():
    def size(epochs, rows):
        sets = {"mnist": {"rows": rows, "lr": 1}}
        systems = {"narrow": Recipe(epochs, looks=1)}
        one = Recipe(epochs, looks=2)
        return {"recipe": one, "sets": sets, "systems": systems, "minutes": rows}

    table = {"lesson": size(4, 9), "paper": size(256, 60) | {"seeds": 4}}
    told = compare.differs(table, "lesson", 4)
    assert told == "epochs 4 (paper 256), mnist rows 9 (paper 60), narrow epochs 4 (paper 256)"


def test_small_studies_of_texts_are_told_beside_the_papers_own_size(monkeypatch, runs):
    monkeypatch.setattr(export, "shipped", tuple)
    for name, full in compare.PAPER_SIZE.items():
        assert {name, full} <= set(studies.names())
    cell = ledger.Cell("4 categories", "CoLLike", "ag_news_lower", lambda seeds: [{"nll": 1.0}])
    ledger.measure("collike-news", "lesson", 1, [cell])
    rows = [one for one in compare.claims() if one.study == "collike-news"]
    assert "epochs 4 (paper 256)" in rows[0].differs
