"""The assignment theatre: small worlds, their pairings, and the panel that shows them."""

import itertools

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from test_plots import tidy
from test_widgets import limits, pixels

from lvmlab import plots, widgets
from lvmlab.plots import assignment, style
from lvmlab.widgets.assignment_pairing import Pairing, rematch, sinkhorn
from lvmlab.widgets.assignment_theatre import CLEAR, DEAD_END, assignment_theatre
from lvmlab.widgets.assignment_worlds import KINDS, LEVELS

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

HARD = [kind for kind in KINDS if kind != "Sinkhorn"]


def totals(scores):
    """The total score of each permutation, by enumeration."""
    rows = np.arange(len(scores))
    return {p: scores[rows, p].sum() for p in itertools.permutations(range(len(scores)))}


# --------------------------------------------------------------------------------------- pairings
def test_lap_vs_bruteforce():
    rows = np.arange(4)
    assert tuple(rematch(CLEAR, rows, rows)) == (3, 1, 2, 0)
    assert CLEAR[rows, rematch(CLEAR, rows[::-1], rows)].sum() == 34
    for seed in range(5):
        scores = np.random.default_rng(seed).normal(size=(5, 5))
        rows = np.arange(5)
        found = scores[rows, rematch(scores, rows, rows)].sum()
        assert found == pytest.approx(max(totals(scores).values()))


def test_minibatch_local_optimum():
    rows = np.arange(3)
    for pair in itertools.combinations(rows, 2):
        assert (rematch(DEAD_END, rows, np.array(pair)) == rows).all()
    assert DEAD_END[rows, rematch(DEAD_END, rows, rows)].sum() == 3
    assert sorted(totals(DEAD_END).values()) == [-15, -4, -4, -4, 0, 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_keeps_its_latents_and_leaves_other_rows_alone(seed):
    random = np.random.default_rng(seed)
    scores, pairing = random.normal(size=(7, 3)), random.permutation([0, 0, 1, 1, 1, 2, 2])
    rows = random.choice(7, 4, replace=False)
    new = rematch(scores, pairing, rows)
    others = np.setdiff1d(np.arange(7), rows)
    assert (new[others] == pairing[others]).all()
    assert sorted(new) == sorted(pairing)
    assert scores[np.arange(7), new].sum() >= scores[np.arange(7), pairing].sum() - 1e-12


def test_sinkhorn_limit():
    scores = {e: float((sinkhorn(CLEAR, e) * CLEAR).sum()) for e in (10, 1, 0.1, 1e-3)}
    assert scores[1] == pytest.approx(32.762638, abs=1e-6)
    assert scores[0.1] == pytest.approx(33.99999998, abs=1e-6)
    assert scores[10] < scores[1] < scores[0.1] <= scores[1e-3] <= 34


@pytest.mark.parametrize("epsilon", [10, 1, 0.1])
def test_sinkhorn_is_a_scaled_kernel_with_the_right_sums(epsilon):
    """These two properties characterise the one maximiser of <R, S> + epsilon H(R)."""
    random = np.random.default_rng(3)
    scores, quota = random.normal(size=(6, 3)), np.array([3, 2, 1])
    R = sinkhorn(scores, epsilon, quota, iterations=10_000)
    np.testing.assert_allclose(R.sum(0), quota, atol=1e-6)
    np.testing.assert_allclose(R.sum(1), 1, atol=1e-6)
    rest = np.log(R) - scores / epsilon  # must be a row term plus a column term
    rest = rest - rest[:, :1] - rest[:1] + rest[0, 0]
    np.testing.assert_allclose(rest, 0, atol=1e-8)


def test_sinkhorn_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match="epsilon: expected a positive temperature, got 0"):
        sinkhorn(CLEAR, 0)


# ----------------------------------------------------------------------------------------- worlds
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_log_probabilities(kind):
    world = KINDS[kind](7, seed=2)
    for i, j in itertools.product(range(7), range(len(world.quota))):
        given = multivariate_normal(world.places[j], world.scale**2 * np.eye(2)).logpdf(world.x[i])
        prior = norm.logpdf(world.z[j]) if hasattr(world, "z") else -np.log(len(world.quota))
        assert world.scores()[i, j] == pytest.approx(given + prior)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_alternating_never_lowers_the_complete_likelihood(kind, seed):
    play = Pairing(kind, 9, seed)
    for _ in range(5 if play.soft else 15):
        play.match(9, 0.01)
        play.descend(0.01)
    values, best = np.array(play.history).T
    # Sinkhorn maximises <R, S> + epsilon H(R), not <R, S>: at most epsilon log 9 is lost
    slack = 0.01 * np.log(9) if play.soft else 1e-9
    assert (np.diff(values) >= -slack).all()
    assert values[-1] > values[0] + 0.5
    assert (values <= best + 1e-9).all()


