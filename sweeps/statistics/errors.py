"""What can go wrong when a table is asked a question it can not answer."""

from sweeps.errors import SweepError


class StatisticsError(SweepError, ValueError):
    """Base of every error that `sweeps.statistics` raises on purpose."""


class InvalidSample(StatisticsError):
    """Numbers that are no sample: not finite, wrong shape, unequal lengths where pairs are needed."""


class UnknownColumn(StatisticsError, LookupError):
    """A column that the table does not have; the message lists those it has."""


class NotNumbers(StatisticsError):
    """A column of text where a metric is asked for; the message shows a value and lists columns of numbers."""


class UnknownBaseline(StatisticsError, LookupError):
    """A baseline that no replicate has; the message lists the factor's values."""


class UnknownChoice(StatisticsError):
    """A level, correction or test that there is not; the message lists what is allowed."""


class Collision(StatisticsError):
    """Rows that would take each other's place; the message names the columns that tell them apart."""
