"""The panel of the ledger: what it shows, leaves out and refuses."""

import pytest

from lvmlab.studies import export, ledger, provenance
from lvmlab.studies.compare import compared
from lvmlab.studies.ledger import Record
from lvmlab.widgets import ledger_panel

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check


def row(objective, metric, each, paper=()):
    origin = provenance.here("collapse-2d", "lesson", len(each))
    names = {"study": "collapse-2d", "system": "20 hidden units", "dataset": "five_blobs"}
    names |= {"objective": objective, "preset": "lesson"}
    records = [
        Record(**names, **origin, seed=s, minutes=0.5, values={metric: v})
        for s, v in enumerate(each)
    ]
    (found,) = compared(records, ())
    return found.as_dict() | {"paper": list(paper)}


FAILS = {"says": "above VAE", "state": "fails", "holds": 0, "pairs": 3}
HOLDS = {"says": "below VAE", "state": "holds", "holds": 2, "pairs": 2}
NUMBER = {"says": 78.5, "state": "fails", "holds": None, "pairs": 2, "apart": -3.5}


@pytest.fixture
def rows():
    return [
        row("MIM", "ksg_information", [1.0, 2.0, 4.0], [FAILS]),
        row("VAE", "ksg_information", [3.0, 3.5]),
        row("MIM", "ksg_ceiling", [6.0] * 3),
        row("MIM", "nll_upper_bound", [2.0, 2.1], [HOLDS, NUMBER]),
    ]


def words(panel):
    (ax,) = panel.picture.axes
    return [text.get_text() for text in ax.texts] + [panel.picture.texts[0].get_text()]


def test_every_seed_its_words_and_the_command(rows):
    panel = ledger_panel(rows)
    assert panel.controls["shown"].options == (
        "collapse-2d, lesson: ksg information",
        "collapse-2d, lesson: nll upper bound",
    )
    said = " ".join(words(panel))
    assert "2.333 ± 1.5, 3 seeds" in said and "above VAE: 0 of 3" in said and "ceiling" in said
    assert "lvmlab run collapse-2d --preset lesson --seeds 3" in said and "CPU cores" in said
    drawn = [list(line.get_xdata()) for line in panel.picture.axes[0].lines]
    assert [1.0, 2.0, 4.0] in drawn and [3.0, 3.5] in drawn
    assert "2 of 2 lines" in panel.alt and "1 fails" in panel.alt


def test_seeds_and_failures_choose_lines(rows):
    panel = ledger_panel(rows)
    frame = panel.picture.axes[0].axis()
    panel.controls["seeds"].value = 3
    assert panel.picture.axes[0].axis() == frame  # nothing jumps while lines are left out
    assert "1 of 2 lines with 3 seeds or more" in panel.alt and "1 of 2 left out" in words(panel)[1]
    panel.controls["seeds"].value = 10
    assert panel.controls["seeds"].value == 3  # no line has more
    with panel.together():
        panel.controls["seeds"].value = 1
        panel.controls["failing"].value = True
    assert "1 of 2 lines" in panel.alt and "VAE" not in words(panel)
    panel.controls["shown"].value = "collapse-2d, lesson: nll upper bound"
    assert "below VAE: 2 of 2; 78.5: ours -3.5" in " ".join(words(panel))
    assert panel.error is None


def test_an_empty_page_says_why(rows):
    panel = ledger_panel(rows[1:3])
    panel.controls["failing"].value = True
    assert "0 of 1 lines" in panel.alt and "no line is judged failing" in words(panel)
    panel = ledger_panel(rows)
    panel.controls["shown"].value = "collapse-2d, lesson: nll upper bound"
    panel.controls["seeds"].value = 3
    assert panel.error is None and "no line has 3 seeds" in words(panel)


def test_what_cannot_be_shown_is_refused(rows):
    with pytest.raises(ValueError, match="expected one or more, got none"):
        ledger_panel([])
    with pytest.raises(ValueError, match="a row lacks command"):
        ledger_panel([{k: v for k, v in rows[0].items() if k != "command"}])
    with pytest.raises(ValueError, match="expected a study among collapse-2d, got 'collapse-3d'"):
        ledger_panel(rows, start="collapse-3d")
    assert ledger_panel(rows, start="collapse-2d").values["shown"].startswith("collapse-2d")


def test_the_shipped_rows_can_be_shown():
    from lvmlab.studies import compare

    found = [one.as_dict() for one in compare.everything()]
    if export.shipped() or ledger.recorded():
        assert ledger_panel(found).error is None
