"""Distances of colours, maps, sums over a grid, and pictures neither cut nor crowded."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from threading import Event, Thread

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lvmlab import plots
from lvmlab.plots import curves, frames, joints, measure, style, tables
from lvmlab.plots.curves import running_mean

ROOT = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------------------------- colour science
MACHADO = {  # Machado, Oliveira and Fernandes 2009, full severity, on linear RGB
    "normal": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "tritanope": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(colour, vision="normal"):
    """CIELAB under D65 of a colour as it is seen with one kind of vision."""
    seen = np.clip(np.asarray(MACHADO[vision]) @ linear(colour), 0, 1)
    t = XYZ @ seen / XYZ.sum(1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a, b):
    """WCAG's ratio of luminances."""
    high, low = sorted((float(linear(c) @ XYZ[1]) for c in (a, b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


SETS = {
    "q and p": ((style.Q, style.P), (109, 105, 87, 106), 0.6),
    "families": (tuple(style.FAMILIES.values()), (51.7, 23.7, 23.6, 29.9), 0.06),
    "classes": (style.CLASSES, (35.0, 26.2, 27.8, 31.7), 0.06),
    "few classes and p": ((*style.FEW_CLASSES, style.P), (39.6, 24.1, 26.4, 33.6), 0.06),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("vision", MACHADO)
def test_colours_keep_their_distance_for_every_reader(name, vision):
    colours, expected, tolerance = SETS[name]
    nearest = min(
        np.linalg.norm(lab(a, vision) - lab(b, vision)) for a, b in combinations(colours, 2)
    )
    assert nearest == pytest.approx(expected[list(MACHADO).index(vision)], abs=tolerance)
    assert nearest > 20


@pytest.mark.parametrize(
    ("colour", "ground", "ratio"),
    [
        (style.Q, "white", 5.8),
        (style.Q, style.FLOOR, 5.3),
        (style.P, "white", 4.0),
        (style.P, style.FLOOR, 3.7),
        (style.INK, "white", 15.0),
        (style.TICK, "white", 8.1),
        (style.NOTE, "white", 4.9),
        (style.AXIS, "white", 3.2),
        (style.EXACT, "white", 2.2),
        (style.ESTIMATORS[0], "white", 2.3),
        (style.ESTIMATORS[1], "white", 3.8),
        (style.ESTIMATORS[2], "white", 8.8),
    ],
)
def test_words_and_marks_stand_out_from_their_ground(colour, ground, ratio):
    assert contrast(colour, ground) == pytest.approx(ratio, abs=0.07)


@pytest.mark.parametrize("cmap", [plots.lvm_q, plots.lvm_p, plots.lvm_n], ids=lambda m: m.name)
def test_maps_fall_by_ten_steps_of_lightness_from_white(cmap):
    light = np.array([lab(cmap(k / 8))[0] for k in range(9)])
    assert light[0] == pytest.approx(100, abs=0.01)
    # The orange map starts a little steeper: full orange is not lighter.
    np.testing.assert_allclose(np.diff(light), -10, atol=1.6)
    fine = [lab(cmap(t))[0] for t in np.linspace(0, 1, 65)]
    assert (np.diff(fine) < 0).all()


def test_gap_map_is_symmetric_about_white():
    light = np.array([lab(plots.lvm_gap(k / 8))[0] for k in range(9)])
    assert light[4] == pytest.approx(100, abs=0.01)
    np.testing.assert_allclose(light, light[::-1], atol=3)
    assert (np.diff(light[:5]) > 0).all()
    low, high = lab(plots.lvm_gap(0.1)), lab(plots.lvm_gap(0.9))
    assert low[2] > 20 > -20 > high[2]  # orange where p holds more, blue where q does


# --------------------------------------------------------------------------------- the style itself
def run(code):
    """Run code in a fresh interpreter where `lvmlab` is its folder alone, without its __init__."""
    start = f"""
import sys, types
package = types.ModuleType("lvmlab")
package.__path__ = [{str(ROOT / "lvmlab")!r}]
sys.modules["lvmlab"] = package
"""
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_importing_plots_leaves_the_readers_settings_alone():
    done = run("""
import matplotlib
def settings():  # asking for "backend" would choose one, and import pyplot
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
before = settings()
maps = set(matplotlib.colormaps)
import lvmlab.plots, lvmlab.widgets
assert settings() == before
assert set(matplotlib.colormaps) == maps
for name in ("torch", "matplotlib.pyplot", "scipy", "sklearn"):
    assert name not in sys.modules, name
""")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_plots_do_not_need_widgets():
    done = run("import lvmlab.plots; assert 'ipywidgets' not in sys.modules")
    assert done.returncode == 0, done.stderr


def small_picture():
    picture = plots.figure(4.4, 3.6)
    ax = plots.place(picture, 0.7, 0.6, 3, 2)
    ax.set(xlim=(0, 2), ylim=(-1, 1))
    plots.ticks(ax, (0, 1, 2), (-1, 0, 1))
    plots.heading(ax, "Title", r"note with $z_1$")
    plots.ceiling(ax, 0.5, start=1)
    return picture


def test_a_picture_keeps_its_style_under_hostile_settings():
    expected = plots.png(small_picture())
    hostile = {
        "font.size": 30,
        "xtick.labelsize": 30,
        "hatch.linewidth": 5,
        "mathtext.fontset": "stix",
        "figure.facecolor": "black",
        "axes.grid": True,
        "savefig.bbox": "tight",
        "savefig.dpi": 30,
    }
    with matplotlib.rc_context(hostile):
        picture = small_picture()
        assert plots.png(picture) == expected
        assert picture._repr_mimebundle_()[0] == small_picture()._repr_mimebundle_()[0]
        assert matplotlib.rcParams["font.size"] == 30


def test_two_threads_take_turns_in_the_style():
    """Else the one that leaves last puts the style of the other into the reader's own plots."""
    size, entered, left = matplotlib.rcParams["font.size"], Event(), Event()

    def other():
        with style.style():
            entered.set()
            left.wait(5)

    thread = Thread(target=other)
    with style.style():
        thread.start()
        early = entered.wait(0.2)
    left.set()
    thread.join()
    assert entered.is_set() and not early and matplotlib.rcParams["font.size"] == size


def test_a_picture_tells_what_it_shows():
    picture = small_picture()
    picture.alt = "A line."
    data, metadata = picture._repr_mimebundle_()
    assert data["text/plain"] == "A line."
    assert metadata["image/png"] == {"width": 440, "alt": "A line."}


@pytest.mark.parametrize("size", [(0, 3), (9, -1), (np.nan, 3), (9, np.inf)])
def test_figure_refuses_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="positive inches"):
        plots.figure(*size)


def test_looks_follow_family_and_variant():
    look = plots.look
    assert look("ELBO").colour == look("beta = 4").colour == style.FAMILIES["ELBO"]
    assert look("ELBO").dash == style.SOLID
    assert look("ELBO, beta = 4").dash == look("annealed ELBO").dash == style.DASHED
    assert look("importance weighted").dash == style.DOTTED
    assert look("A-MIM, seed 3") == look("a-mim") != look("MIM")
    assert look("MIM-H").dash == style.DOTTED
    assert look("EM").colour == look("MaL").colour
    assert look("EM").dash != look("MaL").dash
    assert look("remember").colour == style.NOTE  # "em" inside a word is no objective
    assert len({style.MARKERS[f] for f in style.FAMILIES}) == 6


# ------------------------------------------------------------------------------------------ frames
def test_three_ticks_are_round_even_and_inside():
    rng = np.random.default_rng(0)
    for _ in range(500):
        low = rng.normal() * 10.0 ** rng.integers(-3, 4)
        high = low + 10.0 ** rng.uniform(-3, 4)
        marks = plots.three(low, high)
        span = high - low
        assert len(marks) == 3
        assert low - 1e-6 * span <= marks[0] < marks[1] < marks[2] <= high + 1e-6 * span
        np.testing.assert_allclose(np.diff(marks, 2), 0, atol=1e-6 * span)
        assert marks[2] - marks[0] > 0.3 * span
        if low < -0.3 * span and high > 0.3 * span:
            assert 0 in marks
    assert plots.three(-3.4, 3.4) == [-3, 0, 3]
    assert plots.three(0, 60) == [0, 30, 60]
    with pytest.raises(ValueError, match="low < high"):
        plots.three(1, 1)


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert plots.number(-0.25, 2) == "−0.25"
    assert plots.number(-0.001, 2) == "0.00"
    assert plots.number(-0.0) == "0"
    assert plots.number(1.5) == "1.5"
    assert plots.number(np.inf, 2) == "inf"
    assert plots.number(-np.inf) == "−inf"


def test_place_knows_its_kinds():
    picture = plots.figure(5, 4)
    ax = plots.place(picture, 1, 1, 2.5, 2, kind="floor")
    assert ax.get_facecolor()[:3] == to_rgb(style.FLOOR)
    np.testing.assert_allclose(ax.get_position().bounds, (0.2, 0.25, 0.5, 0.5))
    with pytest.raises(ValueError, match="open, box, floor, blank"):
        plots.place(picture, 0, 0, 1, 1, kind="round")


# -------------------------------------------------------------------------------- sums over a grid
P = np.array([[0.20, 0.05], [0.10, 0.15], [0.05, 0.25], [0.12, 0.08]])
DATA = np.array([1, 1, 1, 0]) / 3
ENCODER = np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8], [0.5, 0.5]])
TABLE = plots.Grid.table((4, 2))
TARGETS = {
    "MaL": DATA[:, None] * P / P.sum(1, keepdims=True),
    "ELBO": DATA[:, None] * ENCODER,
    "CoLLike": DATA[:, None] * np.eye(2)[[0, 1, 1, 0]],
}


