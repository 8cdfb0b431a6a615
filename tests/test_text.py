"""Language models: causal, normalised, indifferent to padding; buckets; the text studies."""

import itertools
import math

import pytest
import torch
from torch import nn

from lvmlab import Joint, language
from lvmlab.batches import Batches, LengthBuckets
from lvmlab.datasets import tokens
from lvmlab.datasets.tokens import BytePairs
from lvmlab.language import END, AdaptiveSoftmax, LanguageModel, Softmax, counted_tokens
from lvmlab.models import text_categories
from lvmlab.networks import Transformer, transformer
from lvmlab.objectives.complete import best_pairing, pair_scores
from lvmlab.studies import text_runs
from lvmlab.studies.text_runs import Corpus, Recipe

SEEDS = range(3)


def model(vocabulary, length, seed=0, cutoffs=(), embed=None):
    torch.manual_seed(seed)
    network = Transformer(vocabulary, width=8, hidden=12, layers=2, heads=2, length=length)
    head = AdaptiveSoftmax(8, vocabulary, cutoffs) if cutoffs else None
    return LanguageModel(network, nn.Embedding(4, 8) if embed is None else embed, head)


def every_text(vocabulary, length):
    """All rows of so many columns: texts of at most so many tokens, END after them."""
    rows = itertools.product(range(vocabulary), repeat=length)
    kept = [r for r in rows if all(b == END for a, b in itertools.pairwise(r) if a == END)]
    return torch.tensor(kept)


def random_rows(size, vocabulary, length, seed):
    generator = torch.Generator().manual_seed(10_000 + seed)
    x = torch.randint(1, vocabulary, (size, length), generator=generator)
    ends = torch.randint(0, length + 1, (size, 1), generator=generator)
    return x.where(torch.arange(length) < ends, END)


# -- the language model


def test_the_tokenizer_and_the_model_agree_on_the_end():
    assert END == tokens.END


@pytest.mark.parametrize("seed", SEEDS)
def test_no_gradient_reaches_the_future(seed):
    torch.manual_seed(seed)
    network = Transformer(6, width=8, hidden=12, layers=3, heads=2, length=7)
    held = []
    network.tokens.register_forward_hook(lambda m, i, out: held.append(out) or out.retain_grad())
    for t in range(7):
        network(torch.randint(6, (2, 7)), torch.randn(2, 8))[:, t].square().sum().backward()
        size = held[-1].grad.abs().sum((0, 2))
        assert (size[: t + 1] > 0).all() and (size[t + 1 :] == 0).all()


@pytest.mark.parametrize("cutoffs", [(), (2, 3)])
@pytest.mark.parametrize("seed", SEEDS)
def test_probabilities_of_all_short_texts_sum_to_one(seed, cutoffs):
    decoder = model(4, 4, seed, cutoffs).double()
    for length in (1, 3, 4):
        x = every_text(4, length)
        assert len(x) == sum(3**n for n in range(length + 1))
        for z in range(4):
            nats = decoder(torch.full((len(x),), z)).log_prob(x)
            assert nats.logsumexp(0).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("cutoffs", [(), (5, 9)])
@pytest.mark.parametrize("seed", SEEDS)
def test_log_prob_is_the_sum_over_tokens_one_by_one(seed, cutoffs, monkeypatch):
    monkeypatch.setattr(language, "CHUNK", 7)
    decoder, x = model(13, 9, seed, cutoffs), random_rows(20, 13, 9, seed)
    z = torch.randint(4, (20,), generator=torch.Generator().manual_seed(seed))
    expected = []
    for row, k in zip(x, z, strict=True):
        written, total = [END], 0.0
        for token in row.tolist():
            hidden = decoder.network(torch.tensor([written]), decoder.embed(k)[None])
            total += decoder.head.log_prob(hidden[:, -1])[0, token].item()
            written.append(token)
            if token == END:
                break
        expected.append(total)
    torch.testing.assert_close(decoder(z).log_prob(x), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_the_latent_and_the_order_of_the_tokens_matter():
    # without positions a causal network of one layer sees what lies behind as a set
    torch.manual_seed(0)
    network = Transformer(9, width=8, layers=1, heads=2, length=4)
    x, z = torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4]]), torch.randn(2, 8)
    same, other = network(x, z[:1].expand(2, 8))[:, 3], network(x[:1], z[1:])[:, 3]
    assert (same[0] - same[1]).abs().max() > 1e-3
    assert (same[0] - other[0]).abs().max() > 1e-3


