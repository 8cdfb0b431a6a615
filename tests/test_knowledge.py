"""TzK's model and objective: kinds that do not touch each other, joints that agree, errors."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from lvmlab import Batches, descend, fit
from lvmlab.conditionals import StandardNormal
from lvmlab.flows import Flow
from lvmlab.models import Kind, Knowledge, dense_flow, dense_kind
from lvmlab.models.knowledge import EitherBijection
from lvmlab.objectives import per_knowledge


def stirred(module, seed=0, scale=0.3):
    """Weights away from their quiet start, so that every part has something to say."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value += scale * torch.randn(value.shape, generator=generator)
    return module


def small(seed=0, **kinds):
    torch.manual_seed(seed)
    knowledge = Knowledge(stirred(Flow(dense_flow(2, 2, 8), (2,)))).freeze()
    for name, codes in kinds.items():
        kind = stirred(dense_kind(2, codes, hidden=8, steps=2, width=8), len(name))
        knowledge.add(name, kind)
    return knowledge.eval()


def rows(size=12, **kinds):
    generator = torch.Generator().manual_seed(5)
    batch = {"t": torch.randn(size, 2, generator=generator)}
    for name, codes in kinds.items():
        batch[f"e_{name}"] = torch.arange(size) % 2
        if codes:
            batch[f"c_{name}"] = torch.randn(size, codes, generator=generator)
    return batch


def test_a_new_kind_says_nothing_yet():
    torch.manual_seed(0)
    knowledge = Knowledge(stirred(Flow(dense_flow(3, 2, 8), (3,)))).eval()
    t, e = torch.randn(20, 3), torch.arange(20) % 2
    for name, codes in (("alone", 0), ("coded", 2)):
        p, _ = knowledge.add(name, dense_kind(3, codes, 8, 2, 8)) and knowledge.eval().pair(name)
        parents = (e,) if not codes else (e, torch.randn(20, 2))
        given = next(f for text, f in p.factors.items() if text.startswith("t|"))(*parents)
        torch.testing.assert_close(given.log_prob(t), knowledge.density().log_prob(t))


@pytest.mark.parametrize("codes", [0, 2])
def test_both_joints_are_the_same_over_t_and_over_z_but_for_the_jacobian(codes):
    knowledge, batch = small(a=codes), rows(a=codes)
    z, log_det = knowledge.density.bijection(batch["t"])
    inside = {**batch, "z": z}
    for over_t, over_z in zip(knowledge.pair("a"), knowledge.pair("a", latent=True), strict=True):
        gap = over_t.score(batch).nats() - over_z.score(inside).nats()
        torch.testing.assert_close(gap, log_det, atol=1e-4, rtol=1e-4)
    draw = knowledge.pair("a")[0].draw(size=7)
    assert draw.values["t"].shape == (7, 2) and set(draw.values["e_a"].tolist()) <= {0, 1}
    torch.testing.assert_close(knowledge.latent(batch["t"]), z)


def test_the_combination_by_hand():
    knowledge, batch = small(a=0, b=2), rows(a=0, b=2)
    t = batch["t"]
    by_hand = -knowledge.density().log_prob(t)
    for name, variables in (("a", ("e_a",)), ("b", ("c_b", "e_b"))):
        p, _ = knowledge.pair(name)
        by_hand = by_hand + p.score(batch).nats([*variables, "t"])
    torch.testing.assert_close(knowledge.log_decoding(batch), by_hand)
    torch.testing.assert_close(
        knowledge.log_decoding(batch, ["a"]), knowledge.pair("a")[0].score(batch).nats()
    )
    q = knowledge.encoding()
    assert list(q.factors) == ["t", "e_a|t", "e_b|t", "c_b|e_b,t"]
    assert q.draw({"t": t}).values["c_b"].shape == (12, 2)


