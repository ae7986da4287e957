"""What commands print: pages for people, one JSON line for machines."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gacer_tune.store.canonical import canonical_json

_WIDTH = 120  # of what is written to a file or a pipe


@dataclass(frozen=True, slots=True)
class Output:
    """With `as_json` people's text goes to stderr and stdout is left to `result`."""

    as_json: bool = False

    def console(self) -> Console:
        """Where people read. Names are printed as they are: no markup, no highlighting."""
        return console_on(stderr=self.as_json)

    def say(self, text: str) -> None:
        """One paragraph, never wrapped where nobody has a window."""
        console = self.console()
        console.print(printable(text), soft_wrap=not console.is_terminal)

    def result(self, document: Mapping[str, Any]) -> None:
        """The JSON line, if there is to be one."""
        if self.as_json:
            sys.stdout.write(canonical_json(json_values(document)) + "\n")
            sys.stdout.flush()


def console_on(stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _WIDTH
    return console


def table(*columns: str, title: str = "", texts: int = 1) -> Table:
    """A table whose first columns, `texts` of them, are text; the first one may wrap, the others are numbers."""
    made = Table(title=printable(title) or None, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number >= texts else "left", no_wrap=number > 0, overflow="fold")
    return made


def printable(text: str) -> str:
    """The text without what would command a terminal: names come from files that may be anybody's."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def json_values(value: Any) -> Any:
    """The same as JSON knows it: dataclasses as objects, paths as text, numbers that are not finite as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return json_values(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): json_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
