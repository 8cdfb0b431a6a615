"""States side by side, rows of images, and pictures small enough for a page that is kept."""

import io

import numpy as np
import pytest
from PIL import Image

from lvmlab.plots import Grid, figure, image_rows
from lvmlab.plots.states import states
from lvmlab.plots.style import png, smaller

GRID = Grid(np.linspace(-8, 8, 121), np.linspace(-4, 4, 101))


def gaussian(tilt, width=2.0):
    """A joint of x and z with correlation `tilt`, x of scale `width` and z of scale 1."""
    x, z = GRID.x[:, None] / width, GRID.z[None]
    square = (x**2 - 2 * tilt * x * z + z**2) / (1 - tilt**2)
    return np.exp(-square / 2) / (2 * np.pi * width * np.sqrt(1 - tilt**2))


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_the_alt_text_tells_information_and_kl_of_each_state():
    picture = states(GRID, {"wide": (gaussian(0), gaussian(0, 1.0)), "one": (gaussian(0.8), None)})
    kl = (4 - 1) / 2 - np.log(2)  # N(0, 4) against N(0, 1)
    assert f"wide has I = 0.00 nats and a KL from q to p of {kl:.2f} nats" in picture.alt
    assert f"one has I = {-np.log(1 - 0.64) / 2:.2f} nats." in picture.alt


def test_all_states_share_their_scales():
    picture = states(GRID, {"sharp": (gaussian(0.9), None), "flat": (gaussian(0), None)})
    images = [image for ax in picture.axes for image in ax.images]
    assert len(images) == 2
    assert {image.get_clim() for image in images} == {(0, gaussian(0.9).max())}


def test_a_model_alone_is_filled_in_orange():
    picture = states(GRID, {"p": (None, gaussian(0.5))})
    assert [image.get_cmap().name for ax in picture.axes for image in ax.images] == ["lvm_p"]


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_or_too_many_states_are_refused(count):
    with pytest.raises(ValueError, match=f"one to four states, got {count}"):
        states(GRID, {str(k): (gaussian(0), None) for k in range(count)})


def test_a_state_without_joints_and_one_that_is_no_distribution_are_named():
    with pytest.raises(ValueError, match=r"'empty'.*got neither"):
        states(GRID, {"empty": (None, None)})
    with pytest.raises(ValueError, match=r"q of 'half'.*total mass of 1"):
        states(GRID, {"half": (gaussian(0) / 2, None)})


def test_image_rows_show_whole_images():
    picture = figure(4, 2)
    rows = image_rows(
        picture, 0, 0.1, 4, {"data": np.ones((3, 8, 8)), "decoded": np.ones((3, 8, 8))}
    )
    for ax in rows:
        assert ax.get_xlim() == (-0.5, 25.5)
        assert ax.get_ylim() == (7.5, -0.5)


@pytest.mark.slow
def test_a_kept_picture_weighs_less_and_looks_the_same():
    picture = states(GRID, {"q and p": (gaussian(0.8), gaussian(0.5)), "p": (None, gaussian(0.8))})
    full = png(picture, dpi=150)
    kept = smaller(full)
    assert len(kept) < 0.6 * len(full)
    change = np.abs(pixels(kept) - pixels(full))
    assert change.mean() < 1
    assert np.percentile(change, 99.9) < 24
