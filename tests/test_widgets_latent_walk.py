"""The latent walk: straight lines decode where they should, corners move, bad arrays say why."""

import numpy as np
import pytest

from lvmlab.plots import style
from lvmlab.widgets import latent_walk

N = 40
Z = np.random.default_rng(0).normal(size=(N, 2))
WIDE = np.random.default_rng(1).normal(size=(N, 5))
LABELS = np.arange(N) % 10
IMAGES = np.random.default_rng(2).random((N, 3, 3))


def image(z):
    """A pixel for each of the first two numbers of z, the rest grey."""
    page = np.full((len(z), 3, 3), 0.5)
    page[:, 0, :2] = 1 / (1 + np.exp(-z[:, :2]))
    return page


class Watched:
    """A decoder that keeps what it was asked for."""

    def __init__(self, decode=image):
        self.decode, self.asked = decode, []

    def __call__(self, z):
        self.asked.append(np.array(z))
        return self.decode(z)


def log_prior(z):
    return -0.5 * (z**2).sum(1)


def test_the_path_is_straight_in_z_and_the_slider_looks_along_it():
    decode = Watched()
    panel = latent_walk(Z, decode, labels=LABELS, start={"A": 3, "B": 8, "t": 0.25})
    asked = decode.asked[-1]
    way = np.linspace(0, 1, 9)[:, None]
    np.testing.assert_allclose(asked[:9], (1 - way) * Z[3] + way * Z[8])
    np.testing.assert_allclose(asked[9], 0.75 * Z[3] + 0.25 * Z[8])
    panel.controls["t"].value = 1.0
    np.testing.assert_allclose(decode.asked[-1][9], Z[8])
    assert panel.error is None and panel.alt.startswith("A row 3, B row 8; t = 1.00")
    assert panel.alt.endswith(f"nearest row 8, class {LABELS[8]}.")


def test_four_corners_span_a_square():
    decode = Watched()
    rows = {"A": 1, "B": 2, "C": 3, "D": 4}
    latent_walk(WIDE, decode, corners=4, start={**rows, "s": 0.5, "t": 0.25})
    asked = decode.asked[-1]
    assert len(asked) == 50
    np.testing.assert_allclose(asked[[0, 6, 42, 48]], WIDE[[1, 2, 3, 4]])
    weights = np.array([0.375, 0.125, 0.375, 0.125])
    np.testing.assert_allclose(asked[49], weights @ WIDE[[1, 2, 3, 4]])


def test_the_strip_in_x_is_a_blend_of_the_data_and_its_path_is_encoded():
    seen = []

    def encode(x):
        seen.append(x)
        return np.tile(Z[5], (len(x), 1))

    panel = latent_walk(Z, image, data=IMAGES, encode=encode, start={"A": 0, "B": 7})
    way = np.linspace(0, 1, 9)[:, None, None]
    np.testing.assert_allclose(seen[-1], (1 - way) * IMAGES[0] + way * IMAGES[7])
    dots = [line for line in panel.picture.axes[0].lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dots[0].get_xydata(), np.tile(Z[5], (9, 1)))


def test_the_first_map_of_more_dimensions_is_their_principal_plane():
    from lvmlab.diagnostics import planar_map

    panel = latent_walk(WIDE, image, maps={"t-SNE": Z}, start={"A": 0, "B": 1})
    ends = np.array(panel.image.targets)
    assert list(panel.controls["map"].options) == ["PCA", "t-SNE"] and ends.shape == (2, 2)
    floor = panel.picture.axes[0]
    mine = floor.lines[-2].get_xydata()  # the corners, before the place that is looked at
    exact = planar_map(WIDE, "pca")[[0, 1]]
    np.testing.assert_allclose(mine, exact, atol=1e-6)
    panel.controls["map"].value = "t-SNE"
    assert panel.error is None and not floor.get_visible()
    other = panel.picture.axes[1]
    np.testing.assert_allclose(other.lines[-2].get_xydata(), Z[:2])  # rows lie where they lie


def fraction(panel, at):
    ax = panel.picture.axes[0]
    return panel.picture.transFigure.inverted().transform(ax.transData.transform(at))


