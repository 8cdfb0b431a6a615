"""The sentence desk and its pictures: each deed, the search, empty fields, bad calls."""

import numpy as np
import pytest
import torch
from test_plots import tidy

from lvmlab.plots import style
from lvmlab.plots.frames import place
from lvmlab.plots.sentences import LINES, WORDS, WordMarks, score_tables
from lvmlab.studies import sentence_page, sentence_runs
from lvmlab.studies.sentence_page import Speaker
from lvmlab.widgets.sentence_desk import sentence_desk

TEXTS = [f"{a} {b} {c} ." for a in ("one", "two", "six") for b in "abcd" for c in ("go", "stay")]


class Echo:
    """A code of three latents: lengths of the words; the text says where it was written from."""

    scale = 0.5

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        codes = np.array(
            [[TEXTS.index(t) if t in TEXTS else -1, len(t), t.count("o")] for t in texts]
        )
        return codes.astype(float), np.full(codes.shape, self.scale)

    def decode(self, z, temperature, seed):
        self.asked.append((z, temperature, seed))
        return [f"at {row[0]:.1f}" for row in z]

    def nats(self, text, z):
        words = [*text.split(), "(end)"]
        return words, np.tile(np.arange(len(words), dtype=float), (len(z), 1)) + z[:, :1]


class Deaf(Echo):
    """The same sentence whatever it is told."""

    def decode(self, z, temperature, seed):
        return ["the same ."] * len(z)


@pytest.fixture
def voices():
    return {"sMIM": Echo(), "sVAE": Deaf()}


def begun(voices, **start):
    return sentence_desk(voices, TEXTS, start={"A": TEXTS[2], "B": TEXTS[9]} | start)


def test_each_deed_writes_from_its_own_places(voices):
    panel = begun(voices, do="interpolate", spread=3.0)
    ends = voices["sMIM"].encode([TEXTS[2], TEXTS[9]])[0]
    z = voices["sMIM"].asked[-1][0]
    np.testing.assert_allclose(z, np.linspace(ends[0], ends[1], LINES))
    panel.controls["do"].value = "perturb"
    off = voices["sMIM"].asked[-1][0] - ends[0]
    assert (off[0] == 0).all()
    panel.controls["do"].value = "reconstruct"
    drawn = voices["sMIM"].asked[-1][0] - ends[0]
    np.testing.assert_allclose(off, 3 * drawn)  # the same noise, three times as far
    assert 0.2 < drawn[1:].std() < 1.0  # near the posterior's 0.5
    panel.controls["do"].value = "generate"
    free = voices["sMIM"].asked[-1][0]
    np.testing.assert_allclose(free[1:], 6 * drawn[1:])  # 3 times the prior's scale, not 0.5
    panel.controls["A"].value = TEXTS[5]
    np.testing.assert_array_equal(voices["sMIM"].asked[-1][0], free)  # A does not matter
    assert panel.error is None


def test_temperature_and_draw_are_handed_on(voices):
    panel = begun(voices, do="generate")
    one = voices["sMIM"].asked[-1]
    with panel.together():
        panel.controls["temperature"].value = 0.7
        panel.controls["draw"].value = 4
    other = voices["sMIM"].asked[-1]
    assert other[1:] == (0.7, 4) and one[1:] == (0.0, 0)
    assert not np.allclose(one[0], other[0])


def test_a_deaf_model_writes_one_text(voices):
    panel = begun(voices, do="interpolate")
    assert f"{LINES} different texts of {LINES}" in panel.alt and panel.alt.startswith("sMIM")
    panel.controls["model"].value = "sVAE"
    assert f"1 different texts of {LINES}" in panel.alt


def test_nats_of_the_words_and_of_the_other_code(voices):
    panel = begun(voices)
    assert (
        "A costs 20.0 nats given its own code, 55.0 given B's" in panel.alt
    )  # 0 + ... + 4, and 5 z


def test_the_nearest_texts_are_those_of_the_nearest_codes_and_not_a_itself(voices):
    panel = begun(voices)
    near = [line.get_text() for line in panel.draw.__self__.view.near]
    own = voices["sMIM"].encode(TEXTS)[0]
    order = ((own - own[2]) ** 2).sum(1).argsort(kind="stable")
    assert TEXTS[2] not in near and near[0] == TEXTS[order[1]] and len(set(near)) == 3


def test_typing_never_breaks_the_panel(voices):
    panel = begun(voices)
    before = bytes(panel.image.value)
    panel.controls["A"].value = "  "
    assert panel.alt == "A is empty: type a sentence." and panel.error is None
    for text in ("n", "never seen $ 5 ² ок", "word " * 60):
        panel.controls["A"].value = text
        assert panel.error is None
    assert bytes(panel.image.value) != before


@pytest.mark.parametrize("do", ["reconstruct", "perturb", "interpolate", "generate"])
def test_nothing_is_cut_or_crowded(voices, do):
    assert tidy(begun(voices, do=do).picture) >= 20


