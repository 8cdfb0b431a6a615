"""Pictures of information: what they say in words agrees with the numbers they were given."""

import numpy as np
import pytest

from lvmlab import plots
from lvmlab.plots.information import estimate_and_floor, pixel_information


def test_maps_share_one_scale_and_frame_the_largest_pixel():
    first = np.zeros((3, 4))
    first[2, 1] = 0.5
    picture = pixel_information({"A": first, "B": np.full((3, 4), 0.1)})
    images = [ax.images[0] for ax in picture.axes[:2]]
    assert [image.get_clim() for image in images] == [(0, 0.5), (0, 0.5)]
    frame = picture.axes[0].patches[-1]
    assert frame.get_xy() == (0.5, 1.5)
    assert "A: largest 0.500 nats, in row 2, column 1" in picture.alt
    assert len(plots.png(picture)) > 1000


@pytest.mark.parametrize(
    ("maps", "word"),
    [
        ({}, "one to three"),
        ({"A": np.zeros((2, 2)), "B": np.zeros((3, 3))}, "one shape"),
        ({"A": np.zeros(4)}, "shape"),
        ({"A": np.full((2, 2), np.nan)}, "finite"),
        ({"A": np.full((2, 2), -1.0)}, "none below 0"),
    ],
)
def test_bad_maps_are_named(maps, word):
    with pytest.raises(ValueError, match=word):
        pixel_information(maps)


def test_estimate_floor_and_difference_are_drawn_and_told():
    floors = np.array([[0.0, 0.5, 1.8], [0.2, 0.7, 2.0]])
    picture = estimate_and_floor([1, 4, 16], [0.5, 1.6, 2.0], floors, 2.1, "ceiling", "pixels")
    lines = [line.get_ydata() for line in picture.axes[0].lines if len(line.get_ydata()) == 3]
    for wanted in (floors.mean(0), [0.5, 1.6, 2.0], [0.4, 1.0, 0.1]):
        assert any(np.allclose(line, wanted) for line in lines)
    assert "peaks at 1.00 nats for 4 pixels and ends at 0.10" in picture.alt
    assert len(plots.png(picture)) > 1000


@pytest.mark.parametrize(
    ("sizes", "floors"),
    [
        ([1, 2, 3, 4], np.zeros((2, 3))),
        ([1, 2, 2], np.zeros((2, 3))),
        ([0, 1, 2], np.zeros((2, 3))),
    ],
)
def test_bad_sizes_are_named(sizes, floors):
    with pytest.raises(ValueError, match="sizes"):
        estimate_and_floor(sizes, np.zeros(3), floors, 1.0)
