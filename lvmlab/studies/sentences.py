"""Sentences with one code for the whole: SentenceMIM beside its VAE and autoencoder; critics.

MIM thesis, chapter 7 and appendix D, and Table 1 of the critics paper. How the models are trained
and measured: `sentence_runs`, `sentence_figures`, `answer_runs`, `critic_text_runs`. Sets that are
not at hand are left out. MELBO and ELBO are metrics of their own, and no claim ranks one with the
other. The training texts of Yahoo Answers here are nine tenths of its validation texts where
nothing else is at hand; YahooCQA, which Table 7.8 is about, is not here at all.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from lvmlab import datasets
from lvmlab.studies import answer_runs, critic_text_runs, ledger
from lvmlab.studies import sentence_figures as figures
from lvmlab.studies import sentence_runs as runs
from lvmlab.studies.compare import Claim, quoted
from lvmlab.studies.ledger import Cell, Row, measure, sizes

PTB, HISTOGRAMS, SIZE = "sentences-ptb", "sentences-histograms", "sentences-melbo-size"
ANSWERS, CRITICS = "sentences-qa", "critics-text"
COUNTS = (10, 100, 300, 1000, 3000)

# most: words of a sentence; rows and points: training sentences, and validation and test ones, at
# most; warm_up, plateau and patience in epochs; minutes: all seeds of all sets on one core, those
# of paper size reckoned from the time of a step
# fmt: off
_ALL, _TWO = ("sVAE", "sMIM", "AE"), ("sVAE", "sMIM")
_SMOKE = {"most": 8, "vocabulary": 200, "rows": 60, "points": 30, "embedding": 8, "hidden": 10,
          "latents": (2,), "dropout": 0.2, "batch": 20, "lr": 1e-2, "epochs": 2, "warm_up": 1,
          "patience": 2, "plateau": 2, "objectives": _ALL}
_DOCS = {"most": 14, "vocabulary": 2000, "rows": 2000, "points": 400, "embedding": 128,
         "hidden": 256, "latents": (32,), "dropout": 0.2, "batch": 20, "lr": 2e-3, "epochs": 12,
         "warm_up": 4, "patience": 4, "plateau": 2,
         "objectives": ("sVAE", "sVAE annealed", "sMIM", "AE")}
_SHORT = _DOCS | {"most": 12, "vocabulary": 3000, "rows": None, "points": None,
                  "latents": (4, 16, 64), "epochs": 10, "objectives": _ALL}
_PAPER = _SHORT | {"most": None, "vocabulary": 10_000, "embedding": 300, "hidden": 512,
                   "latents": (16, 128, 512), "dropout": 0.5, "lr": 1e-3, "epochs": 200,
                   "patience": 8}
_ANSWERS = _SHORT | {"most": 40, "vocabulary": 5000, "rows": 4000, "points": 500, "hidden": 256,
                     "latents": (128,), "epochs": 8, "others": 4, "blanks": 0.2, "objectives": _ALL}
_LSTM = {"most": 12, "vocabulary": 3000, "rows": 5000, "points": 500, "latent": 32,
         "embedding": 128, "hidden": 256, "dropout": 0.5, "batch": 32, "lr": 1.0, "epochs": 12,
         "patience": 6, "plateau": 2, "samples": 100, "refinements": 5, "inner": 30,
         "methods": critic_text_runs.METHODS}
_LSTM_SMOKE = _LSTM | {"most": 8, "vocabulary": 200, "rows": 64, "points": 40, "latent": 2,
                       "embedding": 6, "hidden": 8, "batch": 16, "epochs": 1, "samples": 4,
                       "refinements": 2, "inner": 3}

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    PTB: {
        "smoke": {"seeds": 2, "minutes": 0.1, "sets": {"docstrings": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 75, "sets": {"docstrings": _DOCS, "ptb": _SHORT}},
        "paper": {"seeds": 10, "minutes": 3e5, "sets": {"ptb": _PAPER}},
    },
    HISTOGRAMS: {
        "smoke": {"seeds": 2, "minutes": 0.1, "pairs": 20, "sets": {"docstrings": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 16, "pairs": 200, "sets": {
            "ptb": _SHORT | {"latents": (64,)}}},
        "paper": {"seeds": 10, "minutes": 6e4, "pairs": 1000, "sets": {
            "ptb": _PAPER | {"latents": (512,)}}},
    },
    SIZE: {
        "smoke": {"seeds": 2, "minutes": 0.1, "trials": 5, "sets": {"docstrings": _SMOKE}},
        "lesson": {"seeds": 3, "minutes": 16, "trials": 500, "sets": {
            "ptb": _SHORT | {"latents": (64,)}}},
        "paper": {"seeds": 10, "minutes": 6e4, "trials": 500, "sets": {
            "ptb": _PAPER | {"latents": (512,)}}},
    },
    ANSWERS: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {
            "docstrings": _SMOKE | {"others": 4, "blanks": 0.2}}},
        "lesson": {"seeds": 3, "minutes": 40, "sets": {"yahoo_answers": _ANSWERS}},
        "paper": {"seeds": 10, "minutes": 3e5, "sets": {
            "yahoo_answers": _ANSWERS | _PAPER | {"most": 200, "vocabulary": 37_165, "rows": None,
                                                  "points": None, "embedding": 512,
                                                  "hidden": 1024, "latents": (512,)}}},
    },
    CRITICS: {
        "smoke": {"seeds": 2, "minutes": 0.2, "sets": {"docstrings": _LSTM_SMOKE}},
        "lesson": {"seeds": 3, "minutes": 200, "sets": {"ptb": _LSTM}},
        "paper": {"seeds": 5, "minutes": 1e6, "sets": {
            "yahoo_answers": _LSTM | {"most": 200, "vocabulary": 20_001, "rows": None,
                                      "points": None, "embedding": 512, "hidden": 1024,
                                      "epochs": 100, "patience": 10, "samples": 500,
                                      "refinements": 20, "inner": 100}}},
    },
}
# fmt: on

_PRINTED = {"ppl": "melbo_perplexity", "nll": "melbo_nll", "bleu": "bleu1"}
_LETTERS = {16: "s", 128: "m", 512: "l"}
_SHORT_NAMES = {"VAE": "vae", "SA-VAE": "savae", "Skip-VAE": "skipvae"}
_SHORT_NAMES |= {"Lagging-VAE": "laggingvae", "self critic": "self", "hybrid critic": "hybrid"}
_SHORT_NAMES |= {"neural critic": "nn"}
_COLUMNS = {"nll": "iw_nll", "kl": "rate", "mi": "minibatch_information"}
_COLUMNS |= {"active-units": "active_units"}


def _tables_7() -> tuple[Claim, ...]:
    """The printed cells of Tables 7.2, 7.6 and 7.7 about the Penn Treebank."""
    found = []
    for latent, letter in _LETTERS.items():
        covers = {"systems": (system(latent, 512),), "datasets": ("ptb",)}
        for objective in _TWO:
            for printed, ours in _PRINTED.items():
                id = f"mim-t72-ptb-{objective.lower()}{latent}-{printed}"
                found.append(quoted(id, objective, ours, **covers))
        for objective in ("sMIM", "AE"):
            name = f"ptb-{objective.lower()}-{letter}"
            found.append(quoted(f"mim-t77-{name}-bleu", objective, "bleu1", **covers))
            if letter != "l":
                id = f"mim-t76-{name}-entropy"
                found.append(quoted(id, objective, "latent_entropy", **covers))
    return tuple(found)


def system(latent: int, hidden: int) -> str:
    """The name of a pair of this size; printed numbers are about width 512 and whole sentences."""
    return f"GRU of width {hidden}, {latent} latents"


CLAIMS = {
    PTB: (
        *_tables_7(),
        Claim("Table 7.2", "sMIM", "melbo_nll", "below", "sVAE"),
        Claim("Table 7.2", "sMIM", "bleu1", "above", "sVAE"),
        Claim("Table 7.6", "sMIM", "latent_entropy", "below", "AE"),
        Claim("Section 7.4", "sMIM", "rate", "above", "sVAE"),
        Claim("Section 7.4", "sMIM", "nll_gap", "above", "sVAE"),
    ),
    HISTOGRAMS: (
        Claim("Figure 7.1", "sMIM", "decoder_overlap", "below", "sVAE"),
        Claim("Figure 7.1", "sMIM", "encoder_overlap", "below", "sVAE"),
    ),
    SIZE: (
        Claim("Figure D.2", "sMIM", "melbo_nll", "below", "sVAE"),
        Claim("Figure D.2", "sMIM", "log10_sentences_needed", "above", "sVAE"),
    ),
    ANSWERS: (
        Claim("Table 7.8", "sMIM", "p_at_1", "above", "AE"),
        Claim("Table 7.8", "sMIM", "mrr", "above", "AE"),
    ),
    CRITICS: (
        *(
            quoted(f"critics-t1-yahoo-{short}-{printed}", method, ours, datasets=("yahoo_answers",))
            for method, short in _SHORT_NAMES.items()
            for printed, ours in _COLUMNS.items()
        ),
        *(
            Claim("Table 1", method, metric, "above", "VAE")
            for method in ("self critic", "hybrid critic", "neural critic", "Lagging-VAE")
            for metric in ("rate", "minibatch_information", "active_units")
        ),
        Claim("Table 1", "hybrid critic", "minibatch_information", "above", "self critic"),
        Claim("Table 1", "neural critic", "minibatch_information", "above", "hybrid critic"),
        Claim("Table 1", "neural critic", "iw_nll", "above", "VAE"),
        Claim("Table 1", "Skip-VAE", "active_units", "above", "VAE"),
    ),
}


def sentences_ptb(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """SentenceMIM, its VAE and its autoencoder with equal networks (Tables 7.2, 7.6 and 7.7).

    Numbers as in `sentence_runs.measured`.
    """
    return _measure(PTB, preset, seeds, lambda size: runs.measured)


def sentences_histograms(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Whether codes tell sentences apart: own against other pairs (Figure 7.1).

    Numbers as in `sentence_figures.overlapping`.
    """
    run = lambda size: partial(figures.overlapping, points=size.pairs)  # noqa: E731
    return _measure(HISTOGRAMS, preset, seeds, run, _TWO)


