"""What can go wrong in the pruning core, named after the situation."""


class RmtError(Exception):
    """Base of every error that `rmt` raises on purpose."""


class UnknownName(RmtError, LookupError):
    """A name that is in no registry; the message lists those that are."""


class DuplicateName(RmtError, ValueError):
    """Two functions registered under one name."""


class InvalidOption(RmtError, ValueError):
    """An option out of its range; the message names it, its value and what is allowed."""


class InvalidWeight(RmtError, ValueError):
    """A weight that has no spectrum: wrong dimension or type, NaN or infinite entries."""


class DegenerateSpectrum(RmtError, ValueError):
    """A spectrum that no law can be fitted to: all zero, or too few values in the fitting window."""
