"""Component life: what is drawn is what was recorded, controls move it, bad recordings say why."""

import base64

import numpy as np
import pytest
from test_plots import tidy

from lvmlab import widgets
from lvmlab.plots import style
from lvmlab.plots.component_life import LifeAreas, alive
from lvmlab.widgets.component_life import LifeFilm, LifeRecording, component_life, component_states

SEEDS, FRAMES, K = 3, 6, 4
STEPS = 10 * np.arange(FRAMES)


def recording(seed, dies):
    """Shares that begin even; with `dies` all but one fall to nothing."""
    random = np.random.default_rng(seed)
    slopes = random.permuted(np.tile(np.arange(K) * 1.0, (SEEDS, 1)), axis=1)
    scores = slopes[:, None] * np.linspace(0, 8 if dies else 0.3, FRAMES)[None, :, None]
    shares = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    modes = random.random((SEEDS, FRAMES, K, 4, 4))
    entropy = -(shares * np.log(shares + 1e-300)).sum(-1)
    return {"shares": shares, "modes": modes, "entropy": entropy, "steps": STEPS}


def both():
    return {"GM-VAE": recording(0, True), "GM-WAE": recording(1, False)}


@pytest.fixture(scope="module")
def panel():
    return component_life(both(), start={"step": 3})


def test_alive_counts_shares_above_two_percent():
    assert alive([[0.97, 0.021, 0.009], [0.5, 0.48, 0.02]]).tolist() == [2, 2]


def test_areas_are_stacked_in_one_order_and_add_up():
    picture, shares = style.figure(), recording(0, True)["shares"][0]
    areas = LifeAreas(picture, 0.7, 0.5, 4, 2, STEPS, K)
    areas.show(shares, 2)
    found = [path.vertices for path in areas.areas.get_paths()]
    order = np.argsort(-shares.sum(0), kind="stable")
    floor = np.zeros(FRAMES)
    for k in order:
        low, high = found[k][:FRAMES, 1], found[k][FRAMES : 2 * FRAMES, 1][::-1]
        np.testing.assert_allclose(low, floor, atol=1e-12)
        np.testing.assert_allclose(high - low, shares[:, k], atol=1e-12)
        floor = high
    np.testing.assert_allclose(floor, 1)
    assert [word.get_text() for word in areas.words] == ["4", "1"]
    assert areas.cursor.get_visible() and areas.cursor.get_xdata()[0] == 20
    areas.show(shares)
    assert not areas.cursor.get_visible()


def test_the_panel_tells_what_it_shows(panel):
    shares = both()["GM-VAE"]["shares"]
    left = int(alive(shares[0, 3]))
    assert panel.alt.startswith(f"GM-VAE, seed 0, step 30: {left} of {K} in use")
    panel.controls["objective"].value = "GM-WAE"
    panel.controls["seed"].value = 2
    panel.controls["step"].value = FRAMES - 1
    assert panel.error is None
    assert panel.alt.startswith(f"GM-WAE, seed 2, step 50: {K} of {K} in use")
    assert base64.b64decode(base64.b64encode(panel.image.value))[:4] == b"\x89PNG"


def test_every_control_changes_the_picture(panel):
    for name, values in {"objective": list(both()), "seed": (0, 1), "step": (0, 5)}.items():
        seen = []
        for value in values:
            panel.controls[name].value = value
            seen.append(bytes(panel.image.value))
        assert seen[0] != seen[1], name


def test_dead_components_are_called_off():
    panel = component_life({"GM-VAE": recording(0, True)})
    words = [t.get_text() for ax in panel.picture.axes for t in ax.texts]
    assert words.count("off") == K - 1 and "100 %" in words


def test_a_recording_without_images_and_entropy_will_do():
    shares = recording(0, True)["shares"]
    panel = component_life({"GM-VAE": LifeRecording(shares)}, start={"seed": 1})
    assert "H(k|x)" not in panel.alt and panel.error is None
    assert widgets.component_life is component_life


@pytest.mark.slow
def test_states_name_every_objective_and_tidy():
    picture = component_states(both(), seed=1)
    assert "GM-VAE: 1 of 4" in picture.alt and "GM-WAE: 4 of 4" in picture.alt
    tidy(picture)


def test_bad_recordings():
    good = both()["GM-VAE"]
    shares = good["shares"]
    cases = {
        r"expected shares, perhaps modes": {"share": shares},
        r"rows that sum to 1": good | {"shares": 2 * shares},
        r"shares: expected shape \(S, T, K\)": good | {"shares": shares[0]},
        r"modes: expected 5 axes": good | {"modes": good["modes"][:, :2]},
        r"entropy: expected finite": good | {"entropy": np.full((SEEDS, FRAMES), np.nan)},
        r"steps: expected 6 increasing": good | {"steps": STEPS[::-1]},
    }
    for hint, given in cases.items():
        with pytest.raises(ValueError, match=f"GM-VAE.*{hint}"):
            LifeFilm("GM-VAE", given)
    with pytest.raises(ValueError, match="expected a LifeRecording"):
        LifeFilm("GM-VAE", shares)
    with pytest.raises(ValueError, match="at least one objective"):
        component_life({})
    with pytest.raises(ValueError, match="GM-WAE: expected the seeds, steps"):
        component_life({"GM-VAE": good, "GM-WAE": good | {"steps": STEPS + 1}})
    with pytest.raises(ValueError, match="start: expected names among"):
        component_life({"GM-VAE": good}, start={"width": 3})
    with pytest.raises(ValueError, match="one to three objectives"):
        component_states(dict.fromkeys("abcd", good))
