"""Panels that train: play, pause, one step, restart, and what a reader is told when it fails."""

import asyncio
import base64
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_plots import tidy
from test_widgets import bend, limits, other, pixels

from lvmlab.plots import style
from lvmlab.widgets import Live, live_dial, live_lens
from lvmlab.widgets.live import choices
from lvmlab.widgets.recording import Film, Recording

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

STEPS, EVERY, ROWS = 60, 20, 40
X = np.random.default_rng(0).normal(size=(ROWS, 2))
LABELS = np.arange(ROWS) % 5


def dial_training(objective, width, fails_at=None, wide=1.0, log=None):
    """A training that is arrays only: MIM learns, the VAE does not; `width` scales the codes."""
    learns = objective == "MIM"
    if log is not None:
        log.append((objective, width))
    for done in range(0, STEPS + 1, EVERY):
        if done == fails_at:
            raise FloatingPointError(f"step {done}: <distortion> is no longer finite")
        part = done / STEPS
        yield (
            done,
            {
                "means": wide * X * (0.1 + part * learns) * width / 20,
                "scales": np.full_like(X, 1 - 0.8 * part * learns),
                "reconstructions": X * (0.2 + 0.8 * part * learns),
                "information": 0.1 + 3 * part * learns * width / 20,
            },
        )


def make_dial(log=None, **settings):
    return live_dial(
        lambda objective, width: dial_training(objective, width, log=log, **settings),
        STEPS, X, LABELS, (3.7, "log 40"), objective=["MIM", "VAE"], width=[20, 5],
    )  # fmt: skip


GRID, MODEL, TARGET = bend(STEPS // EVERY + 1)


def lens_training(objective):
    for k, joint in enumerate(MODEL):
        yield EVERY * k, {"model": joint, "target": TARGET if objective == "ELBO" else joint}


def make_lens(**more):
    return live_lens(lens_training, STEPS, GRID, objective=["ELBO", "MaL"], **more)


def buttons(panel):
    return {w.description: w for w in panel.children[0].children if hasattr(w, "click")}


def told(panel):
    return panel.children[0].children[-1].value


def to_the_end(panel):
    async def watch():
        panel.play()
        while panel.playing:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(watch(), 30))


# ------------------------------------------------------------------------------- play, pause, step
def test_play_runs_to_the_end_and_leaves_the_kernel_free_between_frames():
    panel, seen = make_dial(), []

    async def watch():
        buttons(panel)["play"].click()
        assert buttons(panel)["pause"] and "step 0 of 60" in told(panel)
        while panel.playing:
            seen.append(told(panel))
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(watch(), 30))
    for step in (0, 20, 40):  # somebody else had a turn at each frame
        assert any(f"step {step} of 60" in words for words in seen)
    assert panel.over and panel.failure is None and panel.error is None
    assert "step 60 of 60" in told(panel) and panel.alt.startswith("MIM, step 60: 3.10 nats")
    assert "play" in buttons(panel)


def test_pause_holds_and_play_goes_on_with_the_same_training():
    log = []
    panel = make_dial(log)

    async def watch():
        panel.play()
        while "step 20" not in told(panel):
            await asyncio.sleep(0.002)
        buttons(panel)["pause"].click()
        kept = panel.image.value
        await asyncio.sleep(0.1)
        assert "step 20 of 60" in told(panel) and panel.image.value == kept and not panel.over
        for _ in range(3):  # an old player must not go on beside the new one
            panel.play()
            panel.pause()
        panel.play()
        panel.play()
        await asyncio.sleep(0.03)
        playing = [task.get_coro().__name__ for task in asyncio.all_tasks()]
        assert playing.count("_play_on") == 1
        while panel.playing:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(watch(), 30))
    assert panel.over and log == [("MIM", 20)]
    assert panel._run.steps == [0, 20, 40, 60]


def test_play_at_the_end_starts_again():
    log = []
    panel = make_dial(log)
    to_the_end(panel)
    to_the_end(panel)
    assert log == [("MIM", 20)] * 2 and panel._run.steps == [0, 20, 40, 60]


