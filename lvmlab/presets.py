"""Three sizes of every notebook and study: smoke, lesson, paper."""

import os
from types import SimpleNamespace
from typing import Any

NAMES = ("smoke", "lesson", "paper")


def preset_name() -> str:
    """The preset in force: $LVMLAB_PRESET, or "lesson".

    Raises `ValueError` for another name.
    """
    name = os.environ.get("LVMLAB_PRESET", "lesson")
    if name not in NAMES:
        raise ValueError(f"LVMLAB_PRESET must be one of {', '.join(NAMES)}, got {name!r}")
    return name


def choose(**presets: dict[str, Any]) -> SimpleNamespace:
    """The settings of the preset in force: `choose(smoke=dict(steps=20), lesson=..., paper=...)`.

    smoke is for continuous integration (seconds), lesson for a laptop (minutes, the default),
    paper has the paper's sizes; $LVMLAB_PRESET chooses. The result has the settings as attributes
    and `name`. Raises `ValueError` unless all three presets are there with the same settings.
    """
    if sorted(presets) != sorted(NAMES):
        raise ValueError(f"expected the presets {', '.join(NAMES)}, got {', '.join(presets)}")
    lesson = presets["lesson"].keys()
    for name, settings in presets.items():
        if odd := sorted(lesson ^ settings.keys()):
            raise ValueError(f"presets must set the same things: {name} and lesson differ in {odd}")
    name = preset_name()
    return SimpleNamespace(name=name, **presets[name])
