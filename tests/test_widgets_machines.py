"""The laboratory's panels: rulers under ceilings, tables that must agree, trained dials."""

import base64

import ipywidgets
import numpy as np
import pytest
from test_plots import tidy
from test_widgets import limits, other, pixels

from lvmlab import plots, widgets
from lvmlab.diagnostics import estimator_curves, ksg_ceiling
from lvmlab.plots import style
from lvmlab.widgets.dial_films import DialFilm, DialRecording
from lvmlab.widgets.estimator_panel import estimator_panel, estimator_states, recorded_curves
from lvmlab.widgets.table_films import TableFilm, TableRecording
from lvmlab.widgets.table_machine import table_machine, table_machine_states
from lvmlab.widgets.trained_dial import trained_dial, trained_states

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

ROWS, SEEDS, FRAMES = 40, 3, 4
X = np.random.default_rng(0).normal(size=(ROWS, 2))
LABELS = np.arange(ROWS) % 5
CAP = (6.79, "ψ(4000)−ψ(5)")


def tables(seed, frames=5, noise=1.0, shape=(6, 6)):
    """A recording of random joints that come nearer to each other."""
    random = np.random.default_rng(seed)
    ends = [random.dirichlet(np.full(shape[0] * shape[1], 0.3)).reshape(shape) for _ in range(2)]
    part = np.linspace(0, 0.5, frames)[:, None, None]
    return TableRecording(
        q=(1 - part) * ends[0] + part * ends[1],
        p=(1 - part) * ends[1] + part * ends[0],
        anchor_x=random.dirichlet(np.ones(shape[0])),
        anchor_z=random.dirichlet(np.ones(shape[1])),
        loss=np.linspace(3, 1, frames) + noise * random.random(frames),
        steps=50 * np.arange(frames),
    )


def trainings(kind, seeds=SEEDS, frames=FRAMES):
    """A recording of a dial whose posteriors stay as the prior (even kinds) or learn (odd)."""
    random, learns = np.random.default_rng(kind), kind % 2
    grown = np.linspace(0.2, 1, frames)[:, None, None] * np.ones((seeds, 1, 1, 1))
    means = grown * X * ([1, 1] if learns else [1, 0.01])
    scales = np.broadcast_to(1 - 0.8 * grown * learns, means.shape)
    noise = 0.1 * random.standard_normal(means.shape)
    information = (3.4 if learns else 0.7) * grown[..., 0, 0] + 0.1 * random.random((seeds, frames))
    return DialRecording(means, scales, means + noise, information, steps=10 * np.arange(frames))


def make_machine():
    objectives = ("L_CE", "L_MIM", "VAE")
    return table_machine({n: {s: tables(10 * i + s) for s in (0, 1)} for i, n in
                          enumerate(objectives)}, start={"step": 3})  # fmt: skip


def make_dial():
    films = {"VAE": {5: trainings(0), 20: trainings(2)}, "MIM": {5: trainings(1), 20: trainings(3)}}
    return trained_dial(films, X, LABELS, ceiling=CAP, start={"step": 2})


MAKE = {"rulers": estimator_panel, "machine": make_machine, "dial": make_dial}


@pytest.fixture(scope="module", params=MAKE)
def panel(request):
    return MAKE[request.param]()


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


def test_frames_do_not_jump_and_words_are_not_crowded(panel):
    frames = limits(panel.picture)
    for name, control in panel.controls.items():
        old, control.value = control.value, other(control)
        assert limits(panel.picture) == frames, name
        tidy(panel.picture)
        panel._background = None
        control.value = old


def test_the_quick_picture_is_the_full_one(panel):
    for control in panel.controls.values():
        old, control.value = control.value, other(control)
        assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2
        panel._background = None
        control.value = old


def test_saved_output_carries_a_small_picture_and_its_sentence(panel):
    bundle, metadata = panel._repr_mimebundle_()
    assert len(base64.b64decode(bundle["image/png"])) < 180_000
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == panel.alt


def test_a_move_needs_no_new_background(panel):
    for name, control in panel.controls.items():
        kept, old = panel._background, control.value
        control.value = other(control)
        assert panel._background is kept, name
        control.value = old


