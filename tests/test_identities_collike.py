"""The identity of section A that no other file holds: entropic pairings and their limit."""

import pytest
import torch

from lvmlab.objectives import best_pairing, soft_pairing

SCORES = torch.tensor([[7.0, 5, 3, 9], [2, 8, 6, 1], [4, 4, 9, 7], [8, 3, 5, 6]])


@pytest.mark.parametrize(("epsilon", "total"), [(1.0, 32.762638), (0.1, 33.99999998)])
def test_sinkhorn_limit(epsilon, total):
    scores = SCORES.double()
    weights = soft_pairing(scores, epsilon)
    assert (weights * scores).sum().item() == pytest.approx(
        total, abs=1e-4 if epsilon == 1 else 1e-6
    )
    assert (weights * scores).sum() < scores[range(4), best_pairing(scores)].sum() == 34