def test_a_dragged_corner_snaps_to_the_nearest_row_and_a_pressed_place_is_decoded():
    decode = Watched()
    panel = latent_walk(Z, decode, log_prior=log_prior, start={"A": 0, "B": 1})
    panel.image.touch("down", *fraction(panel, Z[1]), 1)
    panel.image.touch("move", *fraction(panel, Z[9] + 1e-4), 1)
    assert panel.controls["B"].value == 9
    place = np.array([0.3, -0.4])
    panel.image.touch("down", *fraction(panel, place))
    np.testing.assert_allclose(decode.asked[-1][-1], place, atol=1e-6)
    assert "pressed, log p(z) = −0.1 nats".replace("−", "-") in panel.alt
    panel.controls["t"].value = 0.1  # looks along the path again
    np.testing.assert_allclose(decode.asked[-1][-1], 0.9 * Z[0] + 0.1 * Z[9])
    panel.image.touch("down", 0.99, 0.99)  # outside the floor: nothing happens
    np.testing.assert_allclose(decode.asked[-1][-1], 0.9 * Z[0] + 0.1 * Z[9])


def test_on_the_principal_axes_the_place_itself_is_decoded():
    """Straight back: the pressed place on the two axes, the mean of z on all others."""
    from sklearn.decomposition import PCA

    decode = Watched()
    panel = latent_walk(WIDE, decode)
    place = np.array([0.7, -0.3])
    panel.image.touch("down", *fraction(panel, place))
    pca = PCA(2, svd_solver="full").fit(WIDE)
    exact = pca.inverse_transform(place[None])[0]
    np.testing.assert_allclose(decode.asked[-1][-1], exact, atol=1e-5)
    assert "t" in panel.controls and "; pressed; nearest row" in panel.alt


def test_on_a_map_without_a_way_back_the_code_of_the_nearest_row_is_decoded_and_named():
    decode = Watched()
    maps = {"t-SNE, seed 0": Z, "t-SNE, seed 1": Z[::-1]}
    panel = latent_walk(WIDE, decode, maps=maps, start={"map": "t-SNE, seed 0"})
    near = Z[6] + 1e-3
    for name, row in (("t-SNE, seed 0", 6), ("t-SNE, seed 1", N - 7)):
        panel.controls["map"].value = name
        ax = next(ax for ax in panel.picture.axes if ax.axison and ax.get_visible())
        at = panel.picture.transFigure.inverted().transform(ax.transData.transform(near))
        panel.image.touch("down", *at)
        np.testing.assert_allclose(decode.asked[-1][-1], WIDE[row])
        assert f"pressed, the code of row {row}; nearest row {row}." in panel.alt
        words = [t.get_text() for t in panel.picture.findobj(lambda a: hasattr(a, "get_text"))]
        assert f"Decoded: code of row {row}" in words
    panel.controls["t"].value = 0.2
    assert "pressed" not in panel.alt


def test_two_priors_have_a_curve_each_and_the_first_is_the_joints_own():
    import torch

    from lvmlab import Joint
    from lvmlab.conditionals import Mixture
    from lvmlab.diagnostics import log_prior as of

    humps = Joint("p", {"z": Mixture(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), 0.5)})
    ends = np.array([[-2.0, 0.0], [2.0, 0.0]])
    both = {"its own": of(humps), "N(0, I)": lambda z: log_prior(z) - np.log(2 * np.pi)}
    panel = latent_walk(ends, image, log_prior=both, start={"A": 0, "B": 1})
    curves = [line.get_ydata() for line in panel.picture.axes[-1].lines]
    assert [(curve.min(), curve.max()) for curve in curves] == [(0, 1), (0, 1)]
    ends = [float(t.get_text().replace("−", "-")) for t in panel.picture.axes[-1].texts]
    own, normal = (
        low + (high - low) * curve
        for low, high, curve in zip(ends[::2], ends[1::2], curves, strict=True)
    )
    way = np.linspace(-2, 2, 9)

    def hump(x):  # the density of the mixture by hand
        each = np.exp(-0.5 * ((x - np.array([[-2.0], [2.0]])) / 0.5) ** 2)
        return np.log(each.mean(0) / (2 * np.pi * 0.5**2))

    np.testing.assert_allclose(own, hump(way), atol=0.1)
    np.testing.assert_allclose(normal, -0.5 * way**2 - np.log(2 * np.pi), atol=0.1)
    assert own.argmin() == 4 and normal.argmax() == 4  # one falls where the other rises
    assert "log p(z) of its own = " in panel.alt and "of N(0, I) = -1.8 nats" in panel.alt