@pytest.mark.parametrize(
    ("name", "kl"), [("MaL", 0.226908), ("ELBO", 0.244370), ("CoLLike", 0.532338)]
)
def test_grid_gives_the_joint_kl_of_each_target(name, kl):
    assert TABLE.kl(TARGETS[name], P) == pytest.approx(kl, abs=1e-6)
    misfit, gap = TABLE.split(TARGETS[name], P)
    assert misfit == pytest.approx(0.226908, abs=1e-6)
    assert misfit + gap.sum() == pytest.approx(kl, abs=1e-6)


def test_grid_gives_the_gap_of_each_datum():
    _, gap = TABLE.split(TARGETS["ELBO"], P)
    np.testing.assert_allclose(3 * gap, [0.028168, 0.020411, 0.003807, 0], atol=1e-6)


def test_grid_information_is_that_of_the_table():
    square = plots.Grid.table((2, 2))
    assert square.information([[0.3, 0.1], [0.2, 0.4]]) == pytest.approx(0.086305, abs=1e-6)
    assert TABLE.information(P.sum(1)[:, None] * P.sum(0)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, -0.95])
def test_grid_integrates_gaussians(correlation):
    x, z = np.linspace(-8, 8, 241), np.linspace(-16, 16, 301)
    grid = plots.Grid(x, z)

    def gaussian(r):
        a, b = np.meshgrid(x, z / 2, indexing="ij")
        square = (a**2 - 2 * r * a * b + b**2) / (1 - r**2)
        return np.exp(-0.5 * square) / (4 * np.pi * np.sqrt(1 - r**2))

    joint = grid.check(gaussian(correlation))
    expected = -0.5 * np.log(1 - correlation**2)
    assert grid.information(joint) == pytest.approx(expected, abs=1e-9)
    assert grid.kl(joint, gaussian(0.0)) == pytest.approx(expected, abs=1e-9)


