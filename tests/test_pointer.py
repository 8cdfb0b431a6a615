"""Pictures that can be touched: what the browser sends, what the kernel makes of it."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import ipywidgets
import numpy as np
import pytest

from lvmlab import plots, widgets
from lvmlab.widgets import Panel, Pointer

NODE = shutil.which("node")
SCRIPT = Path(widgets.__file__).parent / "pointer.js"


def board(anywhere=False):
    """A picture with two axes, its pointer, and all that the pointer says."""
    picture = plots.figure(8.0, 4.0)
    left = plots.place(picture, 1, 1, 2, 2, kind="box")
    right = plots.place(picture, 5, 1, 2, 2, kind="box")
    left.set(xlim=(0, 10), ylim=(-1, 1))
    right.set(xlim=(1, 100), ylim=(0, 1), xscale="log")
    pointer, heard = Pointer(picture, anywhere), []
    pointer.on_pointer(heard.append)
    return pointer, left, right, heard


def test_places_come_in_the_data_coordinates_of_the_axes():
    pointer, left, right, heard = board()
    pointer.touch("down", 2 / 8, 2 / 4)
    pointer.touch("down", 6 / 8, 3 / 4)
    pointer.touch("down", 4 / 8, 2 / 4)
    assert [t.axes for t in heard] == [left, right, None]
    np.testing.assert_allclose(heard[0].at, (5, 0), atol=1e-9)
    np.testing.assert_allclose(heard[1].at, (10, 1))
    assert heard[2].at is None


def test_a_drag_stays_in_the_axes_where_it_was_pressed():
    pointer, left, _, heard = board()
    pointer.touch("down", 2 / 8, 2 / 4)
    pointer.touch("move", 4 / 8, 2 / 4)  # beyond the frame
    pointer.touch("up", 6 / 8, 2 / 4)  # inside the other axes
    assert [t.axes for t in heard] == [left] * 3
    np.testing.assert_allclose([t.at[0] for t in heard], (5, 15, 25))


def test_marks_are_parts_of_the_picture_and_come_back():
    pointer, left, _, heard = board()
    points = np.array([[0, -1], [10, 1], [5, 0.5]])
    pointer.mark(left, points)
    np.testing.assert_allclose(pointer.targets, [[1 / 8, 1 / 4], [3 / 8, 3 / 4], [0.25, 0.625]])
    for k, place in enumerate(pointer.targets):
        pointer.touch("down", *place, target=k)
    assert [t.target for t in heard] == [0, 1, 2]
    np.testing.assert_allclose([t.at for t in heard], points, atol=2e-4)


def test_each_message_is_answered_also_when_it_fails():
    pointer, _, _, heard = board()
    sent = []
    pointer.send = sent.append
    pointer._receive(pointer, {"kind": "down", "x": 0.2, "y": 0.5, "target": -1}, [])
    with pytest.raises(ValueError, match="kind"):
        pointer._receive(pointer, {"kind": "knock", "x": 0.2, "y": 0.5, "target": -1}, [])
    assert sent == [{"done": True}] * 2
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, ax: p.touch("knock", 0, 0), "kind: expected down, move or up; got 'knock'"),
        (lambda p, ax: p.touch("down", np.nan, 0), "x and y: expected finite"),
        (lambda p, ax: p.touch("down", 0, 0, 3), "target: expected -1 to -1, got 3"),
        (lambda p, ax: p.mark(ax, [1.0, 2.0]), r"points: expected .* \(N, 2\), got \(2,\)"),
        (lambda p, ax: p.mark(ax, [[np.inf, 2.0]]), "points: expected finite"),
        (lambda p, ax: Pointer(ax), r"picture: expected one from lvmlab.plots.figure"),
        (lambda p, ax: Panel(plots.figure(), lambda: None, pointer=p), "of this very picture"),
    ],
)
def test_a_pointer_refuses_what_it_cannot_place(call, message):
    pointer, left, _, _ = board()
    with pytest.raises(ValueError, match=message):
        call(pointer, left)


# ----------------------------------------------------------------------------------- in a panel
def dot_panel():
    """A dot that a slider or the pointer moves, and the count of drawings."""
    picture = plots.figure(4.0, 4.0)
    ax = plots.place(picture, 1, 1, 2, 2, kind="box")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    (dot,) = ax.plot([], [], "o")
    plots.live(dot)
    pointer, drawn = Pointer(picture), []

    def draw(across, up):
        drawn.append((across, up))
        dot.set_data([across], [up])
        pointer.mark(ax, [[across, up]])
        return f"A dot at {across:.2f}, {up:.2f}."

    def drag(touch):
        with panel.together():
            panel.controls["across"].value, panel.controls["up"].value = touch.at

    pointer.on_pointer(drag)
    sliders = {n: ipywidgets.FloatSlider(0.5, min=0, max=1, step=0.01) for n in ("across", "up")}
    panel = Panel(picture, draw, pointer=pointer, **sliders)
    return panel, pointer, drawn


def test_a_drag_is_one_drawing_and_reaches_the_sliders():
    panel, pointer, drawn = dot_panel()
    before = pointer.value
    pointer.touch("down", 0.5, 0.5, 0)
    pointer.touch("move", 0.4, 0.6, 0)
    assert panel.values == pytest.approx({"across": 0.3, "up": 0.7})
    assert drawn[-1] == pytest.approx((0.3, 0.7))
    assert len(drawn) == 3
    assert pointer.value != before
    np.testing.assert_allclose(pointer.targets, [[0.4, 0.6]], atol=1e-4)


def test_a_slider_does_what_a_drag_does():
    panel, pointer, _ = dot_panel()
    pointer.touch("down", 0.4, 0.6, 0)
    dragged = pointer.value
    other, again, _ = dot_panel()
    other.controls["across"].value, other.controls["up"].value = panel.values.values()
    assert again.value == dragged


def test_saved_output_and_words_are_those_of_any_panel():
    panel, pointer, _ = dot_panel()
    assert panel.image is pointer
    assert panel.image.layout.width == "400px"
    bundle, metadata = panel._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"])[:4] == b"\x89PNG"
    assert bundle["text/plain"] == metadata["image/png"]["alt"] == "A dot at 0.50, 0.50."
    assert pointer.alt == panel.alt and panel.alt in panel.words.value


def test_a_failure_inside_together_is_shown_once_and_recovers():
    panel, pointer, drawn = dot_panel()
    with pytest.raises(ZeroDivisionError), panel.together():
        raise ZeroDivisionError
    panel.controls["up"].value = 0.9
    assert drawn[-1] == (0.5, 0.9)
    assert pointer.alt == "A dot at 0.50, 0.90."


# ------------------------------------------------------------------------------ the browser's half
STAGE = """
const heard = {}, on = {}, sent = [];
const img = {
  style: {}, addEventListener: (name, f) => { heard[name] = f; }, setPointerCapture() {},
  getBoundingClientRect: () => ({left: 100, top: 50, width: 400, height: 200, bottom: 250}),
};
globalThis.document = {createElement: () => img};
let urls = 0;
URL.createObjectURL = () => { urls += 1; return `blob:${urls}`; };
URL.revokeObjectURL = () => {};
const traits = {value: new Uint8Array([1]), alt: "a dot", targets: [[0.5, 0.5]], anywhere: false};
const model = {
  get: (name) => traits[name], send: (m) => sent.push(m),
  on: (name, f) => { on[name] = f; }, off: (name) => { delete on[name]; },
};
const at = (clientX, clientY, more) => {
  const e = {clientX, clientY, button: 0, pointerId: 1, pointerType: "mouse", stopped: 0, ...more};
  e.preventDefault = () => { e.stopped += 1; };
  return e;
};
const done = () => on["msg:custom"]({done: true});
const {default: pointer} = await import(process.argv[2]);
const leave = pointer.render({model, el: {append() {}}});
const out = {};
"""


def in_node(tmp_path, script):
    """Run a script on the stage above; what it keeps in `out`."""
    if NODE is None:
        pytest.skip("no node here: apt-get install nodejs")
    shutil.copy(SCRIPT, tmp_path / "pointer.mjs")
    play = tmp_path / "play.mjs"
    play.write_text(STAGE + script + "\nconsole.log(JSON.stringify(out));")
    found = subprocess.run(
        [NODE, str(play), str(tmp_path / "pointer.mjs")], capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout)


def test_the_browser_waits_for_each_frame_and_skips_what_is_old(tmp_path):
    out = in_node(
        tmp_path,
        """
