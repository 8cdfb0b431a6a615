"""Sentence models: what is read, what is written token by token or at once, drawing, lengths."""

import itertools
import math

import pytest
import torch
from torch import nn

from lvmlab import Joint, decoding
from lvmlab.language import END, LanguageModel, Lengths
from lvmlab.models import (
    at_the_mean,
    refined_sentences,
    sentence_gru,
    sentence_lstm,
    with_lengths,
)
from lvmlab.networks import Embedded, Transformer, Writer
from lvmlab.objectives import elbo

SEEDS = range(3)
KINDS = [(sentence_gru, False), (sentence_gru, True), (sentence_lstm, False), (sentence_lstm, True)]


def pair(make=sentence_gru, skip=False, seed=0, vocabulary=4, length=3, **settings):
    torch.manual_seed(seed)
    p, q = make(vocabulary, 2, 3, 5, length, skip=skip, **settings)
    p, q = p.double(), q.double()
    for weights in [*p.parameters(), *q.parameters()]:  # so that every word has its own chance
        nn.init.normal_(weights, std=0.7)
    return p.eval(), q.eval()


def codes(size, seed=0):
    generator = torch.Generator().manual_seed(10_000 + seed)
    return torch.randn(size, 2, generator=generator, dtype=torch.double)


def every_text(vocabulary, length):
    rows = itertools.product(range(vocabulary), repeat=length)
    return torch.tensor(
        [r for r in rows if all(b == END for a, b in itertools.pairwise(r) if not a)]
    )


def random_rows(size, vocabulary, length, seed):
    generator = torch.Generator().manual_seed(20_000 + seed)
    x = torch.randint(1, vocabulary, (size, length), generator=generator)
    ends = torch.randint(0, length + 1, (size, 1), generator=generator)
    return x.where(torch.arange(length) < ends, END)


def of_text(p, z):
    return p.factors["x|z"](z)


# -- networks


def parameters(*joints):
    return sum(v.numel() for v in nn.ModuleList(joints).parameters())


def test_parameters_are_as_many_as_published():
    with torch.device("meta"):
        for latent, millions in ((16, 10.58), (128, 10.92), (512, 12.11)):
            count = parameters(*sentence_gru(9877, latent))
            assert round(count / 1e6, 2) == millions
        p, q = sentence_lstm(20_001)
        assert (parameters(q), parameters(p)) == (16_605_696, 37_185_024)
        assert parameters(*sentence_gru(9877, 16)) == parameters(
            (pq := sentence_gru(9877, 16))[0], at_the_mean(pq[1])
        )


def test_encoder_and_decoder_of_the_gru_share_their_embeddings_and_those_of_the_lstm_do_not():
    for make, same in ((sentence_gru, True), (sentence_lstm, False)):
        p, q = pair(make)
        tokens = p.factors["x|z"].network.tokens
        assert (q.factors["z|x"].network[0].tokens is tokens) is same


def test_the_lstm_starts_as_published():
    torch.manual_seed(0)
    p, q = sentence_lstm(50, 4, 6, 8, 9)
    for name, weights in [*p.named_parameters(), *q.named_parameters()]:
        limit = 0.1 if "tokens" in name else 0.01
        assert 0.8 * limit < weights.abs().max() <= limit
    z = torch.randn(3, 4)
    h, c = p.factors["x|z"].network.begin(z)
    torch.testing.assert_close(h, torch.tanh(z @ p.factors["x|z"].network.start.weight.T))
    assert torch.equal(h, c.tanh())


@pytest.mark.parametrize(("make", "skip"), KINDS)
def test_one_token_at_a_time_is_the_same_as_all_at_once(make, skip):
    p, _ = pair(make, skip, vocabulary=7, length=6)
    network, z, x = p.factors["x|z"].network, codes(5), random_rows(5, 7, 6, 0)
    whole, state = network(x, z), network.begin(z)
    assert whole.shape[2] == network.width == 5 + 2 * skip
    for t in range(6):
        hidden, state = network.step(x[:, t], z, state)
        torch.testing.assert_close(hidden, whole[:, t])