def test_the_drawn_t_follow_the_decoder():
    """Moments of p(t|e=1) drawn, against those by quadrature of its density."""
    torch.manual_seed(0)
    knowledge = Knowledge(stirred(Flow(dense_flow(2, 2, 8), (2,)), scale=0.15))
    knowledge.add("a", stirred(dense_kind(2, 0, 8, 2, 8), 1, scale=0.15))
    given = knowledge.eval().pair("a")[0].factors["t|e_a"]
    axis = torch.linspace(-16, 16, 321)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weights = given(torch.ones(len(grid), dtype=torch.long)).log_prob(grid).exp()
        assert weights.sum().item() * 0.01 == pytest.approx(1.0, abs=2e-3)
        for seed in range(3):
            torch.manual_seed(seed)
            t = given(torch.ones(4000, dtype=torch.long)).sample()
            mean = (weights[:, None] * grid).sum(0) * 0.01
            assert ((t.mean(0) - mean).abs() < 5 * t.std(0) / 4000**0.5).all()


# -- kinds do not touch each other


def trained(knowledge, name, seed, steps=6):
    kind = knowledge.kinds[name]
    p, q = knowledge.pair(name, latent=True)
    data = rows(40, **{name: 0})
    batch = {"z": knowledge.latent(data["t"]).detach(), f"e_{name}": data[f"e_{name}"]}
    adam = torch.optim.Adam(kind.parameters(), lr=1e-2)
    torch.manual_seed(seed)
    fit(descend(per_knowledge, p, q, adam), Batches(batch, 20, seed), steps=steps, device="cpu")
    knowledge.eval()


def test_adding_and_training_a_kind_leaves_everything_else_as_it_is_bit_for_bit():
    torch.manual_seed(0)
    knowledge = small(a=2)
    trained(knowledge, "a", 1)
    batch = rows(a=2)
    before = {name: value.clone() for name, value in knowledge.state_dict().items()}
    p, q = knowledge.pair("a")
    said = p.score(batch).nats(), q.score(batch).nats()
    knowledge.add("b", dense_kind(2, 1, 8, 2, 8))
    trained(knowledge, "b", 2)
    after = knowledge.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert len(after) > len(before)
    for joint, nats in zip(knowledge.pair("a"), said, strict=True):
        assert torch.equal(joint.score(batch).nats(), nats)


@pytest.mark.slow
def test_a_kind_learns_the_same_alone_and_beside_another_bit_for_bit():
    """Also when the other is added in the middle of its training."""
    weights = []
    for beside in (False, True):
        knowledge = small(a=2)
        trained(knowledge, "a", 1, steps=3)
        if beside:
            knowledge.add("b", dense_kind(2, 1, 8, 2, 8))
            trained(knowledge, "b", 2)
        trained(knowledge, "a", 3, steps=3)
        weights.append(torch.cat([v.flatten() for v in knowledge.kinds["a"].parameters()]))
    assert torch.equal(*weights)


def test_training_moves_its_own_kind_alone_and_the_frozen_flow_stays_in_eval_mode():
    knowledge = small(a=0, b=0)
    before = {name: value.clone() for name, value in knowledge.state_dict().items()}
    trained(knowledge, "a", 1)
    moved = [n for n, v in knowledge.state_dict().items() if not torch.equal(v, before[n])]
    assert moved and all(name.startswith("kinds.a.") for name in moved)
    knowledge.train()
    assert not knowledge.density.training and knowledge.kinds["a"].training


# -- the objective


def linear(scale=0.5, weight=1.5):
    """T = weight c + scale noise whether or not e: q is the exact posterior of p."""
    total = weight**2 + scale**2
    kind = Kind(
        lambda e, c: Independent(Normal(weight * c, scale), 1),
        lambda c: Categorical(torch.tensor([0.7, 0.3]).expand(len(c), 2)),
        lambda z: Categorical(torch.tensor([0.7, 0.3]).expand(len(z), 2)),
        StandardNormal(2),
        lambda e, z: Independent(Normal(weight / total * z, scale / total**0.5), 1),
    )
    knowledge = Knowledge(Flow(dense_flow(2, 1, 4), (2,)))
    knowledge.add("a", kind)
    p, q = knowledge.pair("a", latent=True)
    q.factors["z"] = lambda: Independent(Normal(torch.zeros(2), torch.full((2,), total**0.5)), 1)
    batch = {"z": total**0.5 * torch.randn(4000, 2), "e_a": (torch.rand(4000) < 0.3).long()}
    return p, q, batch


