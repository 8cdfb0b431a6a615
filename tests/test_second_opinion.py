"""The second opinion: moves show the reports they were given, and frames stay where they are."""

import numpy as np
import pytest
from strangers import BENCH, CALIBRATION, calibration, line

from lvmlab import report
from lvmlab.plots import png
from lvmlab.widgets import second_opinion, second_opinions

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check


@pytest.fixture(scope="module")
def reports():
    quick = {"samples": 16, "weighed": 60}
    return {
        name: {rows: report(*calibration(name), line(0, rows), **quick) for rows in (25, 200)}
        for name in CALIBRATION
    }


def words(panel):
    return [t.get_text() for t in panel.picture.texts]


def rulers(panel):
    found = [t.get_text() for t in panel.picture.axes[1].texts]
    return [text.split(": ")[0] for text in found if text.startswith(("mini", "full", "KSG"))]


def test_names_are_hidden_until_they_are_asked_for(reports):
    panel = second_opinion(reports)
    for i, name in enumerate(reports):
        panel.controls["model"].value = name
        assert panel.error is None
        verdict = reports[name][200].verdict
        assert verdict.headline in words(panel) and verdict.headline in panel.alt
        assert f"model {'ABCDE'[i]}, 200 rows" in words(panel)
        assert not any(name in text for text in words(panel))
    panel.controls["hide_names"].value = False
    assert "tiny codes, 200 rows" in words(panel)


def test_few_rows_cannot_tell(reports):
    panel = second_opinion(reports, start={"rows": 25})
    assert "This report cannot tell" in words(panel)
    panel.controls["rows"].value = 200
    assert "The latent space is in use" in words(panel)


def test_bars_are_the_numbers_and_frames_do_not_move(reports):
    panel = second_opinion(reports)
    axes = panel.picture.axes
    limits = [(ax.get_xlim(), ax.get_ylim()) for ax in axes]
    for name, by_rows in reports.items():
        panel.controls["model"].value = name
        found = by_rows[200]
        widths = [patch.get_width() for patch in axes[0].patches]
        assert widths[0] == pytest.approx(found.distortion)
        assert sum(widths[:3]) == pytest.approx(found.distortion + found.rate, abs=5e-3)
        assert widths[3] == pytest.approx(max(0.0, found.gap))
        assert [(ax.get_xlim(), ax.get_ylim()) for ax in axes] == limits


def test_rulers_can_be_put_away(reports):
    panel = second_opinion(reports, start={"KSG": False, "minibatch": False})
    assert rulers(panel) == ["full set, N = 200"]
    panel.controls["full_set"].value = False
    assert rulers(panel) == []


def test_the_static_picture_has_every_model(reports):
    picture = second_opinions(reports, rows=200)
    for name, by_rows in reports.items():
        assert f"{name}: {by_rows[200].verdict.headline}" in picture.alt
    assert len(png(picture)) > 5000
    with pytest.raises(ValueError, match="rows: expected one of"):
        second_opinions(reports, rows=7)


def test_models_with_images_categories_and_mixtures_can_be_shown():
    for name in ("exact categories", "mixture prior", "half of the dimensions"):
        _, pair, data = BENCH[name]
        panel = second_opinion({name: {100: report(*pair(), data(0, 100), samples=8)}})
        assert panel.error is None and np.isfinite(len(panel.image.value))


def test_reports_that_do_not_fit_are_refused(reports):
    _, pair, data = BENCH["point encoder"]
    nothing = report(*pair(), data(0, 100), samples=8)
    uneven = {"a": reports["healthy"], "b": {200: reports["healthy"][200]}}
    for bad, said in (
        ({}, "one to 10 models, got 0"),
        ({"a": {}}, "the same numbers of rows"),
        (uneven, "the same numbers of rows"),
        ({"a": {100: nothing}}, "without a density has no rate"),
    ):
        with pytest.raises(ValueError, match=said):
            second_opinion(bad)