def test_kl_is_infinite_where_p_excludes_what_q_allows_but_survives_underflow():
    p = np.array([[0.5, 0.0], [0.25, 0.25]])
    q = np.full((2, 2), 0.25)
    grid = plots.Grid.table((2, 2))
    assert grid.kl(q, p) == np.inf
    assert np.isfinite(grid.kl(p, q))
    assert grid.split(q, p)[1].tolist() == [np.inf, pytest.approx(0)]
    x = np.linspace(-30, 30, 601)
    wide = plots.Grid(x, [0], discrete_z=True)
    a = np.exp(-0.5 * x**2)[:, None] / np.sqrt(2 * np.pi)
    b = np.exp(-0.5 * (x / 0.7) ** 2)[:, None] / np.sqrt(2 * np.pi) / 0.7
    assert (b == 0).any()
    expected = np.log(0.7) + 0.5 / 0.49 - 0.5
    assert wide.kl(a, b) == pytest.approx(expected, abs=1e-9)
    gone = np.where(x > 0, 1, 0)[:, None] * 2 * a
    assert wide.kl(a, gone) == np.inf


def test_grid_works_on_films():
    film = np.stack([TARGETS["MaL"], TARGETS["ELBO"]])
    np.testing.assert_allclose(TABLE.kl(film, P), [0.226908, 0.244370], atol=1e-6)
    assert TABLE.information(film).shape == (2,)
    assert TABLE.check(film) is film


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (P.T, r"expected shape \(\.\.\., 4, 2\).*try its transpose"),
        (P[:3], r"expected shape \(\.\.\., 4, 2\)"),
        (2 * P, "total mass of 1 within 1e-06, got 2"),
        (np.where(P == 0.05, np.nan, P), "got 2 that are not"),
        (np.log(P), "smallest value.*logarithms"),
    ],
)
def test_grid_refuses_what_is_no_distribution(joint, message):
    with pytest.raises(ValueError, match="mine: .*" + message):
        TABLE.check(joint, "mine")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([0, 1], "at least three"),
        ([0, 1, np.nan, 3], "finite"),
        ([0, 1, 3, 4], "evenly spaced"),
        ([3, 2, 1], "increasing"),
    ],
)
def test_grid_refuses_uneven_points(x, message):
    with pytest.raises(ValueError, match="x: .*" + message):
        plots.Grid(x, [0, 1, 2])


