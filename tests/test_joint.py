"""Joints draw, score and enumerate in one walk, and say clearly what is wrong with bad input."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal, constraints

from lvmlab import Joint, joint
from lvmlab.conditionals import Bernoulli, Gaussian, StandardNormal
from lvmlab.networks import MLP


def small():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 3), scale=0.5)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(3, 8, 4))})
    return p, q


def test_reads_as_on_the_page():
    p, q = small()
    assert str(p) == "p(z) p(x|z)"
    assert str(q) == "q(x) q(z|x)"
    assert q.variables == ["x", "z"]


def test_draw_keeps_what_is_known_and_completes_the_rest():
    p, q = small()
    x = torch.randn(5, 3)
    draw = q.draw({"x": x})
    assert draw.values["x"] is x
    assert draw.values["z"].shape == (5, 2)
    assert set(draw.log_prob) == {"z|x"}
    assert p.draw(size=6).values["x"].shape == (6, 3)
    z = torch.zeros(4, 2)
    assert p.draw({"z": z}).distributions["x|z"].mean.shape == (4, 3)


def test_log_probabilities_are_those_of_the_factors():
    p, _ = small()
    z, x = torch.randn(5, 2), torch.randn(5, 3)
    draw = p.score({"z": z, "x": x})
    decoder = Normal(p.factors["x|z"].network(z), 0.5)
    torch.testing.assert_close(draw.log_prob["x|z"], decoder.log_prob(x).sum(1))
    torch.testing.assert_close(draw.log_prob["z"], Normal(0.0, 1.0).log_prob(z).sum(1))
    torch.testing.assert_close(draw.nats(), draw.nats(["z"]) + draw.nats(["x"]))
    assert (draw.nats(["nothing of the kind"]) == 0).all()


def test_gradients_flow_through_draws():
    p, q = small()
    values = q.draw({"x": torch.randn(5, 3)}).values
    p.score(values).nats().sum().backward()
    assert q.factors["z|x"].network.layers[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("seed", range(8))
def test_a_random_conditional_is_scored_where_it_drew(seed):
    """Two walks through a random encoder give an ELBO above the likelihood; one walk does not."""
    torch.manual_seed(seed)
    jitter = 3.0

    def noisy(x):
        loc = x[:, :1] + jitter * torch.randn(len(x), 1)
        return Independent(Normal(loc, 0.1), 1)

    q = Joint("q", {"x": None, "z|x": noisy})
    x = torch.randn(400, 1)
    one_walk = q.draw({"x": x})
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.01)
    assert -one_walk.log_prob["z|x"].mean().item() == pytest.approx(entropy, abs=0.15)
    second = q.score(one_walk.values).log_prob["z|x"]
    assert second.mean() < -100  # what the second walk would have said


def test_order_of_walk_with_several_parents():
    p = Joint(
        "p",
        {
            "c": lambda: Categorical(torch.ones(4)),
            "z|c": lambda c: Independent(Normal(c[:, None].float(), torch.ones(len(c), 1)), 1),
            "x|z,c": lambda z, c: Independent(Normal(z + c[:, None], 1.0), 1),
        },
    )
    draw = p.draw(size=7)
    assert {k: tuple(v.shape) for k, v in draw.values.items()} == {
        "c": (7,),
        "z": (7, 1),
        "x": (7, 1),
    }
    assert str(p) == "p(c) p(z|c) p(x|z,c)"


def test_enumerate_two_latents_against_two_loops(float64):
    prior, then = torch.tensor([0.3, 0.7]), torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]])
    decoder = torch.rand(2, 3, 4)
    decoder = decoder / decoder.sum(-1, keepdim=True)
    p = Joint(
        "p",
        {
            "a": lambda: Categorical(prior),
            "b|a": lambda a: Categorical(then[a]),
            "x|a,b": lambda a, b: Categorical(decoder[a, b]),
        },
    )
    x = torch.tensor([3, 0])
    found = p.enumerate({"x": x})
    assert found.log_joint.shape == (2, 6)
    for row in range(2):
        for column in range(6):
            a, b = divmod(column, 3)
            expected = prior[a] * then[a, b] * decoder[a, b, x[row]]
            assert found.log_joint[row, column].exp().item() == pytest.approx(expected.item())
            assert found.values["a"][row, column] == a
            assert found.values["b"][row, column] == b
            assert found.values["x"][row, column] == x[row]


def test_enumerate_keeps_a_known_latent():
    p = Joint(
        "p",
        {
            "k": lambda: Categorical(torch.tensor([0.25, 0.75])),
            "x|k": lambda k: Normal(k.float(), 1.0),
        },
    )
    found = p.enumerate({"x": torch.zeros(3), "k": torch.tensor([0, 1, 1])})
    assert found.log_joint.shape == (3, 1)


# --- bad input --------------------------------------------------------------------------------


def test_missing_variable():
    p, q = small()
    with pytest.raises(
        ValueError, match=r"p\(z\) p\(x\|z\) has no value for \['x'\].*holds \['z'\]"
    ):
        p.score({"z": torch.zeros(3, 2)})
    with pytest.raises(ValueError, match=r"no value for \['x'\].*is the data"):
        q.draw({"y": torch.zeros(3, 2)})
    lonely = Joint("q", {"z|index": lambda i: Normal(i.float(), 1.0)})
    with pytest.raises(ValueError, match=r"no value for \['index'\].*q\(z\|index\)"):
        lonely.draw({"x": torch.zeros(3)})


def test_wrong_shapes():
    p, _ = small()
    with pytest.raises(ValueError, match=r"p\(x\|z\) cannot score 'x'.*\(3,\).*\(5, 4\)"):
        p.score({"z": torch.zeros(5, 2), "x": torch.zeros(5, 4)})
    with pytest.raises(ValueError, match=r"unequal length: \{'z': 5, 'x': 4\}"):
        p.score({"z": torch.zeros(5, 2), "x": torch.zeros(4, 3)})
    flat = Joint("p", {"z": lambda: Normal(torch.zeros(2), 1.0)})
    with pytest.raises(
        ValueError, match=r"log p\(z\) has shape \(5, 2\), expected \(5,\).*Independ"
    ):
        flat.draw(size=5)


def test_empty_batch_and_no_size():
    p, q = small()
    with pytest.raises(ValueError, match="empty batch"):
        q.draw({"x": torch.zeros(0, 3)})
    with pytest.raises(ValueError, match="no size: try draw"):
        p.draw()
    with pytest.raises(ValueError, match="empty batch"):
        p.draw(size=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_data_that_are_not_finite(bad):
    _, q = small()
    x = torch.zeros(5, 3)
    x[3, 1] = bad
    with pytest.raises(ValueError, match=r"'x' holds NaN or infinite values in 1 of 5.*row 3"):
        q.draw({"x": x})


def test_values_outside_the_support():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Bernoulli(MLP(2, 3))})
    with pytest.raises(ValueError, match=r"'x' lie outside the support of p\(x\|z\).*0 to 7"):
        p.score({"z": torch.zeros(2, 2), "x": torch.tensor([[0.0, 1, 7], [0, 0, 0]])})
    p.score({"z": torch.zeros(1, 2), "x": torch.tensor([[0.0, 0.5, 1]])})  # grey is fine


def test_factors_that_cannot_be_read():
    prior = StandardNormal(2)
    with pytest.raises(ValueError, match="no factors"):
        Joint("p", {})
    with pytest.raises(ValueError, match=r"p\(x \| z\) cannot be read"):
        Joint("p", {"x | z": prior})
    with pytest.raises(ValueError, match="defines 'z' twice"):
        Joint("p", {"z": prior, "z|x": prior})
    with pytest.raises(ValueError, match=r"p\(z\) is a int, which cannot be called"):
        Joint("p", {"z": 3})
    with pytest.raises(ValueError, match=r"p\(x\|z\) needs \['z'\] before they are drawn"):
        Joint("p", {"x|z": prior, "z": prior})


def test_continuous_latents_cannot_be_enumerated():
    p, _ = small()
    with pytest.raises(ValueError, match=r"p\(z\) is a Independent.*importance_weighted"):
        p.enumerate({"x": torch.zeros(2, 3)})


def test_network_with_wrong_inputs_says_so():
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(5, 3), scale=1.0)})
    with pytest.raises(ValueError, match=r"takes 5 numbers.*\(4, 2\).*give 2"):
        p.draw(size=4)


def test_parameters_and_devices_reach_the_conditionals():
    p, q = small()
    both = nn.ModuleList([p, q])
    assert len(list(both.parameters())) == 8
    shared = Joint("p", {"z|x": q.factors["z|x"]})
    assert len(list(nn.ModuleList([shared, q]).parameters())) == 4  # a shared module counts once


def test_quick_looks_at_values_agree_with_slow_ones():
    unit, digits = constraints.unit_interval, constraints.interval(0, 3)
    apart = constraints.interval(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    values = [[[0.0, 1.0]], [[0.0, 1.001]], [[-0.001, 1.0]], [[math.nan, 0.5]], [[0.5, 1.5]]]
    for rows in values:
        value = torch.tensor(rows)
        for support in (
            unit,
            constraints.independent(unit, 1),
            digits,
            apart,
            constraints.positive,
        ):
            assert joint._inside(support, value) == bool(support.check(value).all()), (
                rows,
                support,
            )
    assert joint._inside(digits, torch.tensor([0, 3])) and not joint._inside(
        digits, torch.tensor([4])
    )
    assert joint._inside(unit, torch.zeros(2, 0))
    assert joint._finite(torch.full((4,), 3e38))  # the sum overflows, the numbers do not
    for bad in (math.nan, math.inf, -math.inf):
        assert not joint._finite(torch.tensor([1.0, bad, math.inf]))