def test_a_transformer_writes_token_by_token_too():
    network = Transformer(9, width=8, layers=2, heads=2, length=5)
    x, context = torch.randint(9, (3, 5)), torch.randn(3, 8)
    state = network.begin(context)
    for t in range(5):
        hidden, state = network.step(x[:, t], context, state)
        torch.testing.assert_close(hidden, network(x, context)[:, t])


@pytest.mark.parametrize(("make", "skip"), KINDS)
def test_no_gradient_reaches_the_future_and_z_reaches_every_word(make, skip):
    p, _ = pair(make, skip, vocabulary=7, length=5)
    network, held = p.factors["x|z"].network, []
    network.tokens.register_forward_hook(lambda m, i, out: held.append(out) or out.retain_grad())
    for t in range(5):
        z = codes(2).requires_grad_()
        network(random_rows(2, 7, 5, t), z)[:, t].square().sum().backward()
        size = held[-1].grad.abs().sum((0, 2))
        assert (size[: t + 1] > 0).all() and (size[t + 1 :] == 0).all() and (z.grad != 0).all()


@pytest.mark.parametrize("reverse", [True, False])
def test_the_encoder_reads_each_row_alone_up_to_its_end(reverse):
    """The oracle reads the words of one row, and nothing else, with torch's own network."""
    torch.manual_seed(0)
    tokens, x = nn.Embedding(7, 3), random_rows(12, 7, 6, 1)
    read = Embedded(tokens, reverse)
    embedded, last = read(x)
    for row, vectors, end in zip(x.tolist(), embedded, last.tolist(), strict=True):
        words = row[: row.index(END) + 1] if END in row else row
        words = words[::-1] if reverse else words
        assert end == len(words) - 1
        torch.testing.assert_close(vectors[: end + 1], tokens(torch.tensor(words)))


@pytest.mark.parametrize(("make", "skip"), KINDS)
def test_padding_changes_nothing(make, skip):
    p, q = pair(make, skip, vocabulary=7, length=12)
    x, z = random_rows(20, 7, 6, 2), codes(20)
    x[:, -1] = END
    longer = torch.cat([x, x.new_full((20, 6), END)], 1)
    few, many = (q.factors["z|x"](rows).base_dist for rows in (x, longer))
    torch.testing.assert_close(few.loc, many.loc)
    torch.testing.assert_close(few.scale, many.scale)
    torch.testing.assert_close(of_text(p, z).log_prob(x), of_text(p, z).log_prob(longer))
    junk = longer.masked_fill(longer.eq(END).cumsum(1) > 1, 3)  # words after the end do not count
    torch.testing.assert_close(q.factors["z|x"](junk).base_dist.loc, few.loc)
    torch.testing.assert_close(of_text(p, z).log_prob(junk), of_text(p, z).log_prob(x))
    nats = of_text(p, z).token_log_prob(longer)
    assert (nats[:, 6:] == 0).all() and (nats[:, 0] < 0).all()


def test_dropout_is_in_training_alone_and_on_what_the_decoder_reads():
    p, q = pair(vocabulary=9, length=8)
    x, z = random_rows(6, 9, 8, 3), codes(6)
    quiet = of_text(p, z).log_prob(x)
    assert torch.equal(of_text(p, z).log_prob(x), quiet)
    p.train(), q.train()
    assert not torch.allclose(of_text(p, z).log_prob(x), quiet)
    torch.testing.assert_close(q.factors["z|x"](x).base_dist.loc, q.eval().factors["z|x"](x).mean)
    network = pair(sentence_lstm, length=8)[0].factors["x|z"].network
    assert (network.before.p, network.after.p) == (0.5, 0.5)
    assert p.factors["x|z"].network.after.p == 0


