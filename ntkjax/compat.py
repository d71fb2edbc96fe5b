"""Scripts written for neural_tangents 0.6.5, run on ntkjax without a change.

    import ntkjax.compat                     # from here on `import neural_tangents` gives ntkjax
    python -m ntkjax.compat SCRIPT [ARG ...] # runs a script that stays as it is

An installed neural_tangents is left alone: importing this module then changes nothing, and warns.
To have ntkjax in its place, for this process, ask for it: `ntkjax.compat.install(replace=True)`.
"""

import importlib.util
import sys
import warnings
from typing import Any

import ntkjax
from ntkjax import predict, stax
from ntkjax._compat import modules as _modules
from ntkjax._compat import script as _script

__all__ = ["install", "uninstall"]

_ROOT = _modules.ROOT

_SET_ASIDE: dict[str, Any] = {}


def install(replace: bool = False) -> None:
    """Put ntkjax in the place of `neural_tangents`, for this process.

    `import neural_tangents`, its modules `stax` and `predict`, and the private and old paths that
    scripts import (such as `neural_tangents._src.utils.kernel`) then give ntkjax. Importing
    `ntkjax.compat` does this where no neural_tangents is installed. An error that ends the program
    at a name that JAX has removed is given a note that names its successor.

    Args:
      replace: whether to do so although neural_tangents is installed or has been imported. Modules
        that hold it already keep it.

    Raises:
      ImportError: neural_tangents is there, and `replace` is False.

    Source: none.

    Example:
      >>> import ntkjax.compat
      >>> ntkjax.compat.install()
      >>> import neural_tangents as nt
      >>> from neural_tangents._src.utils.kernel import Kernel
      >>> nt.stax.Dense(8), Kernel is nt.Kernel
      (Dense(8, W_std=1), True)
    """
    found = _modules.loaded().items()
    others = {name: module for name, module in found if not _modules.is_ours(module)}
    if not replace and (others or _is_installed()):
        raise ImportError(
            "ntkjax.compat: neural_tangents is installed, and stays what `import neural_tangents` "
            "gives; call ntkjax.compat.install(replace=True) before that import to have ntkjax in "
            "its place for this process.",
            name=_ROOT,
        )
    for name in _modules.loaded():
        del sys.modules[name]
    _SET_ASIDE.update(others)
    sys.modules.update(_modules.old_modules(ntkjax, stax, predict))
    _script.explain_uncaught()


def uninstall() -> None:
    """Take ntkjax out of the place of `neural_tangents`, and put back what `install` replaced.

    That is its modules, and the hook for errors that end the program (`sys.excepthook`).

    Source: none.

    Example:
      >>> import sys
      >>> import ntkjax.compat
      >>> ntkjax.compat.uninstall()
      >>> "neural_tangents" in sys.modules
      False
      >>> ntkjax.compat.install()
    """
    for name, module in _modules.loaded().items():
        if _modules.is_ours(module):
            del sys.modules[name]
    sys.modules.update(_SET_ASIDE)
    _SET_ASIDE.clear()
    _script.stop_explaining()


def _is_installed() -> bool:
    """Whether `import neural_tangents` would find that library."""
    if _ROOT in sys.modules:
        return not _modules.is_ours(sys.modules[_ROOT])
    return importlib.util.find_spec(_ROOT) is not None


if __name__ == "__main__":
    # To run a script by this module is to ask for ntkjax.
    install(replace=True)
    _script.run(sys.argv[1:])
elif _is_installed():
    warnings.warn(
        "neural_tangents is installed and stays what `import neural_tangents` gives; call "
        "ntkjax.compat.install(replace=True) to have ntkjax in its place for this process.",
        stacklevel=2,
    )
else:
    install()
