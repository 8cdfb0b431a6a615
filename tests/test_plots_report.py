"""The picture of a report: the numbers that were given, words inside the page, odd models too."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from strangers import BENCH

from lvmlab import report
from lvmlab.models import dense_gaussian
from lvmlab.plots import number, png, style
from lvmlab.plots.report import report_picture

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

QUICK = {"samples": 8, "weighed": 50}


def words(picture):
    texts = [t.get_text() for t in picture.texts]
    return texts + [t.get_text() for ax in picture.axes for t in ax.texts]


def drawn(name, rows=150):
    _, pair, data = BENCH[name]
    found = report(*pair(), data(0, rows), title="ELBO, a stranger", **QUICK)
    return found, found.picture()


@pytest.mark.parametrize("name", BENCH)
def test_every_stranger_can_be_drawn(name):
    found, picture = drawn(name)
    assert len(png(picture)) > 5000
    told = words(picture)
    assert found.verdict.headline in told and found.verdict.headline in picture.alt
    if found.information is not None:
        least = "≥ " if found.at_ceiling and not found.exact else ""
        assert least + number(found.information, 1) in told


def test_the_side_bar_has_the_colour_of_the_objective():
    _, picture = drawn("healthy line")
    colours = {patch.get_facecolor() for patch in [*picture.artists, *picture.patches]}
    assert to_rgba(style.look("ELBO").colour) in colours


def test_dead_dimensions_say_off_and_stand_last():
    found, picture = drawn("half of the dimensions", 400)
    assert words(picture).count("off") == 2
    assert [d.off for d in found.dimensions] == [False, False, True, True]
    rates, scales = picture.axes[0], picture.axes[1]
    labels = [t.get_text() for t in rates.get_xticklabels()]
    assert labels == [t.get_text() for t in scales.get_xticklabels()]
    assert set(labels[2:]) == {"$z_{3}$", "$z_{4}$"}


def test_all_words_stay_inside_the_page():
    for name in ("healthy line", "far above log N", "three of seven categories dead"):
        _, picture = drawn(name)
        picture.canvas.draw()
        page = picture.bbox
        for text in [*picture.texts, *(t for ax in picture.axes for t in ax.texts)]:
            box = text.get_window_extent()
            assert box.x0 >= page.x0 and box.x1 <= page.x1, (name, text.get_text())
            assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1, (name, text.get_text())


def test_images_and_many_dimensions():
    torch.manual_seed(0)
    p, q = dense_gaussian(64, 30, 8)
    x = torch.rand(80, 64, generator=torch.Generator().manual_seed(3))
    found = report(p, q, x, **QUICK)
    picture = found.picture()
    assert any("the first 10 of 30" in text for text in words(picture))
    assert sum(bool(ax.images) for ax in picture.axes) == 3
    assert len(png(picture)) > 5000


def test_a_report_without_its_arrays_can_be_drawn():
    found, _ = drawn("shrunken codes")
    picture = report_picture(found.as_dict(), {})
    assert found.verdict.headline in words(picture)
    with pytest.raises(ValueError, match=r"report\.as_dict"):
        report_picture({"rows": 3}, {})


def test_the_report_shows_itself_in_a_notebook():
    found, _ = drawn("healthy line")
    data, extra = found._repr_mimebundle_()
    assert data["text/plain"] == found.table() and data["image/png"]
    assert found.verdict.headline in extra["image/png"]["alt"]


def test_caps_are_drawn_with_their_numbers():
    found, picture = drawn("far above log N")
    told = words(picture)
    assert f"ceiling {np.log(150):.1f}" in told
    assert f"≥ {np.log(150):.1f}" in told and f"ceiling log 150 = {np.log(150):.1f}" in told
    assert found.at_ceiling
