"""Knowledge switches: what is drawn is computed from the densities, and wrong ones say why."""

import numpy as np
import pytest
from test_plots import tidy

from lvmlab import widgets
from lvmlab.plots import style
from lvmlab.plots.knowledge import KnowledgePlane
from lvmlab.widgets.knowledge_switches import Composed, knowledge_states, knowledge_switches

AXIS = np.linspace(-4, 4, 81)
T1, T2 = np.meshgrid(AXIS, AXIS, indexing="ij")
AREA = (AXIS[1] - AXIS[0]) ** 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recording(names=("right", "up")):
    """A standard normal and soft half planes: the model is the truth."""
    density = np.exp(-0.5 * (T1**2 + T2**2)) / (2 * np.pi)
    told = {"right": sigmoid(3 * T1 - 1), "up": sigmoid(2 * T2), "far": sigmoid(T1 + T2)}
    told = {name: told[name] for name in names}
    shares = {name: float((density * p).sum() * AREA) for name, p in told.items()}
    kinds = {
        n: np.stack([density * (1 - p) / (1 - shares[n]), density * p / shares[n]])
        for n, p in told.items()
    }
    lines = (np.stack([AXIS, 0 * AXIS], 1), np.stack([0 * AXIS, AXIS], 1))
    return {
        "axis": AXIS, "density": density, "kinds": kinds, "existence": shares, "exact": density,
        "exact_existence": told, "lines": lines,
    }  # fmt: skip


@pytest.fixture(scope="module")
def panel():
    return knowledge_switches(recording(), start={"right": "on"})


def test_exact_kinds_combine_exactly_when_divided_once():
    given = recording(("right", "up", "far"))
    found = Composed(given)
    for switches in (
        {"right": "on"},
        {"right": "on", "up": "not"},
        {"right": "not", "up": "on", "far": "on"},
    ):
        model, truth = found.model(switches), found.truth(switches)
        np.testing.assert_allclose(model, truth, atol=1e-12)
        assert found.apart(model, truth) < 1e-12
    both = {"right": "on", "up": "on"}
    assert found.apart(found.model(both, "product"), found.truth(both)) > 0.1
    np.testing.assert_array_equal(found.model({"right": "off"}), given["density"])


def test_total_variation_of_two_half_planes_that_share_a_quarter():
    """Uniform densities on the square's right and upper half overlap in half of their mass."""
    found = Composed(recording())
    right, up = (T1 > 0).astype(float), (T2 > 0).astype(float)
    assert found.apart(right, up) == pytest.approx(0.5, abs=0.02)


def test_discriminators_are_a_third_way_where_they_are_recorded():
    given = recording()
    assert Composed(given).ways == ["product over p(t)", "product"]
    told = {name: 0.5 * p for name, p in given["exact_existence"].items()}
    found = Composed(given | {"told": told})
    both = {"right": "on", "up": "not"}
    expected = given["density"] * told["right"] * (1 - told["up"])
    np.testing.assert_allclose(found.model(both, "p(t) discriminators"), expected)
    panel = knowledge_switches(given | {"told": told}, start={"combine": "p(t) discriminators"})
    assert panel.error is None and len(panel.controls["combine"].options) == 3
    with pytest.raises(ValueError, match="told: expected"):
        Composed(given | {"told": {"up": told["up"]}})


def test_information_lies_under_the_entropy_and_is_that_of_the_table():
    found = Composed(recording())
    for name, said, most in zip(found.names, found.information(), found.entropy(), strict=True):
        p = recording()["exact_existence"][name]
        inside = -(p * np.log(p) + (1 - p) * np.log(1 - p))
        conditional = (inside * recording()["density"]).sum() * AREA
        assert (
            said == pytest.approx(most - conditional, abs=1e-4) and said < most < np.log(2) + 1e-9
        )