def test_contributions_sum_to_kl_and_hold_infinity():
    assert plots.contributions(TARGETS["ELBO"], P).sum() == pytest.approx(0.244370, abs=1e-6)
    cells = plots.contributions([0.5, 0.5, 0.0], [0.5, 0.0, 0.5])
    assert cells.tolist() == [0, np.inf, 0]


def test_entropy_of_tables():
    assert plots.entropy(np.full((2, 3), 1 / 6)) == pytest.approx(np.log(6))
    assert plots.entropy([1.0, 0.0]) == 0
    assert plots.entropy(TARGETS["CoLLike"]) == pytest.approx(np.log(3))


# -------------------------------------------------------------------------- what a picture is like
def tidy(picture):
    """Say that no word of a picture is cut at its edge or printed over another word."""
    picture.canvas.draw()
    bare = [axis for ax in picture.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis)]
    hidden = {text for axis in bare for text in axis.findobj(matplotlib.text.Text)}
    boxes = []
    for text in picture.findobj(matplotlib.text.Text):
        shown = text.get_visible() and text.get_text().strip()
        if not shown or (text.axes is not None and not text.axes.get_visible()):
            continue
        if text in hidden:
            continue
        boxes.append((text, text.get_window_extent()))
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0, f"cut: {text.get_text()!r}"
        assert box.x1 <= picture.bbox.x1 and box.y1 <= picture.bbox.y1, f"cut: {text.get_text()!r}"
    for (one, a), (two, b) in combinations(boxes, 2):
        wide = min(a.x1, b.x1) - max(a.x0, b.x0)
        tall = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert wide <= 1 or tall <= 2, f"{one.get_text()!r} lies on {two.get_text()!r}"
    return len(boxes)


def test_tidy_sees_a_cut_and_a_crowded_word():
    picture = plots.figure(4, 3)
    picture.text(0.9, 0.5, "a long word at the edge")
    with pytest.raises(AssertionError, match="cut"):
        tidy(picture)
    picture = plots.figure(4, 3)
    picture.text(0.2, 0.5, "first")
    picture.text(0.22, 0.5, "second")
    with pytest.raises(AssertionError, match="lies on"):
        tidy(picture)


def wave():
    """A bent joint over a continuous plane, with a target of three bumps."""
    x, z = np.linspace(-4, 4, 121), np.linspace(-3.5, 3.5, 141)

    def normal(t, mean, scale):
        return np.exp(-0.5 * ((t - mean) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))

    p = normal(z, 0, 1) * normal(x[:, None], 2.3 * np.sin(1.45 * z), 0.8)
    data = 0.4 * normal(x, -2, 0.4) + 0.25 * normal(x, 0.2, 0.3) + 0.35 * normal(x, 2.1, 0.45)
    grid = plots.Grid(x, z)
    mal = data[:, None] * p / (p.sum(1, keepdims=True) * grid.dz)
    return grid, p, {"MaL": mal, "ELBO": data[:, None] * normal(z, 0.36 * x[:, None], 0.33)}


