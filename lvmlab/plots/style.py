"""How lvmlab looks: blue is q, which starts from the data; orange is p, which speaks for the model.

Colours, maps and type sizes live here as plain values. Importing this module changes nothing in the
reader's own plots: the settings apply inside `style()`, and a `Picture` carries them along wherever
it is drawn.
"""

import base64
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

T = TypeVar("T")

# Roles. q is drawn filled, p outlined: that still tells them apart in grey print.
Q = "#1768AC"
P = "#D9541E"
INK = "#23272E"
TICK = "#4A5058"
NOTE = "#6B727C"
AXIS = "#8A9099"  # also dead dimensions and components
EXACT = "#A9AFB8"
FLOOR = "#F6F3FA"  # the ground of latent space
FLOOR_EDGE = "#C9BEDA"
TRACK = "#ECEEF1"
HATCH_GROUND = "#F3F4F6"
IMAGE_EDGE = "#D5D9DE"
ESTIMATORS = ("#85AFD8", "#4488C6", "#114C80")  # light to dark as the minibatch grows

CLASSES = (
    *("#5F74D6", "#F5920A", "#72080A", "#A9CBAC", "#8410E0"),
    *("#8C5558", "#CC2F10", "#CFB069", "#33355A", "#49CDEF"),
)
FEW_CLASSES = tuple(CLASSES[k] for k in (8, 9, 2, 7, 4))  # these stay apart from p's orange

SOLID, DASHED, DOTTED = (0, ()), (0, (5, 1.6)), (0, (1, 1.2))
FAMILIES = {
    "MaL": "#23272E",
    "ELBO": "#B0306E",
    "CoLLike": "#A8842C",
    "MIM": "#00602A",
    "transport": "#12A0B5",
    "critics": "#6A35E0",
}
MARKERS = {"MaL": "s", "ELBO": "o", "CoLLike": "D", "MIM": "P", "transport": "h", "critics": "*"}
VARIANTS = {
    ("MaL", SOLID): ("MaL", "marginal likelihood"),
    ("MaL", DASHED): ("EM",),
    ("ELBO", SOLID): ("ELBO", "VAE"),
    ("ELBO", DASHED): ("beta", "annealed", "VAE+H"),
    ("ELBO", DOTTED): ("importance weighted", "IWAE"),
    ("CoLLike", SOLID): ("CoLLike", "complete likelihood"),
    ("CoLLike", DASHED): ("PIT", "noise as target", "constrained k-means"),
    ("MIM", SOLID): ("MIM", "L_MIM"),
    ("MIM", DASHED): ("A-MIM",),
    ("MIM", DOTTED): ("MIM-H", "symmetric KL", "SKL", "L_CE"),
    ("transport", SOLID): ("WAE", "GM-WAE", "transport"),
    ("transport", DASHED): ("Sinkhorn",),
    ("critics", SOLID): ("self critic", "critic", "critics", "InfoNCE"),
    ("critics", DASHED): ("neural critic", "neural"),
    ("critics", DOTTED): ("hybrid critic", "hybrid"),
}


class Look(NamedTuple):
    """How an objective is drawn: its colour is the family, its dash the variant."""

    colour: str
    dash: tuple
    marker: str


_LOOKS = {
    name.lower(): Look(FAMILIES[family], dash, MARKERS[family])
    for (family, dash), names in VARIANTS.items()
    for name in names
}


def look(name: str) -> Look:
    """Say how the objective called `name` is drawn: the longest known name inside it decides.

    `look("ELBO, beta = 4")` is the dashed line of a weighted ELBO, `look("A-MIM, seed 3")` that of
    A-MIM.
    """
    text = name.lower()
    # "beta" marks a variant of the ELBO, so it must win over the word "ELBO" beside it.
    for known in sorted(_LOOKS, key=lambda k: (k != "elbo", len(k)), reverse=True):
        if re.search(rf"(?<!\w){re.escape(known)}(?!\w)", text):
            return _LOOKS[known]
    return Look(NOTE, SOLID, "o")


def _map(name: str, anchors: str) -> LinearSegmentedColormap:
    return LinearSegmentedColormap.from_list(name, ["#" + a for a in anchors.split()], N=1025)