heard.pointerdown(at(305, 148));
for (const x of [310, 320, 330, 340]) heard.pointermove(at(x, 150));
out.before = sent.length;
done(); out.second = sent.at(-1);
heard.pointermove(at(600, 0)); heard.pointerup(at(340, 100));
done(); done(); done();
out.kinds = sent.map((m) => m.kind); out.down = sent[0]; out.beyond = sent[2]; out.up = sent[3];
heard.pointermove(at(310, 150)); out.after = sent.length; done();
heard.pointerdown(at(300, 150)); out.again = sent.length;
""",
    )
    assert out["before"] == 1
    assert out["down"] == {"kind": "down", "x": 0.5125, "y": 0.51, "target": 0}
    assert out["second"] == {"kind": "move", "x": 0.6, "y": 0.5, "target": 0}
    assert out["kinds"][:4] == ["down", "move", "move", "up"]
    assert (out["beyond"]["x"], out["beyond"]["y"]) == (1, 1)
    assert out["up"] == {"kind": "up", "x": 0.6, "y": 0.75, "target": 0}
    assert (out["after"], out["again"]) == (4, 5)


def test_the_browser_takes_marks_only_and_shows_it_by_the_cursor(tmp_path):
    out = in_node(
        tmp_path,
        """
const look = (e) => { heard.pointermove(e); return img.style.cursor; };
out.far = look(at(150, 150)); out.near = look(at(305, 150));
heard.pointerdown(at(150, 150)); heard.pointerdown(at(300, 150, {button: 2}));
out.none = sent.length;
heard.pointerdown(at(300, 150)); out.held = img.style.cursor;
heard.pointercancel(at(300, 150)); out.let_go = img.style.cursor; done(); done();
const finger = (x) => {
  const e = at(0, 0, {touches: [at(x, 150)]}); heard.touchstart(e); return e.stopped;
};
out.finger = [finger(320), finger(350)];
heard.pointerdown(at(320, 150)); out.mouse = sent.length;
heard.pointerdown(at(320, 150, {pointerType: "touch"})); out.touch = sent.length;
heard.pointerup(at(320, 150)); done(); done();
traits.anywhere = true;
out.map = look(at(150, 150)); heard.pointerdown(at(140, 90)); out.place = sent.at(-1);
""",
    )
    assert (out["far"], out["near"], out["held"], out["let_go"]) == ("", "grab", "grabbing", "")
    assert (out["none"], out["mouse"], out["touch"]) == (0, 2, 3)
    assert out["finger"] == [1, 0]
    assert out["map"] == "crosshair"
    assert out["place"] == {"kind": "down", "x": 0.1, "y": 0.8, "target": -1}


def test_the_browser_shows_each_new_picture_with_its_sentence(tmp_path):
    out = in_node(
        tmp_path,
        """
out.first = [img.src, img.alt];
traits.alt = "another"; on["change:alt"](); on["change:value"]();
out.second = [img.src, img.alt]; leave(); out.left = Object.keys(on).length;
""",
    )
    assert out == {"first": ["blob:1", "a dot"], "second": ["blob:2", "another"], "left": 0}