def test_one_step_advances_one_frame_and_stays_at_the_end():
    panel = make_dial()
    assert panel.alt.startswith("MIM, step 0: 0.10 nats")
    for step, nats in ((20, "1.10"), (40, "2.10"), (60, "3.10"), (60, "3.10")):
        buttons(panel)["one step"].click()
        assert panel.alt.startswith(f"MIM, step {step}: {nats} nats")
        assert f"step {step} of 60" in told(panel)
        assert panel.children[0].children[-2].value == step  # the bar
    assert panel.over


def test_without_a_running_kernel_play_says_so_and_one_step_works():
    panel = make_dial()
    panel.play()
    assert not panel.playing and "press one step" in told(panel)
    panel.step()
    assert "step 20 of 60" in told(panel) and "press" not in told(panel)


# -------------------------------------------------------------------------------- starting again
def test_restart_shows_the_untrained_model_again():
    log = []
    panel = make_dial(log)
    first = pixels(panel.image.value)
    panel.step()
    assert np.abs(pixels(panel.image.value) - first).max() > 50
    buttons(panel)["restart"].click()
    assert "step 0 of 60" in told(panel) and len(log) == 2 and not panel.playing
    panel.scene.earlier = []
    panel.scene.run = None
    panel.restart()
    np.testing.assert_array_equal(pixels(panel.image.value), first)


def test_a_changed_control_trains_anew_with_the_new_setting():
    log = []
    panel = make_dial(log)
    panel.step()
    for name, words in (("width", "MIM, step 0: 0.10"), ("objective", "VAE, step 0: 0.10")):
        panel.controls[name].value = other(panel.controls[name])
        assert panel.alt.startswith(words) and not panel.over
    assert log == [("MIM", 20), ("MIM", 5), ("VAE", 5)]
    with panel.together():
        panel.controls["width"].value = 20
        panel.controls["objective"].value = "MIM"
    assert log[3:] == [("MIM", 20)]


def test_a_control_changed_while_playing_plays_the_new_training():
    log = []
    panel = make_dial(log)

    async def watch():
        panel.play()
        while "step 40" not in told(panel):
            await asyncio.sleep(0.002)
        panel.controls["width"].value = 5
        assert "step 0 of 60" in told(panel) and panel.playing
        while panel.playing:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(watch(), 30))
    assert log == [("MIM", 20), ("MIM", 5)]
    assert panel.alt.startswith("MIM, step 60: 0.85 nats")


def test_ahead_trains_before_the_panel_is_shown():
    panel = make_lens(ahead=40)
    assert panel.alt.startswith("ELBO, step 40: ") and "step 40 of 60" in told(panel)
    panel.step()
    assert panel.alt.startswith("ELBO, step 60: ")
    assert make_lens(ahead=10**6).over


# -------------------------------------------------------------------------------------- failures
def test_a_training_that_fails_stops_and_its_words_are_shown():
    panel = make_dial(fails_at=40)
    to_the_end(panel)
    assert not panel.playing and panel.over
    assert isinstance(panel.failure, FloatingPointError) and panel.error is None
    assert "stopped: FloatingPointError: step 40: &lt;distortion&gt; is no longer" in told(panel)
    assert panel.alt.startswith("MIM, step 20: ")  # the last good frame stays
    panel.step()
    assert "stopped" in told(panel)
    panel.restart()
    assert panel.failure is None and "stopped" not in told(panel) and not panel.over


def test_a_setting_that_cannot_be_built_is_told_and_the_next_one_works():
    def train(width):
        if width == 5:
            raise ValueError("hidden must be even")
        return dial_training("MIM", width)

    panel = live_dial(train, STEPS, X, LABELS, (3.7, "log 40"), width=[20, 5, 10])
    panel.controls["width"].value = 5
    assert panel.alt == "ValueError: hidden must be even" and "stopped" in told(panel)
    panel.controls["width"].value = 10
    assert panel.error is None and panel.alt.startswith("model, step 0: ")
    with pytest.raises(ValueError, match="hidden must be even"):
        live_dial(train, STEPS, X, LABELS, (3.7, "log 40"), width=[5, 20])


def test_a_frame_that_cannot_be_drawn_stops_the_player():
    def train(objective):
        yield 0, {"model": MODEL[0], "target": TARGET}
        yield 20, {"model": 2 * MODEL[1], "target": TARGET}
        yield 40, {"model": MODEL[2], "target": TARGET}

    panel = live_lens(train, STEPS, GRID, objective=["ELBO"])
    to_the_end(panel)
    assert "expected a total mass of 1" in str(panel.error) and panel._run.steps == [0, 20]