@pytest.mark.parametrize("kind", HARD)
def test_empirical_mi_equals_hz(kind):
    """Information of the joint R / N, by the table, is the entropy of the latents."""
    play = Pairing(kind, 10, 1)
    for _ in range(3):
        R = play.weights()
        table = plots.Grid.table(R.shape)
        information, most = play.information(R)
        assert information == pytest.approx(float(table.information(R / 10)))
        assert information == pytest.approx(most) == pytest.approx(plots.entropy(R.sum(0) / 10))
        play.match(3)


def test_the_information_of_a_soft_coupling_is_that_of_its_table():
    play = Pairing("Sinkhorn", 8, 0)
    found = [play.information(play.weights(e)) for e in (10, 1, 0.1, 0.01)]
    for e, (information, most) in zip((10, 1, 0.1, 0.01), found, strict=True):
        R = play.weights(e) / play.weights(e).sum()
        table = plots.Grid.table(R.shape)
        assert information == pytest.approx(float(table.information(R)), abs=1e-3)
        assert information <= most == pytest.approx(np.log(8))
    assert np.all(np.diff([i for i, _ in found]) > 0)


def test_outlines_are_level_sets_of_the_joint():
    world = KINDS["Gaussian"](6, seed=0)
    mean = lambda z: world.basis(z) @ world.W[:, 0]  # noqa: E731
    for level, line in zip(LEVELS, world.outlines(), strict=True):
        x, z = line.T
        joint = np.exp(-0.5 * z**2 - 0.5 * ((x - mean(z)) / world.scale) ** 2)
        np.testing.assert_allclose(joint, level, rtol=1e-9)
    sphere = KINDS["sphere"](6, seed=0)
    for level, k in zip(LEVELS, (0, 6, 12), strict=True):
        angle = np.pi * (sphere.outlines()[k][0, 1] - sphere.outlines()[k][0, 0])
        assert np.exp(-(2 - 2 * np.cos(angle)) / (2 * sphere.scale**2)) == pytest.approx(level)


def test_latents_go_where_they_are_dragged_and_no_further():
    curve, sphere, slots = (KINDS[k](6, seed=0) for k in ("Gaussian", "sphere", "PIT"))
    target = curve.basis(np.array([0.8])) @ curve.W
    curve.move(6 + 2, tuple(target[0]))
    assert curve.z[2] == pytest.approx(0.8, abs=0.006)
    sphere.move(1, (2.0, 2.0))
    sphere.move(6, (0.0, -0.1))
    np.testing.assert_allclose(sphere.x[1], [0.5**0.5] * 2)
    np.testing.assert_allclose(sphere.places[0], [0, -1], atol=1e-12)
    slots.move(6 + 5, (0.3, 0.4))
    np.testing.assert_allclose(slots.places[5], [0.3, 0.4])


def test_descending_on_the_sphere_goes_half_of_the_shorter_way():
    sphere = KINDS["sphere"](4, seed=0)
    sphere.x[0], sphere.targets[0] = (-1, 0), (-(0.5**0.5), -(0.5**0.5))  # 180 and 225 degrees
    sphere.descend(np.eye(4))
    turned = np.deg2rad(180 + 22.5)
    np.testing.assert_allclose(sphere.x[0], [np.cos(turned), np.sin(turned)], atol=1e-12)


def test_batches_of_two_get_stuck_and_the_whole_data_does_not():
    gaps = {2: [], 9: []}
    for kind, seed in itertools.product(HARD, range(5)):
        for batch in gaps:
            play = Pairing(kind, 9, seed)
            for _ in range(24):
                play.match(batch)
            gaps[batch].append(play.best() - play.value(play.weights()))
    assert max(gaps[9]) < 1e-9
    assert np.mean(np.array(gaps[2]) > 1e-6) > 0.5


# ------------------------------------------------------------------------------------------ panel
def orderly(panel):
    """Tidy, but for the numbers beside points: a reader may drag one point onto another."""
    plane = next(ax for ax in panel.picture.axes if ax.get_xlabel() == "$x_1$")
    for word in plane.texts[2:]:
        word.set_visible(False)
    tidy(panel.picture)
    panel.update()


@pytest.fixture(scope="module", params=KINDS)
def panel(request):
    return assignment_theatre(request.param, points=7)


def test_the_theatre_is_tidy_in_each_kind(panel):
    orderly(panel)
    assert panel.error is None
    bundle, _ = panel._repr_mimebundle_()
    assert len(bundle["image/png"]) * 3 / 4 < 180_000


def test_the_quick_picture_is_the_full_one(panel):
    panel.controls["across"].value = 0.4
    assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2
    panel._background = None


