"""The checks of notebook 13: right answers pass, typical wrong ones meet their hint."""

import json
from types import SimpleNamespace

import pytest
import torch
from answers import rejects
from torch.distributions import Independent, Normal

from lvmlab.conditionals import StandardNormal
from lvmlab.exercises import your_own_model as exercises
from lvmlab.joint import Joint


def wrapped(spread=lambda v: (0.5 * v).exp(), event=1, decoder=lambda s: s, width=lambda dim: dim):
    def wrap(encode, decode, scale, dim):
        def posterior(x):
            mean, log_variance = encode(x)
            return Independent(Normal(mean, spread(log_variance)), event)

        def likelihood(z):
            mean = decode(z)
            return Independent(Normal(mean, torch.full_like(mean, decoder(scale))), 1)

        p = Joint("p", {"z": StandardNormal(width(dim)), "x|z": likelihood})
        return p, Joint("q", {"x": None, "z|x": posterior})

    return wrap


WRONG_WRAPS = {
    "variance for scale": (wrapped(lambda v: v.exp()), ".60 nats too high"),
    "halved twice": (wrapped(lambda v: (0.25 * v).exp()), "exp(.5 log-variance) is the scale"),
    "log-variance for scale": (wrapped(lambda v: v.abs()), "the scale of z is .5"),
    "no Independent": (wrapped(event=0), "Wrap it in torch.distributions.Independent"),
    "decoder's variance": (wrapped(decoder=lambda s: s**2), "which scale does your decoder have"),
    "one dimension for all": (wrapped(width=lambda dim: 1), "p(z)"),
    "exchanged": (lambda *a: wrapped()(*a)[::-1], 'q is given its data: "x": None'),
    "functions": (lambda encode, decode, scale, dim: (decode, encode), "are Joint(...), both"),
    "one joint": (lambda *a: wrapped()(*a)[0], "return two joints"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_WRAPS.values(), ids=WRONG_WRAPS)
def test_wrong_wraps(answer, hint):
    rejects(exercises.wrap_it, hint, answer)


def swapped(order, sign=1.0, both=False):
    def swap(p, q, batch):
        drawn = q.draw(batch).values
        rows = order(len(batch["x"]))
        latents = {"z": drawn["z"][rows]}
        own = p.score(drawn).nats(["x"])
        seen = {"x": batch["x"][rows]} if both else batch
        return sign * (own - p.score(seen | latents).nats(["x"])).mean().item()

    return swap


def rolled(n):
    return torch.arange(n).roll(1)


def all_nats(p, q, batch):
    drawn = q.draw(batch).values
    return (p.score(drawn).nats() - p.score(drawn | {"z": drawn["z"].roll(1, 0)}).nats()).mean()


WRONG_SWAPS = {
    "fixed points": (swapped(torch.randperm), "some rows kept their own code"),
    "both together": (swapped(rolled, both=True), "nothing changed"),
    "not at all": (swapped(torch.arange), "nothing changed"),
    "a gain": (swapped(rolled, sign=-1), "what the other codes cost MORE"),
    "halved": (swapped(rolled, sign=0.5), "the loss is 15 nats"),
    "one for each row": (lambda p, q, batch: torch.zeros(3), "must be one number"),
    "not finite": (lambda p, q, batch: float("nan"), "must be finite"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_SWAPS.values(), ids=WRONG_SWAPS)
def test_wrong_swaps(answer, hint):
    rejects(exercises.swap_test, hint, answer)


def test_a_tensor_and_the_prior_inside_are_right_too():
    verdict = exercises.swap_test(all_nats)  # the prior's part cancels over a permutation
    assert verdict.status == "right", verdict.message


def line_5(rate=0.05, gap=1.0, mismatch=0.2, cap=0.05, order="prior", fixed=False):
    defaults = {"rate": rate, "gap": gap, "mismatch": mismatch, "cap": cap}

    def verdict(report, **limits):
        use = SimpleNamespace(**(defaults if fixed else defaults | limits))
        if report.rate < use.rate:
            return "asleep" if report.gap > use.gap else "ignored"
        off = report.mismatch > use.mismatch * report.rate
        full = report.information >= (1 - use.cap) * report.ceiling
        if order == "cap" and full:
            return "at least"
        return "prior off" if off else "at least" if full else "healthy"

    return verdict


WRONG_VERDICTS = {
    "active units": (
        lambda r, **k: "healthy" if r.active else "ignored",
        "tiny codes: one active unit",
    ),
    "likelihood": (lambda r, **k: "healthy" if r.nll < 3 else "prior off", "rows 1 and 2 both"),
    "no gap": (line_5(gap=99.0), "encoder asleep"),
    "no prior": (line_5(mismatch=9.0), "prior off: rate 3.907"),
    "no cap": (line_5(cap=-1.0), 'say "at least"'),
    "cap first": (line_5(order="cap"), "the table has an order"),
    "fixed thresholds": (line_5(fixed=True), "the thresholds are arguments"),
    "mismatch in nats": (
        lambda r, **k: line_5()(
            SimpleNamespace(**(vars(r) | {"mismatch": r.mismatch * r.rate})), **k
        ),
        "a share of the rate",
    ),
    "other words": (lambda r, **k: "collapsed", "return one of asleep"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_VERDICTS.values(), ids=WRONG_VERDICTS)
def test_wrong_verdicts(answer, hint):
    rejects(exercises.the_verdict, hint, answer)


def answering(**other):
    def three_answers(text):
        found = json.loads(text)
        information = found["information"]
        if found["at_ceiling"]:
            information = f"at least {information:.2f}"
        state = found["verdict"]["state"]
        right = {"information": information, "mismatch": found["mismatch"], "state": state}
        return right | {name: value(found) for name, value in other.items()}

    return three_answers


WRONG_ANSWERS = {
    "a ceiling as a value": (answering(information=lambda f: f["information"]), 'say "at least"'),
    "rate for information": (answering(information=lambda f: f["rate"]), "subtract the mismatch"),
    "always at least": (
        answering(information=lambda f: f"at least {f['information']:.2f}"),
        "far below its cap",
    ),
    "other words": (answering(information=lambda f: "much"), 'a number or "at least 5.7"'),
    "active units": (answering(information=lambda f: f["active"]), "information is 1.3"),
    "gap for mismatch": (answering(mismatch=lambda f: f["gap"]), "mismatch is the field"),
    "headline": (answering(state=lambda f: f["verdict"]["headline"]), "the state is in the"),
    "a list": (lambda text: [1, 2, 3], "return a dictionary"),
}


@pytest.mark.parametrize(("answer", "hint"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS)
def test_wrong_answers(answer, hint):
    rejects(exercises.your_data, hint, answer)


def test_the_shortest_answers_are_right():
    for exercise, answer in (
        (exercises.wrap_it, wrapped()),
        (exercises.swap_test, swapped(rolled)),
        (exercises.the_verdict, line_5()),
        (exercises.your_data, answering()),
    ):
        verdict = exercise(answer)
        assert verdict.status == "right", verdict.message