def test_a_training_may_end_early():
    panel = live_lens(lambda: iter([(0, {"model": MODEL[0], "target": TARGET})]), STEPS, GRID)
    to_the_end(panel)
    assert panel.over and panel.failure is None and "step 0 of 60" in told(panel)


def test_what_is_no_training_is_refused():
    with pytest.raises(ValueError, match=r"train: expected an iterator .*it returned list"):
        live_lens(lambda: [1], STEPS, GRID)
    with pytest.raises(ValueError, match="train: expected a first frame, got none"):
        live_lens(lambda: iter([]), STEPS, GRID)
    with pytest.raises(ValueError, match=r"train and steps: .*got int and 60"):
        live_lens(3, STEPS, GRID)
    with pytest.raises(ValueError, match=r"train and steps: .*got function and 0"):
        live_lens(lens_training, 0, GRID)
    with pytest.raises(ValueError, match="train: expected frames with model and target; got 7"):
        live_lens(lambda: iter([(0, 7)]), STEPS, GRID)
    with pytest.raises(ValueError, match="train: expected frames with information, means"):
        live_dial(lambda: iter([(0, {"means": X})]), STEPS, X, LABELS, (3.7, "log 40"))
    with pytest.raises(ValueError, match="width: expected one or more values to choose from"):
        live_dial(dial_training, STEPS, X, LABELS, (3.7, "log 40"), width=[])
    with pytest.raises(ValueError, match="start: expected names among objective; got 'seed'"):
        make_lens(start={"seed": 1})


def test_controls_are_menus_of_words_and_sliders_of_numbers():
    made = choices({"objective": ["VAE", "MIM"], "hidden_units": (5, 20)}, {"hidden_units": 20})
    assert [type(w).__name__ for w in made.values()] == ["Dropdown", "SelectionSlider"]
    assert made["hidden_units"].value == 20 and made["hidden_units"].description == "hidden units"
    assert not made["hidden_units"].continuous_update  # a drag must not start ten trainings


