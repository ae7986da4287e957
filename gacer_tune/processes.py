"""How processes of this package start: with the modules of the process that starts them."""

from __future__ import annotations

import sys

_RUN = """import sys
sys.path[:] = {path!r}
import runpy
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def program(module: str) -> tuple[str, ...]:
    """Command that runs a module as `python -m` does; its arguments follow.

    `python -m` looks into the working directory first, where a checkout may lie that is not what is installed.
    """
    return sys.executable, "-c", _RUN.format(path=list(map(str, sys.path)), module=module)