# --------------------------------------------------------------------------------- estimator panel
def test_recorded_readings_are_those_of_the_estimators():
    known = recorded_curves()
    assert known["minibatch"].shape == (10, 49, 10) and known["ksg"].shape == (10, 49, 13)
    fresh = estimator_curves([2.0, 7.0], (32, 4096), (5,), known["samples"], known["dim"], seeds=1)
    at = [8, 28]
    assert known["information"][at] == pytest.approx([2, 7])
    found = known["minibatch"][0][np.ix_(at, [2, 9])]
    np.testing.assert_allclose(found, fresh["minibatch"][0], atol=2e-3)
    np.testing.assert_allclose(known["ksg"][0][at, 2], fresh["ksg"][0, :, 0], atol=2e-3)


def test_no_recorded_reading_passes_its_ceiling_and_all_end_below_it():
    known = recorded_curves()
    caps = np.log(known["batch_sizes"])
    assert (known["minibatch"] <= caps + 6e-4).all()
    assert (known["minibatch"][:, -1] > 0.99 * caps).all()  # at twelve nats all are at their caps
    neighbours = np.array([ksg_ceiling(4096, int(k)) for k in known["ks"]])
    assert (known["ksg"] <= neighbours + 6e-4).all()


def test_the_panel_says_readings_and_ceilings():
    panel = estimator_panel()
    assert panel.values == {"information": 2.0, "batch_size": 32, "k": 5}
    known = recorded_curves()
    panel.controls["information"].value = 7.0
    means = [known["minibatch"][:, 28, 2].mean(), known["minibatch"][:, 28, 9].mean()]
    assert f"batches of 32 read {means[0]:.2f} (ceiling 3.47)" in panel.alt
    assert f"the full set {means[1]:.2f} (8.32)" in panel.alt
    assert f"k = 5 {known['ksg'][:, 28, 2].mean():.2f} ({ksg_ceiling(4096, 5):.2f})" in panel.alt


def test_estimator_panel_takes_other_readings_and_refuses_odd_ones():
    curves = estimator_curves([0.0, 1.0, 2.0], (8, 32), (3, 5), samples=32, dim=1, seeds=2)
    panel = estimator_panel(curves)
    panel.controls["batch_size"].value = 8
    assert "batches of 8" in panel.alt
    with pytest.raises(ValueError, match="ksg is missing"):
        estimator_panel({k: v for k, v in curves.items() if k != "ksg"})
    with pytest.raises(ValueError, match=r"curves\['ksg'\]: expected finite.*\(S, 3, 2\)"):
        estimator_panel(curves | {"ksg": curves["minibatch"][:, :, :1]})
    with pytest.raises(ValueError, match="batch_size: expected one of 8, 16"):
        estimator_states(batch_sizes=(50,))
    with pytest.raises(ValueError, match="expected 1 to 3 and 1 to 2 values"):
        estimator_states(informations=())


@pytest.mark.slow
def test_estimators_on_a_page():
    picture = estimator_states()
    assert tidy(picture) > 20
    assert "3.47 for M = 32" in picture.alt
    titles = [t.get_text() for ax in picture.axes for t in ax.texts]
    assert {"At 2 nats", "At 7 nats", "At 12 nats"} <= set(titles)
    assert len(base64.b64decode(picture._repr_mimebundle_()[0]["image/png"])) < 180_000


# ----------------------------------------------------------------------------------- table machine
def entropy(table):
    return -sum(v * np.log(v) for v in np.ravel(table) if v > 0)


def test_a_table_film_measures_what_the_sums_say():
    for seed in range(5):
        recording = tables(seed)
        film = TableFilm("r", recording)
        q, p = recording.q[2], recording.p[2]
        e = np.array([recording.anchor_x[i] * row / row.sum() for i, row in enumerate(q)])
        d = np.array([recording.anchor_z[j] * col / col.sum() for j, col in enumerate(p.T)]).T
        np.testing.assert_allclose(film.encoded[2], e, atol=1e-12)
        np.testing.assert_allclose(film.decoded[2], d, atol=1e-12)
        mixture = (e + d) / 2
        assert film.mixture_entropy[2] == pytest.approx(entropy(mixture))
        by_entropies = entropy(mixture.sum(0)) + entropy(mixture.sum(1)) - entropy(mixture)
        assert film.mixture_information[2] == pytest.approx(by_entropies)
        kls = [(a * np.log(a / b)).sum() for a, b in ((q, p), (p, q))]
        assert film.apart[2] == pytest.approx(np.mean(kls))
        assert film.apart[-1] == pytest.approx(0, abs=1e-12)  # both have become one joint
        cross = -(mixture * np.log((q + p) / 2)).sum()  # L_CE and L_MIM: the bound chain
        assert film.mixture_entropy[2] <= cross <= -(mixture * np.log(q * p) / 2).sum()