def test_where_the_joints_agree_the_loss_is_the_entropy_of_knowledge_and_data():
    normal = 0.5 * math.log(2 * math.pi * math.e)
    entropy = 4 * normal + 2 * math.log(0.5) - 0.7 * math.log(0.7) - 0.3 * math.log(0.3)
    for seed in range(3):
        torch.manual_seed(seed)
        p, q, batch = linear()
        loss, terms = per_knowledge(p, q, batch)
        for side in ("", "drawn_"):
            encoder = terms[f"{side}encoder_nll"] + terms[f"{side}data_nll"]
            decoder = terms[f"{side}distortion"] + terms[f"{side}latent_nll"]
            torch.testing.assert_close(encoder, decoder)
        rows = torch.cat([encoder, terms["encoder_nll"] + terms["data_nll"]])
        assert loss.item() == pytest.approx(rows.mean().item(), abs=1e-5)
        assert abs(loss.item() - entropy) < 5 * rows.std().item() / len(rows) ** 0.5
        two = per_knowledge(p, q, batch, kinds=2, drawn=False)
        share = (two.terms["data_nll"] / 2).mean()
        again = sum(two.terms.values()).mean() / 2 - share
        assert two.loss.item() == pytest.approx(again.item(), abs=1e-5)


def test_drawn_pairs_teach_the_encoder_and_cannot_be_shrunk_by_the_decoder():
    """A decoder's own draws give it a gradient of mean 0; along their paths it would be 2 nats."""
    slopes = []
    for seed in range(8):
        torch.manual_seed(seed)
        p, q, batch = linear()
        log_scale = torch.tensor(math.log(0.5), requires_grad=True)
        p.factors["z|e_a,c_a"] = partial(_decoded, log_scale)
        drawn = per_knowledge(p, q, batch).terms["drawn_distortion"]
        slopes.append(torch.autograd.grad(drawn.mean(), log_scale)[0])
    slopes = torch.stack(slopes)
    assert slopes.mean().abs() < 4 * slopes.std() / len(slopes) ** 0.5 and slopes.std() < 0.2


def _decoded(log_scale, e, c):
    return Independent(Normal(1.5 * c, log_scale.exp()), 1)


def test_a_known_code_leaves_nothing_to_draw():
    knowledge, batch = small(a=2), rows(a=2)
    terms = per_knowledge(*knowledge.pair("a"), batch).terms
    assert not any(name.startswith("drawn_") for name in terms)
    del batch["c_a"]
    assert "drawn_distortion" in per_knowledge(*knowledge.pair("a"), batch).terms
    assert "drawn_distortion" not in per_knowledge(*knowledge.pair("a"), batch, drawn=False).terms


# -- parts


def test_either_bijection_sends_every_row_its_own_way_and_back():
    torch.manual_seed(0)
    both = EitherBijection(*(stirred(dense_flow(3, 2, 8), seed).eval() for seed in (1, 2)))
    x, e = torch.randn(10, 3), torch.tensor([0, 1, 1, 0, 0, 1, 0, 0, 1, 1])
    y, log_det = both(x, e)
    for value, part in ((0, both.absent), (1, both.present)):
        own, own_det = part(x[e == value])
        torch.testing.assert_close(y[e == value], own)
        torch.testing.assert_close(log_det[e == value], own_det)
    torch.testing.assert_close(both.inverse(y, e), x, atol=1e-5, rtol=1e-5)
    jacobian = torch.autograd.functional.jacobian(lambda v: both(v[None], e[1:2])[0][0], x[1])
    assert log_det[1].item() == pytest.approx(jacobian.det().abs().log().item(), abs=1e-4)
    with pytest.raises(ValueError, match=r"needs e \(B,\) as its context"):
        both(x)