@pytest.mark.parametrize(("make", "skip"), KINDS)
def test_a_step_in_training_drops_what_it_reads_and_gives_but_not_what_it_remembers(make, skip):
    """All rows take one step, so a state is that of one of the eight ways to drop three numbers."""
    p, _ = pair(make, skip, vocabulary=9, length=8, dropout=0.5)
    network, z = p.factors["x|z"].network, codes(1).expand(400, -1)
    kept = 2.0 * torch.tensor(list(itertools.product([0, 1], repeat=3)))
    with torch.no_grad():
        network.tokens.weight[:8] = kept * network.tokens.weight[8]
    hidden, (possible, *_) = network.step(torch.arange(8), z[:8], network.begin(z[:8]))
    assert torch.equal(hidden[:, :5], possible)
    for seed in SEEDS:
        network.train(), torch.manual_seed(seed)
        hidden, (state, *_) = network.step(torch.full((400,), 8), z, network.begin(z))
        away, which = (state[:, None] - possible).abs().sum(2).min(1)
        assert away.max() < 1e-9 and (which.bincount(minlength=8) - 50).abs().max() < 5 * 6.7
        share = (hidden[:, :5] == 0).double().mean()
        assert share == 0 if make is sentence_gru else abs(share - 0.5) < 5 * 0.0112
        factor = 1 if make is sentence_gru else 2
        torch.testing.assert_close(hidden[:, :5], factor * state.where(hidden[:, :5] != 0, 0))
        assert torch.equal(hidden[:, 5:], z[:, : 2 * skip])
        network.eval()
        hidden, (state, *_) = network.step(torch.full((400,), 8), z, network.begin(z))
        assert torch.equal(hidden[:, :5], state) and (state - state[0]).abs().max() < 1e-12


def test_blanks_hide_words_from_the_encoder_in_training():
    torch.manual_seed(0)
    read = Embedded(nn.Embedding(5, 1), blanks=0.2, unknown=4)
    read.tokens.weight.data = torch.arange(5.0)[:, None]
    x = torch.randint(1, 4, (200, 50))
    x[:, 40:] = END
    share = (read(x)[0][:, :40] == 4).float().mean().item()
    assert share == pytest.approx(0.2, abs=5 * math.sqrt(0.16 / 8000))
    assert (read(x)[0][:, 40:] == 0).all()
    assert torch.equal(read.eval()(x)[0][..., 0], x.float())
    with pytest.raises(ValueError, match="share"):
        Embedded(read.tokens, blanks=1.2, unknown=1)
    with pytest.raises(ValueError, match="unknown"):
        Embedded(read.tokens, blanks=0.2)


