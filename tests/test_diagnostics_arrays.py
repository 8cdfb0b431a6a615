"""The door: tensors and lists give the same plain numbers."""

import numpy as np
import pytest
import torch

from lvmlab import diagnostics


def test_tensors_arrays_and_lists_give_the_same_numbers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2)).astype(np.float32)
    z = (x + rng.standard_normal((50, 2))).astype(np.float32)
    with_gradient = torch.tensor(x, requires_grad=True)
    by_array = diagnostics.ksg(x, z)
    assert diagnostics.ksg(with_gradient, torch.tensor(z)) == by_array
    assert diagnostics.ksg(x.tolist(), z.tolist()) == by_array
    label = torch.arange(50) % 3
    by_label = diagnostics.plug_in_information(label, label > 0)
    assert diagnostics.plug_in_information(label.tolist(), (label > 0).numpy()) == by_label
    logits = torch.randn(20, 4, dtype=torch.float32)
    posteriors = logits.softmax(-1)
    found = diagnostics.categorical_information(posteriors)
    exact = diagnostics.categorical_information(logits.double().softmax(-1))
    assert found == pytest.approx(exact, abs=1e-6)


def test_bfloat16_tensors_are_read():
    means = torch.tensor([[0.0, 1.0], [2.0, 1.0]], dtype=torch.bfloat16)
    assert diagnostics.active_units(means).active == 1


def test_results_are_plain_numbers():
    x = np.random.default_rng(0).standard_normal(30)
    assert type(diagnostics.ksg(x, x + x**2)) is float
    assert type(diagnostics.knn_entropy(x)) is float
    assert type(diagnostics.entropy([0.5, 0.5])) is float
    assert type(diagnostics.bits_per_dim(torch.tensor(3.0), 2)) is float
    assert type(diagnostics.hungarian_accuracy([0, 1], [1, 0]).accuracy) is float
    found = diagnostics.categorical_information([[0.5, 0.5], [1.0, 0.0]])
    assert [type(number) for number in found] == [float] * 4


def test_every_public_name_says_what_it_is_in_one_sentence():
    said = {name: getattr(diagnostics, name) for name in diagnostics.__all__}
    for name, what in said.items():
        assert name.isupper() or what.__doc__.split("\n")[0].endswith("."), name
