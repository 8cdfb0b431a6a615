"""Panels without a browser: controls move the picture, frames do not jump, numbers are right."""

import base64
import io
from html import escape
from threading import Event, Thread

import ipywidgets
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits
from test_plots import ENCODER, P, tidy

from lvmlab import plots, widgets
from lvmlab.plots import style
from lvmlab.widgets import two_humps
from lvmlab.widgets.collapse_dial import collapse_dial
from lvmlab.widgets.joint_lens import joint_lens
from lvmlab.widgets.linear import check_spectrum, linear_axis
from lvmlab.widgets.recording import Film, Recording
from lvmlab.widgets.table_bench import GRID, SECONDS, second_table, splits, table_bench, tilted

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check


@pytest.fixture(scope="module")
def spectrum():
    x = load_digits().data / 16
    return np.linalg.eigvalsh(np.cov(x.T, bias=True))


def bend(frames=5):
    """A recording on a continuous plane: a model that comes nearer to its target."""
    x, z = np.linspace(-4, 4, 61), np.linspace(-3, 3, 51)
    grid = plots.Grid(x, z)

    def cloud(slope):
        joint = np.exp(-0.5 * z**2 - 0.5 * ((x[:, None] - slope * z) / 0.8) ** 2)
        return joint / joint.sum() / grid.weight

    model = np.array([cloud(s) for s in np.linspace(-0.5, 1, frames)])
    return grid, model, cloud(1.0)


def table_lens():
    data = np.array([1, 1, 1, 0])[:, None] / 3
    targets = {
        "MaL": data * P / P.sum(1, keepdims=True),
        "ELBO": data * ENCODER,
        "CoLLike": data * np.eye(2)[[0, 1, 1, 0]],
    }
    product = P.sum(1, keepdims=True) * P.sum(0)
    films = {name: Recording(np.array([product, P]), q) for name, q in targets.items()}
    return joint_lens(plots.Grid.table((4, 2)), films, start={"step": 1})


def plane_lens():
    grid, model, target = bend()
    pairs = np.stack([np.linspace(-2, 2, 20)] * 2, -1)
    return joint_lens(
        grid, {"ELBO": Recording(model, target), "CoLLike": Recording(model, target, pairs=pairs)}
    )


MAKE = {
    "dial": lambda: collapse_dial(np.linspace(0.1, 0.7, 8)),
    "bench": table_bench,
    "humps": lambda: two_humps.encoder_lens("apart", frames=5),
    "table": table_lens,
    "plane": plane_lens,
}


@pytest.fixture(scope="module", params=MAKE)
def panel(request):
    return MAKE[request.param]()


def other(control):
    """Another value of a control, not its first."""
    if isinstance(control, ipywidgets.FloatLogSlider):
        return control.base ** (control.max - 2 * control.step)
    if hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
        return next(v for v in reversed(values) if v != control.value)
    return control.max if control.value != control.max else control.min


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def limits(picture):
    return [(ax.get_xlim(), ax.get_ylim(), ax.get_position().bounds) for ax in picture.axes]


# ------------------------------------------------------------------------------------- every panel
def test_every_control_changes_the_picture_and_the_sentence(panel):
    for name, control in panel.controls.items():
        before, said, old = panel.image.value, panel.alt, control.value
        control.value = other(control)
        assert panel.error is None
        assert panel.image.value != before, name
        assert panel.alt != said, name
        control.value = old
        np.testing.assert_array_equal(pixels(panel.image.value), pixels(before))


def test_frames_do_not_jump_when_sliders_move(panel):
    frames = limits(panel.picture)
    size = Image.open(io.BytesIO(panel.image.value)).size
    for name, control in panel.controls.items():
        if name == "data":  # other data have other units
            continue
        old, control.value = control.value, other(control)
        assert limits(panel.picture) == frames, name
        assert Image.open(io.BytesIO(panel.image.value)).size == size
        control.value = old


def test_the_quick_picture_is_the_full_one(panel):
    for control in panel.controls.values():
        old, control.value = control.value, other(control)
        quick = pixels(panel.image.value)
        full = pixels(style.png(panel.picture))
        assert np.abs(quick - full).max() <= 2
        panel._background = None
        control.value = old