def test_tokens_are_forgotten_in_training_alone_and_alike_in_equal_rows():
    torch.manual_seed(0)
    network = Transformer(9, width=8, layers=1, heads=2, length=400, forget=0.3)
    x = torch.randint(9, (3, 400))[[0, 1, 2, 0]]
    kept = transformer._kept(x, 0.3)
    assert kept.shape == (4, 400, 1) and torch.equal(kept[0], kept[3])
    share = 1 - kept[:3].float().mean((1, 2))
    assert ((share - 0.3).abs() < 5 * (0.21 / 400) ** 0.5).all() and len(set(share.tolist())) > 1
    context = torch.zeros(4, 8)
    with torch.no_grad():
        scored = network(x, context)
    trained = network(x, context)
    assert torch.equal(network.eval()(x, context), scored)
    assert not torch.allclose(trained, scored, atol=0.01)
    torch.testing.assert_close(trained[0], trained[3])
    blank = Transformer(9, width=8, layers=1, heads=2, length=400, forget=1)
    torch.testing.assert_close(blank(x[:1], context[:1]), blank(x[1:2], context[:1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_padding_never_counts(seed):
    decoder, x = model(9, 12, seed), random_rows(30, 9, 6, seed)
    x[:, -1] = END
    z = torch.zeros(30, dtype=torch.long)
    few = decoder(z).log_prob(x)
    many = decoder(z).log_prob(torch.cat([x, x.new_full((30, 6), END)], 1))
    torch.testing.assert_close(few, many, rtol=1e-5, atol=1e-5)
    assert counted_tokens(torch.tensor([[3, 0, 0], [0, 0, 0], [1, 2, 3]])).tolist() == [
        [True, True, False],
        [True, False, False],
        [True, True, True],
    ]


def test_the_chunked_softmax_has_the_gradient_of_the_plain_one(monkeypatch):
    monkeypatch.setattr(language, "CHUNK", 4)
    torch.manual_seed(0)
    softmax, hidden = Softmax(5, 11).double(), torch.randn(10, 5, dtype=torch.double)
    target = torch.randint(11, (10,))
    hidden.requires_grad_()
    chunked = softmax(hidden, target)
    plain = (hidden @ softmax.linear.weight.T).log_softmax(1)[torch.arange(10), target]
    torch.testing.assert_close(chunked, plain.to(chunked), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(chunked.sum(), [hidden, softmax.linear.weight]),
        torch.autograd.grad(plain.sum(), [hidden, softmax.linear.weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cutoffs", [(), (2,)])
def test_draws_have_the_probabilities_that_are_scored(cutoffs):
    decoder, texts, size = model(3, 3, 5, cutoffs), every_text(3, 3), 4000
    z = torch.full((size,), 2)
    probability = decoder(z[: len(texts)]).log_prob(texts).exp()
    for seed in SEEDS:
        torch.manual_seed(100 + seed)
        x = decoder(z).sample()
        share = (x[:, None] == texts).all(2).float().mean(0)
        assert share.sum().item() == pytest.approx(1)
        spread = (probability * (1 - probability) / size).sqrt()
        assert ((share - probability).abs() < 5 * spread + 1e-9).all()
    greedy = decoder(z[:2]).sample(temperature=0)
    hidden = decoder.network(torch.tensor([[END]]), decoder.embed(z[:1]))
    assert greedy[0, 0] == decoder.head.log_prob(hidden[:, -1]).argmax()


def test_any_embedding_of_any_latent_will_do():
    decoder = model(9, 6, embed=nn.Linear(3, 8))
    p = Joint("p", {"x|z": decoder})
    drawn = p.draw({"z": torch.randn(5, 3)})
    assert drawn.values["x"].shape == (5, 6) and drawn.nats().shape == (5,)


def test_unfit_rows_and_sizes_are_named():
    decoder, z = model(9, 6), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"p\(x\|z\).*from 0 to 9"):
        Joint("p", {"x|z": decoder}).score({"z": z, "x": torch.tensor([[0, 1], [9, 0]])})
    with pytest.raises(ValueError, match=r"7 columns.*at most 6"):
        decoder(z).log_prob(torch.ones(2, 7, dtype=torch.long))
    with pytest.raises(ValueError, match="multiple of heads"):
        Transformer(9, width=6, heads=4)
    with pytest.raises(ValueError, match="layers"):
        Transformer(9, layers=0)
    with pytest.raises(ValueError, match="forget"):
        Transformer(9, forget=1.5)
    with pytest.raises(ValueError, match="temperature"):
        decoder(z).sample(temperature=-1)
    for latents in (torch.tensor([0, 4]), torch.tensor([0.5]), torch.zeros(2, 1).long()):
        with pytest.raises(ValueError, match="latents must be"):
            text_categories(latents, 4, 9)


@pytest.mark.parametrize("cutoffs", [(), (5, 20)])
@pytest.mark.parametrize("seed", SEEDS)
def test_coarse_scores_pair_as_the_exact_ones_but_for_close_calls(seed, cutoffs):
    p, x = Joint("p", {"x|z": model(50, 20, seed, cutoffs)}), random_rows(32, 50, 20, seed)
    z = torch.randint(4, (32,), generator=torch.Generator().manual_seed(seed))
    exact = pair_scores(p, {"x": x}, {"z": z})
    coarse = pair_scores(p, {"x": x}, {"z": z}, torch.bfloat16)
    assert exact.dtype == coarse.dtype == torch.float32
    assert 0 < (exact - coarse).abs().max() < 0.02 * exact.abs().max()
    rows = torch.arange(32)
    best, near = (exact[rows, best_pairing(s)].sum() for s in (exact, coarse))
    unpaired = exact[rows, rows].sum()
    assert best - near < 0.1 * (best - unpaired)


@pytest.mark.parametrize("cutoffs", [(), (5, 20)])
def test_log_probabilities_are_single_precision_under_autocast(cutoffs):
    decoder, x = model(50, 20, cutoffs=cutoffs), random_rows(8, 50, 20, 0)
    z = torch.zeros(8, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = decoder(z).log_prob(x)
        assert decoder.head.log_prob(torch.randn(3, 8)).dtype == torch.float32
    assert coarse.dtype == torch.float32 and not torch.equal(coarse, coarse.bfloat16().float())
    torch.testing.assert_close(coarse, decoder(z).log_prob(x), rtol=0.02, atol=0.1)


def test_groups_of_tokens_are_coarse_in_scores_and_exact_where_there_is_a_gradient():
    head, target = AdaptiveSoftmax(8, 50, [5, 20]), torch.arange(50)
    hidden = torch.randn(50, 8)
    exact = head(hidden, target)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(hidden, target), exact)
        with torch.no_grad():
            coarse = head(hidden, target)
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse, exact, rtol=0.02, atol=0.02)


# -- buckets


def buckets(size=7, seed=3, **options):
    lengths = torch.randint(1, 13, (101,), generator=torch.Generator().manual_seed(1))
    x = torch.ones(101, 12, dtype=torch.long).where(torch.arange(12) < lengths[:, None], END)
    return LengthBuckets({"x": x}, lengths, size, seed, **options), x, lengths


def test_every_epoch_covers_every_row_once_whole():
    stream, x, lengths = buckets(chunk=28)
    for epoch in range(3):
        batches = [
            stream.at(step) for step in range(epoch * len(stream), (epoch + 1) * len(stream))
        ]
        assert torch.cat([b["index"] for b in batches]).sort().values.tolist() == list(range(101))
        assert [len(b["index"]) for b in batches] == [7] * 14 + [3]
        for b in batches:
            assert b["x"].shape[1] == lengths[b["index"]].max()
            assert torch.equal(b["x"], x[b["index"], : b["x"].shape[1]])


def test_buckets_save_padding_and_mix_lengths_over_an_epoch():
    sorted_, _, lengths = buckets(chunk=98)
    shuffled = Batches(sorted_.values, 7, 3)

    def columns(stream):
        return [int(lengths[stream.at(s)["index"]].max()) for s in range(14)]

    assert sum(columns(sorted_)) < 0.75 * sum(columns(shuffled))
    found = columns(sorted_)
    assert found != sorted(found) and found != sorted(found, reverse=True)


def test_buckets_are_a_function_of_the_step():
    one, other = buckets()[0], buckets()[0]
    wanted = [one.at(step)["index"] for step in range(40)]
    for step in (33, 2, 39, 16):
        assert torch.equal(other.at(step)["index"], wanted[step])
    assert not torch.equal(buckets(seed=4)[0].at(0)["index"], wanted[0])
    assert not torch.equal(wanted[0], wanted[15])
    assert one.describe() != buckets(chunk=100)[0].describe()
    in_order = torch.cat([b["index"] for b in one])
    assert in_order.tolist() == list(range(101))
    assert torch.equal(buckets(shuffle=False)[0].at(1)["index"], torch.arange(7, 14))


@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_with_an_index_of_the_callers_keep_their_own_lengths(shuffle):
    x, lengths = torch.arange(1, 61).reshape(10, 6), torch.tensor([6, 1, 2, 1, 5, 3, 1, 4, 1, 2])
    rows = torch.tensor([1, 4, 0, 7])  # a part of the data that remembers where it is from
    part = LengthBuckets({"x": x[rows], "index": rows}, lengths[rows], 1, shuffle=shuffle)
    for batch in [*part, *(part.at(step) for step in range(8))]:
        row = batch["index"][0]
        assert batch["x"].tolist() == [x[row, : lengths[row]].tolist()]


def test_unfit_buckets_are_named():
    values, lengths = {"x": torch.zeros(9, 4)}, torch.full((9,), 4)
    for wrong in (lengths[:8], lengths - 4, lengths + 1):
        with pytest.raises(ValueError, match=r"lengths must be 9.*4 columns"):
            LengthBuckets(values, wrong, 3)
    with pytest.raises(ValueError, match="chunk"):
        LengthBuckets(values, lengths, 3, chunk=2)
    with pytest.raises(ValueError, match="trim"):
        LengthBuckets({"y": torch.zeros(9)}, lengths, 3)


# -- the studies


@pytest.fixture(scope="module")
def data():
    """Two kinds of sentence, three words each, that never share a word."""
    words = [["the cat sleeps", "a dog runs"], ["nine plus two", "six minus one"]]
    texts, labels = [], []
    for i in range(80):
        texts.append(" ".join([words[i % 2][i // 2 % 2]] * (1 + i % 3)))
        labels.append(i % 2)
    pairs = BytePairs.fit(texts, 300)
    parts = {"train": slice(0, 60), "validation": slice(60, 70), "test": slice(70, 80)}
    return Corpus(
        "sentences",
        pairs,
        {name: pairs.encode(texts[rows], 12) for name, rows in parts.items()},
        {name: torch.tensor(labels[rows]) for name, rows in parts.items()},
    )


RECIPE = Recipe(2, looks=2, batch=8, cutoffs=(20, 100))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["CoLLike", "MaL"])
def test_information_and_aggregated_kl_stay_below_the_ceiling(data, objective):
    run = text_runs.trained(objective, data, RECIPE, 0)
    found = [*run.curve, text_runs.measured(run.p, data)]
    assert [row.get("passes") for row in found] == [1, 2, None]
    for row in found:
        assert row["information"] + row["aggregated_kl"] <= math.log(4) + 1e-9
        assert 0 <= row["accuracy_percent"] <= 100 and row["nll"] > 0
    assert run.curve[1]["nll"] < run.curve[0]["nll"]


def test_pairing_only_moves_latents_about(data):
    start = text_runs._prepared("CoLLike", data, RECIPE, 1)[1]
    run = text_runs.trained("CoLLike", data, RECIPE, 1)
    before, after = (q.factors["z|index"].latents for q in (start, run.q))
    assert not torch.equal(before, after)
    assert torch.equal(before.bincount(minlength=4), after.bincount(minlength=4))


@pytest.mark.parametrize(("held", "moved"), [(0.5, True), (1.0, False)])
def test_categories_that_are_held_stay_until_the_first_match(data, held, moved):
    recipe = RECIPE._replace(epochs=1, looks=1, held=held)
    start = text_runs._prepared("CoLLike", data, recipe, 1)[1].factors["z|index"].latents
    end = text_runs.trained("CoLLike", data, recipe, 1).q.factors["z|index"].latents
    assert torch.equal(start, end) != moved


def test_an_unknown_start_is_named(data):
    with pytest.raises(ValueError, match="start must be one of drawn, piles, got 'prior'"):
        text_runs.trained("CoLLike", data, RECIPE._replace(start="prior"), 0)


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(data, tmp_path, monkeypatch):
    whole = text_runs.trained("CoLLike", data, RECIPE, 0, tmp_path / "whole")
    real, calls = text_runs.measured, []

    def killed(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(text_runs, "measured", killed)
    with pytest.raises(KeyboardInterrupt):
        text_runs.trained("CoLLike", data, RECIPE, 0, tmp_path / "killed")
    monkeypatch.setattr(text_runs, "measured", real)
    again = text_runs.trained("CoLLike", data, RECIPE, 0, tmp_path / "killed")
    for name, weights in whole.p.state_dict().items():
        assert torch.equal(weights, again.p.state_dict()[name]), name
    without_clock = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in run.curve]
        for run in (whole, again)
    ]
    assert without_clock[0] == without_clock[1]
    slower = RECIPE._replace(learning_rate=1e-4)
    with pytest.raises(ValueError, match="learning_rate"):
        text_runs.trained("CoLLike", data, slower, 0, tmp_path / "killed")


def test_curves_of_several_runs_are_gathered_with_their_names(tmp_path):
    for place, passes in (("mal-0", (1, 2)), ("collike-11", (3,))):
        (tmp_path / place).mkdir()
        lines = "".join(f'{{"passes": {n}}}\n' for n in passes)
        (tmp_path / place / "curve.jsonl").write_text(lines)
    assert text_runs.gathered(tmp_path) == [
        {"objective": "CoLLike", "seed": 11, "passes": 3},
        {"objective": "MaL", "seed": 0, "passes": 1},
        {"objective": "MaL", "seed": 0, "passes": 2},
    ]
    with pytest.raises(ValueError, match="run the study first"):
        text_runs.gathered(tmp_path / "mal-0")


def test_the_recorded_curves_are_whole_and_keep_to_the_ceiling():
    runs = {}
    for row in text_runs.recorded():
        runs.setdefault((row["objective"], row["seed"]), []).append(row["passes"])
        assert row["information"] + row["aggregated_kl"] <= row["ceiling"] + 1e-9
    assert sorted(runs) == [(o, s) for o in ("CoLLike", "MaL") for s in range(4)]
    assert len({tuple(passes) for passes in runs.values()}) == 1


def test_posteriors_are_those_of_bayes_in_the_order_of_the_texts(data, monkeypatch):
    monkeypatch.setattr(text_runs, "TOGETHER", 3)
    p = text_runs._prepared("MaL", data, RECIPE, 2)[0]
    texts = data.texts["test"]
    posterior, nll = text_runs.posteriors(p, texts)
    for i, row in enumerate(texts.x):
        scores = [p.score({"x": row[None], "z": torch.tensor([z])}).nats().item() for z in range(4)]
        scores = torch.tensor(scores, dtype=torch.double)
        torch.testing.assert_close(posterior[i], scores.softmax(0), rtol=1e-3, atol=1e-4)
        assert nll[i].item() == pytest.approx(-scores.logsumexp(0).item(), rel=1e-4)


def test_the_rate_rises_stays_and_falls_to_nothing():
    recipe = Recipe(1, looks=1, warm_up=10, decay=0.25)
    rates = [text_runs._rate(step, 100, recipe) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[9:76] == [1.0] * 67
    assert rates[75:] == pytest.approx([1 - i / 25 for i in range(26)])
    assert text_runs._rate(99, 100, recipe._replace(decay=0)) == 1


def test_what_is_forgotten_falls_with_the_rate(data):
    p, _, step = text_runs._prepared("CoLLike", data, RECIPE, 0)
    network, (group,) = p.factors["x|z"].network, step.optimisers["optimiser"].param_groups
    batch = {"x": data.texts["train"].x[:4], "index": torch.arange(4)}
    for share in (1.0, 0.5, 0.0):
        group["lr"] = share * RECIPE.learning_rate
        step(batch)
        assert network.forget == pytest.approx(share * RECIPE.forget)


def test_embeddings_start_as_wide_as_the_recipe_says(data):
    wide, narrow = (
        text_runs._prepared("CoLLike", data, RECIPE._replace(embedded=sd), 0)[0] for sd in (1, 0.5)
    )
    for name, value in narrow.named_parameters():
        share = 0.5 if name.endswith(("embed.weight", "tokens.weight")) else 1
        assert torch.equal(value, share * wide.get_parameter(name)), name


def test_an_unknown_objective_is_named(data):
    with pytest.raises(ValueError, match=r"CoLLike, MaL.*'VAE'"):
        text_runs.trained("VAE", data, RECIPE, 0)
