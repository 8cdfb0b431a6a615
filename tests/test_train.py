"""fit: the same weights whether or not it was killed, and words for what goes wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lvmlab import Batches, Evaluation, Fresh, Joint, annealed, descend, elbo, evaluate, fit
from lvmlab import checkpoint as files
from lvmlab.conditionals import Gaussian, StandardNormal
from lvmlab.networks import MLP
from lvmlab.steps import Step
from lvmlab.train import quietly, resume, save, watch

# A run with everything a checkpoint must hold: dropout, annealing, a scheduler, a plateau,
# validation, matched assignments in a second optimiser, and batches in random order.
RUN = textwrap.dedent(
    """
    import os, signal, sys
    import torch
    from torch import nn
    from lvmlab import *
    from lvmlab.conditionals import *
    from lvmlab.networks import MLP

    torch.set_num_threads(1)
    path, out, die = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.manual_seed(7)
    x = torch.randn(50, 3)
    encoder = nn.Sequential(MLP(3, 8, 8), nn.Dropout(0.2), MLP(8, 4))
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, 8, 3), scale="learned")})
    q = Joint("q", {"x": None, "z|x": Gaussian(encoder)})
    vae = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-2)
    mixture = Joint("p", {"k": Proportions(3, True), "x|k": Components(torch.zeros(3, 3))})
    stored = Joint("q", {"x": None, "k|index": Assignment(torch.randint(3, (50,)))})
    pairs = torch.optim.SGD(mixture.parameters(), lr=1e-2, momentum=0.9)
    step = alternate((match_then_descend(mixture, stored, pairs), 1),
                     (descend(annealed(elbo, over=20), p, q, vae), 2))
    schedulers = [torch.optim.lr_scheduler.LambdaLR(vae, lambda n: 1 / (1 + n / 10)),
                  torch.optim.lr_scheduler.ReduceLROnPlateau(pairs, patience=1)]
    seen = []

    def look():
        seen.append(1)
        return evaluate(elbo, p, q, Batches({"x": x}, 25))["loss"]

    batches = Batches({"x": x}, size=8, seed=3)
    plain = batches.at

    def at(n):
        if n == die:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(n)

    batches.at = at
    history = fit(step, batches, steps=40, schedulers=schedulers, validate=look, validate_every=6,
                  checkpoint=path, checkpoint_every=5, device="cpu")
    from safetensors.torch import save_file
    state = {f"{m}.{k}": v.clone() for m, module in step.modules.items()
             for k, v in module.state_dict().items()}
    state["next random number"] = torch.rand(3)
    state["loss"] = torch.tensor(history["loss"])
    state["validation"] = torch.tensor([v for _, v in history.validation])
    state["rates"] = torch.tensor([vae.param_groups[0]["lr"], pairs.param_groups[0]["lr"]])
    save_file(state, out)
    """
)


def run(folder, name, die=-1):
    script = folder / "run.py"
    script.write_text(RUN)
    out = folder / f"{name}.safetensors"
    command = [sys.executable, str(script), str(folder / name / "checkpoint"), str(out), str(die)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done, out


def weights(path):
    from safetensors.torch import load_file

    return load_file(path)


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("never")
    done, out = run(folder, "whole")
    assert done.returncode == 0, done.stderr
    return weights(out)


@pytest.mark.slow  # each needs two processes that import torch
@pytest.mark.parametrize("die", [3, 5, 17, 39])
def test_a_run_killed_and_resumed_ends_at_the_same_weights_bit_for_bit(die, never_killed, tmp_path):
    done, out = run(tmp_path, "killed", die)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    done, out = run(tmp_path, "killed")
    assert done.returncode == 0, done.stderr
    resumed = weights(out)
    assert resumed.keys() == never_killed.keys()
    for name, expected in never_killed.items():
        assert torch.equal(resumed[name], expected), name
    assert any("latents" in name for name in resumed)  # the stored assignments are among them


def small(width=8):
    torch.manual_seed(0)
    p = Joint("p", {"z": StandardNormal(2), "x|z": Gaussian(MLP(2, width, 3), scale=0.5)})
    q = Joint("q", {"x": None, "z|x": Gaussian(MLP(3, width, 4))})
    optimiser = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=1e-2)
    return p, q, descend(elbo, p, q, optimiser)


def data(rows=40, size=8):
    return Batches({"x": torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))}, size)


def test_history_keeps_every_term_of_every_step():
    _, _, step = small()
    seen = []
    history = fit(
        step,
        data(),
        steps=12,
        validate=lambda: seen.append(1) or float(len(seen)),
        validate_every=4,
    )
    assert {name: len(values) for name, values in history.terms.items()} == {
        "loss": 12,
        "distortion": 12,
        "rate": 12,
    }
    total = torch.tensor(history["distortion"]) + torch.tensor(history["rate"])
    torch.testing.assert_close(total, torch.tensor(history["loss"]))
    assert history.validation == [(4, 1.0), (8, 2.0), (12, 3.0)]
    assert history.last("loss", 2) == pytest.approx(sum(history["loss"][-2:]) / 2)
    with pytest.raises(ValueError, match=r"no term 'elbo'.*'distortion', 'loss', 'rate'"):
        history["elbo"]


def test_terms_that_come_and_go_are_nan_where_they_were_absent():
    def objective(p, q, batch):
        terms = {"early": torch.ones(2)} if len(seen) < 2 else {"late": torch.ones(2)}
        seen.append(1)
        return Evaluation(next(p.parameters()).sum(), terms)

    seen: list[int] = []
    p, q, _ = small()
    step = descend(objective, p, q, torch.optim.SGD(p.parameters(), lr=0.0))
    history = fit(step, data(), steps=4, validate=lambda: 0.0, validate_every=1)
    assert str(history["early"]) == "[1.0, 1.0, nan, nan]"
    assert str(history["late"]) == "[nan, nan, 1.0, 1.0]"


def test_looking_does_not_change_the_run():
    histories = []
    for look in (False, True):
        _, _, step = small()
        torch.manual_seed(5)
        watch = (lambda: torch.rand(()).item()) if look else None
        histories.append(fit(step, data(), steps=9, validate=watch, validate_every=2)["loss"])
    assert histories[0] == histories[1]


def test_early_stopping_puts_the_best_weights_back():
    p, _, step = small()
    numbers = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    kept = {}

    def validate():
        number = next(numbers)
        kept[number] = p.factors["x|z"].network.layers[0].weight.clone()
        return number

    history = fit(step, data(), steps=100, validate=validate, validate_every=5, patience=2)
    assert history.outcome.startswith("stopped early after 25 steps, best validation 1 at step 10")
    assert torch.equal(p.factors["x|z"].network.layers[0].weight, kept[1.0])


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_so_many_validations_may_pass_without_a_better_one(patience):
    _, _, step = small()
    given = {"validate": lambda: 1.0, "validate_every": 1, "patience": patience}
    history = fit(step, data(), steps=9, **given)  # the first is the best
    assert history.outcome.startswith(f"stopped early after {patience + 2} steps")
    assert len(history.validation) == patience + 2


def test_patience_is_counted_across_a_restart(tmp_path):
    numbers = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    given = {"validate_every": 5, "patience": 2, "checkpoint": tmp_path / "c"}
    _, _, step = small()
    fit(step, data(), steps=10, validate=lambda: next(numbers), **given)
    history = fit(step, data(), steps=100, validate=lambda: next(numbers), **given)
    assert history.outcome.startswith("stopped early after 20 steps, best validation 1 at step 5")


def test_optimisers_that_do_not_fit_change_nothing(tmp_path):
    p, _, step = small()
    fit(step, data(), steps=2, checkpoint=tmp_path / "c")
    p, q, step = small()
    before = p.factors["x|z"].network.layers[0].weight.clone()
    groups = [{"params": list(p.parameters())}, {"params": list(q.parameters())}]
    for optimisers, expected in (
        ({"optimiser": torch.optim.Adam(groups)}, "'optimiser': expected groups of"),
        ({"other": step.optimisers["optimiser"]}, "'other': .* none of that name"),
    ):
        with pytest.raises(ValueError, match=expected):
            resume(tmp_path / "c", replace(step, optimisers=optimisers))
        assert torch.equal(p.factors["x|z"].network.layers[0].weight, before)


def test_schedulers_are_stepped_and_a_plateau_watches_the_validation():
    _, _, step = small()
    optimiser = step.optimisers["optimiser"]
    halving = torch.optim.lr_scheduler.StepLR(optimiser, 5, 0.5)
    fit(step, data(), steps=10, schedulers=[halving])
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-2 / 4)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.1, patience=0)
    fit(step, data(), steps=4, schedulers=[plateau], validate=lambda: 1.0, validate_every=2)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-2 / 40)


def broken_at(step_number):
    count = iter(range(10_000))

    def objective(p, q, batch):
        evaluation = elbo(p, q, batch)
        if next(count) == step_number:
            rate = evaluation.terms["rate"] * math.nan
            return Evaluation(rate.mean(), evaluation.terms | {"rate": rate})
        return evaluation

    objective.__name__ = "broken"
    return objective


def test_a_loss_that_is_not_finite_names_objective_term_step_and_keeps_the_checkpoint(tmp_path):
    p, q, _ = small()
    path = tmp_path / "run" / "checkpoint"
    step = descend(broken_at(7), p, q, torch.optim.Adam(p.parameters()))
    with pytest.raises(
        FloatingPointError, match=r"step 7: rate of broken .* last good .*checkpoint"
    ):
        fit(step, data(), steps=20, checkpoint=path, checkpoint_every=3)
    assert files.read(path)["run"]["done"] == 6
    assert all(v.isfinite().all() for v in files.read(path)["modules"]["p"].values())


def test_the_history_is_searched_too_since_accelerators_do_not_stop_at_once():
    p, q, step = small()
    objective = broken_at(4)

    def move(batch):  # what descend does on an accelerator: it does not look
        evaluation = objective(p, q, batch)
        return evaluation

    from dataclasses import replace

    blind = replace(step, move=move, name="descend broken")
    with pytest.raises(FloatingPointError, match="step 4: loss and rate of descend broken"):
        fit(blind, data(), steps=20, checkpoint=None)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    p, _, step = small()
    save(tmp_path / "good", step)
    before = (tmp_path / "good").read_bytes()
    with torch.no_grad():
        p.factors["x|z"].network.layers[0].weight[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"p\.conditionals.* nothing was saved"):
        save(tmp_path / "good", step)
    assert (tmp_path / "good").read_bytes() == before


def test_a_buffer_may_be_infinite_but_not_nan(tmp_path):
    class Best(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("value", torch.tensor(-math.inf))

    _, _, step = small()
    step.modules["best"] = Best()
    fit(step, data(), steps=2, checkpoint=tmp_path / "good", checkpoint_every=1)
    step.modules["best"].value.fill_(0.0)
    resume(tmp_path / "good", step)
    assert step.modules["best"].value == -math.inf
    step.modules["best"].value.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"best\.value .* nothing was saved"):
        save(tmp_path / "good", step)
    tied = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    tied[1].weight = tied[0].weight
    with torch.no_grad():
        tied[0].weight[0, 0] = math.inf
    with pytest.raises(FloatingPointError, match=r"m\.0\.weight .* nothing was saved"):
        save(tmp_path / "other", Step("tied", lambda batch: None, {"m": tied}))


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    files.write(tmp_path / "state", {"a": torch.ones(2)})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write(tmp_path / "state", {"a": torch.zeros(2)})
    assert files.read(tmp_path / "state")["a"].tolist() == [1, 1]
    assert [f.name for f in tmp_path.iterdir()] == ["state"]
    with pytest.raises(TypeError, match=r"cannot hold a object \(at state/1\)"):
        files.write(tmp_path / "other", {"a": 1, "b": object()})
    assert [f.name for f in tmp_path.iterdir()] == ["state"]


def test_checkpoints_keep_types_and_numbers_exactly(tmp_path):
    tree = {
        "floats": [0.1, math.inf, 1e-300],
        "tuple": (1, 2),
        "betas": (0.9, 0.999),
        "nested": {0: {"step": torch.tensor(3.0)}, "none": None, "flag": True},
        "mixed": [1, "a", 2.5],
        "long": torch.arange(3),
        "empty": [[], {}, ()],
    }
    files.write(tmp_path / "tree", tree)
    back = files.read(tmp_path / "tree")
    assert back.keys() == tree.keys()
    for name in ("floats", "tuple", "betas", "mixed", "empty"):
        assert back[name] == tree[name] and type(back[name]) is type(tree[name])
    assert back["nested"][0]["step"].item() == 3.0 and back["nested"]["flag"] is True
    assert back["long"].dtype == torch.long


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    _, _, step = small()
    path = tmp_path / "checkpoint"
    save(path, step)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged or cut short"):
        resume(path, step)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not one of 'lvmlab checkpoint 1'"):
        resume(path, step)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        resume(tmp_path / "nowhere", step)


def test_a_checkpoint_of_another_preset_model_or_data_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint"
    p, _, step = small()
    monkeypatch.setenv("LVMLAB_PRESET", "smoke")
    fit(step, data(), steps=5, checkpoint=path)
    before = p.factors["x|z"].network.layers[0].weight.clone()
    monkeypatch.setenv("LVMLAB_PRESET", "paper")
    with pytest.raises(ValueError, match=r"preset is 'smoke' there and 'paper' here.*resume=False"):
        fit(step, data(), steps=10, checkpoint=path)
    monkeypatch.setenv("LVMLAB_PRESET", "smoke")
    with pytest.raises(ValueError, match=r"'size': 8.* there and .*'size': 4"):
        fit(step, data(size=4), steps=10, checkpoint=path)
    with pytest.raises(ValueError, match="dataset is None there and 'digits' here"):
        fit(step, data(), steps=10, checkpoint=path, settings={"dataset": "digits"})
    assert torch.equal(p.factors["x|z"].network.layers[0].weight, before)
    _, _, wider = small(width=16)
    with pytest.raises(ValueError, match=r"another model: .* tensors differ.*\(8, 2\) there and"):
        fit(wider, data(), steps=10, checkpoint=path)
    history = fit(step, data(), steps=10, checkpoint=path)  # the same run goes on
    assert len(history) == 10
    readable = json.loads((tmp_path / "checkpoint.history.json").read_text())
    assert readable["terms"]["loss"] == history["loss"]
    assert len(fit(step, data(), steps=3, checkpoint=path, resume=False)) == 3


@pytest.mark.parametrize("value", [Path("a"), {"deep": [1, Path("a")]}, {1, 2}, np.complex64(1j)])
def test_a_setting_that_cannot_be_written_is_named_before_the_first_step(value, tmp_path):
    _, _, step = small()
    before = [v.clone() for v in step.modules["p"].parameters()]
    given = {"steps": 20, "checkpoint": tmp_path / "c"}
    with pytest.raises(ValueError, match=r"settings\['data'\] must be made of .* try str"):
        fit(step, data(), settings={"lr": 0.1, "data": value}, **given)
    after = step.modules["p"].parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    fine = {"lr": np.float32(0.1), "data": {"deep": [1, (None, "a")], "tensor": torch.ones(1)}}
    assert len(fit(step, data(), settings=fine, **given)) == 20


def test_batches_are_a_function_of_the_step():
    batches = data(rows=10, size=4)
    assert len(batches) == 3
    first = [batches.at(n)["index"].tolist() for n in range(6)]
    assert sorted(chain(*first[:3])) == list(range(10))
    assert sorted(chain(*first[3:])) == list(range(10))
    assert first[:3] != first[3:]
    assert [data(rows=10, size=4).at(n)["index"].tolist() for n in (4, 1)] == [first[4], first[1]]
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(10))
    assert len(Batches({"x": torch.zeros(10)}, 4, drop_last=True)) == 2
    fresh = Fresh(lambda n, generator: {"x": torch.randn(n, generator=generator)}, size=5, seed=2)
    assert torch.equal(fresh.at(3)["x"], fresh.at(3)["x"])
    assert not torch.equal(fresh.at(3)["x"], fresh.at(4)["x"])
    assert sum(len(b["x"]) for b in fresh) == 500


def test_plain_iterables_train_but_cannot_be_resumed(tmp_path):
    _, _, step = small()
    batches = [{"x": torch.randn(4, 3)}, {"x": torch.randn(2, 3)}]
    assert len(fit(step, batches, epochs=2.5)) == 5
    with pytest.raises(ValueError, match="use Batches or Fresh"):
        fit(step, batches, steps=2, checkpoint=tmp_path / "c")
    with pytest.raises(ValueError, match="batches ran out at step 0"):
        fit(step, [], steps=2)


def test_evaluate_weighs_rows_and_leaves_modes_and_random_state_alone():
    p, q, _ = small()
    x = torch.randn(10, 3)
    p.eval()

    def mean_of_x(p, q, batch):
        assert not p.training and not q.training and not torch.is_grad_enabled()
        return Evaluation(batch["x"].mean(), {"x": batch["x"].mean(1)})

    found = evaluate(mean_of_x, p, q, Batches({"x": x}, 4))
    assert found["x"] == pytest.approx(x.mean().item(), abs=1e-6)
    assert found["loss"] == pytest.approx(x.mean().item(), abs=1e-6)
    assert q.training and not p.training
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(elbo, p, q, [])


def test_bad_arguments_are_named():
    _, _, step = small()
    for given in ({}, {"steps": 1, "epochs": 1}):
        with pytest.raises(ValueError, match="steps or epochs, one of them"):
            fit(step, data(), **given)
    with pytest.raises(ValueError, match="one step or more"):
        fit(step, data(), steps=0)
    with pytest.raises(ValueError, match="patience needs"):
        fit(step, data(), steps=1, patience=2)
    with pytest.raises(ValueError, match="validate_every must be"):
        fit(step, data(), steps=1, validate=lambda: 0.0, validate_every=0)
    with pytest.raises(ValueError, match='device must be "auto"'):
        fit(step, data(), steps=1, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="not available here"):
            fit(step, data(), steps=1, device="cuda")
    with pytest.raises(ValueError, match=r"between 1 and the 40 rows.*try size=40"):
        data(size=50)
    with pytest.raises(ValueError, match="'x' holds NaN or infinite values in 1 of 2 rows"):
        Batches({"x": torch.tensor([[1.0], [math.nan]])}, 1)
    with pytest.raises(ValueError, match="first axes must agree"):
        Batches({"x": torch.zeros(2), "y": torch.zeros(3)}, 1)
    with pytest.raises(ValueError, match="values are empty"):
        Batches({}, 1)
    with pytest.raises(ValueError, match=r"must be a tensor.*got list"):
        Batches({"x": [1, 2]}, 1)
    with pytest.raises(ValueError, match="got 0 and 100"):
        Fresh(lambda n, g: {}, size=0)


def small_vae():
    with quietly(3):
        p = Joint("p", {"z": StandardNormal(1), "x|z": Gaussian(MLP(1, 4, 2))})
        q = Joint("q", {"x": None, "z|x": Gaussian(MLP(1, 4, 2))})
    adam = torch.optim.Adam(nn.ModuleList([p, q]).parameters(), lr=0.05)
    fresh = Fresh(lambda size, generator: {"x": torch.randn(size, 1, generator=generator)}, 8, 5)
    return p, adam, descend(elbo, p, q, adam), fresh


def test_watching_counts_its_turns_and_trains_as_fit_does():
    watched, trained = small_vae(), small_vae()
    halve = [torch.optim.lr_scheduler.StepLR(adam, 4, 0.5) for _, adam, _, _ in (watched, trained)]
    torch.manual_seed(1)
    turns = watch(*watched[2:], steps=10, every=4, schedulers=halve[:1], device="cpu")
    assert list(turns) == [0, 4, 8, 10]
    after = torch.rand(3)
    torch.manual_seed(1)
    fit(*trained[2:], steps=10, schedulers=halve[1:], device="cpu")
    assert torch.equal(after, torch.rand(3))
    for one, other in zip(watched[0].parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(one, other)
    assert list(watch(*small_vae()[2:], steps=2, device="cpu")) == [0, 1, 2]


def test_with_a_seed_what_happens_between_two_turns_changes_nothing():
    ends, plain = [], torch.Generator().manual_seed(4)
    alone = torch.rand(30, generator=plain)
    for every in (1, 5, 10):
        p, _, step, fresh = small_vae()
        torch.manual_seed(4)
        outside = []
        for done in watch(step, fresh, steps=10, every=every, seed=2, device="cpu"):
            assert p.training or not done
            p.eval()  # somebody looks, and forgets to put it back
            outside.append(torch.rand(2))
        ends.append(list(p.parameters()))
        drawn = torch.cat(outside)
        assert torch.equal(drawn, alone[: len(drawn)])  # nor does the training change the outside
    for other in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], other, strict=True))


def test_watching_tells_the_step_that_failed_and_refuses_nothing_to_watch():
    p, _, step, _ = small_vae()
    turns = watch(step, [{"x": torch.ones(2, 1)}], steps=9, every=3, device="cpu")
    assert [next(turns), next(turns)] == [0, 3]
    with torch.no_grad():
        next(p.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match=r"step 3: .*elbo is no longer finite"):
        next(turns)
    for bad in ({"steps": 0}, {"steps": 5, "every": 0}):
        with pytest.raises(ValueError, match="steps and every must be 1 or more, got steps="):
            watch(step, [], **bad)


def test_an_annealed_weight_survives_a_checkpoint(tmp_path):
    p, q, _ = small()
    objective = annealed(elbo, over=10)
    step = descend(objective, p, q, torch.optim.Adam(p.parameters()))
    fit(step, data(), steps=4, checkpoint=tmp_path / "c")
    again = annealed(elbo, over=10)
    other = descend(again, p, q, torch.optim.Adam(p.parameters()))
    assert len(resume(tmp_path / "c", other)) == 4
    assert again.tick == 4


def test_a_long_run_shows_a_bar_and_a_short_one_does_not(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    _, _, step = small()
    fit(step, data(), steps=3)
    assert capsys.readouterr().err == ""
    fit(step, data(), steps=3, progress=True)
    assert "fit" in capsys.readouterr().err


def test_presets(monkeypatch):
    from lvmlab import choose

    table = {"smoke": {"steps": 1}, "lesson": {"steps": 2}, "paper": {"steps": 3}}
    monkeypatch.delenv("LVMLAB_PRESET", raising=False)
    assert choose(**table).steps == 2
    monkeypatch.setenv("LVMLAB_PRESET", "paper")
    assert (choose(**table).steps, choose(**table).name) == (3, "paper")
    monkeypatch.setenv("LVMLAB_PRESET", "huge")
    with pytest.raises(ValueError, match="must be one of smoke, lesson, paper, got 'huge'"):
        choose(**table)
    with pytest.raises(ValueError, match="expected the presets"):
        choose(smoke={})
    with pytest.raises(ValueError, match=r"smoke and lesson differ in \['steps'\]"):
        choose(**(table | {"smoke": {}}))


def test_no_unfinished_file_is_left_by_a_kill(tmp_path):
    """A file that a killed save left behind does not disturb, and the next save removes it."""
    _, _, step = small()
    path = tmp_path / "c"
    for name in ("c", "c.history.json"):
        path.with_name(f".{name}.{os.getpid() + 1}.unfinished").write_bytes(b"half")
    fit(step, data(), steps=5, checkpoint=path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["c", "c.history.json"]


def test_runs_that_share_a_folder_leave_each_others_files_alone(tmp_path):
    (tmp_path / "history.json").write_text("{}")  # of an earlier version
    busy = {tmp_path / f".{name}.1.unfinished" for name in ("c.2", "c.2.history.json", "history")}
    for name, steps in (("c.1", 7), ("c", 5)):
        _, _, step = small()
        for file in busy:  # that another run is about to rename
            file.write_bytes(b"half")
        fit(step, data(), steps=steps, checkpoint=tmp_path / name)
        assert all(file.exists() for file in busy)
    assert (tmp_path / "history.json").read_text() == "{}"
    for name, steps in (("c.1", 7), ("c", 5)):
        readable = json.loads((tmp_path / f"{name}.history.json").read_text())
        assert len(readable["terms"]["loss"]) == steps


@pytest.mark.parametrize(("steps", "patience", "how"), [(6, None, "finished"), (9, 0, "stopped")])
def test_the_files_of_a_run_tell_how_it_ended(steps, patience, how, tmp_path):
    readable, seen = tmp_path / "c.history.json", []

    def look():
        seen.append(json.loads(readable.read_text())["outcome"])
        return 1.0

    given = {"validate": look, "validate_every": 3, "patience": patience, "checkpoint_every": 2}
    _, _, step = small()
    done = fit(step, data(), steps=steps, checkpoint=tmp_path / "c", **given)
    best = ", best validation 1 at step 3"
    assert seen == ["unfinished after 2 steps", f"unfinished after 4 steps{best}"]
    assert done.outcome.startswith(how) and done.outcome.endswith(f"after 6 steps{best}")
    assert json.loads(readable.read_text())["outcome"] == done.outcome
    assert resume(tmp_path / "c", step).outcome == done.outcome


@pytest.mark.parametrize("seeds", [(0, 1), (3, 3 + 2**32), (1, -1)])
def test_another_seed_is_another_stream(seeds):  # torch reads the lowest 32 bits of a seed only
    def draw(size, generator):
        return {"x": torch.randn(size, generator=generator)}

    rows = {"x": torch.arange(50.0)}
    one, other = (Batches(rows, 50, seed).at(0)["x"] for seed in seeds)
    assert not torch.equal(one, other) and torch.equal(one.sort()[0], other.sort()[0])
    one, other = (Fresh(draw, 50, seed).at(7)["x"] for seed in seeds)
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1]) < 0.6  # 4 standard errors
