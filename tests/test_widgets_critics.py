"""Guess the pair and the critic's panel: scores by hand, ceilings drawn, controls, bad arrays."""

import math

import numpy as np
import pytest
import torch
from test_plots import tidy
from torch.distributions import Independent, Normal

from lvmlab import widgets
from lvmlab.diagnostics import infonce_readings
from lvmlab.objectives import infonce
from lvmlab.plots.critics import BoundMarks, critic_states
from lvmlab.plots.style import figure
from lvmlab.widgets.guess_the_pair import ROUNDS, Player, deal

N = 60


def model(width, seed=0):
    """Codes of posteriors of one width, as far apart as keeps the aggregate near the prior."""
    random = np.random.default_rng(seed)
    mean = random.normal(size=(N, 2)) * math.sqrt(max(0.0, 1 - width**2))
    scale = np.full((N, 2), width) * random.uniform(0.9, 1.1, (N, 2))
    z = mean + scale * random.normal(size=(N, 2))
    return {"images": random.random((N, 8, 8)), "z": z, "mean": mean, "scale": scale}


@pytest.fixture(scope="module")
def game():
    return widgets.guess_the_pair({"self critic": model(0.1), "VAE": model(1.0)})


def test_beliefs_are_the_softmax_of_the_posteriors_densities():
    given = model(0.4)
    player, (rows, true) = Player("m", given), deal(3, 8, N)
    z, mean, scale = (torch.tensor(given[k][rows]) for k in ("z", "mean", "scale"))
    table = Independent(Normal(mean, scale), 1).log_prob(z.unsqueeze(1)).T
    expected = table[:, true].softmax(0)
    np.testing.assert_allclose(player.beliefs(rows, true), expected, rtol=1e-9)
    one = math.log(player.beliefs(rows, true)[true]) + math.log(8)
    assert one == pytest.approx(infonce(table)[true].item())


def test_the_score_is_the_mean_over_all_rounds():
    player = Player("m", model(0.4))
    by_hand = [
        math.log(player.beliefs(*deal(turn, 4, N))[deal(turn, 4, N)[1]]) for turn in range(ROUNDS)
    ]
    assert player.score(4) == pytest.approx(np.mean(by_hand) + math.log(4))
    blind = model(1.0) | {"mean": np.zeros((N, 2)), "scale": np.ones((N, 2))}
    assert Player("VAE", blind).score(8) == pytest.approx(0, abs=1e-12)
    sure = model(1e-3)
    assert Player("m", sure).score(8) == pytest.approx(math.log(8), abs=1e-6)
    far = model(1e-3) | {"mean": model(1e-3)["mean"] + 50}
    assert math.isfinite(Player("m", far).score(8))


def test_rounds_are_dealt_without_repeats_and_always_alike():
    places = set()
    for turn in range(ROUNDS):
        rows, true = deal(turn, 8, N)
        assert len(set(rows)) == 8 and 0 <= true < 8 and rows.max() < N
        assert (rows == deal(turn, 8, N)[0]).all()
        places.add(true)
    assert len(places) == 8


def test_a_guess_shows_the_answer_and_a_new_round_hides_it(game):
    true = deal(0, 8, N)[1]
    assert "which made it?" in game.alt and "%" not in game.alt
    game.controls["guess"].value = true + 1
    assert f"guess {true + 1}, it was {true + 1}" in game.alt and "%" in game.alt
    game.controls["guess"].value = (true + 1) % 8 + 1
    assert f"it was {true + 1}" in game.alt
    game.controls["round"].value = 1
    assert game.controls["guess"].value == 0 and "which made it?" in game.alt
    game.controls["K"].value = 2
    game.controls["guess"].value = 9  # more than K: the last one
    assert game.controls["guess"].value == 2
    assert "guess 2" in game.alt and "log 2 = 0.69" in game.alt
    game.controls["model"].value = "VAE"
    assert game.controls["guess"].value == 0 and game.error is None
    assert game.alt.startswith("VAE, round 1")


