"""Errors whose message is all that the user needs."""


class CommandFailed(Exception):
    """A command cannot go on; the message says what broke and what to look at."""