@pytest.mark.slow
def test_lens_shows_what_it_says():
    grid, p, targets = wave()
    pairs = np.stack([np.linspace(-2, 2, 48), np.linspace(-2, 2, 48)], -1)
    picture = plots.lens(grid, p, {**targets, "CoLLike": targets["MaL"]}, {"CoLLike": pairs})
    words = [t.get_text() for t in picture.findobj(matplotlib.text.Text)]
    for name, q in targets.items():
        assert f"{name} target" in words
        assert f"I = {float(grid.information(q)):.2f} nats" in words
        assert f"KL to p {float(grid.kl(q, p)):.2f}" in words
        assert f"{name} {float(grid.kl(q, p)):.2f} nats" in picture.alt
    assert {"I = 3.87 nats", "ceiling log 48"} <= set(words)
    assert tidy(picture) > 20
    data, _ = picture._repr_mimebundle_()
    assert len(data["image/png"]) * 3 / 4 < 180_000


@pytest.mark.slow
def test_lens_over_rows_and_over_a_table_is_tidy():
    grid, p, targets = wave()
    rows = plots.Grid(grid.x, ["low", "high"], discrete_z=True)
    halves = [
        np.stack([j[:, :70].sum(1), j[:, 70:].sum(1)], -1) * grid.dz for j in (p, *targets.values())
    ]
    tidy(plots.lens(rows, halves[0], {"MaL": halves[1], "ELBO": halves[2]}))
    tidy(plots.lens(TABLE, P, TARGETS))
    columns = plots.Grid(["left", "right"], grid.z, discrete_x=True)
    sides = np.stack([p[:60].sum(0), p[60:].sum(0)]) * grid.dx
    tidy(plots.lens(columns, sides / sides.sum() / grid.dz, {"MaL": sides / sides.sum() / grid.dz}))


def test_lens_refuses_too_many_targets_and_bad_arrays():
    with pytest.raises(ValueError, match="targets: expected 1 to 3, got 4"):
        plots.lens(TABLE, P, {str(k): P for k in range(4)})
    with pytest.raises(ValueError, match="targets: expected 1 to 3, got 0"):
        plots.lens(TABLE, P, {})
    with pytest.raises(ValueError, match=r"targets\['MaL'\]: .*try its transpose"):
        plots.lens(TABLE, P, {"MaL": P.T})
    with pytest.raises(ValueError, match=r"pairs: expected finite numbers of shape \(N, 2\)"):
        plots.lens(TABLE, P, {"CoLLike": P}, {"CoLLike": [1, 2, 3]})


def test_contours_of_a_gaussian_lie_where_they_should():
    x = np.linspace(-4, 4, 161)
    grid = plots.Grid(x, x)
    joint = np.exp(-0.5 * (x[:, None] ** 2 + x**2)) / (2 * np.pi)
    lines = joints.outline(grid, joint)
    radii = [np.linalg.norm(line, axis=1) for line in lines]
    expected = np.sqrt(-2 * np.log(joints.LEVELS))
    assert len(lines) == 3
    for radius, value in zip(radii, expected, strict=True):
        np.testing.assert_allclose(radius, value, atol=0.01)


def area(shape):
    x, y = np.asarray(shape).T
    return 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))


def test_areas_of_shapes_are_in_proportion_to_probability():
    squares = np.array([area(s) for s in joints.bodies(TABLE, P)])
    np.testing.assert_allclose(squares / squares.sum(), P.ravel(), rtol=1e-9)
    grid, p, _ = wave()
    rows = plots.Grid(grid.x, [0, 1, 2], discrete_z=True)
    thirds = np.stack([p[:, :40].sum(1), p[:, 40:100].sum(1), p[:, 100:].sum(1)], -1) * grid.dz
    hills = np.array([area(s) for s in joints.bodies(rows, thirds)])
    np.testing.assert_allclose(hills / hills.sum(), thirds.sum(0) / thirds.sum(), rtol=1e-3)


def test_q_and_p_of_equal_joints_have_equal_outlines():
    view = joints.JointView(plots.figure(), (1, 1, 2, 2), TABLE, "target", 0.3, 0.5, 0.8)
    view.show(q=P, p=P)
    filled = [path.vertices[:4] for path in view.shapes.get_paths()]
    lines = [segment[:4] for segment in view.lines.get_segments()]
    np.testing.assert_allclose(filled, lines)


