"""Pictures of the ledger: what is drawn where, and what is refused."""

import numpy as np
import pytest

from lvmlab.plots import ledger, style
from lvmlab.plots.ledger import Line

LINES = [
    Line("CoLLike", "single model", 82.1, 5.4, "256 epochs", [76.0, 78.0, 80.0], "2 epochs"),
    Line("MaL", "single model", 31.6, None, "256 epochs", [], ""),
]


def marks(ax):
    """Lines by marker face: hollow (paper) and filled (ours), as their data."""
    found = {"hollow": [], "filled": []}
    for line in ax.lines:
        if line.get_marker() == "o":
            kind = "hollow" if line.get_markerfacecolor() == "white" else "filled"
            found[kind].append((list(line.get_xdata()), line.get_ydata()[0]))
    return found


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_paper_is_hollow_above_ours_with_every_seed():
    picture = ledger.ledger_rows(LINES, "Accuracy", "percent", (25, "chance"), (100, "all right"))
    (ax,) = picture.axes
    found = marks(ax)
    assert [x for x, _ in found["hollow"]] == [[82.1], [31.6]]
    assert [x for x, _ in found["filled"]] == [[76.0, 78.0, 80.0], [78.0]]
    assert found["hollow"][0][1] > found["filled"][0][1]  # the paper above
    assert {"82.1 ± 5.4, 256 epochs", "78, 3 seeds, 2 epochs"} <= set(words(ax))
    assert "not measured here" in words(ax)
    assert {"chance", "all right", "CoLLike", "single model"} <= set(words(ax))
    low, high = ax.get_xlim()
    assert low < 25 and high > 100 and len(ax.get_xticks()) == 3
    assert "MaL (single model) paper 31.6, not measured" in picture.alt
    assert len(style.png(picture)) < 180_000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (LINES[0]._replace(our_words=" "), "does not say at which size"),
        (LINES[1]._replace(paper=None), "neither paper nor ours"),
        (LINES[0]._replace(ours=[1.0, np.nan]), "not finite"),
    ],
)
def test_lines_that_hide_something_are_not_drawn(line, words):
    with pytest.raises(ValueError, match=words):
        ledger.ledger_rows([line], "Accuracy", "percent")
    with pytest.raises(ValueError, match="one or more"):
        ledger.ledger_rows([], "Accuracy", "percent")


def test_one_value_alone_can_be_drawn():
    same = [Line("VAE", "m", 2.0, None, "", [2.0], "the paper's size")]
    low, high = ledger.ledger_rows(same, "t", "nats").axes[0].get_xlim()
    assert low < 2 < high


def test_a_comparison_has_a_panel_a_metric_and_its_ceiling():
    rows = [
        {"objective": name, "metric": metric, "each": each}
        for name, shift in (("VAE", 0.0), ("MIM", 1.0))
        for metric, each in {
            "nll_upper_bound": [2 + shift, 3 + shift],
            "information": [1 + shift, 1.2 + shift],
            "information_ceiling": [4.0, 4.0],
            "steps": [100.0, 100.0],
        }.items()
    ]
    picture = ledger.comparison(rows)
    nll, information = picture.axes
    assert "NLL, bound" in words(nll) and {"VAE", "MIM"} <= set(words(nll))
    assert "ceiling" in words(information) and information.get_xlim()[1] > 4
    assert [x for x, _ in marks(nll)["filled"]] == [[2.0, 3.0], [2.5], [3.0, 4.0], [3.5]]
    assert "information: VAE 1.10, MIM 2.10" in picture.alt
    with pytest.raises(ValueError, match="expected metrics among"):
        ledger.comparison([])


def test_a_bar_for_every_claim_with_the_failures_first():
    claims = [
        {"says": "one", "holds": 6, "pairs": 6, "state": "holds"},
        {"says": "two", "holds": 1, "pairs": 4, "state": "not shown"},
        {"says": "three", "holds": 0, "pairs": 0, "state": "not tried"},
        {"says": "four", "holds": 0, "pairs": 3, "state": "fails"},
        {"says": "five is 5", "holds": 0, "pairs": 0, "state": "holds"},  # a printed number
    ]
    picture = ledger.claim_bars(claims)
    (ax,) = picture.axes
    said = [word for word in words(ax) if word in ("one", "two", "three", "four", "five is 5")]
    assert said == ["four", "two", "one", "five is 5", "three"]
    full = ax.patches[0].get_width()  # of the track
    assert [p.get_width() for p in ax.patches[1::2]] == pytest.approx([0, full / 4, full, full, 0])
    assert any("fails: in no seed of its worst size" in word for word in words(ax))
    assert "not shown, 1 of 4" in words(ax) and "5 claims: 1 fails" in picture.alt
    with pytest.raises(ValueError, match="a state among"):
        ledger.claim_bars([claims[0] | {"state": "green"}])