def test_bad_arguments_say_what_was_expected(voices):
    with pytest.raises(ValueError, match="a model and 3 texts or more, got 0 and"):
        sentence_desk({}, TEXTS)
    with pytest.raises(ValueError, match="a model and 3 texts or more, got 2 and 2"):
        sentence_desk(voices, TEXTS[:2])
    with pytest.raises(ValueError, match="suggestions: expected two"):
        sentence_desk(voices, TEXTS, TEXTS[:1])
    voices["sMIM"].encode = lambda texts: (np.zeros((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"voices\['sMIM'\]: expected codes \(24, D\)"):
        sentence_desk(voices, TEXTS)
    with pytest.raises(ValueError, match="start: expected names among"):
        begun({"sVAE": Deaf()}, t=0.5)


# -- pictures


def test_words_stand_in_two_rows_at_most_with_their_nats():
    with style.style():
        picture = style.figure(9.0, 2.0)
        marks = WordMarks(place(picture, 0.3, 0.4, 8.4, 0.95, "blank"))
    marks.show(["a", "b"], np.array([1.25, 8.0]))
    assert [t.get_text() for t in marks.nats[:3]] == ["1.2", "8.0", ""]
    light, dark = (m.get_bbox_patch().get_facecolor() for m in marks.words[:2])
    assert sum(light) > sum(dark)
    marks.show(["extraordinarily"] * WORDS, np.ones(WORDS))
    seen = [m for m in marks.words if m.get_text()]
    assert len({round(m.get_position()[1], 3) for m in seen}) == 2 and len(seen) < WORDS
    assert tidy(picture) >= 2 * len(seen)


def test_bets_are_a_softmax_over_codes():
    sharp, even = 50.0 * np.eye(4), np.zeros((4, 4))
    sharp -= 1000.0 * np.arange(4)[:, None]  # what a sentence costs under all codes does not count
    picture = score_tables({"sMIM": sharp, "sVAE": even})
    assert "chance 25 %: sMIM 100 %, sVAE 25 %" in picture.alt and tidy(picture) >= 8
    rows = np.array([[0.0, 0.0, 0.0], [-50.0, 0.0, -50.0], [-50.0, -50.0, 0.0]])
    assert "a 78 %" in score_tables({"a": rows}).alt  # (1/3 + 1 + 1) / 3; columns would give 67
    with pytest.raises(ValueError, match="one to three models"):
        score_tables({})
    with pytest.raises(ValueError, match=r"tables\['a'\]: expected finite \(N, N\), got \(2, 3\)"):
        score_tables({"a": np.zeros((2, 3))})


# -- a trained pair as the desk wants it


@pytest.fixture(scope="module")
def speakers():
    from types import SimpleNamespace

    texts = {"train": tuple(TEXTS), "validation": tuple(TEXTS[:6]), "test": tuple(TEXTS[6:12])}
    data = sentence_runs.numbered("toy", texts, 30)
    size = SimpleNamespace(embedding=6, hidden=8, dropout=0.2)
    return {o: Speaker(*sentence_runs.begun(o, size, data, 3, 0), data) for o in ("sMIM", "AE")}


def test_speakers_encode_what_the_joint_does(speakers):
    mine = speakers["sMIM"]
    mean, scale = mine.encode([*TEXTS, "One A GO."])
    q, x = mine.q.eval(), mine.data.rows["train"].x
    with torch.no_grad():
        posterior = q.factors["z|x"](x)
    np.testing.assert_allclose(mean[:-1], posterior.mean.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scale[:-1], posterior.stddev.numpy(), rtol=1e-5)
    np.testing.assert_allclose(mean[-1], mean[0], rtol=1e-5, atol=1e-6)  # cut and lowered
    assert (speakers["AE"].encode(TEXTS)[1] == 1).all()


def test_speakers_words_cost_what_the_sentence_does(speakers):
    mine, z = speakers["sMIM"], np.random.default_rng(0).standard_normal((4, 3))
    words, nats = mine.nats("two elephants go .", z)
    assert words == ["two", "<unk>", "go", ".", "(end)"] and nats.shape == (4, 5)
    with torch.no_grad():
        whole = mine.p.eval().factors["x|z"](torch.tensor(z).float())
    expected = -whole.log_prob(mine.read(["two elephants go ."]).expand(4, -1))
    np.testing.assert_allclose(nats.sum(1), expected.detach().numpy(), rtol=1e-5)


def test_speakers_write_the_same_again_and_never_unknown_words(speakers):
    mine, z = speakers["sMIM"], np.random.default_rng(1).standard_normal((30, 3))
    hot = mine.decode(z, 1.0, 3)
    assert hot == mine.decode(z, 1.0, 3) and hot != mine.decode(z, 1.0, 4)
    assert not any("<unk>" in text for text in hot) and len(mine.decode(z)) == 30


def test_nearest_codes_by_hand():
    codes = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    found = sentence_page.nearest(codes, np.array([[2.0, 0.0], [4.0, 4.0]]), 2)
    assert found.tolist() == [[1, 0], [3, 1]]
    with pytest.raises(ValueError, match="count must be from 1 to the 4 codes"):
        sentence_page.nearest(codes, codes, 5)


def test_the_desk_takes_speakers(speakers):
    panel = sentence_desk(speakers, TEXTS, start={"do": "interpolate"})
    assert panel.error is None
    panel.controls["A"].value = "Something never seen, twice!"
    assert panel.error is None and "A costs" in panel.alt
    panel.controls["model"].value = "AE"
    assert panel.error is None and panel.alt.startswith("AE")
