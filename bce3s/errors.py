"""The one error type of this package."""


class BCE3SError(Exception):
    """What a user can mend, in one or two sentences.

    The message says what is wrong, where (file, line, class) and what to do. The tools print it
    without a traceback and exit with status 1.
    """