# Nine anchors each; CIELAB lightness falls by 10 a step, white means nothing is there.
lvm_q = _map("lvm_q", "FFFFFF D3E4F3 A8C8E7 7DADD9 5292CA 3176B6 155C99 0F4373 0A2C50")
lvm_p = _map("lvm_p", "FFFFFF FCDCCC F9B899 F19468 E46F3D CC4F1C A43D15 7D2D0E 5A1E05")
lvm_n = _map("lvm_n", "FFFFFF DCDEE2 BABFC5 9AA0A8 7C828B 5F656E 454A52 2D3036 17191D")
# Blue: q holds more. Orange: p holds more. Limits are always symmetric about 0.
lvm_gap = _map("lvm_gap", "86310F CA4E1B ED8758 FAC5AB FFFFFF B5D1EB 6AA2D4 2C73B4 11487B")

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.labelsize": 11,
    "axes.labelpad": 3,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.labelcolor": TICK,
    "ytick.labelcolor": TICK,
    "axes.edgecolor": AXIS,
    "xtick.color": AXIS,
    "ytick.color": AXIS,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.xmargin": 0.02,
    "axes.ymargin": 0.04,
    "axes.prop_cycle": cycler(color=[INK]),  # a colour is always chosen
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "lines.solid_capstyle": "round",
    "contour.linewidth": 1.2,
    "hatch.linewidth": 0.7,
    "hatch.color": AXIS,
    "image.cmap": "gray_r",  # a setting takes registered names only; our own functions pass lvm_n
    "image.interpolation": "nearest",
    "figure.figsize": (9, 3.8),
    "figure.dpi": 100,
    "savefig.dpi": "figure",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}


_TURN = RLock()


@contextmanager
def style() -> Iterator[None]:
    """Return a context in which matplotlib draws in this style, whatever the reader has set.

    One thread at a time: a notebook answers sliders in a thread of its own, while cells go on
    running, but settings and fonts are shared and matplotlib does not guard them.
    """
    with _TURN, matplotlib.style.context(["default", RC]):
        yield


def styled(function: Callable[..., T]) -> Callable[..., T]:
    """Make a plot function work in `style()`: fonts and hatches are read when marks are made."""

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> T:
        with style():
            return function(*args, **kwargs)

    return inside


class Picture(Figure):
    """A figure that keeps the style whenever it is drawn, and shows itself in a notebook.

    Some settings (ticks, hatches, mathematics) are read when a figure is drawn, not when it is
    made; so drawing and adding axes happen inside `style()`. No pyplot, no global list of figures:
    a picture goes when it is dropped.
    """

    alt: str = ""

    def add_axes(self, *args: Any, **kwargs: Any) -> Axes:
        with style():
            return super().add_axes(*args, **kwargs)

    def add_subplot(self, *args: Any, **kwargs: Any) -> Axes:
        with style():
            return super().add_subplot(*args, **kwargs)

    def draw(self, renderer: Any) -> None:
        with style():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        with style():
            super().savefig(*args, **kwargs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        page = base64.b64encode(smaller(png(self, dpi=150))).decode()
        data = {"image/png": page, "text/plain": self.alt}
        width = int(self.get_figwidth() * 100)
        return data, {"image/png": {"width": width, "alt": self.alt}}


def figure(width: float = 9.0, height: float = 3.8, alt: str = "") -> Picture:
    """Make an empty `Picture` of `width` x `height` inches; 9.0 fills a notebook's column.

    `alt` is one sentence that says what is to be noticed, for readers who do not see the picture.
    """
    if not (np.isfinite([width, height]).all() and min(width, height) > 0):
        raise ValueError(
            f"width and height: expected positive inches, got {width} and {height}; try 9.0 and 3.8"
        )
    with style():
        picture = Picture(figsize=(width, height), dpi=100)
        FigureCanvasAgg(picture)
    picture.alt = alt
    return picture


def png(picture: Figure, dpi: float | None = None, compress_level: int = 6) -> bytes:
    """Draw a figure in the style of lvmlab and return the bytes of its PNG file."""
    buffer = io.BytesIO()
    with style():
        picture.savefig(
            buffer,
            format="png",
            dpi=dpi or picture.dpi,
            pil_kwargs={"compress_level": compress_level},
        )
    return buffer.getvalue()


def smaller(data: bytes) -> bytes:
    """Return a PNG for a page that is kept: 256 colours chosen from its own, a third of the bytes.

    Marks and maps look the same: on average a shade moves by less than one of 255 steps.
    """
    from PIL import Image  # comes with matplotlib

    buffer = io.BytesIO()
    page = Image.open(io.BytesIO(data)).convert("RGB")
    page.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