def test_unfit_sizes_are_named():
    p, q = pair()
    with pytest.raises(ValueError, match=r"4 columns.*at most 3"):
        of_text(p, codes(2)).log_prob(torch.ones(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="one of gru, lstm"):
        Writer(nn.Embedding(3, 2), 2, 2, 4, "rnn")
    with pytest.raises(ValueError, match="no factor"):
        at_the_mean(Joint("q", {"x": None, "u|x": q.factors["z|x"]}))


# -- probabilities


@pytest.mark.parametrize(("make", "skip"), KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_probabilities_of_all_short_texts_sum_to_one(make, skip, seed):
    p, _ = pair(make, skip, seed, length=4)
    for length in (1, 3, 4):
        x = every_text(4, length)
        assert len(x) == sum(3**n for n in range(length + 1))
        nats = of_text(p, codes(1, seed).expand(len(x), 2)).log_prob(x)
        assert nats.logsumexp(0).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_texts_of_known_lengths_sum_to_one_in_each_and_over_all(seed):
    p, _ = pair(seed=seed)
    q = with_lengths(p, torch.tensor([1, 2, 2, 3]))
    x, rows = every_text(4, 3), len(every_text(4, 3))
    z, written = codes(1, seed).expand(rows, 2), (x != END).sum(1)
    for length in range(4):
        nats = p.factors["x|z"](z, torch.full((rows,), length)).log_prob(x)
        assert nats.logsumexp(0).item() == pytest.approx(0, abs=1e-6)
        assert (nats[written != length] == -math.inf).all()
    total = q.score({"x": x, "z": z, "T": written})
    assert total.nats(["x", "T"]).logsumexp(0).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(
        total.log_prob["T"].exp()[[0, 1, -1]], torch.tensor([1.0, 2.0, 2.0]) / 8
    )
    # without END's own nats the words cost more than given that none of them ends the text
    words = of_text(p, z).token_log_prob(x).masked_fill(x == END, 0).sum(1)
    assert (total.log_prob["x|z,T"] >= words - 1e-6).all()


def test_a_decoder_sure_of_the_end_can_be_told_to_go_on():
    """In single precision 1 - p(END) is 0 here; the other words still have their shares."""
    p, _ = pair()
    decoder = p.factors["x|z"]
    with torch.no_grad():
        decoder.head.linear.bias[END] += 30
        x, z, two = torch.tensor([[1, 2, END]]), codes(1), torch.tensor([2])
        here = decoder(z, two).log_prob(x)
        wide = decoder.double()(z.double(), two).log_prob(x)
    torch.testing.assert_close(here.double(), wide, atol=1e-5, rtol=0)


def test_objectives_take_a_decoder_that_is_told_the_length():
    p, q = pair(vocabulary=5, length=6)
    x = random_rows(8, 5, 6, 4)
    batch = {"x": x, "T": (x != END).sum(1)}
    torch.manual_seed(1)
    told = elbo(with_lengths(p, batch["T"]), q, batch).terms
    torch.manual_seed(1)
    plain = elbo(p, q, {"x": x}).terms
    torch.testing.assert_close(told["rate"], plain["rate"])
    assert told["distortion"].isfinite().all() and (told["distortion"] != plain["distortion"]).all()


def test_lengths_are_the_shares_of_the_training_texts():
    exact = Lengths(torch.tensor([1, 2, 2, 4]), 5, added=0)()
    torch.testing.assert_close(exact.probs, torch.tensor([0, 0.25, 0.5, 0, 0.25, 0]))
    for wrong in (torch.tensor([0.5]), torch.tensor([[1]]), torch.tensor([], dtype=torch.long)):
        with pytest.raises(ValueError, match="whole numbers"):
            Lengths(wrong, 5)
    for wrong, added in ((torch.tensor([6]), 1), (torch.tensor([-1]), 1), (torch.tensor([1]), -1)):
        with pytest.raises(ValueError, match="lie in"):
            Lengths(wrong, 5, added)


# -- drawing


def shares(x, texts):
    return (x[:, None] == texts).all(2).double().mean(0)


def close(share, probability, size):
    spread = (probability * (1 - probability) / size).sqrt()
    return bool(((share - probability).abs() < 5 * spread + 1.5 / size).all())  # one rare text


@pytest.mark.parametrize("make", [sentence_gru, sentence_lstm])
def test_draws_have_the_probabilities_that_are_scored(make):
    p, _ = pair(make, vocabulary=3)
    texts, size = every_text(3, 3), 4000
    z = codes(1).expand(size, 2)
    probability = of_text(p, z[: len(texts)]).log_prob(texts).exp()
    for seed in SEEDS:
        torch.manual_seed(100 + seed)
        share = shares(of_text(p, z).sample(), texts)
        assert share.sum().item() == pytest.approx(1) and close(share, probability, size)


def test_temperature_top_and_bans_change_each_token_as_they_say():
    """The exact probabilities: at each token those of the model, bent, cut off, renormalised."""
    p, _ = pair(vocabulary=4, seed=2)
    texts, size = every_text(4, 3), 4000
    z = codes(1).expand(size, 2)

    def expected(temperature=1.0, top=4, banned=()):
        found = []
        for row in texts.tolist():
            total, before = 0.0, [END]
            for token in row:
                hidden = p.factors["x|z"].network(torch.tensor([before]), z[:1])[:, -1]
                nats = p.factors["x|z"].head.log_prob(hidden)[0].double()
                nats[list(banned)] = -math.inf
                nats = nats.masked_fill(nats < nats.sort().values[-top], -math.inf) / temperature
                total += nats.log_softmax(0)[token].item()
                before.append(token)
                if token == END:
                    break
            found.append(math.exp(total))
        return torch.tensor(found, dtype=torch.double)

    for settings in (
        {"temperature": 0.5},
        {"top": 2},
        {"banned": (1, 3)},
        {"temperature": 3.0, "top": 3},
    ):
        torch.manual_seed(7)
        share = shares(of_text(p, z).sample(**settings), texts)
        assert share.sum().item() == pytest.approx(1)
        assert close(share, expected(**settings), size), settings
    greedy = of_text(p, z[:4]).sample(temperature=0)
    assert torch.equal(greedy, of_text(p, z[:4]).sample(top=1))
    assert torch.equal(greedy[:1], texts[expected(top=1).argmax()][None])


@pytest.mark.parametrize("make", [sentence_gru, sentence_lstm])
def test_beam_search_with_room_for_all_is_exact_and_with_none_is_greedy(make):
    p, _ = pair(make, vocabulary=4, seed=1)
    texts, z = every_text(4, 3), codes(6)
    for banned in ((), (2,)):
        nats = torch.stack(
            [of_text(p, one.expand(len(texts), 2)).log_prob(texts) for one in z]
        ).masked_fill(torch.isin(texts, torch.tensor(banned)).any(1), -math.inf)
        best, found = decoding.beam(of_text(p, z), 64, banned)
        assert torch.equal(best, texts[nats.argmax(1)])
        if not banned:
            torch.testing.assert_close(found.double(), nats.max(1).values, atol=1e-5, rtol=1e-5)
        greedy = of_text(p, z).sample(temperature=0, banned=banned)
        assert torch.equal(decoding.beam(of_text(p, z), 1, banned)[0], greedy)
    narrow = decoding.beam(of_text(p, z), 2)[1]
    assert (narrow <= decoding.beam(of_text(p, z), 64)[1] + 1e-6).all()


def beam_by_hand(p, z, width, length):
    """Beginnings with their nats in a list, one of them at a time."""
    network, head, kept = p.factors["x|z"].network, p.factors["x|z"].head, [(0.0, [])]
    for _ in range(length):
        found = []
        for total, row in kept:
            if END in row:
                found.append((total, [*row, END]))
                continue
            nats = head.log_prob(network(torch.tensor([[END, *row]]), z[None])[:, -1])[0]
            found += [(total + n, [*row, token]) for token, n in enumerate(nats.tolist())]
        kept = sorted(found, reverse=True)[:width]
    return kept[0]


@pytest.mark.parametrize("make", [sentence_gru, sentence_lstm])
@pytest.mark.parametrize("width", [2, 3])
def test_beam_search_keeps_states_and_ends_with_their_beginnings(make, width):
    p, _ = pair(make, vocabulary=4, length=6)
    decoder = p.factors["x|z"]
    with torch.no_grad():
        decoder.network.start.weight.mul_(3)  # so that the codes have different texts
        for name, value in decoder.head.named_parameters():
            value.mul_(3 if "weight" in name else 0)
        best, nats = decoding.beam(of_text(p, codes(40)), width)
        expected = [beam_by_hand(p, z, width, 6) for z in codes(40)]
    assert best.tolist() == [row for _, row in expected]
    assert nats.tolist() == pytest.approx([total for total, _ in expected], abs=1e-4)
    assert len({tuple(row) for row in best.tolist()}) > 3


def test_known_lengths_are_written_to_the_word():
    p, _ = pair(vocabulary=5, length=6)
    z, lengths = codes(7), torch.arange(7)
    texts = p.factors["x|z"](z, lengths)
    for x in (texts.sample(), texts.sample(temperature=0), decoding.beam(texts, 3)[0]):
        assert x.shape == (7, 6) and ((x != END).sum(1) == lengths).all()
        assert (x.eq(END).cumsum(1).clamp(max=1) == x.eq(END)).all()
    drawn = with_lengths(p, torch.tensor([2, 4])).draw(size=50).values
    assert torch.equal((drawn["x"] != END).sum(1), drawn["T"])
    torch.testing.assert_close(
        decoding.beam(texts, 5)[1], texts.log_prob(decoding.beam(texts, 5)[0]), check_dtype=False
    )


@pytest.mark.parametrize(("height", "token"), [(0.0, 1), (1.0, 3)])
def test_a_draw_at_either_end_takes_a_token_that_may_come(height, token, monkeypatch):
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 1.0, -math.inf]])
    monkeypatch.setattr(torch, "rand_like", lambda like: torch.full_like(like, height))
    assert decoding._drawn(logits).tolist() == [token]


