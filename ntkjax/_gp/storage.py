"""A fitted process as a file: arrays and a description in JSON, and no code.

The file is a NumPy archive. `description` holds the number of the format, names, numbers and flags;
the network is code, and is passed again to `load`, which compares its kernel with the one stored.
"""

import json
import os
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntkjax._gp.covariance import Covariance
from ntkjax._gp.scaling import Scaling
from ntkjax._gp.state import State
from ntkjax._solve.factor import Factor

#: What the file calls itself, and the number of its format; readers know all numbers up to theirs.
_KIND, _VERSION = "ntkjax.gp.GaussianProcess", 1
#: Arguments of a process that are stored as they are.
FLAGS = ("get", "standardize_x", "standardize_y")
#: Training points whose kernel is stored, to tell another network by.
_PROBES = 5


def write(path: Any, state: State, description: dict[str, Any]) -> None:
    """Store a state, and a description that JSON can hold."""
    arrays = {
        "x": state.x,
        "y": state.y,
        "noise": state.noise,
        "x_mean": state.x_scaling.mean,
        "x_std": state.x_scaling.std,
        "y_mean": state.y_scaling.mean,
        "y_std": state.y_scaling.std,
        "right": state.right,
        "lower": state.factor.lower,
        "notes": state.factor.notes,
        "weights": state.weights,
        "probe": state.covariance.matrix(state.scaled(state.x[:_PROBES])),
    }
    head = {"kind": _KIND, "version": _VERSION, "is_vector": state.is_vector}
    text = json.dumps({**head, **description})
    with open(os.fspath(path), "wb") as file:
        held: Any = {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(file, description=np.array(text), **held)


def read(path: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the description of a file that `write` has made."""
    with np.load(os.fspath(path), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    text = arrays.pop("description", None)
    description = {} if text is None else json.loads(str(text))
    if description.get("kind") != _KIND:
        raise ValueError(f"{path} holds no {_KIND}: pass a file that its method save has written")
    if description["version"] > _VERSION:
        raise ValueError(
            f"{path} has format {description['version']}, and this version of ntkjax reads formats "
            f"up to {_VERSION}: install a newer ntkjax"
        )
    return arrays, description


def state_of(
    arrays: dict[str, np.ndarray], is_vector: bool, covariance: Covariance, path: Any
) -> State:
    """The state that a file holds; raises where its kernel is that of another network."""
    a = {name: jnp.asarray(array) for name, array in arrays.items()}
    x_scaling, y_scaling = (Scaling(a[f"{axis}_mean"], a[f"{axis}_std"]) for axis in "xy")
    factor = Factor(a["lower"], a["notes"])
    solved = a["right"], factor, a["weights"], is_vector
    state = State(covariance, a["x"], a["y"], a["noise"], x_scaling, y_scaling, *solved)
    probe = np.asarray(covariance.matrix(state.scaled(state.x[:_PROBES])), np.float64)
    stored = np.asarray(arrays["probe"], np.float64)
    if not np.max(np.abs(probe - stored)) <= 1e-4 * np.max(np.abs(stored)):
        raise ValueError(
            f"network has another kernel than the one with which {path} was saved: their values on "
            f"its first points differ by {np.max(np.abs(probe - stored)):.2g}; pass the same "
            "network"
        )
    return state
