"""The MCC bench and the pictures of scores over their floors."""

import base64

import numpy as np
import pytest
from test_plots import tidy
from test_widgets import limits, other, pixels

from lvmlab import plots
from lvmlab.diagnostics import mcc
from lvmlab.plots import style
from lvmlab.plots.identifiability import (
    CorrelationMarks,
    bound_against_score,
    flattery,
    rotation_cost,
    score_columns,
    scores,
)
from lvmlab.widgets import mcc_bench, mcc_states
from lvmlab.widgets.bench_moves import MIXED, Moves, built, measured, moved

pytestmark = pytest.mark.slow  # many small pictures: left out of make check

RANDOM = np.random.default_rng(0)
A = RANDOM.normal(size=(150, 3))
B = A[:, [2, 0, 1]] * (-1, 2, 0.5) + 0.3 * RANDOM.normal(size=A.shape)
CLASSES = np.arange(150) % 7

MAKE = {"built in": mcc_bench, "given": lambda: mcc_bench(A, B, CLASSES)}


@pytest.fixture(scope="module", params=MAKE)
def panel(request):
    return MAKE[request.param]()


def test_every_control_changes_the_picture_and_the_sentence_over_the_kept_background(panel):
    for name, control in panel.controls.items():
        before, said, kept = panel.image.value, panel.alt, panel._background
        old, control.value = control.value, other(control)
        assert panel.error is None
        assert panel.image.value != before and panel.alt != said, name
        assert panel._background is kept, name
        control.value = old
        np.testing.assert_array_equal(pixels(panel.image.value), pixels(before))


def test_frames_stay_words_have_room_and_the_quick_picture_is_the_full_one(panel):
    frames = limits(panel.picture)
    for name in ("rotation", "rows", "show"):
        control = panel.controls[name]
        old, control.value = control.value, other(control)
        assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2
        assert limits(panel.picture) == frames
        tidy(panel.picture)
        panel._background = None
        control.value = old


def test_saved_output_carries_a_small_picture_and_its_sentence(panel):
    bundle, metadata = panel._repr_mimebundle_()
    assert len(base64.b64decode(bundle["image/png"])) < 180_000
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == panel.alt


def test_the_picture_shows_the_library_s_scores():
    panel = mcc_bench(A, B, CLASSES, start={"correlation": "spearman", "show": "as is"})
    a, b = (side / side.std(0) for side in (A - A.mean(0), B - B.mean(0)))
    expected = {
        "as is": mcc(a, b, "spearman", align="none"),
        "matched": mcc(a, b, "spearman"),
        "CCA, in sample": mcc(a, b, "spearman", align="cca"),
        "CCA, held out": mcc(a[::2], b[::2], "spearman", align="cca", held_out=(a[1::2], b[1::2])),
    }
    for name, score in expected.items():
        assert f"{name} {score.mcc:.2f}" in panel.alt
    strokes = panel.picture.axes[3].collections[2].get_segments()
    assert [s[0][0] for s in strokes] == pytest.approx([s.mcc for s in expected.values()])
    image = panel.picture.axes[2].images[0].get_array()
    np.testing.assert_allclose(image, expected["as is"].correlations)


def test_turning_back_unmixes_and_a_right_angle_more_needs_the_matching():
    for d in (2, 4, 20):
        given = built(d)
        back = measured(given, Moves(MIXED), 1000, "pearson")
        assert [s.mcc for s in back.values()] == pytest.approx([1] * 4)
        further = measured(given, Moves(MIXED + 90), 1000, "pearson")
        assert further["as is"].mcc < 0.1 < further["matched"].mcc == pytest.approx(1)
        assert further["matched"].matching[:2].tolist() == [[0, 1], [1, 0]]
        worst = measured(given, Moves(MIXED + 45), 1000, "pearson")
        assert worst["matched"].mcc == pytest.approx(0.5**0.5, abs=0.03)
        assert worst["CCA, held out"].mcc == pytest.approx(1)


def test_moves_do_what_their_names_say():
    z = built(4).b
    plain = moved(z, Moves())
    assert plain == pytest.approx(z / z.std(0))
    stretched = moved(z, Moves(stretch=-2))
    assert stretched[:, 0] == pytest.approx(-2 * plain[:, 0])
    assert stretched[:, 1:] == pytest.approx(plain[:, 1:])
    bent = moved(z, Moves(bend=1))
    assert bent[:, 1] == pytest.approx(z[:, 1] ** 3 / (z[:, 1] ** 3).std())
    noisy = moved(z, Moves(noise=2))
    assert mcc(z, noisy, align="none").mcc == pytest.approx(1 / 5**0.5, abs=0.05)
    assert moved(z, Moves(90))[:, 1] == pytest.approx(plain[:, 0])


def test_fifty_dimensions_of_noise_in_sixty_rows_look_like_success():
    panel = mcc_bench(*np.random.default_rng(3).normal(size=(2, 60, 50)))
    assert "CCA, in sample 0.87 (floor 0.88)" in panel.alt and "held out" not in panel.alt
    panel.controls["show"].value = "CCA, held out"
    assert panel.error is None
    words = [t.get_text() for t in panel.picture.findobj(type(panel.picture.axes[0].title))]
    assert "not defined" in words and "CCA, held out: not defined here" in words