# ------------------------------------------------------------------------------------------ tables
def test_table_writes_its_numbers_and_names_infinity():
    view = plots.table(plots.figure(), (1, 1, 3, 2), [[0.1, np.inf], [-0.25, 0.0]], kind="gap")
    assert [w.get_text() for w in view.words] == ["0.10", "inf", "−0.25", "0.00"]
    low, high = view.image.get_clim()
    assert low == -high
    np.testing.assert_allclose(view.image.get_array(), [[0.1, -0.25], [0.25, 0.0]])


def test_words_on_tables_can_be_read():
    for kind, cmap in tables.MAPS.items():
        values = np.linspace(-1 if kind == "gap" else 0, 1, 33)[:, None]
        view = plots.table(plots.figure(), (1, 1, 7, 1), values, kind=kind)
        for value, word in zip(values.ravel(), view.words, strict=True):
            ground = cmap((value + 1) / 2 if kind == "gap" else value)
            assert contrast(word.get_color(), ground) > 3.0, (kind, value)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.ones(3), r"shape \(X, Z\)"), (np.full((2, 2), np.nan), "got 4 NaN")],
)
def test_table_refuses_other_arrays(values, message):
    with pytest.raises(ValueError, match="values: .*" + message):
        plots.table(plots.figure(), (1, 1, 2, 2), values)


def test_table_view_refuses_another_shape():
    view = plots.TableView(plots.figure(), (1, 1, 2, 2), (3, 2))
    with pytest.raises(ValueError, match=r"expected shape \(3, 2\).*got \(2, 3\)"):
        view.show(np.ones((2, 3)) / 6)
    with pytest.raises(ValueError, match="kind: expected one of q, p, n, gap"):
        plots.TableView(plots.figure(), (1, 1, 2, 2), (3, 2), kind="x")


# ----------------------------------------------------------------------------------------- latents
def floor():
    return plots.latent_axes(plots.figure(), 1, 0.5, 2.5)


def test_ellipses_have_one_scale_and_are_at_most_130():
    rng = np.random.default_rng(0)
    marks = plots.ellipses(floor(), rng.normal(size=(1000, 2)), np.tile([0.5, 0.2], (1000, 1)))
    assert len(marks.get_offsets()) == 130
    np.testing.assert_allclose(marks.get_widths(), 1.0)
    np.testing.assert_allclose(marks.get_heights(), 0.4)


def test_prior_rings_are_round_dashed_and_on_top():
    ax = floor()
    rings = plots.prior_rings(ax)
    assert [r.get_radius() for r in rings] == [1, 2]
    assert all(r.get_edgecolor()[:3] == to_rgb(style.P) for r in rings)
    box = ax.get_window_extent()
    assert box.width == pytest.approx(box.height)
    assert ax.get_xlim() == ax.get_ylim()
    dots = plots.codes(ax, np.zeros((4, 2)))
    assert min(r.get_zorder() for r in rings) > max(d.get_zorder() for d in dots)


def test_names_of_classes_that_lie_on_each_other_become_a_key():
    z, labels = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 4
    apart, near = floor(), floor()
    for ax, spread in ((apart, 1.0), (near, 0.0)):
        ax.set(xlim=(-3, 3), ylim=(-3, 3))
        corners = 2 * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])[labels]
        plots.codes(ax, 0.1 * z + spread * corners, labels, list("abcd"))
    assert [t.get_text() for t in apart.texts] == list("abcd") and apart.get_legend() is None
    assert not near.texts
    key = near.get_legend()
    assert [t.get_text() for t in key.get_texts()] == list("abcd")
    assert [h.get_color() for h in key.legend_handles] == [dots.get_color() for dots in near.lines]


def test_codes_of_few_classes_stay_apart_from_p():
    z, labels = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 5
    few = plots.codes(floor(), z, labels)
    assert [line.get_color() for line in few] == list(style.FEW_CLASSES)
    ten = plots.codes(floor(), z, np.arange(50) % 10)
    assert [line.get_color() for line in ten] == list(style.CLASSES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ax: plots.codes(ax, np.zeros((4, 3))), r"z: .*\(4, 3\).*choose z\[:, :2\]"),
        (lambda ax: plots.codes(ax, np.zeros((4, 2)), [0, 1]), "labels: expected 4 integers"),
        (lambda ax: plots.codes(ax, np.zeros((1, 2)), [10]), "from 0 to 9"),
        (lambda ax: plots.ellipses(ax, np.zeros((4, 2)), np.zeros((4, 2))), "scales: .*positive"),
        (
            lambda ax: plots.ellipses(ax, np.full((4, 2), np.nan), np.ones((4, 2))),
            "means: .*finite",
        ),
    ],
)
def test_latents_refuse_other_arrays(call, message):
    with pytest.raises(ValueError, match=message):
        call(floor())


