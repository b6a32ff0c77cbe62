"""Numbers of things in words."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "trial"), counted(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def times(count: int) -> str:
    """How often.

    >>> times(1), times(3)
    ('once', '3 times')
    """
    return "once" if count == 1 else f"{count} times"
