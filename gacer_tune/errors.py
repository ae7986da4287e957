"""Errors whose message is written for the user; the command line turns each into one line and exit code 2."""


class UserError(Exception):
    """What the user gave cannot be used. The message says what was given, what is allowed and where."""
