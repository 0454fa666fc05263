"""The errors that a caller of this package meets; all others are faults of the package itself."""


class XltError(Exception):
    """Base of the errors below."""


class ConfigError(XltError, ValueError):
    """A configuration that the user can mend; the message says where and how."""


class DataError(XltError, ValueError):
    """Text, labels or a file that cannot be used; the message names it and says what is allowed."""


class RunInterrupted(XltError, RuntimeError):
    """A run that has not come to its end; the same call goes on from the last finished step."""