@pytest.mark.parametrize("codes", [0, 2])
def test_each_value_of_e_has_weights_of_its_own(codes):
    """What is changed on the side of e = 1 changes p(z|1,c) and q(c|1,z) and nothing at e = 0."""
    knowledge, batch = small(a=codes), rows(a=codes)
    joints = knowledge.pair("a")
    before = [joint.score(batch).log_prob for joint in joints]
    sides = [m.present for m in knowledge.kinds["a"].modules() if hasattr(m, "present")]
    assert len(sides) == (3 if codes else 1)
    for side in sides:
        stirred(side, 9)
    after = [joint.score(batch).log_prob for joint in joints]
    for text, kept in (before[0] | before[1]).items():
        moved = (after[0] | after[1])[text] != kept
        own = text in ("t|e_a", "t|e_a,c_a", "c_a|e_a,t")
        assert torch.equal(moved, batch["e_a"].bool() if own else torch.zeros_like(moved))


def test_without_rows_of_a_kind_its_actnorm_waits():
    both = EitherBijection(dense_flow(3, 1, 8), dense_flow(3, 1, 8)).train()
    both(torch.randn(10, 3), torch.ones(10, dtype=torch.long))
    assert both.present.parts[0].started and not both.absent.parts[0].started


# -- bad input


def test_names():
    knowledge = small(seven=0)
    with pytest.raises(ValueError, match=r"a kind 'seven' is attached already, beside \['seven'\]"):
        knowledge.add("seven", dense_kind(2))
    with pytest.raises(ValueError, match=r"letters, digits and underscores, got 'a kind'"):
        knowledge.add("a kind", dense_kind(2))
    with pytest.raises(ValueError, match=r"no kind 'eight' is attached, there are \['seven'\]"):
        knowledge.pair("eight")
    with pytest.raises(ValueError, match="expected one kind or more to combine"):
        Knowledge(knowledge.density).log_decoding({"t": torch.zeros(1, 2)})


def test_codes_of_the_wrong_size():
    knowledge, batch = small(a=2), rows(a=3)
    with pytest.raises(ValueError, match=r"cannot score 'c_a'.*over \(2,\).*\(12, 3\)"):
        per_knowledge(*knowledge.pair("a"), batch)
    with pytest.raises(ValueError, match=r"cannot score 'c_a'"):
        knowledge.encoding().score(batch)
    with pytest.raises(ValueError, match="give both or neither"):
        Kind(lambda e: None, lambda: None, lambda z: None, StandardNormal(2))


def test_a_batch_without_a_positive_example():
    knowledge, batch = small(a=2), rows(a=0)
    batch["e_a"] = torch.zeros(12, dtype=torch.long)
    with pytest.raises(ValueError, match=r"no positive example: 'e_a' is 0 in all 12 rows"):
        per_knowledge(*knowledge.pair("a"), batch)


def test_sizes_and_joints_that_make_no_sense():
    knowledge, batch = small(a=2), rows(a=0)
    p, q = knowledge.pair("a")
    with pytest.raises(ValueError, match="kinds must be the number of kinds, 1 or more, got 0"):
        per_knowledge(p, q, batch, kinds=0)
    with pytest.raises(ValueError, match=r"begins with the density q\(t\) and a p that ends"):
        per_knowledge(p, p, batch)
    with pytest.raises(ValueError, match="dim must be 2 or more"):
        dense_flow(1)
    with pytest.raises(ValueError, match=r"codes 0 or more, got dim=2.*codes=-1"):
        dense_kind(2, -1)
    del batch["t"]
    with pytest.raises(ValueError, match=r"holds \['e_a'\] and no 't'"):
        per_knowledge(p, q, batch)
