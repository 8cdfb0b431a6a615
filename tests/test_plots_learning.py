"""Stairs, seeds and mixtures: what is drawn and said agrees with the numbers that were given."""

import numpy as np
import pytest
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.colors import to_rgba

from lvmlab import plots
from lvmlab.plots import style
from lvmlab.plots.learning import alternation, seed_panels
from lvmlab.plots.mixtures import mixture_fits, places


def test_stairs_have_a_drop_for_each_move_in_the_colour_of_the_joint_that_moved():
    path = [3.0, 2.0, 1.5, 1.2]  # after q, p, q, p
    picture = alternation({"EM": path})
    (drops,) = [c for c in picture.axes[0].collections if isinstance(c, LineCollection)]
    assert [tuple(s[:, 1]) for s in drops.get_segments()] == [(3, 2), (2, 1.5), (1.5, 1.2)]
    assert [tuple(c) for c in drops.get_colors()] == [
        to_rgba(c) for c in (style.P, style.Q, style.P)
    ]
    assert "EM from 3 to 1.2" in picture.alt.replace("00", "").replace("3.0", "3")
    assert len(plots.png(picture)) > 1000


def test_stairs_of_several_algorithms_share_their_axes_and_show_every_seed():
    paths = {"EM": np.array([[3.0, 2.0], [4.0, 1.0]]), "CoLLike": [2.5, 2.4, 2.3, 2.2]}
    picture = alternation(paths)
    first, second = picture.axes
    assert first.get_ylim() == second.get_ylim() and first.get_xlim() == second.get_xlim()
    assert any(np.allclose(line.get_ydata(), [4, 1]) for line in first.lines)


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        ({}, "one to four"),
        ({"EM": [1.0, 2.0, 3.0]}, "after q, p"),
        ({"EM": []}, "after q, p"),
        ({"EM": [1.0, np.nan]}, "finite"),
    ],
)
def test_bad_stairs_are_named(paths, word):
    with pytest.raises(ValueError, match=word):
        alternation(paths)


def test_seeds_are_all_drawn_and_panels_of_one_unit_share_their_limits():
    panels = {
        "A": {"EM": [70.0, 80.0], "CoLLike": [60.0, 62.0]},
        "B": {"EM": [10.0, 20.0]},
        "Nats": {"EM": [1.0, 2.0]},
    }
    picture = seed_panels(panels, units={"A": "percent", "B": "percent"})
    first, second, third = picture.axes
    assert first.get_ylim() == second.get_ylim() != third.get_ylim()
    drawn = np.concatenate([line.get_ydata() for line in first.lines])
    assert {70.0, 80.0, 60.0, 62.0} <= set(drawn)
    assert "A, EM 75.0; A, CoLLike 61.0; B, EM 15.0" in picture.alt
    assert len(plots.png(picture)) > 1000


def test_too_many_seed_panels_are_refused():
    with pytest.raises(ValueError, match="one to four"):
        seed_panels({str(k): {"EM": [1.0]} for k in range(5)})


def test_components_are_circles_of_one_and_two_scales():
    x = np.random.default_rng(0).normal(size=(1200, 2))
    means = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    picture = mixture_fits(x, {"EM": (means, 0.3), "MaL": (means[:1], [0.5])})
    circles = [c for c in picture.axes[0].collections if isinstance(c, EllipseCollection)]
    assert sorted(float(c.get_widths()[0]) for c in circles) == pytest.approx([0.6, 1.2])
    assert all(np.allclose(c.get_offsets(), means) for c in circles)
    assert len(picture.axes[0].lines[0].get_xdata()) <= 500
    assert "EM: 3 components in 2 places; MaL: 1 components in 1 place" in picture.alt
    assert picture.axes[0].get_xlim() == picture.axes[1].get_xlim()
    assert len(plots.png(picture)) > 1000


def test_places_are_counted_in_units_of_the_smallest_scale():
    means = [[0.0, 0.0], [0.0, 0.04], [0.0, 0.2]]
    assert places(means, 0.5) == 2
    assert places(means, [0.5, 0.5, 0.01]) == 3


@pytest.mark.parametrize(
    ("x", "fits", "word"),
    [
        (np.zeros((3, 1)), {"A": (np.zeros((1, 2)), 1.0)}, "x: expected"),
        (np.zeros((3, 2)), {}, "one to four"),
        (np.zeros((3, 2)), {"A": (np.zeros((1, 3)), 1.0)}, "means of 'A'"),
        (np.zeros((3, 2)), {"A": (np.zeros((2, 2)), [1.0])}, "scales of 'A'"),
        (np.zeros((3, 2)), {"A": (np.zeros((2, 2)), -1.0)}, "scales of 'A'"),
    ],
)
def test_bad_mixtures_are_named(x, fits, word):
    with pytest.raises(ValueError, match=word):
        mixture_fits(x, fits)
