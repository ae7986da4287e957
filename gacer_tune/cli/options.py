"""Options that commands share, and commands whose many options are the fields of one frozen dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

Options = TypeVar("Options")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line; the rest goes to stderr.")]
Folder = Annotated[Path, typer.Argument(metavar="OUT", help="Folder that `gacer-tune tune` has written.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="TENANT:INPUT=DIMS",
        help="Shape of an input, as in det:images=1x3x640x640. May be given several times.",
    ),
]
Batch = Annotated[int | None, typer.Option(metavar="N", help="Batch of every model that has none of its own.")]
Target = Annotated[str | None, typer.Option(metavar="cpu|cuda", help="Where the models run; cpu unless given.")]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="fp32|bf16|tf32|fp16",
        help="How values are multiplied; sums are float32. On a CPU fp32, or bf16 where it has AMX; on a GPU fp32, "
        "tf32, or fp16, which is also how they are stored there. fp32 on a CPU, fp16 on a GPU unless given.",
    ),
]
Simulate = Annotated[
    str | None,
    typer.Option(metavar="h100|a100", help="Search for target cuda without a GPU, on a model of one."),
]


def spread(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make `command(options)` a function with one keyword for each field: what typer reads a command line from."""

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            command(options(**given))

        hints = get_type_hints(options, include_extras=True)
        run.__name__, run.__doc__, run.__annotations__ = command.__name__, command.__doc__, hints
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(options)  # type: ignore[arg-type]
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate
