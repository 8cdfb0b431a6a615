"""Arrays to axes: pictures of joints, latents, curves, images and tables in one style.

Nothing here knows of torch or pyplot, and importing it changes nothing in the reader's own plots.
"""

from lvmlab.plots import style
from lvmlab.plots.curves import beside, density, exact, meter, runs, split_bar, strokes, terms
from lvmlab.plots.estimators import rulers
from lvmlab.plots.frames import (
    ceiling,
    halo,
    heading,
    live,
    names,
    number,
    place,
    three,
    ticks,
)
from lvmlab.plots.images import image_grid, image_rows, image_tiles
from lvmlab.plots.joints import JointView
from lvmlab.plots.latents import codes, ellipses, latent_axes, prior_rings
from lvmlab.plots.lens import lens
from lvmlab.plots.maps import latent_maps
from lvmlab.plots.measure import Grid, contributions, entropy
from lvmlab.plots.states import states
from lvmlab.plots.style import figure, look, lvm_gap, lvm_n, lvm_p, lvm_q, png
from lvmlab.plots.tables import TableView, table

__all__ = [
    "Grid",
    "JointView",
    "TableView",
    "beside",
    "ceiling",
    "codes",
    "contributions",
    "density",
    "ellipses",
    "entropy",
    "exact",
    "figure",
    "halo",
    "heading",
    "image_grid",
    "image_rows",
    "image_tiles",
    "latent_axes",
    "latent_maps",
    "lens",
    "live",
    "look",
    "lvm_gap",
    "lvm_n",
    "lvm_p",
    "lvm_q",
    "meter",
    "names",
    "number",
    "place",
    "png",
    "prior_rings",
    "rulers",
    "runs",
    "split_bar",
    "states",
    "strokes",
    "style",
    "table",
    "terms",
    "three",
    "ticks",
]
