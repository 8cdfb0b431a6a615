"""The topic table and its pictures: parts that add up, tables that count, controls that move."""

import base64

import numpy as np
import pytest
from test_plots import tidy
from test_widgets import limits, other, pixels

from lvmlab import widgets
from lvmlab.diagnostics import categorical_information, ensembles, hungarian_accuracy
from lvmlab.plots import style
from lvmlab.plots.topics import label_curves, split_bars, split_log_k
from lvmlab.studies.ensemble import named, topic_recording
from lvmlab.widgets.topic_films import TopicFilm, TopicRecording
from lvmlab.widgets.topic_table import topic_states, topic_table

pytestmark = pytest.mark.slow  # many small pictures or runs: left out of make check

ROWS, MEMBERS, FRAMES, CLASSES = 120, 3, 4, 4
NAMES = ["World", "Sports", "Business", "Science"]
LABELS = np.random.default_rng(9).integers(CLASSES, size=ROWS)
TEXTS = [
    f"Text {i} costs ${i} and speaks of many things " + "again " * (i % 30) for i in range(ROWS)
]


def members(seed, categories=CLASSES, frames=FRAMES):
    """Posteriors (M, T, N, K) that learn the labels, each under names of its own."""
    random = np.random.default_rng(seed)
    made = np.empty((MEMBERS, frames, ROWS, categories))
    for m in range(MEMBERS):
        order, noise = random.permutation(categories), random.normal(size=(ROWS, categories))
        for t in range(frames):
            scores = noise + t * np.eye(categories)[LABELS]
            table = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
            made[m, t][:, order] = table
    return made


def film(seed, **more):
    return topic_recording(members(seed), LABELS, 100 * np.arange(FRAMES), **more)


@pytest.fixture(scope="module")
def panel():
    films = {"EM": film(0), "CoLLike": film(1, stored=np.linspace(26, 60, FRAMES))}
    return topic_table(films, TEXTS, LABELS, NAMES, start={"members": 2})


# ----------------------------------------------------------------------------------- the numbers
@pytest.mark.parametrize("seed", range(3))
def test_the_three_parts_are_those_of_the_posterior_and_add_up(seed):
    table = members(seed)[0, 2]
    split, known = split_log_k(table), categorical_information(table)
    assert split.information == pytest.approx(known.information, abs=1e-9)
    assert split.aggregated_kl == pytest.approx(known.aggregated_kl, abs=1e-9)
    assert sum(split) == pytest.approx(np.log(CLASSES)) and min(split) >= 0


def test_mi_from_posteriors():
    rows = np.array([[0.8, 0.2], [0.4, 0.6], [1 / 6, 5 / 6]])
    split = split_log_k(rows)
    assert split.information == pytest.approx(0.147866, abs=1e-6)
    assert split.aggregated_kl == pytest.approx(0.003956, abs=1e-6)


def test_certain_and_ignorant_rows_are_the_corners_of_the_split():
    assert split_log_k(np.eye(4)) == pytest.approx((np.log(4), 0, 0))
    assert split_log_k(np.full((5, 4), 0.25)) == pytest.approx((0, 0, np.log(4)))
    assert split_log_k([[1, 0, 0, 0]] * 3) == pytest.approx((0, np.log(4), 0))


def test_a_recording_holds_aligned_averages_in_the_order_of_the_classes():
    given, made = members(2), film(2)
    for m in range(MEMBERS):
        average = ensembles.average(given[: m + 1, 3])
        best = hungarian_accuracy(average, LABELS).accuracy
        assert (made["posteriors"][m, 3].argmax(1) == LABELS).mean() == pytest.approx(best)
        alone = 100 * hungarian_accuracy(given[m, 3], LABELS).accuracy
        assert made["single"][m, 3] == pytest.approx(alone)
    checked = TopicFilm("EM", made, ROWS)
    reached = checked.accuracies(LABELS)
    assert reached[2, 3] > reached[0, 3] > reached[0, 0]
    table = checked.table(3, 3, LABELS, CLASSES)
    assert table.sum() == ROWS and np.trace(table) == pytest.approx(reached[2, 3] * ROWS / 100)


