"""A plot function with controls over it: a slider moves, the picture follows.

The picture is one reused figure, sent to the browser as a PNG. Ticks, titles and frames are painted
once and kept as a background; per move only the moving artists (`lvmlab.plots.frames.live`) are
painted over it.
"""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from threading import RLock
from typing import Any

import ipywidgets as W
from PIL import Image

from lvmlab.plots import style
from lvmlab.plots.frames import moving
from lvmlab.widgets.pointer import Pointer

# Read out by a screen reader whenever it changes, and seen by nobody.
SPOKEN = '<span role="status" style="position:absolute;clip-path:inset(50%)">{}</span>'


class Panel(W.VBox):
    """Controls over one picture; saved output also carries the PNG, for readers without a kernel.

    `picture` comes from `lvmlab.plots.figure`. `draw(**values)` gets the value of each control by
    name, moves the marks of the picture, and may return one sentence that says what is to be
    noticed now (it becomes `alt`, the text for readers who do not see the picture). `controls` are
    ipywidgets with a `value`; `extras` are widgets shown beside them that drive nothing themselves
    (play buttons). With a `pointer` of this picture, marks in it can be dragged.

        panel = Panel(picture, draw, beta=ipywidgets.FloatSlider(1, min=0, max=4))
        panel.controls["beta"].value = 2   # works with and without a browser

    A `draw` that fails when the panel is made raises; one that fails later replaces the picture by
    its message, kept in `panel.error`, until a move succeeds. Raises `ValueError` for another kind
    of figure, and for a control without a value.
    """

    def __init__(
        self,
        picture: style.Picture,
        draw: Callable[..., str | None],
        /,
        *,
        extras: Sequence[W.Widget] = (),
        pointer: Pointer | None = None,
        **controls: W.Widget,
    ) -> None:
        if not isinstance(picture, style.Picture):
            raise ValueError(
                f"picture: expected one from lvmlab.plots.figure(), got {type(picture).__name__}"
            )
        if pointer is not None and getattr(pointer, "picture", None) is not picture:
            raise ValueError(
                f"pointer: expected Pointer(picture) of this very picture, got {pointer!r}"
            )
        for name, control in controls.items():
            if not (isinstance(control, W.Widget) and control.has_trait("value")):
                raise ValueError(
                    f"{name}: expected a control with a value, such as "
                    f"ipywidgets.FloatSlider(1, min=0, max=4); got {type(control).__name__}"
                )
        self.picture, self.draw, self.controls = picture, draw, dict(controls)
        self.error: Exception | None = None
        self._background: Any = None
        self._parts: list = []
        self._held, self._turn = False, RLock()
        width = f"{round(picture.get_figwidth() * picture.dpi)}px"
        layout: dict[str, Any] = {"width": width, "max_width": "100%", "margin": "0"}
        self.image = pointer or W.Image(format="png")
        self.image.layout = W.Layout(**layout)
        bar = W.HBox(
            [*controls.values(), *extras],
            layout=W.Layout(flex_flow="row wrap", width="100%", margin="0"),
        )
        self.words = W.HTML(layout=W.Layout(height="0", margin="0", overflow="hidden"))
        super().__init__([bar, self.image, self.words], layout=W.Layout(align_items="flex-start"))
        self.add_class("lvmlab-panel")
        self._redraw()
        for control in controls.values():
            control.observe(self.update, "value")

    @property
    def values(self) -> dict[str, Any]:
        """The present value of each control, by name."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def alt(self) -> str:
        """One sentence that says what the picture shows now."""
        return self.picture.alt

    @contextmanager
    def together(self) -> Iterator[None]:
        """Set several controls inside `with panel.together():` and draw once, at its end.

        A thread waits for another's end: a notebook answers controls in more than one.
        """
        with self._turn:
            before, self._held = self._held, True
            try:
                yield
            finally:
                self._held = before
            self.update()

    def update(self, _: Any = None) -> None:
        """Draw again with the present values; a failure is shown, and kept in `error`."""
        if self._held:
            return
        try:
            self._redraw()
            self.error = None
        except Exception as error:  # whatever the reader's draw raises, the reader must see it
            self.error, self._background = error, None
            self._publish(
                _message(self.picture, error, self.values), f"{type(error).__name__}: {error}"
            )

    def save(self, path: str | Path, dpi: float = 150) -> None:
        """Write the present picture as a PNG file, drawn anew at `dpi` dots an inch."""
        if self.error is not None:
            raise ValueError(
                "path: nothing was saved, since the last drawing failed; see .error"
            ) from self.error
        data = style.png(self.picture, dpi=dpi)
        self._background = None  # another resolution has been drawn on this canvas
        Path(path).write_bytes(data)

    def _redraw(self) -> None:
        with style.style():
            sentence = self.draw(**self.values)
            data = self._paint()
            # inside, so that pictures of two threads are sent in the order they were made
            self._publish(data, sentence if isinstance(sentence, str) else self.picture.alt)

    def _publish(self, data: bytes, sentence: str) -> None:
        self.picture.alt = sentence
        self.image.value = data
        if isinstance(self.image, Pointer):
            self.image.alt = sentence
        # Not image.tooltip: ipywidgets 8.1.9 cannot show an Image with one in the browser.
        self.words.value = SPOKEN.format(escape(sentence))

    def _paint(self) -> bytes:
        """Paint the moving artists over the kept background, which any other change renews."""
        canvas: Any = self.picture.canvas
        parts = moving(self.picture)
        if self._background is None or self.picture.stale or parts != self._parts:
            canvas.draw()  # leaves out what is moving
            self._background, self._parts = canvas.copy_from_bbox(self.picture.bbox), parts
        else:
            canvas.restore_region(self._background)
        for ax, artist in parts:
            ax.draw_artist(artist)
        return _encode(canvas)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        bundle = dict(super()._repr_mimebundle_(include=include, exclude=exclude) or {})
        bundle["image/png"] = base64.b64encode(style.smaller(self.image.value)).decode()
        bundle["text/plain"] = self.alt or "An interactive picture."
        width = round(self.picture.get_figwidth() * self.picture.dpi)
        return bundle, {"image/png": {"width": width, "alt": self.alt}}


def _encode(canvas: Any) -> bytes:
    """Return the canvas as a PNG, lightly compressed: time counts here, not size."""
    pixels = Image.frombuffer(
        "RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1
    )
    buffer = io.BytesIO()
    pixels.convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _message(picture: style.Picture, error: Exception, values: dict[str, Any]) -> bytes:
    """Draw an error in place of a picture of the same size."""
    width, height = picture.get_size_inches()
    page = style.figure(width, height)
    setting = ", ".join(f"{name} = {value}" for name, value in values.items())
    page.text(
        0.06, 0.80, "This setting could not be drawn", fontsize=13, fontweight="bold", wrap=True
    )
    page.text(0.06, 0.70, setting, fontsize=10.5, color=style.NOTE, va="top", wrap=True)
    text = f"{type(error).__name__}: {error}"[:600].replace("$", r"\$")
    page.text(0.06, 0.54, text, fontsize=10.5, va="top", wrap=True)
    return style.png(page)
