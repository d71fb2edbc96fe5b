"""Run a script as `python SCRIPT` would, and explain an error at a name that JAX has removed."""

import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from ntkjax._compat.removed import explain

USAGE = "usage: python -m ntkjax.compat SCRIPT [ARGUMENT ...]"


def run(arguments: Sequence[str]) -> None:
    """Run a script, whose path comes first, with the other arguments as its own."""
    if not arguments or arguments[0] in ("-h", "--help"):
        raise SystemExit(USAGE)
    script = arguments[0]
    if not os.path.exists(script):
        raise SystemExit(f"ntkjax.compat: there is no script {script}; {USAGE}")
    sys.argv[:] = arguments
    # As Python does: the folder of the script comes first.
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    explain_uncaught()
    runpy.run_path(script, run_name="__main__")


def explain_uncaught() -> None:
    """Have errors that end the program say what takes the place of names that JAX has removed."""
    if getattr(sys.excepthook, "explains", False):
        return
    before = sys.excepthook

    def hook(kind: Any, error: Any, trace: Any) -> None:
        explain(error)
        before(kind, error, trace)

    hook.explains = True  # type: ignore[attr-defined]
    sys.excepthook = hook
