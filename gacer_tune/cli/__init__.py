"""The command line `gacer-tune`. Commands import what they need when they run, so that help is quick."""

from gacer_tune.cli.app import main

__all__ = ["main"]