def test_a_film_with_anchors_as_marginals_is_its_own_target():
    joint = tables(0).q[:1]
    film = TableFilm("r", TableRecording(joint, joint, joint[0].sum(1), joint[0].sum(0), [1.0]))
    for table in film.tables().values():
        np.testing.assert_allclose(table, joint, atol=1e-12)
    assert film.apart[0] == 0
    assert film.mixture_information[0] == pytest.approx(film.information["q"][0])


def test_mass_nowhere_is_no_error():
    joint = np.diag([0.5, 0.5, 0.0])[None]
    other_one = np.full((1, 3, 3), 1 / 9)
    film = TableFilm("r", TableRecording(joint, other_one, np.ones(3) / 3, np.ones(3) / 3, [0.0]))
    np.testing.assert_allclose(film.encoded[0, 2], 1 / 9)  # an encoder that was never asked
    assert np.isinf(film.apart[0])
    panel = table_machine({"L_CE": film_of(joint, other_one)})
    assert panel.error is None and "SKL(q, p) inf" in panel.alt
    tidy(panel.picture)


def film_of(q, p):
    return TableRecording(q, p, np.ones(3) / 3, np.ones(3) / 3, [0.0])


def test_the_machine_says_what_the_film_measures():
    recording = tables(3)
    panel = table_machine({"L_MIM": recording})
    assert panel.values == {"objective": "L_MIM", "anchors": 0, "step": 4}  # the last frame first
    film = TableFilm("r", recording)
    panel.controls["step"].value = 1
    told = f"L_MIM, step 50, in nats: loss {film.loss[1]:.3f}, H(M) {film.mixture_entropy[1]:.3f}"
    assert panel.alt.startswith(told)
    assert f"SKL(q, p) {film.apart[1]:.3f}" in panel.alt
    assert f"information in E {film.information['E'][1]:.3f}" in panel.alt
    plain = table_machine({"L_MIM": vars(recording)}, start={"step": 1})
    assert plain.alt == panel.alt


def test_play_and_one_step_drive_machine_and_dial():
    for made in (make_machine(), make_dial()):
        step = made.controls["step"]
        play, forward = (w for w in made.children[0].children if w not in made.controls.values())
        assert isinstance(play, ipywidgets.Play) and (play.min, play.max) == (0, step.max)
        step.value = 0
        for expected in range(1, step.max + 1):
            forward.click()
            assert step.value == expected
        forward.click()
        assert step.value == step.max


@pytest.mark.slow
def test_machines_on_a_page():
    runs = {name: {7: tables(i)} for i, name in enumerate(("L_CE", "L_MIM", "A-MIM", "VAE"))}
    picture = table_machine_states(runs, step=1, objectives=["L_CE", "VAE", "L_MIM"])
    assert tidy(picture) > 30
    for i, name in ((0, "L_CE"), (3, "VAE"), (1, "L_MIM")):
        assert f"{TableFilm('r', tables(i)).apart[1]:.2f} nats under {name}" in picture.alt
    tidy(table_machine_states(runs))
    with pytest.raises(ValueError, match=r"objectives and anchors: .*seed among"):
        table_machine_states(runs, anchors=0)
    with pytest.raises(ValueError, match="expected 1 to 3 among"):
        table_machine_states(runs, objectives=["WAE"])


