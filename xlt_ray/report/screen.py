"""The terminal; whoever reads from it may stop, as ``| head`` does, and nothing fails."""

import os
import sys

from rich.console import Console


class Screen(Console):
    """A console that goes on without its reader."""

    def on_broken_pipe(self) -> None:
        """What is still to be printed goes nowhere."""
        self.quiet = True
        let_go()


def let_go() -> None:
    """Print to nowhere from here on: the reader of the output is gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
