"""What can go wrong with machines, each with a name."""


class ClusterError(Exception):
    """Base of this package's errors; the message says what, the value and what is allowed."""


class BadOption(ClusterError, ValueError):
    """An option has a value that is not allowed."""


class AlreadyUp(ClusterError, RuntimeError):
    """A cluster is up in this state folder."""


class NotUp(ClusterError, LookupError):
    """No cluster is up in this state folder."""


class StartFailed(ClusterError, RuntimeError):
    """A service ended, or did not answer, while the cluster came up."""


class WaitTimedOut(ClusterError, TimeoutError):
    """Something waited for did not come in time."""