def test_no_word_is_cut_or_crowded(panel):
    for control in [None, *panel.controls.values()]:
        old = control and control.value
        if control:
            control.value = other(control)
        tidy(panel.picture)
        if control:
            control.value = old


def test_saved_output_carries_the_picture_and_its_sentence(panel):
    bundle, metadata = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    kept = base64.b64decode(bundle["image/png"])
    assert len(kept) < 180_000
    assert np.abs(pixels(kept) - pixels(panel.image.value)).mean() < 1
    assert bundle["text/plain"] == panel.alt
    assert escape(panel.alt) in panel.words.value
    assert panel.image.tooltip is None  # with one the browser cannot show the image
    assert metadata["image/png"] == {"width": 900, "alt": panel.alt}


def test_a_browser_finds_the_panel_and_its_sliders_follow_the_hand(panel):
    assert "lvmlab-panel" in panel._dom_classes
    for control in panel.controls.values():
        assert getattr(control, "continuous_update", True)


def test_save_writes_a_sharper_picture(panel, tmp_path):
    before = panel.image.value
    panel.save(tmp_path / "panel.png")
    with Image.open(tmp_path / "panel.png") as saved:
        width = Image.open(io.BytesIO(before)).size[0]
        assert saved.size[0] == pytest.approx(1.5 * width, abs=1)
    panel.update()
    np.testing.assert_array_equal(pixels(panel.image.value), pixels(before))


# --------------------------------------------------------------------------------- Panel by itself
def line_panel(**extra):
    picture = plots.figure(4.4, 3.6)
    ax = plots.place(picture, 0.6, 0.6, 3, 2)
    ax.set(xlim=(0, 1), ylim=(0, 4))
    (line,) = ax.plot([], [], color=style.INK)
    title, _ = plots.heading(ax, "")

    def draw(slope, name="first"):
        if slope > 3:
            raise ValueError("slope: expected at most 3")
        line.set_data([0, 1], [0, slope])
        if title.get_text() != name:
            title.set_text(name)

    slider = ipywidgets.FloatSlider(1.0, min=0, max=4)
    return widgets.Panel(picture, draw, slope=slider, **extra), line, title


def test_moving_parts_are_painted_over_a_kept_background():
    panel, line, _ = line_panel(name=ipywidgets.Dropdown(options=["first", "second"]))
    still = pixels(panel.image.value)
    plots.live(line)
    panel.update()
    np.testing.assert_array_equal(pixels(panel.image.value), still)
    kept = panel._background
    panel.controls["slope"].value = 2.0
    assert panel._background is kept
    panel.controls["name"].value = "second"  # a title does not move: the background is renewed
    assert panel._background is not kept
    assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2


def test_a_failing_draw_says_so_in_the_picture_and_recovers():
    panel, _, _ = line_panel()
    before = panel.image.value
    panel.controls["slope"].value = 4.0
    assert panel.image.value != before
    assert Image.open(io.BytesIO(panel.image.value)).size == (440, 360)
    assert isinstance(panel.error, ValueError)
    assert panel.alt == "ValueError: slope: expected at most 3"
    with pytest.raises(ValueError, match="nothing was saved"):
        panel.save("never.png")
    panel.controls["slope"].value = 1.0
    assert panel.error is None
    np.testing.assert_array_equal(pixels(panel.image.value), pixels(before))


def test_a_draw_that_fails_at_once_raises():
    with pytest.raises(ZeroDivisionError):
        widgets.Panel(plots.figure(), lambda: 1 / 0)


def test_two_threads_set_controls_one_after_the_other():
    """Else the one that leaves last keeps the panel from ever drawing again."""
    panel, _, _ = line_panel()
    entered, left = Event(), Event()

    def other_thread():
        with panel.together():
            entered.set()
            left.wait(5)

    thread = Thread(target=other_thread)
    with panel.together():
        thread.start()
        early = entered.wait(0.2)
    left.set()
    thread.join()
    before = panel.image.value
    panel.controls["slope"].value = 2.0
    assert entered.is_set() and not early and panel.image.value != before