def test_rare_and_banned_tokens_are_drawn_as_often_as_they_should_be_and_never():
    """The sum of probabilities passes over what has none, at either end and in between."""
    logits = torch.tensor([-math.inf, 0.0, -math.inf, math.log(3), -math.inf]).repeat(20_000, 1)
    torch.manual_seed(0)
    share = decoding._drawn(logits).bincount(minlength=5) / 20_000
    assert share[[0, 2, 4]].tolist() == [0, 0, 0]
    assert share[3].item() == pytest.approx(0.75, abs=5 * math.sqrt(0.1875 / 20_000))


def test_what_cannot_be_drawn_is_named():
    texts = of_text(pair()[0], codes(2))
    with pytest.raises(ValueError, match="top must be"):
        texts.sample(top=0)
    for banned in ((END,), (4,), (-1,)):
        with pytest.raises(ValueError, match="banned must hold"):
            texts.sample(banned=banned)
    with pytest.raises(ValueError, match="width"):
        decoding.beam(texts, 0)
    texts.lengths = torch.tensor([2, 1])
    for write in (texts.sample, lambda banned: decoding.beam(texts, 2, banned)):
        with pytest.raises(ValueError, match="must leave a word"):
            write(banned=(1, 2, 3))
    with pytest.raises(ValueError, match="shape"):
        texts.sample((3,))


