"""The checks of notebook 03: right answers pass, typical wrong ones meet their hint."""

import numpy as np
import pytest
from answers import rejects

from lvmlab.exercises import mutual_information_machine as exercises

SMALL = exercises.SMALL


def _mim(draw, score, combine=lambda q, p: (np.log(q) + np.log(p)) / 2):
    """L_MIM with a drawing mixture and scoring joints of the reader's choice."""

    def answer(q_zx, p_xz, qx, pz, anchor_x, anchor_z):
        anchored = (anchor_x[:, None] * q_zx, anchor_z * p_xz)
        learned = (qx[:, None] * q_zx, pz * p_xz)
        return -(draw(anchored, learned) * combine(*score(anchored, learned))).sum()

    return answer


def _anchored(anchored, learned):
    return sum(anchored) / 2


def _learned(anchored, learned):
    return sum(learned) / 2


def test_the_other_road_to_l_mim_is_right_as_well():
    def by_line_5(q_zx, p_xz, qx, pz, anchor_x, anchor_z):
        return exercises._by_line_5(exercises.Machine(q_zx, p_xz, qx, pz, anchor_x, anchor_z))

    assert exercises.l_mim(by_line_5).status == "right"


WRONG_LOSSES = {
    "the learned mixture draws": (_mim(_learned, lambda a, b: b), "who draws"),
    "L_CE": (
        _mim(_anchored, lambda a, b: b, lambda q, p: np.log((q + p) / 2)),
        "you are 0.020573 too low",
    ),
    "H(M)": (
        _mim(_anchored, lambda a, b: a, lambda q, p: np.log((q + p) / 2)),
        "the entropy of M",
    ),
    "A-MIM": (_mim(lambda a, b: a[0], lambda a, b: b), "that is A-MIM"),
    "anchors score": (_mim(_anchored, lambda a, b: a), "qx and pz must appear"),
    "a sum": (_mim(_anchored, lambda a, b: b, lambda q, p: np.log(q) + np.log(p)), "their sum"),
    "a gain": (
        _mim(_anchored, lambda a, b: b, lambda q, p: -(np.log(q) + np.log(p)) / 2),
        "look at the sign",
    ),
    "bits": (
        _mim(_anchored, lambda a, b: b, lambda q, p: (np.log2(q) + np.log2(p)) / 2),
        "in nats",
    ),
    "transposed": (
        lambda q_zx, p_xz, *priors: exercises.l_mim.answers[0](q_zx, p_xz.T, *priors),
        "the table gives 1.247683",
    ),
    "remembered": (lambda *tables: exercises._by_line_5(SMALL), "on a random table"),
    "a table": (lambda q_zx, *others: q_zx, "a loss is one number"),
    "infinite": (lambda *tables: np.inf, "finite"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_wrong_losses(answer, hint):
    rejects(exercises.l_mim, hint, answer)


def _bayes(q_zx, weights):
    joint = weights[:, None] * q_zx
    return joint / joint.sum(0), joint.sum(0)


WRONG_DECODERS = {
    "transpose": (lambda q_zx, qx: (q_zx.T, qx @ q_zx), "a transposed encoder is no decoder"),
    "rows kept": (lambda q_zx, qx: (q_zx, qx @ q_zx), "columns of p_xz must sum to 1"),
    "the anchor": (lambda q_zx, qx: _bayes(q_zx, SMALL.anchor_x), "hat or no hat?"),
    "even weights": (
        lambda q_zx, qx: _bayes(q_zx, np.full(len(qx), 1 / len(qx))),
        "weigh the rows with qx",
    ),
    "rows divided": (
        lambda q_zx, qx: (q_zx / q_zx.sum(0), qx @ q_zx),
        "R_MIM is not zero",
    ),
    "prior of x": (lambda q_zx, qx: (_bayes(q_zx, qx)[0], 2 * qx @ q_zx), "pz must sum to 1"),
    "one thing": (lambda q_zx, qx: _bayes(q_zx, qx)[0], "return two things"),
    "z on axis 0": (
        lambda q_zx, qx: (np.ones((q_zx.shape[1] + 1, 2)) / 2, qx @ q_zx),
        "x on axis 0",
    ),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_DECODERS.values(), ids=WRONG_DECODERS)
def test_wrong_decoders(answer, hint):
    rejects(exercises.decoder_from_encoder, hint, answer)


WRONG_VAES = {
    "plain difference": (lambda amim, entropy: amim - entropy, "0.092983"),
    "sum": (lambda amim, entropy: amim + entropy, "which of the two is larger"),
    "twice the sum": (lambda amim, entropy: 2 * (amim + entropy), "which of the two is larger"),
    "turned": (lambda amim, entropy: 2 * (entropy - amim), "never negative"),
    "half the entropy": (lambda amim, entropy: amim - entropy / 2, "belong to a VAE loss"),
    "remembered": (lambda amim, entropy: 0.18596604, "belong to a VAE loss"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_VAES.values(), ids=WRONG_VAES)
def test_wrong_vaes(answer, hint):
    rejects(exercises.vae_from_amim, hint, answer)


def _pair(given):
    return given["p(x|z)"] + given["p(z)"]


WRONG_HALVES = {
    "fresh": (
        lambda g: -(_pair(g) + g["q(z|x)"] + g["p(x|z')"] + g["p(z')"] - g["q(z'|x)"]) / 2,
        "equal in the mean",
    ),
    "log q added": (
        lambda g: -(_pair(g) + g["q(z|x)"] + _pair(g) + g["q(z|x)"]) / 2,
        "still depends on log q(z|x)",
    ),
    "the ELBO": (lambda g: g["q(z|x)"] - _pair(g), "still depends on log q(z|x)"),
    "without the bound": (lambda g: -_pair(g) / 2, "come twice"),
    "a gain": (_pair, "look at the sign"),
    "averaged": (lambda g: -_pair(g).mean(), "Average after"),
    "no prior": (lambda g: -g["p(x|z)"], "the first row costs"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_HALVES.values(), ids=WRONG_HALVES)
def test_wrong_halves(answer, hint):
    rejects(exercises.encoder_half, hint, answer)