# ------------------------------------------------------------------------------------------ images
def test_image_grid_keeps_pixels_and_gutters():
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(5, 4, 3))
    ax = plots.place(plots.figure(), 0, 0, 3, 3, kind="blank")
    page = plots.image_grid(ax, images, columns=3).get_array()
    assert page.shape == (2 * 5 - 1, 3 * 4 - 1)
    np.testing.assert_allclose(page[:4, 4:7], images[1])
    np.testing.assert_allclose(page[5:9, 4:7], images[4])
    assert (page[:, 3] == 0).all()
    assert (page[4] == 0).all()


def test_image_rows_are_named_and_tidy():
    images = np.random.default_rng(0).uniform(size=(8, 8, 8))
    picture = plots.figure(9, 3)
    rows = plots.image_rows(picture, 0.2, 0.3, 8.6, {"data": images, "decoded": images[:4]})
    assert [ax.texts[0].get_color() for ax in rows] == [style.Q, style.P]
    assert rows[0].get_position().y0 > rows[1].get_position().y1
    tidy(picture)


def test_tiles_stand_the_first_row_at_the_bottom():
    tiles = np.zeros((3, 2, 2, 2))
    tiles[0] = 1.0
    page = plots.image_tiles(floor(), tiles, 3).get_array()
    assert page[-1, 0] == 1
    assert page[0, 0] == 0
    assert page.mask[2].all()  # between tiles the floor is seen


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.ones((4, 4)), r"shape \(N, H, W\)"),
        (np.ones((2, 4, 4, 2)), r"shape \(N, H, W\)"),
        (16 * np.ones((2, 4, 4)), "from 0 to 1, got 16 to 16; divide"),
        (np.full((2, 4, 4), np.nan), "finite"),
    ],
)
def test_images_refuse_other_arrays(images, message):
    ax = plots.place(plots.figure(), 0, 0, 3, 3, kind="blank")
    with pytest.raises(ValueError, match="images: .*" + message):
        plots.image_grid(ax, images)


# ------------------------------------------------------------------------------------------ curves
def test_names_beside_curves_are_pushed_apart_in_order():
    ax = plots.place(plots.figure(), 0.6, 0.6, 5, 2.5)
    ax.set(ylim=(0, 1))
    colour = style.INK
    texts = plots.beside(
        ax, {"a": (0.5, colour), "b": (0.51, colour), "c": (0.99, colour), "d": (0.98, colour)}
    )
    heights = {t.get_text(): t.xy[1] for t in texts}
    assert heights["a"] < heights["b"] < heights["d"] < heights["c"]
    gap = 13.9 / 72 / 2.5
    assert np.diff(sorted(heights.values())).min() >= gap
    assert max(heights.values()) <= 1


def test_running_mean_is_the_mean_of_neighbours():
    rng = np.random.default_rng(0)
    values = rng.normal(size=30)
    values[7] = np.nan
    for window in (1, 2, 5, 8, 100):
        smooth = running_mean(values, window)
        before, after = (window - 1) // 2, window // 2
        for t in range(30):
            near = values[max(t - before, 0) : t + after + 1]
            if np.isfinite(near).any():
                assert smooth[t] == pytest.approx(np.nanmean(near), abs=1e-12)
            else:
                assert np.isnan(smooth[t])


def history(seeds=3, steps=50):
    rng = np.random.default_rng(0)
    return {
        "ELBO": {
            "rate": 3 + rng.normal(size=(seeds, steps)),
            "distortion": 9 + rng.normal(size=(seeds, steps)),
        },
        "A-MIM": {"rate": 3.1 + rng.normal(size=(seeds, steps))},
    }