def test_along_a_segment_the_density_is_never_below_its_worse_end():
    """What the reader is asked to notice: log p of a Gaussian is concave."""
    panel = latent_walk(WIDE, image, log_prior=log_prior, start={"A": 2, "B": 3})
    curve = panel.picture.axes[-1].lines[0].get_ydata()
    assert curve.min() == min(curve[0], curve[-1]) and panel.error is None


def test_texts_walk_too():
    texts = [f"text {i}" for i in range(N)]
    panel = latent_walk(
        WIDE, lambda z: [f"{v[0]:.2f} is said" for v in z], data=texts, start={"A": 0, "B": 1}
    )
    said = [t.get_text() for t in panel.picture.findobj(match=lambda a: hasattr(a, "get_text"))]
    assert f"A  {WIDE[0, 0]:.2f} is said" in said and f"B  {WIDE[1, 0]:.2f} is said" in said
    assert ": text" in panel.alt
    with pytest.raises(ValueError, match="corners: texts walk between 2"):
        latent_walk(WIDE, lambda z: ["a"] * len(z), corners=4)
    with pytest.raises(ValueError, match="data: expected what decode returns"):
        latent_walk(WIDE, image, data=texts)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": Z[:1]}, "z: expected finite codes"),
        ({"z": Z[:, :1]}, "z: expected finite codes"),
        ({"z": np.where(np.arange(2), Z, np.nan)}, "z: expected finite codes"),
        ({"labels": LABELS[1:]}, "labels: expected 40"),
        ({"data": IMAGES[1:]}, "data: expected 40"),
        ({"data": IMAGES.reshape(N, 9)}, "data: expected 40"),
        ({"maps": {"UMAP": WIDE}}, r"maps, UMAP: expected \(40, 2\)"),
        ({"corners": 3}, "corners: expected 2, or 4"),
        ({"decode": lambda z: z}, "decode: expected 1 texts or finite images"),
        ({"log_prior": lambda z: z}, r"log_prior: expected \(10,\) nats"),
        ({"log_prior": {"own": lambda z: z}}, r"log_prior: expected \(10,\) nats"),
        ({"start": {"C": 1}}, "start: expected names among A, B, t, map"),
    ],
)
def test_bad_arrays_say_what_was_expected(given, message):
    with pytest.raises(ValueError, match=message):
        latent_walk(**{"z": Z, "decode": image, **given})


def test_the_picture_is_readable_without_a_kernel(tmp_path):
    panel = latent_walk(Z, image, labels=LABELS, data=IMAGES, log_prior=log_prior)
    bundle, _ = panel._repr_mimebundle_()
    assert {"image/png", "text/plain"} <= set(bundle) and isinstance(panel.picture, style.Picture)
    panel.save(tmp_path / "walk.png")
    assert (tmp_path / "walk.png").stat().st_size > 10_000


def test_maps_side_by_side_ring_the_same_rows(tmp_path):
    from lvmlab.plots import latent_maps, png

    maps = {"PCA": Z, "t-SNE, seed 0": 30 * Z[:, ::-1], "t-SNE, seed 1": -Z}
    notes = {"PCA": "5-NN 90 %"}
    picture = latent_maps(maps, LABELS, notes=notes, rows={"A": 3, "B": 8})
    assert len(picture.axes) == 3 and picture.alt.startswith("The same 40 codes on 3 maps: PCA, t-")
    for ax, at in zip(picture.axes, maps.values(), strict=True):
        rings = [line.get_xydata()[0] for line in ax.lines if line.get_markersize() == 10]
        np.testing.assert_allclose(rings, at[[3, 8]])
    assert len(picture.axes[0].get_xticks()) == 3 and not len(picture.axes[1].get_xticks())
    assert len(png(picture)) > 10_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"maps": {}}, "maps: expected one to four, got 0"),
        ({"maps": dict.fromkeys("abcde", Z)}, "maps: expected one to four, got 5"),
        ({"maps": {"PCA": WIDE}}, r"maps, PCA: expected finite places \(N, 2\)"),
        ({"maps": {"PCA": Z, "b": Z[1:]}}, "maps: expected the same rows on each"),
        ({"labels": LABELS[1:]}, "labels: expected 40 integers"),
        ({"rows": {"A": 40}}, "rows, A: expected a row from 0 to 39, got 40"),
    ],
)
def test_bad_maps_say_what_was_expected(given, message):
    from lvmlab.plots import latent_maps

    with pytest.raises(ValueError, match=message):
        latent_maps(**{"maps": {"PCA": Z}, **given})
