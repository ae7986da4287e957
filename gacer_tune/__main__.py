"""`python -m gacer_tune` is `gacer-tune`."""

import sys

from gacer_tune.cli import main

if __name__ == "__main__":
    sys.exit(main())