def sentences_melbo_size(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """How MELBO grows with the number of sentences, and how much it spreads (Figure D.2).

    Numbers as in `sentence_figures.by_size`.
    """
    run = lambda size: partial(figures.by_size, counts=COUNTS, trials=size.trials)  # noqa: E731
    return _measure(SIZE, preset, seeds, run, _TWO)


def sentences_qa(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Which of five answers belongs to a question, and answers written (Tables 7.8 and 7.9).

    Numbers as in `answer_runs.ranked` and `answer_runs.generated`, beside chance and TF-IDF.
    """
    size = sizes(SIZES[ANSWERS], preset)
    place = _place(ANSWERS, preset)
    systems = [(answer_runs.PLAIN, one) for one in (*_ALL, *answer_runs.BASELINES)]
    systems.append((answer_runs.BLANKED, "sMIM"))
    cells = [
        Cell(kind, one, name, partial(answer_runs.each, kind, one, of, name, place))
        for name, of in _sets(size)
        for kind, one in systems
    ]
    return measure(ANSWERS, preset, size.seeds if seeds is None else seeds, cells)


def critics_text(preset: str = "lesson", seeds: int | None = None) -> list[Row]:
    """Seven methods against posterior collapse with an LSTM that writes sentences (Table 1).

    Numbers as in `critic_runs.measured`.
    """
    size = sizes(SIZES[CRITICS], preset)
    cells = [
        Cell(
            f"LSTM of width {of.hidden}, {of.latent} latents",
            method,
            name,
            partial(critic_text_runs.each, method, of, name),
        )
        for name, of in _sets(size)
        for method in of.methods
    ]
    return measure(CRITICS, preset, size.seeds if seeds is None else seeds, cells)


def _measure(
    study: str,
    preset: str,
    seeds: int | None,
    run: Callable[[Any], Any],
    only: tuple[str, ...] | None = None,
) -> list[Row]:
    size = sizes(SIZES[study], preset)
    cells = [
        Cell(
            system(latent, of.hidden),
            objective,
            name,
            partial(runs.each, run(size), objective, of, name, latent, _place(study, preset)),
        )
        for name, of in _sets(size)
        for latent in of.latents
        for objective in of.objectives
        if only is None or objective in only
    ]
    return measure(study, preset, size.seeds if seeds is None else seeds, cells)


def _sets(size: Any) -> list[tuple[str, Any]]:
    here = datasets.at_hand()
    return [(name, SimpleNamespace(**of)) for name, of in size.sets.items() if name in here]


def _place(study: str, preset: str) -> Any:
    """Weights of one preset; studies whose models are of the same size share them."""
    group = study if study == ANSWERS else PTB
    return ledger.folder() / group / preset / ledger.code_version() / "weights"
