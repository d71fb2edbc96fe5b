"""Long work that goes on where it was stopped: arrays in a file, with the settings they belong to.

A file is a NumPy archive without pickles. It takes the place of the one before in one move, so that
it is whole whenever a run is stopped.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = "settings"


def write_arrays(path: Path, arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Store arrays by name; `settings` are what JSON can hold."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        np.savez(file, **{SETTINGS: np.array(json.dumps(settings))}, **arrays)
    os.replace(beside, path)


def read_arrays(path: Path, settings: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The arrays that a run with the same settings has stored; None where there is no file.

    Raises:
        SystemExit: the file belongs to a run with other settings; the message names them.
    """
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    held = json.loads(str(arrays.pop(SETTINGS)))
    wanted = json.loads(json.dumps(settings))
    changed = [name for name in {**held, **wanted} if held.get(name) != wanted.get(name)]
    if changed:
        each = ", ".join(f"{n} was {held.get(n)} and is {wanted.get(n)} now" for n in changed)
        raise SystemExit(
            f"{path} holds a run with other settings ({each}): remove the file, or name another "
            "folder by --out"
        )
    return arrays
