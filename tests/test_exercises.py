"""Every exercise of every notebook: its solution passes, and nothing else passes by accident."""

import importlib
import pkgutil

import pytest

from lvmlab import exercises
from lvmlab.exercises import Exercise

FILES = [module.name for module in pkgutil.iter_modules(exercises.__path__)]
ALL = [
    pytest.param(found, id=f"{name}: {found.title}")
    for name in FILES
    for found in vars(importlib.import_module(f"lvmlab.exercises.{name}")).values()
    if isinstance(found, Exercise)
]


def test_every_notebook_has_three_exercises_or_more():
    assert len(FILES) >= 5
    assert len(ALL) >= 3 * len(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", ALL)
def test_the_solution_is_right(exercise):
    verdict = exercise(*exercise.answers)
    assert verdict.status == "right", verdict.message


@pytest.mark.parametrize("exercise", ALL)
def test_an_unanswered_exercise_says_complete_this_first(exercise):
    verdict = exercise(*[lambda *arguments, **keywords: ... for _ in exercise.answers])
    assert verdict.status == "unanswered"
    assert "complete this first" in verdict.message


@pytest.mark.parametrize("exercise", ALL)
def test_the_solution_is_shown_under_the_names_the_student_uses(exercise):
    for answer in exercise.answers:
        assert f"def {answer.__name__}(" in exercise.solution().data


@pytest.mark.parametrize("exercise", ALL)
def test_a_called_function_is_sent_back(exercise):
    verdict = exercise(*[3.0 for _ in exercise.answers])
    assert verdict.status == "wrong"
    assert f"hand over {exercise.answers[0].__name__}" in verdict.message


@pytest.mark.parametrize("exercise", ALL)
def test_code_that_raises_is_told_and_does_not_stop_the_notebook(exercise):
    def broken(*arguments, **keywords):
        raise ZeroDivisionError("oh")

    verdict = exercise(*[broken for _ in exercise.answers])
    assert verdict.status == "wrong"
    assert "ZeroDivisionError: oh" in verdict.message
