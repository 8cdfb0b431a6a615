"""The how-to for many devices, run as it stands: two processes end where one does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "many_devices.md"

# noise that belongs to the row, not to the process: then two processes and one see the same sum
SAME_NOISE = """
import torch
import train
from lvmlab import elbo, noise

def objective(p, q, batch):
    assert len(batch["index"]) * train.dist.get_world_size() == 128  # its share, not the whole

    def drawn(like):
        rows = [torch.Generator().manual_seed(int(i)) for i in batch["index"]]
        return torch.stack([torch.randn(like.shape[1:], generator=g) for g in rows])
    with noise.supplied(drawn):
        return elbo(p, q, batch)

train.main(objective, steps=20)
"""


def script():
    return re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[1]


def launched(folder, processes, file, port):
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    words += ["--master-port", str(port), file]
    environment = {"OMP_NUM_THREADS": "1", "PATH": "", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, torch.load(folder / "model.pt")


def free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_two_processes_end_where_one_does(tmp_path):
    (tmp_path / "train.py").write_text(script())
    (tmp_path / "same.py").write_text(SAME_NOISE)
    said, two = launched(tmp_path, 2, "same.py", free_port())
    assert said.startswith("2 processes")
    said, one = launched(tmp_path, 1, "same.py", free_port())
    assert said.startswith("1 processes")
    for joint in ("p", "q"):
        for name, weights in one[joint].items():
            torch.testing.assert_close(two[joint][name], weights, rtol=1e-5, atol=1e-5)
