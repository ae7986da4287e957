"""Exit codes. 1 is what Python gives for an exception: a bug of ours, its traceback kept."""

OK = 0
USER = 2
MISMATCH = 3
INTERRUPTED = 130