def test_terms_draw_every_seed_and_the_mean_in_the_colour_of_the_family():
    picture = plots.terms(history(), ceilings={"rate": (5.0, "ceiling log 148 = 5.00")})
    panel = picture.axes[0]
    elbo = [line for line in panel.lines if line.get_color() == style.FAMILIES["ELBO"]]
    assert sorted(line.get_linewidth() for line in elbo) == [0.5, 0.5, 0.5, 2.4]
    mean = next(line for line in elbo if line.get_linewidth() == 2.4)
    np.testing.assert_allclose(mean.get_ydata(), history()["ELBO"]["rate"].mean(0))
    assert "thin: 3 seeds" in panel.texts[-1].get_text() + panel.texts[-2].get_text()
    assert tidy(picture)
    assert "rate, distortion in nats" in picture.alt


def test_terms_survive_missing_values_and_single_runs():
    run = {"loss": [np.nan, 3.0, 2.0, 1.5]}
    tidy(plots.terms({"ELBO": run, "EM": {"loss": [3.0, 2.0]}}, smooth=2))
    tidy(plots.terms({"ELBO": {"loss": [2.0, 2.0]}}))
    tidy(plots.terms({"ELBO": {"loss": [np.nan, np.nan]}}))
    tidy(plots.terms(history(), show=["distortion"]))
    passes = plots.terms(history(), show=["rate"], along="pass")
    tidy(passes)
    assert passes.axes[0].get_xlabel() == "pass" and "against the pass" in passes.alt


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"show": ["elbo"]}, "among rate, distortion; got elbo"),
        ({"show": []}, "got none"),
        ({"smooth": 0}, "smooth: .*at least 1"),
        ({"steps": [0, 1]}, "steps: expected 50"),
    ],
)
def test_terms_refuse_what_is_not_there(options, message):
    with pytest.raises(ValueError, match=message):
        plots.terms(history(), **options)


def test_runs_and_strokes_refuse_other_shapes():
    ax = plots.place(plots.figure(), 0.6, 0.6, 5, 2.5)
    with pytest.raises(ValueError, match=r"y: expected shape \(3,\) or \(S, 3\)"):
        plots.runs(ax, [0, 1, 2], [[1, 2]])
    with pytest.raises(ValueError, match="values: expected at least one finite"):
        plots.strokes(ax, 0, [])
    with pytest.raises(ValueError, match="colours: expected 2"):
        plots.split_bar(ax, 0, (1, 2), (style.Q,))
    with pytest.raises(ValueError, match="end: expected a positive"):
        plots.meter(ax, 1, 0, style.INK)


def test_strokes_show_every_run_and_the_mean():
    ax = plots.place(plots.figure(), 0.6, 0.6, 5, 2.5)
    plots.strokes(ax, 2, [1.0, 2.0, 6.0], style.Q, decimals=1)
    dots, mean = ax.lines
    np.testing.assert_allclose(dots.get_ydata(), [1, 2, 6])
    assert abs(dots.get_xdata() - 2).max() <= 0.16
    np.testing.assert_allclose(mean.get_ydata(), 3)
    assert ax.texts[-1].get_text() == "3.0"


def test_split_bar_lies_end_to_end_and_meter_stops_at_its_end():
    ax = plots.place(plots.figure(), 0.6, 0.6, 5, 2.5)
    left, right = plots.split_bar(ax, 0, (3.17, 0.32), (style.Q, style.P))
    assert right.get_x() == pytest.approx(left.get_width())
    bar = curves.meter(ax, 9.0, 7.6, style.FAMILIES["ELBO"], "ceiling log 2000 = 7.6")
    assert bar.get_width() == 7.6


def test_ceiling_hatches_the_forbidden_side():
    ax = plots.place(plots.figure(), 0.6, 0.6, 5, 2.5)
    ax.set(xlim=(0, 9), ylim=(0, 9))
    band, line = frames.ceiling(ax, 3.9, start=3)
    assert band.get_y() == 3.9
    assert band.get_hatch() == "/////"
    assert line.get_xdata()[0] == 3
    band, _ = frames.ceiling(ax, 2.0, floor=True)
    assert band.get_y() + band.get_height() == pytest.approx(2.0)


def test_public_names_say_what_they_are():
    for module in (plots, curves, frames, joints, measure, style, tables):
        for name, thing in vars(module).items():
            mine = getattr(thing, "__module__", "").startswith("lvmlab.plots")
            if mine and not name.startswith("_") and callable(thing):
                assert thing.__doc__ and thing.__doc__.split("\n")[0].endswith("."), name