def test_categories_without_a_class_come_last():
    posterior = np.eye(5)[[4, 4, 2, 2, 0, 3, 1]]
    ordered = named(posterior, [0, 0, 1, 1, 2, 2, 2])
    assert ordered.argmax(1)[:4].tolist() == [0, 0, 1, 1]
    assert sorted(ordered.argmax(1)[4:]) == [2, 3, 4]


# ------------------------------------------------------------------------------------- the panel
def test_every_control_changes_the_picture_and_the_sentence(panel):
    for name, control in panel.controls.items():
        before, said, old = panel.image.value, panel.alt, control.value
        control.value = other(control)
        assert panel.error is None
        assert panel.image.value != before and panel.alt != said, name
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


def test_the_quick_picture_is_the_full_one_and_needs_no_new_background(panel):
    for name, control in panel.controls.items():
        kept, old = panel._background, control.value
        control.value = other(control)
        assert panel._background is kept, name
        assert np.abs(pixels(panel.image.value) - pixels(style.png(panel.picture))).max() <= 2
        panel._background = None
        control.value = old


def test_saved_output_carries_a_small_picture_and_its_sentence(panel):
    bundle, metadata = panel._repr_mimebundle_()
    assert len(base64.b64decode(bundle["image/png"])) < 180_000
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == panel.alt


def test_the_panel_says_what_the_film_measures(panel):
    values = {"objective": "CoLLike", "row": 7, "members": 3, "step": 3}
    for name, value in values.items():
        panel.controls[name].value = value
    checked = TopicFilm("CoLLike", film(1), ROWS)
    reached = checked.accuracies(LABELS)[2, 3]
    split = split_log_k(checked.posteriors[2, 3])
    now = checked.posteriors[2, 3, 7]
    said = panel.alt
    assert f"CoLLike, step 300, 3 members: {reached:.1f} percent" in said
    assert f"log 4 is {split.information:.2f} information" in said
    assert f"text 7 ({NAMES[LABELS[7]]}) goes to {NAMES[now.argmax()]} with {now.max():.2f}" in said


def test_one_member_and_one_evaluation_need_no_slider():
    one = topic_recording(members(3)[:1, :1], LABELS)
    alone = topic_table({"EM": one}, TEXTS, LABELS, NAMES)
    assert set(alone.controls) == {"objective", "row"}
    assert "1 member:" in alone.alt
    tidy(alone.picture)


def test_ten_categories_are_drawn_without_numbers_and_tidy():
    labels = np.arange(ROWS) % 10
    random = np.random.default_rng(0)
    posteriors = random.dirichlet(np.ones(11), (2, 2, ROWS))
    films = {"MaL": topic_recording(posteriors, labels)}
    digits = topic_table(films, TEXTS, labels, [str(k) for k in range(10)])
    tidy(digits.picture)
    assert "(10)" in [t.get_text() for t in digits.picture.axes[1].get_yticklabels()]


def test_states_on_a_page():
    films = {"EM": film(0), "CoLLike": film(1)}
    page = topic_states(films, TEXTS, LABELS, NAMES)
    tidy(page)
    assert page.alt.count("nats") == 2 and "CoLLike, step 300, 3 members" in page.alt
    four = [("EM", 1, 0), ("EM", 3, 0), ("EM", 1, 3), ("CoLLike", 3, 3)]
    page = topic_states(films, TEXTS, LABELS, NAMES, four)
    tidy(page)
    assert page.alt.count("%") == 4
    with pytest.raises(ValueError, match="show: expected one to four"):
        topic_states(films, TEXTS, LABELS, NAMES, [("ELBO", 1, 0)])