def test_panel_refuses_what_it_cannot_watch():
    with pytest.raises(ValueError, match=r"beta: expected a control.*got int"):
        widgets.Panel(plots.figure(), lambda beta: None, beta=3)
    with pytest.raises(ValueError, match="beta: expected a control"):
        widgets.Panel(plots.figure(), lambda beta: None, beta=ipywidgets.HBox())
    with pytest.raises(ValueError, match=r"picture: .*got Figure"):
        widgets.Panel(Figure(), lambda: None)


# --------------------------------------------------------------------------- the dial, closed form
def test_information_of_a_linear_axis():
    found = [float(linear_axis(4.0, 0.5, beta).information) for beta in (1, 4, 16, 20)]
    np.testing.assert_allclose(found, [1.3863, 0.6931, 0, 0], atol=5e-5)
    assert linear_axis(1.0, 0.5, 4.0).information == 0
    assert linear_axis(1.0, 0.5, 3.999).information > 0
    healthy = linear_axis(4.0, 0.5, 1.0)
    assert healthy.distortion == pytest.approx(0.7258, abs=5e-5)
    assert healthy.distortion + healthy.rate == pytest.approx(2.1121, abs=5e-5)
    assert linear_axis(4.0, 0.5, 16.0).distortion == pytest.approx(8.226, abs=5e-4)


def test_linear_axis_is_the_minimum_that_a_search_finds():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    for _ in range(12):
        v, s, beta = rng.uniform(0.2, 4), rng.uniform(0.2, 1.2), rng.uniform(0.3, 5)

        def loss(theta, v=v, s=s, beta=beta):
            a, w, log_sigma = theta
            sigma = np.exp(log_sigma)
            error = v * (1 - w * a) ** 2 + (w * sigma) ** 2
            rate = 0.5 * (a**2 * v + sigma**2 - 1) - log_sigma
            return 0.5 * np.log(2 * np.pi * s**2) + error / (2 * s**2) + beta * rate

        best = min(
            (minimize(loss, start, tol=1e-12) for start in ((0.5, 0.5, 0), (0.1, 1.5, -1))),
            key=lambda r: r.fun,
        )
        axis = linear_axis(v, s, beta)
        assert axis.distortion + beta * axis.rate == pytest.approx(best.fun, abs=1e-6)
        noise = np.exp(2 * best.x[2]) / (best.x[0] ** 2 * v + np.exp(2 * best.x[2]))
        assert axis.rho == pytest.approx(noise, abs=2e-3)


@pytest.mark.parametrize(
    ("scale", "beta", "alive", "nats"), [(0.5, 1, 2, 2.0794), (0.5, 4, 1, 0.6931)]
)
def test_dial_tells_its_numbers(scale, beta, alive, nats):
    panel = collapse_dial()
    panel.controls["s"].value, panel.controls["beta"].value = scale, beta
    assert f"{nats} nats about x in z, {alive} of 2 latents active" in panel.alt


@pytest.mark.parametrize(
    ("beta", "alive", "nats"), [(0.25, 36, 29.38), (1, 18, 10.65), (4, 7, 2.29), (16, 0, 0.0)]
)
def test_dial_on_digits(spectrum, beta, alive, nats):
    now = linear_axis(check_spectrum(spectrum), np.sqrt(0.05), beta)
    assert (now.information > 0).sum() == alive
    assert now.information.sum() == pytest.approx(nats, abs=0.006)
    assert len(now.information) == 64


def test_dial_rests_the_second_variance_on_real_data(spectrum):
    panel = collapse_dial(spectrum)
    assert not panel.controls["second"].disabled
    panel.controls["data"].value = "digits"
    assert panel.controls["second"].disabled
    assert "of 64 latents active" in panel.alt


def test_beta_slider_stops_exactly_at_the_cliffs():
    panel = collapse_dial()
    slider = panel.controls["beta"]
    stops = slider.base ** np.arange(slider.min, slider.max + slider.step, slider.step)
    assert {0.25, 1.0, 4.0, 16.0, 32.0} <= set(stops)
    assert 28 <= len(stops) <= 32


