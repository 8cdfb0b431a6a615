"""A pretrained Transformer fine-tuned on few labels: the supervised side of CoLLike's Figure 3b.

Optional: it needs `pip install 'lvmlab[pretrained]'` and the weights of the model, some hundred
megabytes, which are fetched only when you ask for it. Nothing else in lvmlab needs either.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from lvmlab.datasets.where import offline

MODEL = "microsoft/deberta-v3-base"
LONGEST = 128  # tokens of a text


def fine_tuned_posterior(
    texts: Sequence[str],
    labels: Any,
    test_texts: Sequence[str],
    seed: int = 0,
    epochs: int = 10,
    size: int = 16,
    lr: float = 2e-5,
    model: str = MODEL,
    download: bool = False,
) -> np.ndarray:
    """Class probabilities (N, C) of test texts, from all weights tuned on labelled texts.

    labels: (n,) whole numbers from 0 up. model: a name on the Hugging Face hub or a local folder.
    AdamW at a constant `lr`, batches of `size`, `epochs` passes; the last weights count. Average
    the probabilities of eight seeds for the ensemble of the figure. Raises `ValueError` when
    transformers is not installed, and when the weights are not on this machine and `download` is
    False (or LVMLAB_OFFLINE=1 forbids it).
    """
    classes = torch.as_tensor(labels).long()
    if len(classes) != len(texts) or not len(texts):
        raise ValueError(f"labels: expected one for each of {len(texts)} texts, got {len(classes)}")
    tokenizer, network = _load(model, int(classes.max()) + 1, download, seed)
    adam = torch.optim.AdamW(network.parameters(), lr=lr)
    order = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(texts), generator=order).split(size):
            adam.zero_grad()
            scores = _scores(tokenizer, network, [texts[i] for i in rows])
            cross_entropy(scores, classes[rows].to(scores.device)).backward()
            adam.step()
    network.eval()
    with torch.no_grad():
        parts = [
            _scores(tokenizer, network, test_texts[i : i + 64]).softmax(1).cpu()
            for i in range(0, len(test_texts), 64)
        ]
    return torch.cat(parts).double().numpy()


def _scores(tokenizer: Any, network: Any, texts: Sequence[str]) -> torch.Tensor:
    given = tokenizer(
        list(texts), truncation=True, max_length=LONGEST, padding=True, return_tensors="pt"
    )
    return network(**given.to(network.device)).logits


def _load(model: str, classes: int, download: bool, seed: int) -> tuple[Any, Any]:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            "fine_tuned_posterior needs the package transformers, which is not installed: "
            "pip install 'lvmlab[pretrained]'"
        ) from error
    local = not download or offline()
    torch.manual_seed(seed)  # the head of the classifier is drawn
    try:
        return (
            transformers.AutoTokenizer.from_pretrained(model, local_files_only=local),
            transformers.AutoModelForSequenceClassification.from_pretrained(
                model, num_labels=classes, local_files_only=local
            ),
        )
    except OSError as error:
        tried = "and could not be downloaded" if not local else "and nothing was downloaded"
        raise ValueError(
            f"model {model!r} is not on this machine {tried}: give a local folder as model=, or "
            "download=True with a connection (some hundred megabytes; unset LVMLAB_OFFLINE)"
        ) from error
