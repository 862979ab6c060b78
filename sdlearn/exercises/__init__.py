"""The exercises of the notebooks: ``check("01.2", answer)`` says right or wrong, and why.

    from sdlearn.exercises import check
    check("01.2", my_function)

The solutions are not here. They have notebooks of their own.
"""

from sdlearn.exercises.core import Exercise, Mistake, Verdict, check

__all__ = ["Exercise", "Mistake", "Verdict", "check"]