BAD = {
    "texts": (lambda f: ({"EM": f}, TEXTS[:5], LABELS, NAMES), "labels: expected 5 integers"),
    "labels": (lambda f: ({"EM": f}, TEXTS, LABELS + 1, NAMES), "integers from 0 to 3"),
    "none": (lambda f: ({}, TEXTS, LABELS, NAMES), "at least one objective"),
    "fields": (lambda f: ({"EM": {"single": 1}}, TEXTS, LABELS, NAMES), "posteriors and single"),
    "kind": (lambda f: ({"EM": 3}, TEXTS, LABELS, NAMES), "expected a TopicRecording"),
    "shape": (
        lambda f: ({"EM": f | {"posteriors": f["posteriors"][:, 0]}}, TEXTS, LABELS, NAMES),
        r"EM, posteriors: expected shape \(M, T, 120, K\)",
    ),
    "sums": (
        lambda f: ({"EM": f | {"posteriors": 2 * f["posteriors"]}}, TEXTS, LABELS, NAMES),
        "rows that sum to 1",
    ),
    "single": (
        lambda f: ({"EM": f | {"single": f["single"][:, 0]}}, TEXTS, LABELS, NAMES),
        r"EM, single: expected finite numbers of shape \(3, 4\)",
    ),
    "steps": (
        lambda f: ({"EM": f | {"steps": [0, 2, 1, 3]}}, TEXTS, LABELS, NAMES),
        "increasing numbers",
    ),
    "shapes": (
        lambda f: (
            {"EM": f, "MaL": {k: v[:2] if k != "steps" else v for k, v in f.items()}},
            TEXTS, LABELS, NAMES,
        ),
        "one shape",
    ),
    "classes": (
        lambda f: ({"EM": f}, TEXTS, LABELS, [*NAMES, "More"]),
        "a category for each of 5 labels or more, got 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_the_table_refuses_bad_recordings(change, message):
    with pytest.raises(ValueError, match=message):
        topic_table(*change(film(0)))


def test_the_table_is_exported():
    assert widgets.topic_table is topic_table and widgets.TopicRecording is TopicRecording


# ------------------------------------------------------------------------------ pictures on a page
def test_split_bars_add_up_or_are_refused():
    seeds = np.array([split_log_k(members(s)[0, 2]) for s in range(3)])
    page = split_bars({"EM": seeds, "MaL": seeds[0]}, CLASSES, {"EM": "3 seeds"})
    tidy(page)
    assert "EM " + f"{seeds[:, 0].mean():.2f}" in page.alt
    said = {
        "means of 3 seeds; dots: the information of each; bars without dots: one model": [3, 1],
        "means of 2 to 3 seeds; dots: the information of each": [3, 2],
        "one run each": [1, 1],
    }
    for note, counts in said.items():
        page = split_bars({f"{i}": seeds[:n] for i, n in enumerate(counts)}, CLASSES)
        assert note in [text.get_text() for text in page.axes[0].texts]
    with pytest.raises(ValueError, match=r"splits\['MaL'\].*add up to log 4 = 1.3863"):
        split_bars({"MaL": [1.0, 0.1, 0.1]}, CLASSES)
    with pytest.raises(ValueError, match="expected one to eight"):
        split_bars({}, CLASSES)


def test_label_curves_name_what_they_draw():
    counts, random = [32, 64, 128, 256], np.random.default_rng(0)
    curve = 40 + 10 * np.arange(4) + random.normal(size=(3, 4))
    page = label_curves(counts, {"one": curve, "8 folds": curve + 3}, {"CoLLike": [61, 64]}, 31.0)
    tidy(page)
    assert "CoLLike 62.5" in page.alt
    for bad, message in (
        (([32], {"one": [[1]]}, {}), "two or more increasing"),
        ((counts, {"one": curve[:, :2]}, {}), r"one: expected \(S, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            label_curves(*bad)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([0.5, 0.5], r"shape \(N, K\), got shape \(2,\)"),
        ([[0.5, 0.6]], "rows that sum to 1"),
        ([[1.5, -0.5]], "finite probabilities"),
        (np.log([[0.5, 0.5]]), "finite probabilities"),
    ],
)
def test_posteriors_that_are_none_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        split_log_k(table)