def test_two_threads_never_train_at_once():
    """A kernel may answer buttons in a thread of its own."""

    def train(objective):
        for done, frame in lens_training(objective):
            time.sleep(0.05)
            yield done, frame

    panel = live_lens(train, STEPS, GRID, objective=["ELBO"])
    threads = [threading.Thread(target=panel.step) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert panel.failure is None and panel.error is None and panel._run.steps == [0, 20, 40, 60]


# -------------------------------------------------------------------------------------- pictures
@pytest.mark.parametrize("make", [make_dial, make_lens])
def test_pictures_are_tidy_small_and_the_quick_one_is_the_full_one(make):
    panel = make()
    while not panel.over:
        panel.step()
        assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2
        panel._background = None
    tidy(panel.picture)
    bundle, metadata = panel._repr_mimebundle_()
    assert len(base64.b64decode(bundle["image/png"])) < 180_000
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == panel.alt


def test_frames_of_a_dial_do_not_jump_and_keep_the_background():
    panel = make_dial()
    frames = limits(panel.picture)  # which lets matplotlib think that something has moved
    panel.step()
    kept = panel._background
    while not panel.over:
        panel.step()
    panel.controls["objective"].value = "VAE"
    assert panel._background is kept
    assert limits(panel.picture) == frames


def test_a_dial_makes_room_for_codes_that_leave_it():
    panel = make_dial(wide=2.0)
    picture, span = panel.picture, panel.scene.dial.table.span
    while not panel.over:
        panel.step()
    assert panel.picture is not picture and panel.scene.dial.table.span > span
    assert panel.error is None and isinstance(panel, Live)


def test_the_curves_of_earlier_trainings_stay():
    panel = make_dial()
    assert panel.scene.dial.lines.get_segments() == []
    to_the_end(panel)
    panel.controls["width"].value = 5
    (curve,) = panel.scene.dial.lines.get_segments()
    np.testing.assert_allclose(curve, [(0, 0.1), (20, 1.1), (40, 2.1), (60, 3.1)])
    panel.restart()  # a training of one frame has no curve
    assert len(panel.scene.dial.lines.get_segments()) == 1
    for _ in range(12):
        panel.step()
        panel.restart()
    assert len(panel.scene.dial.lines.get_segments()) == 8


def test_the_live_lens_says_what_the_recorded_film_measures():
    panel = make_lens()
    film = Film("whole", Recording(MODEL, TARGET, EVERY * np.arange(len(MODEL))), GRID)
    for frame in range(len(MODEL)):
        assert f"KL from target to model {film.kl[frame]:.4f} nats" in panel.alt
        assert f"{film.p_information[frame]:.4f} in p" in panel.alt
        np.testing.assert_allclose(panel.scene.lens.kl.get_ydata(), film.kl[: frame + 1])
        panel.step()
    for field in ("misfit", "gap", "gap_at_x", "model", "target", "q_information", "steps"):
        np.testing.assert_allclose(getattr(panel.scene.film, field), getattr(film, field))
    panel.controls["objective"].value = "MaL"
    assert panel.alt.startswith("MaL, step 0: KL from target to model 0.0000 nats")
    assert len(panel.scene.film.kl) == 1


def test_joined_films_keep_their_pairs():
    dots = np.random.default_rng(0).normal(size=(len(MODEL), 9, 2))
    whole = Film("whole", Recording(MODEL, TARGET, pairs=dots), GRID)
    parts = [
        Film("part", Recording(MODEL[k : k + 1], TARGET, [k], dots[k : k + 1]), GRID)
        for k in range(len(MODEL))
    ]
    joined = parts[0].joined(parts[1]).joined(parts[2])
    for frame in range(3):
        np.testing.assert_array_equal(joined.pairs_at(frame), whole.pairs_at(frame))
    assert joined.ceiling == whole.ceiling == 9


def test_scales_of_a_live_lens_grow_and_never_shrink():
    def cloud(width):
        x, z = GRID.x[:, None], GRID.z[None]
        joint = np.exp(-0.5 * ((x / width) ** 2 + (z / width) ** 2))
        return joint / (joint.sum() * GRID.weight)

    def train(sharp):  # at the end only the difference needs more room
        for done, p, q in ((0, 1.0, 1.0), (20, sharp, sharp), (40, 1.0, 0.7)):
            yield done, {"model": cloud(p), "target": cloud(q)}

    panel = live_lens(train, STEPS, GRID, sharp=[0.3, 1.5])
    seen = [panel.scene.lens.scales]
    for _ in range(2):
        panel.step()
        seen.append(panel.scene.lens.scales)
    panel.controls["sharp"].value = 1.5
    seen.append(panel.scene.lens.scales)
    assert seen[1][0] > 10 * seen[0][0] and (np.diff(seen, axis=0) >= 0).all()
    assert panel.picture is panel.scene.lens.picture and panel.error is None


# --------------------------------------------------------------------------------- a real kernel
IN_A_KERNEL = """
import sys, time
sys.path.insert(0, {tests!r})
from test_widgets_live import MODEL, TARGET, GRID, STEPS, buttons, lens_training, live_lens

def slowly(objective):
    for done, frame in lens_training(objective):
        time.sleep(0.1)
        yield done, frame

panel = live_lens(slowly, STEPS, GRID, objective=["ELBO"])
"""


@pytest.mark.slow
def test_a_kernel_plays_and_answers_cells_meanwhile():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")

    def run(code):
        notebook.cells[0].source = code
        client.execute_cell(notebook.cells[0], 0)
        return "".join(output.text for output in notebook.cells[0].outputs).strip()

    with client.setup_kernel():
        run(IN_A_KERNEL.format(tests=str(Path(__file__).parent)))
        button = run("print(buttons(panel)['play'].comm.comm_id)")
        data = {"method": "custom", "content": {"event": "click"}}  # what a browser sends
        message = client.kc.session.msg("comm_msg", {"comm_id": button, "data": data})
        client.kc.shell_channel.send(message)
        seen = [run("print(panel._run.steps[-1])")]
        while seen[-1] != "60" and len(seen) < 1000:
            seen.append(run("print(panel._run.steps[-1])"))
        assert {"20", "40"} & set(seen)  # answered between two frames
        assert run("print(panel.over, panel.failure, panel.error)") == "True None None"
