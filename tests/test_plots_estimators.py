"""Pictures of several rulers, and the plane of two-dimensional data."""

import numpy as np
import pytest
from test_plots import tidy

from lvmlab import plots
from lvmlab.diagnostics import estimator_curves, gaussian_pairs, information_estimates
from lvmlab.plots.estimators import apart, check_curves
from lvmlab.plots.planes import check_density, data_plane, smoothed


def read(true, seeds=3, **settings):
    return [
        information_estimates(*gaussian_pairs(true, 300, seed=s), batch_sizes=(32,), **settings)
        for s in range(seeds)
    ]


def test_rulers_show_every_model_its_seeds_and_its_ceilings():
    readings = {"VAE": read(0.5), "MIM": read(3.0), "A-MIM": read(7.0)}
    picture = plots.rulers(readings)
    assert tidy(picture) > 20
    for name, runs in readings.items():
        means = np.mean([[row.information for row in run] for run in runs], axis=0)
        assert f"{name}: KSG {means[0]:.2f}, M 32 {means[1]:.2f}, all {means[2]:.2f}" in picture.alt
    first = picture.axes[0]
    assert sum(len(line.get_xdata()) for line in first.lines if line.get_marker() == "o") == 9
    caps = {round(row.ceiling, 6) for row in readings["VAE"][0]}
    heights = {round(patch.get_y(), 6) for patch in first.patches}
    assert caps == heights  # the hatched bands begin at the ceilings
    assert len({ax.get_ylim() for ax in picture.axes}) == 1


def test_rulers_draw_the_closed_form_as_a_line_and_refuse_odd_runs():
    picture = plots.rulers({"VAE": read(2.0, 1, exact=2.0)})
    assert any(list(line.get_ydata()) == [2.0, 2.0] for line in picture.axes[0].lines)
    with pytest.raises(ValueError, match="one to four models, got 0"):
        plots.rulers({})
    with pytest.raises(ValueError, match=r"readings\['VAE'\]: expected one or more runs.*none"):
        plots.rulers({"VAE": []})
    mixed = [*read(2.0, 1), *read(2.0, 1, exact=2.0)]
    with pytest.raises(ValueError, match="with the same estimators"):
        plots.rulers({"VAE": mixed})


def test_curves_know_the_ceiling_of_ksg():
    from lvmlab.diagnostics import ksg_ceiling

    known = check_curves(estimator_curves([0, 1, 2], (8, 64), (3, 5), samples=64, seeds=1))
    for k in (3, 5):
        assert known.ksg_ceiling(k) == pytest.approx(ksg_ceiling(64, k), abs=1e-12)
    assert known.at(1.4) == 1


def test_heights_are_moved_apart_in_their_own_order():
    assert apart([3.0, 1.0, 3.1], 0.5) == [3.0, 1.0, 3.5]
    assert apart([0.0, 0.0], 1.0) == [0.0, 1.0]


def test_a_smoothed_density_has_mass_one_and_the_moments_of_the_data():
    points = np.random.default_rng(0).normal([1, -2], [0.5, 0.8], (500, 2))
    x1, x2, values = smoothed(points)
    weight = (x1[1] - x1[0]) * (x2[1] - x2[0])
    assert values.sum() * weight == pytest.approx(1)
    assert (values.sum(1) @ x1) * weight == pytest.approx(points[:, 0].mean(), abs=1e-2)
    assert (values.sum(0) @ x2) * weight == pytest.approx(points[:, 1].mean(), abs=1e-2)
    with pytest.raises(ValueError, match=r"points: expected finite samples of shape \(N, 2\)"):
        smoothed(points[:, 0])
    with pytest.raises(ValueError, match="points: expected samples that differ"):
        smoothed(np.zeros((5, 2)))


def test_a_data_plane_is_square_and_bluest_at_the_peak():
    density = smoothed(np.random.default_rng(0).normal(size=(300, 2)))
    given = check_density(np.random.default_rng(0).normal(size=(300, 2)))
    np.testing.assert_array_equal(given.values, density.values)  # samples are smoothed
    picture = plots.figure(4.4, 3.6)
    ax = data_plane(picture, 0.7, 0.6, 2.5, density)
    assert ax.get_xlim() == ax.get_ylim() == density.limits
    tidy(picture)
    for bad, message in (
        ((density.x1, density.x2), "got 2 parts"),
        ((density.x1, density.x2[:5], density.values), "values \\(A, B\\)"),
        ((density.x1, density.x2, -density.values), "logarithms"),
    ):
        with pytest.raises(ValueError, match=message):
            check_density(bad)
