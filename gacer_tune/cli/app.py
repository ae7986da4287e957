"""All commands, and what becomes of what they raise."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer
from typer.main import get_command

from gacer_tune.cli import cache, cost_model
from gacer_tune.cli.bench import bench
from gacer_tune.cli.check import check
from gacer_tune.cli.codes import INTERRUPTED, OK, USER
from gacer_tune.cli.inspect import inspect
from gacer_tune.cli.output import printable
from gacer_tune.cli.run import run
from gacer_tune.cli.tune import tune
from gacer_tune.cli.verify import verify
from gacer_tune.cli.views import report, trace
from gacer_tune.errors import UserError

_CODES = (
    "Exit codes: 0 done, 1 a bug of ours (with traceback), 2 something given cannot be used (one message), "
    "3 a regression, or results or files differ from what they should be, 130 interrupted."
)

app = typer.Typer(
    name="gacer-tune",
    help="Tune several ONNX models together for one machine, and run what came out.",
    epilog=_CODES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("tune")(tune)
app.command("inspect")(inspect)
app.command("run")(run)
app.command("bench")(bench)
app.command("check")(check)
app.command("verify")(verify)
app.command("report")(report)
app.command("trace")(trace)
app.add_typer(cache.app, name="cache")
app.add_typer(cost_model.app, name="cost-model")


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        sys.stdout.write(f"gacer-tune {metadata.version('gacer-tune')}\n")
    elif context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


# The class of all that typer refuses; it has no public name that old and new versions share.
_BadUsage: type[Exception] = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. What is neither the user's fault nor an interruption is raised."""
    try:
        code = get_command(app).main(args=arguments, prog_name="gacer-tune", standalone_mode=False)
    except UserError as error:
        return _refuse(str(error))
    except _BadUsage as error:
        message: str = error.format_message()  # type: ignore[attr-defined]
        return _refuse(f"{message[:1].lower()}{message[1:].rstrip('.')}; see gacer-tune --help")
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    return code if isinstance(code, int) else OK


def _refuse(message: str) -> int:
    sys.stderr.write(f"error: {printable(message)}\n")
    return USER
