"""English sentences from the docstrings of installed packages: texts that need no download.

The sources of NumPy, SciPy, scikit-learn and PyTorch are read as text (nothing is imported), the
prose of every docstring is cut into sentences, and what is not plain English is left out: code,
mathematics, tables, lists of parameters, cross-references with markup. The library is the label.
All of it takes about two seconds, so nothing is kept on disk.
"""

import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from lvmlab.datasets.dataset import bucket

LIBRARIES = {"numpy": "NumPy", "scipy": "SciPy", "sklearn": "scikit-learn", "torch": "PyTorch"}
WORDS = (4, 40)

# Tests hold no prose; the rest is other people's code carried inside a package. The private half
# of torch (its compiler) is two thirds of the bytes and hardly any documentation.
_SKIP = {"tests", "test", "testing", "externals", "_vendor", "_lib", "array_api_compat", "f2py"}
_SKIP_PRIVATE = {"torch"}

_TRIPLE_QUOTED = re.compile(
    r"""(?P<before>(?:\A(?:\s*\#[^\n]*\n)*|:(?:[ \t]*\#[^\n]*)?)\s*[rRuU]?)?"""
    r"""(?P<quotes>\"{3}|'{3})(?P<text>.*?)(?<!\\)(?P=quotes)""",
    re.DOTALL,
)
_UNDERLINE = re.compile(r"([-=~^*])\1{2,}\s*")
_GOOGLE_SECTION = re.compile(r"[A-Z][A-Za-z ]{2,24}:{1,2}\s*")
_NOT_PROSE = re.compile(r"(>>>|\.\.|[-*+|:#$<]|\d+[.)]|\(?[a-z0-9][.)]\s)")
_ROLE = re.compile(r":[a-z:]+:`~?(?:[\w.]*\.)?(\w+)`")
_QUOTED_WORD = re.compile(r"(`{1,2}|\*{1,2})([A-Za-z]+(?:[ -][A-Za-z]+)*)\1(?![`*])")
_SENTENCE_END = re.compile(r"(?<=[a-z0-9)\"'][.!?])\s+(?=[A-Z])")
_ABBREVIATION = re.compile(
    r"\b(e\.g|i\.e|etc|vs|cf|al|Fig|Eq|Eqs|Sec|Ref|Refs|resp|approx|Dr|no)\.$"
)
_PLAIN = re.compile(r"[A-Z][A-Za-z0-9 ,;:.'\"()%!?-]*[.!?]")
_CODE_LIKE = re.compile(
    r"""
    \w\(                            # a call
    | \w\.(?!e\.|g\.)\w*[A-Za-z]    # a dotted name, but not e.g. or i.e.
    | [A-Za-z]\d | \d[A-Za-z]       # x1, 10x
    | [a-z][A-Z]                    # camelCase
    | \s-\s?\w | --                 # a minus, an option, a dash
    | \s[;:,.] | \.\. | [:;]\w      # what removed markup leaves behind
    | \b[A-Z]\.[ ][A-Z] | \w[ ]s\b  # two sentences in one, a plural after a removed name
    | \b(TODO|FIXME|XXX)\b | ^Note: | ^Example
    """,
    re.VERBOSE,
)


def corpus() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The sentences of all four libraries and the number of the library each came from.

    Ordered by a hash of the sentence, so that labels are mixed and a small change of one library
    leaves most of the order as it was. A sentence that two libraries share is left out.
    Raises ValueError when a library is not installed or its sources cannot be found.
    """
    return _corpus(tuple(str(_root(name)) for name in LIBRARIES))


def split_of(sentence: str) -> str:
    """The split a sentence belongs to, from a hash of its text: 80 / 10 / 10 percent."""
    return {8: "validation", 9: "test"}.get(bucket(sentence, 10), "train")


@lru_cache(maxsize=1)
def _corpus(roots: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    owner: dict[str, set[int]] = {}
    spelling: dict[str, str] = {}
    for label, root in enumerate(roots):
        for sentence in library_sentences(Path(root)):
            key = sentence.casefold()
            owner.setdefault(key, set()).add(label)
            spelling.setdefault(key, sentence)
    kept = [(spelling[key], labels.pop()) for key, labels in owner.items() if len(labels) == 1]
    kept.sort(key=lambda pair: (bucket(pair[0], 2**64), pair[0]))
    return tuple(text for text, _ in kept), tuple(label for _, label in kept)


def library_sentences(root: Path) -> Iterator[str]:
    """The plain sentences in the docstrings below a package folder, in the order of its files."""
    for path in sorted(root.rglob("*.py")):
        folders = path.relative_to(root).parts
        private = any(part.startswith("_") and part != "__init__.py" for part in folders)
        if _SKIP & set(folders) or (private and root.name in _SKIP_PRIVATE):
            continue
        for text in docstrings(path.read_text(encoding="utf-8", errors="replace")):
            yield from sentences(text)


def docstrings(source: str) -> Iterator[str]:
    """The docstrings in a Python source: triple-quoted strings at its start or after a colon.

    Found as text: parsing every file costs several times as much and gives the same sentences but
    for one in a hundred.
    """
    for match in _TRIPLE_QUOTED.finditer(source):
        if match["before"] is not None:
            yield inspect.cleandoc(match["text"])


def sentences(text: str) -> list[str]:
    """The plain English sentences of one cleaned docstring."""
    found = []
    for paragraph in _paragraphs(text):
        paragraph = _ROLE.sub(r"\1", paragraph)
        paragraph = _QUOTED_WORD.sub(r"\2", paragraph)
        found += [s for s in _cut(paragraph) if _is_plain(s)]
    return found


def _paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of prose before the first section, and those of a section called Notes."""
    for block in _prose(text).split("\n\n"):
        lines = block.strip("\n").splitlines()
        if not lines or any(line[:1].isspace() or _NOT_PROSE.match(line) for line in lines):
            continue
        if lines[-1].rstrip().endswith(":"):
            continue
        yield " ".join(" ".join(lines).split())


def _prose(text: str) -> str:
    kept: list[str] = []
    inside = True
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=False):
        if _UNDERLINE.fullmatch(following) and line.strip() and not _UNDERLINE.fullmatch(line):
            inside = line.strip() == "Notes"
        elif _GOOGLE_SECTION.fullmatch(line):
            inside = False
        elif inside and not _UNDERLINE.fullmatch(line):
            kept.append(line.rstrip())
    return "\n".join(kept)


def _cut(paragraph: str) -> list[str]:
    parts: list[str] = []
    for part in _SENTENCE_END.split(paragraph):
        if parts and _ABBREVIATION.search(parts[-1]):
            parts[-1] += " " + part
        else:
            parts.append(part)
    return parts


def _is_plain(sentence: str) -> bool:
    words = sentence.split()
    if not WORDS[0] <= len(words) <= WORDS[1] or not _PLAIN.fullmatch(sentence):
        return False
    if _CODE_LIKE.search(sentence) or sentence.count("(") != sentence.count(")"):
        return False
    if sentence.count('"') % 2 or max(map(len, words)) > 24:
        return False
    alphabetic = sum(re.sub(r"[,;:.'\"()%!?-]", "", word).isalpha() for word in words)
    return alphabetic >= 0.9 * len(words)


def _root(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"load('docstrings') reads the sources of {', '.join(LIBRARIES)}; {name} is not "
            f"installed here. Try: pip install {'scikit-learn' if name == 'sklearn' else name}"
        )
    return Path(next(iter(spec.submodule_search_locations)))
