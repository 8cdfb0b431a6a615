"""What the tests of exercises share: a wrong answer must meet its hint."""


def rejects(exercise, hint, *answers):
    """The exercise calls these answers wrong, and the message holds the hint."""
    verdict = exercise(*answers)
    assert verdict.status == "wrong", verdict.message
    assert hint in verdict.message