def worse(**change):
    return {"L_CE": vars(tables(0)) | change}


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({}, "recordings: expected at least one objective"),
        ({"L_CE": {}}, "L_CE: expected the same seeds"),
        ({"L_CE": {0: 3}}, "L_CE, seed 0: expected a TableRecording.*got int"),
        ({"L_CE": {"q": 1, "loss": 2}}, "L_CE, seed 0: expected q, p, anchor_x.*got q, loss"),
        (worse(q=tables(0).q[0]), r"L_CE, seed 0, q: .*\(T, X, Z\).*q\[None\]"),
        (worse(q=2 * tables(0).q), "L_CE, seed 0, q: .*total mass"),
        (worse(p=np.log(tables(0).p)), "L_CE, seed 0, p: .*logarithms"),
        (worse(p=tables(0).p[:2]), "L_CE, seed 0, p: expected shape"),
        (worse(anchor_x=np.ones(6)), "L_CE, seed 0, anchor_x: expected a sum of 1"),
        (worse(anchor_z=np.ones(5) / 5), "L_CE, seed 0, anchor_z: expected 6 probabilities"),
        (worse(loss=[1.0]), "L_CE, seed 0, loss: expected 5 numbers"),
        (worse(loss=np.full(5, np.nan)), "L_CE, seed 0, loss"),
        (worse(steps=[0, 1, 1, 2, 3]), "L_CE, seed 0, steps: expected increasing"),
        ({"L_CE": {0: tables(0)}, "VAE": {1: tables(0)}}, "VAE: expected the same seeds"),
        ({"L_CE": tables(0), "VAE": tables(0, frames=3)}, "VAE, seed 0: .*record all at the same"),
        ({"L_CE": tables(0), "VAE": tables(0, shape=(6, 5))}, r"VAE, seed 0: expected tables"),
    ],
)
def test_the_machine_refuses_bad_recordings(recordings, message):
    with pytest.raises(ValueError, match=message):
        table_machine(recordings)


# ------------------------------------------------------------------------------------ trained dial
def test_the_dial_shows_the_chosen_seed_and_tells_all():
    recording = trainings(1)
    panel = trained_dial({"MIM": recording}, X, LABELS)
    assert list(panel.controls) == ["objective", "seed", "step"]  # one width: nothing to choose
    panel.controls["seed"].value = 2
    now = recording.information[:, -1]
    told = f"MIM, seed 2, step 30: {now[2]:.2f} nats about x in z, all 3 seeds"
    assert panel.alt.startswith(told)
    assert f"{now.min():.2f} to {now.max():.2f}, 2 of 2 latents active" in panel.alt
    (marks,) = (c for ax in panel.picture.axes for c in ax.collections if hasattr(c, "_widths"))
    np.testing.assert_allclose(marks.get_offsets(), recording.means[2, -1])
    np.testing.assert_allclose(marks.get_widths(), 2 * recording.scales[2, -1, :, 0])
    assert [tuple(c) for c in marks.get_edgecolor()[:5]] == [
        pytest.approx(rgba(style.FEW_CLASSES[k])) for k in range(5)
    ]


def rgba(colour):
    from matplotlib.colors import to_rgba

    return to_rgba(colour)


def test_active_units_are_counted_from_the_means():
    film = DialFilm("r", trainings(0), ROWS)
    assert (film.active[:, -1] == 1).all()  # the second latent does not move
    given = DialFilm("r", vars(trainings(0)) | {"active": np.zeros((SEEDS, FRAMES))}, ROWS)
    assert (given.active == 0).all()


def test_a_final_state_alone_has_no_scrub_bar_and_no_ceiling_is_said():
    panel = trained_dial({"VAE": trainings(0, 1, 1), "MIM": trainings(1, 1, 1)}, X, LABELS)
    assert list(panel.controls) == ["objective", "seed"]
    tidy(panel.picture)
    words = [t.get_text() for ax in panel.picture.axes for t in ax.texts]
    assert any("largest run" in w for w in words)