# -- rivals


@pytest.mark.parametrize("make", [sentence_gru, sentence_lstm])
def test_refinement_is_differentiated_through_the_recurrent_network(make):
    """The gradient of the refined bound, against differences, in the weights of both sides."""
    p, q = pair(make, vocabulary=5, length=4, dropout=0.0)
    refined, x = refined_sentences(p, q, steps=2, rate=0.1), random_rows(4, 5, 4, 0)

    def loss():
        torch.manual_seed(3)
        return elbo(p, refined, {"x": x}).loss

    loss().backward()
    for weights in (
        q.factors["z|x"].network[2].weight,
        p.factors["x|z"].network.recurrent.weight_hh_l0,
    ):
        slope, step = weights.grad.flatten()[1].item(), 1e-5
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weights.view(-1)[1] += sign * step
            ends.append(loss().item())
            with torch.no_grad():
                weights.view(-1)[1] -= sign * step
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("make", [sentence_gru, sentence_lstm])
def test_refinement_runs_in_single_precision_with_dropout(make):
    p, q = (joint.float().train() for joint in pair(make, vocabulary=5, length=4))
    loss = elbo(p, refined_sentences(p, q, 2), {"x": random_rows(4, 5, 4, 0)}).loss
    loss.backward()
    assert all(v.grad is not None and v.grad.isfinite().all() for v in q.parameters())


def test_the_autoencoder_has_no_noise_and_no_rate():
    p, q = pair(vocabulary=5, length=4)
    x, plain = random_rows(6, 5, 4, 1), at_the_mean(q)
    one, other = (elbo(p, plain, {"x": x}, beta=0.0) for _ in range(2))
    assert one.loss.item() == other.loss.item()
    exact = -of_text(p, q.factors["z|x"](x).mean).log_prob(x)
    torch.testing.assert_close(one.terms["distortion"], exact)
    torch.testing.assert_close(one.loss, exact.mean())
    one.loss.backward()
    assert (q.factors["z|x"].network[2].weight.grad[:2] != 0).any()
    assert isinstance(p.factors["x|z"], LanguageModel)