def test_the_panel_tells_what_it_shows(panel):
    assert panel.alt.startswith("right: mass 0.387") and "total variation 0.00" in panel.alt
    with panel.together():
        panel.controls["right"].value = "not"
        panel.controls["up"].value = "on"
    assert panel.error is None and panel.alt.startswith("not right and up: mass 0.30")
    panel.controls["combine"].value = "product"
    assert "total variation 0.00" not in panel.alt
    panel.controls["combine"].value = "product over p(t)"


def test_a_mass_of_any_size_stays_inside_the_picture():
    """Broad kinds divided by a narrow density, as before training, have an enormous mass."""
    narrow = np.exp(-3 * (T1**2 + T2**2)) * 3 / np.pi
    panel = knowledge_switches(recording() | {"density": narrow}, start={"right": "on"})
    panel.controls["up"].value = "on"
    mass = Composed(recording() | {"density": narrow}).mass
    model = Composed(recording() | {"density": narrow}).model({"right": "on", "up": "on"})
    assert mass(model) > 1e9 and f"mass {mass(model):.1e}, exactly 0.193" in panel.alt
    assert tidy(panel.picture) >= 8


def test_every_control_changes_the_picture(panel):
    choices = {"right": ("off", "on"), "up": ("off", "not"), "combine": None, "grid": (True, False)}
    for name in ("right", "up"):
        panel.controls[name].value = "on"
    for name, values in choices.items():
        seen = []
        for value in values or panel.controls[name].options:
            panel.controls[name].value = value
            seen.append(bytes(panel.image.value))
        assert seen[0] != seen[1], name
        if name in ("right", "up"):
            panel.controls[name].value = "on"


def test_the_outline_lies_where_the_density_has_those_parts_of_its_peak():
    picture, given = style.figure(), recording()
    plane = KnowledgePlane(picture, 0.5, 0.5, 3, AXIS)
    plane.show(given["exact"], given["density"])
    radii = sorted(np.hypot(*line.T).mean() for line in plane.outline.get_segments())
    expected = sorted(np.sqrt(-2 * np.log([0.08, 0.25, 0.45, 0.70])))
    np.testing.assert_allclose(radii, expected, atol=0.02)
    heat = np.asarray(plane.heat.get_array())
    assert heat.max() == pytest.approx(0.5)
    moved = np.roll(given["density"], 10, axis=0)  # by one unit along t_1
    plane.show(moved, moved)
    places = np.concatenate(plane.outline.get_segments())
    np.testing.assert_allclose((places.min(0) + places.max(0)) / 2, (1, 0), atol=0.05)
    row, column = np.unravel_index(np.asarray(plane.heat.get_array()).argmax(), heat.shape)
    assert (AXIS[column], AXIS[row]) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-9))


def test_states_show_four_settings_and_are_tidy():
    picture = knowledge_states(recording())
    for words in ("all of p(t) 0.00", "right 0.00", "right and up 0.00"):
        assert words in picture.alt
    tidy(picture)
    assert widgets.knowledge_switches is knowledge_switches


def test_bad_recordings():
    good = recording()
    cases = {
        "axis: expected five evenly": good | {"axis": AXIS**3},
        "one to four kinds": good | {"existence": {"right": 0.5}},
        r"density: expected finite .* shape \(81, 81\)": good | {"density": good["density"][:5]},
        "kinds, up: expected": good | {"kinds": good["kinds"] | {"up": good["density"]}},
        r"expected 0 < p\(e=1\) < 1": good | {"existence": {"right": 0.5, "up": 1.0}},
        "expected axis, density": {"axis": AXIS},
    }
    for hint, given in cases.items():
        with pytest.raises(ValueError, match=f"recording.*{hint}"):
            Composed(given)
    with pytest.raises(ValueError, match="two kinds or more"):
        knowledge_states(recording(("up",)))
    with pytest.raises(ValueError, match="start: expected names among"):
        knowledge_switches(good, start={"left": "on"})
