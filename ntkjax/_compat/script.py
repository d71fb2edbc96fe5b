"""Run a script as `python SCRIPT` would, and explain an error at a name that JAX has removed."""

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._compat.removed import explain

USAGE = "usage: python -m ntkjax.compat SCRIPT [ARGUMENT ...]"


def run(arguments: Sequence[str]) -> None:
    """Run a script, whose path comes first, with the other arguments as its own."""
    if not arguments:
        raise SystemExit(USAGE)
    if arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
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
    if not any(hook.explains for hook in _HOOKS):
        _HOOKS.append(_Hook(sys.excepthook))
        sys.excepthook = _HOOKS[-1]


def stop_explaining() -> None:
    """Put back what took errors that end the program before `explain_uncaught`.

    Where others have put a hook of theirs on top of ours, that stays, and ours adds nothing more.
    """
    for hook in _HOOKS:
        hook.explains = False
        if sys.excepthook is hook:
            sys.excepthook = hook.before
    _HOOKS.clear()


class _Hook:
    """Explains an error that ends the program, and hands it on."""

    def __init__(self, before: Callable[..., Any]) -> None:
        self.before, self.explains = before, True

    def __call__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.explains:
            explain(error)
        self.before(kind, error, trace)


#: The hook that is at work, if there is one.
_HOOKS: list[_Hook] = []