def test_states_show_a_rotation_and_noise():
    picture = mcc_states()
    assert tidy(picture) > 15
    assert "turned by 65°: as is 0.4" in picture.alt and "CCA, held out 1.00" in picture.alt


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((A, None), "a and b: expected two representations"),
        ((A, B[:, :1]), r"b: expected finite codes.*got shape \(150, 1\)"),
        ((A[:59], B[:59]), r"a: expected finite codes.*at least 60 rows"),
        ((A, B[:149]), "a, b and labels: expected one row for each example, got 150, 149"),
        ((A, np.where(B > 0, B, np.nan)), "b: expected finite codes"),
        ((A, B, CLASSES[:9]), "a, b and labels"),
        ((A, B, CLASSES + 9), "labels: expected integers from 0 to 9"),
        ((A, B, CLASSES / 2), "labels: expected integers from 0 to 9"),
    ],
)
def test_bad_representations_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        mcc_bench(*given)


# ---------------------------------------------------------------------------------------- pictures
RUNS = {"raw x": [0.62], "VAE": [0.7, 0.8, 0.75], "iVAE": [0.95, 0.97, 0.93]}


def test_scores_show_every_run_over_its_floor():
    panels = {"Two layers": RUNS, "Four layers": {n: [v - 0.1 for v in r] for n, r in RUNS.items()}}
    picture = scores(panels, {"Two layers": 0.02, "Four layers": {"VAE": 0.3}},
                     {"Two layers": "dots: 3 seeds"}, {"VAE": style.FAMILIES["ELBO"]},
                     {"Two layers": (0.62, "raw x")})  # fmt: skip
    assert tidy(picture) > 15
    assert "Two layers: raw x 0.62, VAE 0.75, iVAE 0.95; Four layers" in picture.alt
    first, second = picture.axes
    assert sorted(x for line in first.lines if line.get_marker() == "o"
                  for x in line.get_ydata()) == sorted([*RUNS["VAE"], *RUNS["iVAE"]])  # fmt: skip
    assert [p.get_y() + p.get_height() for p in first.patches] == pytest.approx([0.02] * 3)
    assert [p.get_height() for p in second.patches] == [0.3]
    assert first.get_ylim() == second.get_ylim()


def test_a_column_may_hold_several_series():
    picture = plots.figure(4.4, 3.6)
    ax = plots.place(picture, 0.6, 0.6, 3.4, 2.4)
    score_columns(ax, {"matched": {"rotated": [0.7, 0.8], "permuted": [0.9, 0.95]}, "CCA": [1.0]})
    assert len([line for line in ax.lines if line.get_linewidth() == 3.2]) == 3


def test_correlations_write_matched_cells_and_refuse_odd_shapes():
    picture = plots.figure(4, 4)
    marks = CorrelationMarks(plots.place(picture, 0.5, 0.5, 3, 3, kind="box"))
    marks.show([[0.1, -0.94], [0.8, 0.2]], [[0, 1], [1, 0]])
    written = {w.get_text(): w.get_position() for w in marks.words if w.get_text()}
    assert written == {"−0.94": (0.75, 0.25), "+0.80": (0.25, 0.75)}
    boxes = [path.get_extents().bounds for path in marks.boxes.get_paths()]
    assert boxes == [(0.5, 0, 0.5, 0.5), (0, 0.5, 0.5, 0.5)]
    marks.show(np.zeros((9, 9)), [[0, 0]])
    assert not [w for w in marks.words if w.get_text()]
    with pytest.raises(ValueError, match="table and matching: expected"):
        marks.show(np.zeros(3), [[0, 0]])


def test_flattery_and_bound_against_score_are_tidy():
    dims = [5, 50, 200]
    picture = flattery(
        dims, [[0.1, 0.3, 0.5]] * 3, [[0.1, 0.05, 0.02]] * 3, (dims, [0.1, 0.3, 0.5])
    )
    assert tidy(picture) > 8 and "from 0.10 at 5 dimensions to 0.50 at 200" in picture.alt
    groups = {"iVAE": [[-3.0, 0.9], [-2.5, 0.95]], "VaDE": [[-1.0, 0.6], [-0.8, 0.7]]}
    picture = bound_against_score({"Two layers": groups, "Four layers": groups})
    assert tidy(picture) > 10 and "Two layers, iVAE: −2.75 and 0.93" in picture.alt


def test_the_cost_of_a_rotation_is_drawn_on_one_scale():
    angles = np.linspace(0, 90, 7)
    hill = 0.26 * np.sin(np.radians(2 * angles))
    panels = {"Different": {"u known": hill, "u summed out": hill / 6},
              "Equal": {"u known": 0 * hill, "u summed out": 0 * hill}}  # fmt: skip
    picture = rotation_cost(angles, panels, {"Equal": "every turn is free"})
    assert (
        tidy(picture) > 10
        and "Different: u known up to 0.26, u summed out up to 0.04" in picture.alt
    )
    assert len({ax.get_ylim() for ax in picture.axes}) == 1
    with pytest.raises(ValueError, match=r"panels: expected curves of shape \(7,\)"):
        rotation_cost(angles, {"Different": {"u known": hill[:3]}})
    with pytest.raises(ValueError, match="panels: expected one or two, got 0"):
        rotation_cost(angles, {})


def test_bad_pictures_are_refused():
    with pytest.raises(ValueError, match="panels: expected one to three, got 0"):
        scores({})
    with pytest.raises(ValueError, match=r"columns\['VAE'\]: expected scores between 0 and 1"):
        scores({"Two layers": {"VAE": [0.5, 1.2]}})
    with pytest.raises(ValueError, match="columns: expected at least one setting"):
        scores({"Two layers": {}})
    with pytest.raises(ValueError, match=r"expected \(S, 2\) scores"):
        flattery([5, 50], [[0.1] * 3], [[0.1] * 2])
    with pytest.raises(ValueError, match=r"groups of shape \(S, 2\)"):
        bound_against_score({"Two layers": {"VAE": [0.5, 1.2]}})
