"""Commands as documents show them, parsed by our command line but not carried out."""

from __future__ import annotations

import shlex
from typing import Any

from typer.main import get_command

from gacer_tune.cli.app import app


def parsed(line: str) -> tuple[str, dict[str, Any]]:
    """`gacer-tune cache export x.zip  # why` -> ("cache export", its parameters); others raise what typer raises."""
    program, *rest = shlex.split(line, comments=True)
    assert program == "gacer-tune"
    command: Any = get_command(app)
    context, path = command.make_context(program, rest), []
    while hasattr(command, "resolve_command"):
        left = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, left)
        path.append(name)
        context = command.make_context(name, rest, parent=context)
    return " ".join(path), dict(context.params)
