"""One thread, no downloads, no progress bars: the same conditions for every test."""

import os

import pytest
import torch

os.environ.setdefault("LVMLAB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def float64():
    """Double precision inside one test: closed forms agree to 1e-6 and better."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
