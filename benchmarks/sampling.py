"""Drawing texts token by token, beside scoring them in one pass.

    python benchmarks/sampling.py [turns]

The network has no memory of what it has read, so T tokens cost T passes over prefixes: about T / 2
whole passes. Early END tokens are made impossible here, so that all texts have full length.
"""

import sys

import torch
from torch import nn
from turns import TURNS, Ratio, in_turn, ratio, show

from lvmlab.language import END, LanguageModel, Softmax
from lvmlab.networks import Transformer

ROWS, VOCABULARY = 16, 2000


class Endless(Softmax):
    """A softmax that never ends a text."""

    def log_prob(self, hidden: torch.Tensor) -> torch.Tensor:
        nats = super().log_prob(hidden)
        nats[:, END] = -torch.inf
        return nats


def ratios(turns: int = TURNS) -> list[Ratio]:
    found = []
    for length in (16, 64):
        torch.manual_seed(0)
        network = Transformer(VOCABULARY, length=length)
        head = Endless(network.width, VOCABULARY)
        model = LanguageModel(network, nn.Embedding(4, network.width), head).eval()
        with torch.no_grad():
            texts = model(torch.arange(ROWS) % 4)
            drawn = texts.sample()

            def score(texts=texts, drawn=drawn) -> None:
                with torch.no_grad():
                    texts.log_prob(drawn)

            rivals = {
                f"drawing {ROWS} texts of {length} tokens": texts.sample,
                "scoring them in one pass": score,
            }
            found.append(ratio(in_turn(rivals, max(turns // 3, 5)), *rivals))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    show(ratios(int(sys.argv[1]) if len(sys.argv) > 1 else TURNS))