def test_no_information_leaves_the_axes_of_the_dial():
    panel = collapse_dial([90.0, 3.0, 1.0], variance=30.0)
    panel.controls["s"].value, panel.controls["beta"].value = 0.1, 0.25
    for data in ("two axes", "digits"):
        panel.controls["data"].value = data
        lines = next(ax for ax in panel.picture.axes if ax.get_xlabel() == "beta")
        heights = np.concatenate([s[:, 1] for s in lines.collections[0].get_segments()])
        assert heights.max() <= lines.get_ylim()[1]


def test_posteriors_become_the_prior():
    panel = collapse_dial()
    marks = next(c for ax in panel.picture.axes for c in ax.collections if hasattr(c, "get_widths"))
    panel.controls["beta"].value = 4.0
    np.testing.assert_allclose(marks.get_heights(), 2.0)  # z2 is off: one scale to each side
    assert marks.get_widths().max() < 1.1
    panel.controls["beta"].value = 16.0
    np.testing.assert_allclose(marks.get_widths(), 2.0)
    np.testing.assert_allclose(marks.get_offsets(), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_axis(-1.0, 0.5, 1.0), "variance: expected positive"),
        (lambda: linear_axis(1.0, 0.0, 1.0), "scale: expected positive"),
        (lambda: linear_axis(1.0, 0.5, np.nan), "beta: expected positive"),
        (lambda: collapse_dial([1.0]), "eigenvalues: expected at least two"),
        (lambda: collapse_dial([1.0, -0.5]), "eigenvalues: .*-0.5"),
        (lambda: collapse_dial([1.0, np.inf]), "eigenvalues"),
        (lambda: widgets.collapse_states(range(1, 6)), "betas: expected 1 to 4"),
        (lambda: widgets.table_states((0, 0.1, 0.2, 0.3)), "tilts: expected 1 to 3"),
        (lambda: tilted(1.2, 0), "tilt: expected a number from 0 to 1"),
        (lambda: second_table(P, "other"), "kind: expected one of uniform"),
        (lambda: two_humps.recordings("nowhere"), "start: expected truth or apart"),
        (lambda: two_humps.recordings(frames=1), "frames: expected at least 2"),
    ],
)
def test_widgets_refuse_what_they_cannot_draw(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_static_states_are_tidy():
    for picture in (widgets.collapse_states(), widgets.table_states(), widgets.encoder_states()):
        tidy(picture)
        assert len(picture.alt) > 40
    assert "0.69 nats at beta 4, 0.00 nats at beta 16" in widgets.collapse_states().alt


# ---------------------------------------------------------------------------------------- the bench
def test_bench_information_is_bounded_by_the_entropy_of_z():
    for skew in (0, 0.3, 1):
        q = tilted(1.0, skew)
        assert GRID.information(q) == pytest.approx(plots.entropy(q.sum(0)))
        q = tilted(0.0, skew)
        assert GRID.information(q) == pytest.approx(0, abs=1e-12)
    assert plots.entropy(tilted(1.0, 0.5).sum(0)) < np.log(3) - 0.05


@pytest.mark.parametrize("kind", SECONDS)
def test_bench_splits_share_their_total(kind):
    for tilt, skew in ((0.5, 0.0), (0.3, 0.7), (0.98, 1.0), (1.0, 0.5)):
        q = tilted(tilt, skew)
        p = second_table(q, kind)
        total = GRID.kl(q, p)
        for first, second in splits(q, p).values():
            assert first + second == pytest.approx(float(total), abs=1e-12)
    parts = splits(q, second_table(q, "uniform"))
    assert (
        parts["by x"][0] != pytest.approx(parts["by z"][0], abs=1e-3)
        or kind != "uniform"
        or tilt == 1
    )


def test_bench_tells_its_numbers():
    panel = table_bench()
    assert "information 0.2310 nats, entropy of z 1.0986" in panel.alt
    panel.controls["tilt"].value = 1.0
    assert "information 1.0986 nats" in panel.alt


# ---------------------------------------------------------------------------------------- the lens
GAPS = {0: 3.3673, 1: 1.3429, 2: 0.4632, 4: 0.0565, 8: 0.0, 16: 0.0084, 32: 0.0165}
CLAIMS = {0: 0.0, 1: 0.1242, 2: 0.3152, 4: 0.5252, 8: 0.6327, 16: 0.6686, 32: 0.6817}


@pytest.fixture(scope="module")
def humps():
    return {start: two_humps.recordings(start) for start in ("truth", "apart")}


def test_gap_of_each_encoder_slope(humps):
    for slope, recording in humps["truth"]["ELBO"].items():
        film = Film("ELBO", recording, two_humps.GRID)
        assert film.misfit[0] == pytest.approx(0, abs=1e-9)
        if slope in GAPS:
            assert film.gap[0] == pytest.approx(GAPS[slope], abs=1e-4)
            assert film.kl[0] == pytest.approx(GAPS[slope], abs=1e-4)
            assert film.q_information[0] == pytest.approx(CLAIMS[slope], abs=1e-4)
        assert film.p_information[0] == pytest.approx(0.632720, abs=1e-6)


def test_lens_says_what_the_film_measures(humps):
    panel = two_humps.encoder_lens()
    assert panel.values == {"objective": "ELBO", "variant": 2.0, "step": 0}
    assert "KL from target to model 0.4632 nats = misfit of x 0.0000 + gap 0.4632" in panel.alt
    assert "information 0.3152 nats in q, 0.6327 in p" in panel.alt
    panel.controls["variant"].value = 0.0
    assert "gap 3.3673" in panel.alt
    assert not panel.controls["variant"].disabled
    panel.controls["objective"].value = "MaL"
    assert panel.controls["variant"].disabled
    assert "gap 0.0000" in panel.alt


@pytest.mark.parametrize("start", ["truth", "apart"])
def test_no_recorded_step_raises_the_kl(humps, start):
    runs = {k: v for k, v in humps[start].items() if k != "ELBO"}
    runs |= {f"ELBO {k}": v for k, v in humps[start]["ELBO"].items()}
    for name, recording in runs.items():
        film = Film(name, recording, two_humps.GRID)
        assert np.diff(film.kl).max() < 1e-9, name
        assert np.abs(film.kl - film.misfit - film.gap).max() < 1e-9, name


def test_em_steps_down_in_stairs_to_the_truth(humps):
    film = Film("EM", humps["apart"]["EM"], two_humps.GRID)
    assert film.gap[::2] == pytest.approx(0, abs=1e-9)  # after each E step
    np.testing.assert_array_equal(
        film.model[1::2][:-1], film.model[2::2][: len(film.model[1::2]) - 1]
    )
    assert film.kl[-1] < 1e-4
    assert film.p_information[-1] == pytest.approx(0.6327, abs=2e-3)


def test_a_wrong_encoder_pulls_the_model_away_from_the_data(humps):
    film = Film("ELBO", humps["truth"]["ELBO"][2.0], two_humps.GRID)
    assert film.misfit[0] < 1e-9
    assert film.misfit[-1] > 0.05
    assert film.kl[-1] < film.kl[0] / 3


def test_match_fills_its_quota(humps):
    target = np.asarray(humps["apart"]["CoLLike"].target)
    np.testing.assert_allclose(target.sum(1) * two_humps.GRID.dx, 0.5, atol=1e-3)
    dots = np.asarray(humps["apart"]["CoLLike"].pairs)
    assert (dots[..., 1].sum(1) == 20).all()


def test_cursor_and_beads_stand_at_the_step(humps):
    panel = two_humps.encoder_lens("apart")
    panel.controls["step"].value = 12
    film = Film("ELBO", humps["apart"]["ELBO"][2.0], two_humps.GRID)
    traces = [ax for ax in panel.picture.axes if ax.get_xlabel() == "step"]
    expected = [
        {round(film.kl[12], 9)},
        {round(film.q_information[12], 9), round(film.p_information[12], 9)},
    ]
    for ax, values in zip(traces, expected, strict=True):
        short = [line for line in ax.lines if len(line.get_xdata()) in (1, 2)]
        assert {float(x) for line in short for x in line.get_xdata()} == {12.0}
        beads = [line for line in short if line.get_marker() == "o"]
        assert {round(float(b.get_ydata()[0]), 9) for b in beads} == values


def test_lens_over_a_finite_table():
    panel = table_lens()
    for name, kl in (("MaL", 0.2269), ("ELBO", 0.2444), ("CoLLike", 0.5323)):
        panel.controls["objective"].value = name
        assert f"KL from target to model {kl} nats = misfit of x 0.2269" in panel.alt


def test_pairs_over_a_continuous_latent_stand_at_their_ceiling():
    panel = plane_lens()
    panel.controls["objective"].value = "CoLLike"
    assert f"information {np.log(20):.4f} nats in q, its ceiling log 20" in panel.alt
    assert "gap" not in panel.alt


def test_play_and_one_step_drive_the_scrub_bar():
    panel = plane_lens()
    play, forward = (w for w in panel.children[0].children if w not in panel.controls.values())
    assert isinstance(play, ipywidgets.Play)
    assert (
        (play.min, play.max) == (panel.controls["step"].min, panel.controls["step"].max) == (0, 4)
    )
    for expected in (1, 2, 3, 4, 4):
        forward.click()
        assert panel.controls["step"].value == expected


def test_lens_takes_plain_mappings_and_single_precision():
    grid, model, target = bend()
    panel = joint_lens(grid, {"ELBO": {"model": model.astype(np.float32), "target": target}})
    double = joint_lens(grid, {"ELBO": Recording(model, target, steps=np.arange(5))})
    assert panel.alt == double.alt
    later = joint_lens(
        grid, {"ELBO": Recording(model, target, steps=10 * np.arange(5))}, start={"step": 2}
    )
    assert "step 20" in later.alt


def bad(**change):
    grid, model, target = bend()
    fields = {"model": model, "target": target} | change
    return grid, {"ELBO": Recording(**fields)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": bend()[1][0]}, r"ELBO, model: .*\(T, X, Z\).*model\[None\]"),
        ({"model": bend()[1].transpose(0, 2, 1)}, "ELBO, model: .*try its transpose"),
        ({"model": 2 * bend()[1]}, "ELBO, model: .*total mass"),
        ({"target": -bend()[2]}, "ELBO, target: .*smallest value"),
        ({"target": bend()[2] * np.nan}, "ELBO, target: .*finite"),
        ({"target": np.stack([bend()[2]] * 3)}, "ELBO, target: expected 5 frames"),
        ({"steps": [0, 1, 2]}, "ELBO, steps: expected 5 increasing"),
        ({"steps": [0, 1, 1, 2, 3]}, "ELBO, steps: expected 5 increasing"),
        ({"pairs": np.zeros((5, 3))}, "ELBO, pairs"),
        ({"pairs": np.zeros((3, 9, 2))}, "ELBO, pairs"),
    ],
)
def test_lens_refuses_bad_recordings(change, message):
    with pytest.raises(ValueError, match=message):
        joint_lens(*bad(**change))


def test_lens_refuses_recordings_that_do_not_fit_together():
    grid, model, target = bend()
    whole, short = Recording(model, target), Recording(model[:3], target)
    with pytest.raises(ValueError, match="recordings: expected at least one"):
        joint_lens(grid, {})
    with pytest.raises(ValueError, match=r"EM, steps: expected the 5 steps.*got 3"):
        joint_lens(grid, {"ELBO": whole, "EM": short})
    with pytest.raises(ValueError, match=r"A-MIM: expected a recording for each of \[1, 2\]"):
        joint_lens(grid, {"ELBO": {1: whole, 2: whole}, "A-MIM": {1: whole}})
    with pytest.raises(ValueError, match=r"ELBO: expected model and target.*got model, aim"):
        joint_lens(grid, {"ELBO": {"model": model, "aim": target}})
    with pytest.raises(ValueError, match=r"ELBO, 1: expected a Recording.*got ndarray"):
        joint_lens(grid, {"ELBO": {1: model}})
    with pytest.raises(ValueError, match="start: expected names among objective, step"):
        joint_lens(grid, {"ELBO": whole}, start={"when": 3})