def test_an_image_can_be_pressed():
    game = widgets.guess_the_pair({"m": model(0.1)}, start={"K": 4})
    pointer = game.image
    assert len(pointer.targets) == 4
    pointer.touch("down", *pointer.targets[2], target=2)
    assert game.controls["guess"].value == 3
    game.controls["K"].value = 16
    assert len(pointer.targets) == 16
    seen = np.array(pointer.targets)
    assert (seen > 0).all() and (seen < 1).all()


def test_nothing_is_cut_or_crowded():
    for count, guess in ((8, 0), (2, 1), (16, 3)):
        game = widgets.guess_the_pair({"self critic": model(0.1)}, start={"K": count})
        game.controls["guess"].value = guess
        labels = [t for t in game.picture.axes[0].texts if t.get_text().isdigit()]
        for label in labels:
            label.set_visible(False)  # numbers in the plane stand where the codes are
        assert tidy(game.picture) >= 8


BAD = {
    "missing": ({"z": None}, "z.* is missing"),
    "few": ({"images": np.zeros((3, 8, 8))}, "16 images or more, got"),
    "three latents": ({"z": np.zeros((N, 3))}, r"z: expected finite numbers of shape \(60, 2\)"),
    "not finite": ({"mean": np.full((N, 2), np.nan)}, "mean: expected finite"),
    "no scale": ({"scale": np.zeros((N, 2))}, "positive standard deviations"),
}


@pytest.mark.parametrize(("change", "complaint"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit(change, complaint):
    given = {k: v for k, v in (model(0.5) | change).items() if v is not None}
    with pytest.raises(ValueError, match=complaint):
        widgets.guess_the_pair({"m": given})


def test_a_game_needs_a_model():
    with pytest.raises(ValueError, match="models: expected one or more"):
        widgets.guess_the_pair({})


# -- the panel


def test_the_panel_tells_the_bound_and_its_ceiling():
    panel = widgets.critic_panel()
    values = {"information": 5.0, "K": 32, "sharpness": 1.0}
    for name, value in values.items():
        panel.controls[name].value = value
    bound = infonce_readings(5.0, [32]).mean()
    assert panel.error is None
    assert f"finds {bound:.2f}" in panel.alt and "log 32 = 3.47" in panel.alt
    seen = bytes(panel.image.value)
    panel.controls["sharpness"].value = 0.0
    assert "finds 0.00" in panel.alt and bytes(panel.image.value) != seen
    assert tidy(panel.picture) >= 8


def test_marks_are_the_bounds_they_are_given():
    picture, bounds = figure(), np.array([[0.1, 0.5, 0.9], [0.3, 0.7, 1.1]])
    marks = BoundMarks(picture, 0.7, 0.6, 5, 2, np.array([2, 8, 32]))
    marks.show(1.2, bounds, 8)
    np.testing.assert_allclose(marks.mean.get_ydata(), [0.2, 0.6, 1.0])
    assert [s[:, 1].tolist() for s in marks.runs.get_segments()] == bounds.tolist()
    assert marks.point.get_xdata() == [8] and marks.point.get_ydata() == pytest.approx([0.6])
    assert list(marks.exact.get_ydata()) == [1.2, 1.2]
    cap = max(marks.ax.lines, key=lambda line: np.asarray(line.get_ydata(), dtype=float).max())
    np.testing.assert_allclose(cap.get_ydata(), np.log([2, 8, 32]))
    with pytest.raises(ValueError, match="increasing numbers from 2 up"):
        BoundMarks(picture, 0.7, 0.6, 5, 2, np.array([8, 2]))


def test_states_say_what_is_found():
    sizes = (2, 8, 32)
    picture = critic_states({i: infonce_readings(i, sizes) for i in (1.0, 3.0)}, sizes, "best")
    assert "of 3 nats 2.5" in picture.alt and tidy(picture) >= 8
    for bad in ({}, {i: np.zeros((1, 3)) for i in range(4)}):
        with pytest.raises(ValueError, match="one to three informations"):
            critic_states(bad, sizes)
    with pytest.raises(ValueError, match=r"bounds\[1.0\]: expected finite numbers \(S, 3\)"):
        critic_states({1.0: np.zeros((2, 2))}, sizes)