def test_many_rows_draw_at_most_130_ellipses_and_far_codes_widen_the_floor():
    x = np.random.default_rng(1).normal(size=(500, 2))
    means = 2 * np.broadcast_to(x, (1, 1, 500, 2))
    one = DialRecording(means, np.ones_like(means), means, [[1.0]])
    panel = trained_dial({"VAE": one}, x, np.arange(500) % 10)
    (marks,) = (c for ax in panel.picture.axes for c in ax.collections if hasattr(c, "_widths"))
    assert len(marks.get_widths()) == 130
    floor = next(ax for ax in panel.picture.axes if "z_1" in ax.get_xlabel())
    assert 4.5 <= floor.get_xlim()[1] <= 6


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_dials_on_a_page(count):
    names = ("VAE", "MIM", "VAE+H", "MIM-H")
    films = {n: {5: trainings(i % 2), 20: trainings(2 + i)} for i, n in enumerate(names)}
    show = [(name, 20) for name in names[:count]]
    picture = trained_states(films, X, LABELS, show, ceiling=CAP)
    assert tidy(picture) > 10
    for i in range(count):
        value = trainings(2 + i).information[0, -1]
        assert f"{names[i]}, {value:.2f} nats about x in z" in picture.alt
    assert len(base64.b64decode(picture._repr_mimebundle_()[0]["image/png"])) < 180_000


def test_pages_of_dials_take_names_and_refuse_strangers():
    films = {"VAE": trainings(0), "MIM": trainings(1)}
    by_name = trained_states(films, X, LABELS, ["MIM"], step=0)
    assert by_name.alt.count("nats about x") == 1 and "MIM" in by_name.alt
    with pytest.raises(ValueError, match="show: expected one to four"):
        trained_states(films, X, LABELS, [("MIM", 20)])
    with pytest.raises(ValueError, match="show: expected one to four"):
        trained_states(films, X, LABELS, [])


def changed(**change):
    return {"MIM": vars(trainings(1)) | change}


ONES = np.ones((SEEDS, FRAMES, ROWS, 2))


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ({}, "recordings: expected at least one objective"),
        ({"MIM": {}}, "MIM: expected a recording for each"),
        ({"MIM": {5: 1.0}}, "MIM, 5: expected a DialRecording.*got float"),
        ({"MIM": {"means": ONES, "scale": ONES}}, "MIM: expected means, scales.*got means, scale"),
        (changed(means=ONES[0]), r"MIM, means: expected shape \(S, T, 40, 2\)"),
        (changed(means=ONES * np.nan), "MIM, means: expected finite.*before training failed"),
        (changed(scales=-ONES), "MIM, scales: expected positive.*np.exp"),
        (changed(reconstructions=ONES[:, :2]), "MIM, reconstructions: expected shape"),
        (changed(information=[1.0]), r"MIM, information: expected shape \(3, 4\)"),
        (changed(active=[1]), "MIM, active: expected shape"),
        (changed(steps=[0, 2, 2, 3]), "MIM, steps: expected increasing"),
        ({"MIM": {5: trainings(1)}, "VAE": {20: trainings(0)}}, r"VAE: expected .* each of \[5\]"),
        ({"MIM": trainings(1), "VAE": trainings(0, seeds=2)}, "VAE: expected 3 seeds"),
        ({"MIM": trainings(1), "VAE": trainings(0, frames=2)}, "VAE: expected 3 seeds at the 4"),
    ],
)
def test_the_dial_refuses_bad_recordings(recordings, message):
    with pytest.raises(ValueError, match=message):
        trained_dial(recordings, X, LABELS)


def test_the_dial_refuses_data_that_do_not_fit():
    films = {"MIM": trainings(1)}
    with pytest.raises(ValueError, match="labels: expected 40 integers"):
        trained_dial(films, X, LABELS[:5])
    with pytest.raises(ValueError, match="labels: expected 40 integers"):
        trained_dial(films, X, LABELS + 9)
    with pytest.raises(ValueError, match="MIM, means: expected shape"):
        trained_dial(films, X[:20], LABELS[:20])
    with pytest.raises(ValueError, match="ceiling: expected a positive"):
        trained_dial(films, X, LABELS, ceiling=(0, "log 1"))
    with pytest.raises(ValueError, match="start: expected names among objective, seed, step"):
        trained_dial(films, X, LABELS, start={"width": 5})
    with pytest.raises(ValueError, match=r"density: expected x1 \(A,\)"):
        trained_dial(films, X, LABELS, (np.arange(3), np.arange(4), np.ones((4, 3))))


def test_the_laboratory_is_exported():
    assert widgets.trained_dial is trained_dial and widgets.DialRecording is DialRecording
    assert widgets.table_machine is table_machine and widgets.estimator_panel is estimator_panel
    assert callable(plots.rulers)
