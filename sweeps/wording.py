"""Numbers of things in words."""

from __future__ import annotations

from collections.abc import Sequence


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


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many there are beside.

    >>> listed(["a", "b", "c"], 3), listed(["a", "b", "c"], 2)
    ('a, b, c', 'a, b and 1 more')
    """
    beside = len(names) - most
    return ", ".join(names[:most]) + (f" and {beside} more" if beside > 0 else "")
