"""Fitted processes and classifiers as files: arrays and a description in JSON, and no code.

A file is a NumPy archive. `description` holds the kind of the file, the number of its format,
names, numbers and flags; the network is code, and is passed again to `load`, which compares its
kernel with the one stored.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._gp.arguments import mean_at
from ntkjax._gp.covariance import Covariance
from ntkjax._gp.scaling import Scaling
from ntkjax._gp.state import State
from ntkjax._kernel.arrays import describe
from ntkjax._solve.factor import Factor

#: What files call themselves.
PROCESS, CLASSIFIER = "ntkjax.gp.GaussianProcess", "ntkjax.gp.GaussianProcessClassifier"
#: The number of the format; readers know all numbers up to theirs.
_VERSION = 1
#: Arguments of a process that are stored as they are.
FLAGS = ("get", "standardize_x", "standardize_y")
#: Training points whose kernel is stored, to tell another network by.
_PROBES = 5


def write(path: Any, kind: str, arrays: Mapping[str, Any], description: dict[str, Any]) -> None:
    """Store arrays, and a description that JSON can hold."""
    text = json.dumps({"kind": kind, "version": _VERSION, **description})
    with open(_path(path), "wb") as file:
        held: Any = {name: np.asarray(array) for name, array in arrays.items()}
        np.savez(file, description=np.array(text), **held)


def read(path: Any, kind: str) -> "tuple[Held, Held]":
    """The arrays and the description of a file that `write` has made."""
    with open(_path(path), "rb") as file:
        if not zipfile.is_zipfile(file):
            raise _damaged(path, "it is no NumPy archive, or its end is missing")
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            description = json.loads(str(arrays.pop("description", "{}")))
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
            raise _damaged(path, error) from error
    if not isinstance(description, dict) or description.get("kind") != kind:
        raise ValueError(f"{path} holds no {kind}: pass a file that its method save has written")
    if not isinstance(description.get("version"), int):
        raise _damaged(path, "it does not say its format")
    if description["version"] > _VERSION:
        raise ValueError(
            f"{path} has format {description['version']}, and this version of ntkjax reads formats "
            f"up to {_VERSION}: install a newer ntkjax"
        )
    _check_finite(path, arrays)
    return Held(path, arrays), Held(path, description)


def _path(path: Any) -> str | bytes:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path is {describe(path)}, expected that of a file: pass 'process.npz'")
    return os.fspath(path)


def _damaged(path: Any, why: Any) -> ValueError:
    return ValueError(f"{path} cannot be read: {why}; save the process again")


class Held(dict[str, Any]):
    """What a file holds by name; what it lacks is an error that names the file."""

    def __init__(self, path: Any, held: Mapping[str, Any]) -> None:
        super().__init__(held)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise _damaged(self._path, f"it lacks {name!r}")


def _check_finite(path: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises where arrays hold something else than finite numbers and, for labels, strings."""
    for name, array in arrays.items():
        is_number = array.dtype.kind in "biuf"
        if (not is_number and array.dtype.kind != "U") or (
            is_number and not np.all(np.isfinite(array))
        ):
            raise _damaged(path, f"its array {name!r} holds something else than finite numbers")


def numbers(params: Any, bounds: Any, history: Any) -> dict[str, Any]:
    """Parameters, bounds and history as JSON can hold them."""
    return {
        "params": params and {name: float(value) for name, value in params.items()},
        "bounds": bounds and {name: [float(end) for end in pair] for name, pair in bounds.items()},
        "history": history,
    }


def options(held: Mapping[str, Any]) -> dict[str, Any]:
    """The same as they were passed, of a description."""
    bounds = held["bounds"] and {name: tuple(pair) for name, pair in held["bounds"].items()}
    history = tuple(map(tuple, held["history"]))
    return {"params": held["params"], "bounds": bounds, "history": history}


def arrays_of(state: State) -> dict[str, Any]:
    """The arrays of a state, by name."""
    return {
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
        "probe": probe_of(state.covariance, state.scaled(state.x)),
    }


def state_of(arrays: Mapping[str, Any], is_vector: bool, covariance: Covariance) -> State:
    """The state that arrays describe."""
    n, k = arrays["y"].shape
    shapes = {"x": arrays["x"].shape, "y": (n, k), "right": (n, k), "weights": (n, k)}
    for name, shape in {**shapes, "lower": (n, n)}.items():
        if arrays[name].shape != shape or len(arrays[name]) != n:
            raise ValueError(
                f"the file is damaged: its array {name!r} has shape {arrays[name].shape}, with "
                f"{n} points; save the process again"
            )
    a = {name: jnp.asarray(array) for name, array in arrays.items()}
    x_scaling, y_scaling = (Scaling(a[f"{axis}_mean"], a[f"{axis}_std"]) for axis in "xy")
    factor = Factor(jnp.asarray(arrays["lower"].T), a["notes"])
    solved = a["right"], factor, a["weights"], is_vector
    return State(covariance, a["x"], a["y"], a["noise"], x_scaling, y_scaling, *solved)


def probe_of(covariance: Covariance, x: Array) -> Array:
    """What a kernel says of the first of some points."""
    return covariance.matrix(x[:_PROBES])


def check_kernel(covariance: Covariance, x: Array, stored: np.ndarray, path: Any) -> None:
    """Raises where a kernel is not the one whose probe was stored."""
    probe, wanted = (np.asarray(k, np.float64) for k in (probe_of(covariance, x), stored))
    gap = np.max(np.abs(probe - wanted))
    if not gap <= 1e-4 * np.max(np.abs(wanted)):
        raise ValueError(
            f"network has another kernel than the one with which {path} was saved: their values on "
            f"its first points differ by {gap:.2g}; pass the same network"
        )


def check_mean(state: State, mean: Any, path: Any) -> None:
    """Raises where a prior mean is not the one that was taken from the targets of a state."""
    prior = mean_at(mean, state.x, state.y)
    gap = jnp.max(jnp.abs(state.back(state.x, state.right, mean) - state.y))
    if not gap <= 1e-4 * (jnp.max(jnp.abs(state.y)) + jnp.max(jnp.abs(prior))):
        raise ValueError(
            f"mean is another one than that with which {path} was saved: targets differ by "
            f"{float(gap):.2g}; pass the same mean"
        )