@pytest.mark.parametrize("kind", ["Gaussian", "sphere", "PIT"])
def test_a_drag_and_the_controls_say_the_same(kind):
    by_hand, by_keys = (assignment_theatre(kind, points=4) for _ in range(2))
    target = 5  # a latent
    by_hand.image.touch("down", *by_hand.image.targets[target], target)
    held = by_hand.image.touch("move", 0.5, 0.6, target)
    assert held.axes.get_ylabel() == "$x_2$"
    by_keys.controls["point"].value = target
    for name in ("across", "up"):
        by_keys.controls[name].value = by_hand.controls[name].value
    assert by_hand.controls["point"].value == target
    np.testing.assert_allclose(by_hand.image.targets, by_keys.image.targets)
    assert by_hand.alt == by_keys.alt
    assert by_hand.alt != assignment_theatre(kind, points=4).alt


def test_frames_do_not_jump_while_a_point_is_dragged(panel):
    frames = limits(panel.picture)[:3]
    for x in np.linspace(0.42, 0.62, 3):
        panel.image.touch("down" if x == 0.42 else "move", x, 0.6, 0)
        assert limits(panel.picture)[:3] == frames


def test_the_pairing_jumps_when_a_point_is_dragged():
    panel = assignment_theatre("PIT", points=6)
    pairs = panel.alt.split("outputs ")[1].split(":")[0].split()
    first, other = panel.image.targets[0], panel.image.targets[1]
    panel.image.touch("down", *first, 0)
    panel.image.touch("move", *other, 0)
    panel.image.touch("down", *other, 1)
    panel.image.touch("move", *first, 1)
    swapped = panel.alt.split("outputs ")[1].split(":")[0].split()
    assert swapped[:2] == pairs[1::-1] and swapped[2:] == pairs[2:]


def test_one_drag_is_one_drawing(monkeypatch):
    panel, drawn = assignment_theatre(), []
    monkeypatch.setattr(panel, "_redraw", lambda: drawn.append(1))
    panel.image.touch("down", *panel.image.targets[2], 2)
    assert drawn == [1]
    panel.image.touch("down", 0.02, 0.02)  # the bare picture moves nothing
    assert drawn == [1]


def test_buttons_and_batches_tell_their_values():
    panel = assignment_theatre()  # the world with a dead end
    buttons = {b.description: b for b in panel.children[0].children if hasattr(b, "click")}
    assert list(buttons) == ["match", "descend", "both", "start over"]

    def value(words=r"mean log p(x, z) "):
        return float(panel.alt.split(words)[1].split()[0].rstrip(",;.").replace("−", "-"))

    start = value()
    assert start == value("best pairing ")
    panel.controls["batch"].value = 2
    stuck = value()
    assert stuck < value("best pairing ") - 0.1
    buttons["match"].click()
    assert value() == stuck
    buttons["descend"].click()
    assert value() > stuck
    before = value()
    buttons["both"].click()
    assert value() > before
    buttons["start over"].click()
    assert value() == start


def test_controls_that_do_nothing_rest():
    panel = assignment_theatre()
    assert panel.controls["epsilon"].disabled and not panel.controls["batch"].disabled
    panel.controls["kind"].value = "Sinkhorn"
    assert not panel.controls["epsilon"].disabled and panel.controls["batch"].disabled
    cold = panel.alt
    panel.controls["epsilon"].value = 10
    assert panel.alt != cold and "information 0." in panel.alt
    panel.controls["points"].value = 12
    assert panel.controls["batch"].max == 12 and len(panel.image.targets) == 24
    orderly(panel)


def test_the_sentence_is_right_by_enumeration():
    panel = assignment_theatre("k-means with quota", points=7)
    assert "information 1.0790 of 1.0790 nats" in panel.alt  # H(3/7, 2/7, 2/7)
    scores = Pairing("k-means with quota", 7, seed=4710).world.scores()
    every = set(itertools.permutations([0, 0, 0, 1, 1, 2, 2]))
    values = [scores[np.arange(7), pairs].mean() for pairs in every]
    said = f"nats, best pairing {max(values):.4f}, by chance {np.mean(values):.4f};"
    assert said.replace("-", "−") in panel.alt


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assignment_theatre("Hungarian"), "kind: expected one of Gaussian"),
        (lambda: assignment_theatre(points=13), "points: expected 4 to 12, got 13"),
        (lambda: assignment_theatre(points=3), "points: expected 4 to 12, got 3"),
        (lambda: assignment_theatre(start={"size": 3}), "start: expected names among kind"),
        (lambda: widgets.assignment_states(()), "epsilons: expected one to three"),
        (lambda: assignment.couplings({}, {}), "expected the same one to five titles"),
        (lambda: assignment.couplings({"a": CLEAR}, {"b": CLEAR}), "the same one to five titles"),
        (lambda: assignment.couplings({"a": CLEAR}, {"a": DEAD_END}), r"expected shape \(4, 4\)"),
    ],
)
def test_the_theatre_refuses_what_it_cannot_draw(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_static_states_are_tidy_and_tell_their_totals():
    picture = widgets.assignment_states()
    tidy(picture)
    for words in ("epsilon 1: total score 32.76", "epsilon 0: total score 34.00"):
        assert words in picture.alt
    assert "Batch 2: stuck: total score 0.00" in picture.alt
