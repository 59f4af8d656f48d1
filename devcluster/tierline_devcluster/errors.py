"""What can go wrong on a development cluster, as one family of errors with readable messages."""


class DevclusterError(Exception):
    """Base of all errors of this package; its text says what broke and what to do."""
