"""One measurement in a process of its own, under either library.

`python worker.py SPEC`, SPEC being a `Spec` as JSON, prints one line of JSON for its first call
(trace, compilation and run) and one more for every line that it reads, so that two workers can
take turns. It imports nothing that the other library's environment might lack.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from networks import B_STD, W_STD, MissingLayerError, build
from spec import PEER, Spec

GET = ("nngp", "ntk")
CLASSES = 10
#: Seconds that a turn lasts at least: the first calls of a process that has waited are slower.
TURN = 0.5


class Measurement:
    """The kernels of one network; every turn takes the next points."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.compute = loss_of(spec) if spec.loss else kernel_of(spec)
        self.turns = 0

    def turn(self, least: float = 0.0) -> dict[str, Any]:
        """Call once, and again until so many seconds have passed; the median of these calls."""
        start = [self.turns * count for count in self.spec.block]
        x1, x2 = inputs(self.spec, start)
        self.turns += 1
        seconds: list[float] = []
        while not seconds or sum(seconds) < least:
            began = time.perf_counter()
            found = jax.block_until_ready(self.compute(x1, x2))
            seconds.append(time.perf_counter() - began)
        keep = self.spec.keep
        return {
            "seconds": float(np.median(seconds)),
            "peak_mib": peak_mib(),
            "start": start,
            "ntk": np.asarray(found[:keep, :keep], float).tolist(),
        }


def kernel_fn_of(spec: Spec) -> Any:
    return build(import_module(f"{spec.package}.stax"), spec.network, spec.options)[2]


def kernel_of(spec: Spec) -> Callable[[Any, Any], Any]:
    """The NTK, made with the NNGP, of two sets of points."""
    kernel_fn = kernel_fn_of(spec)

    def kernels(x1: Any, x2: Any) -> Any:
        return kernel_fn(x1, x2, GET)

    # ntkjax compiles itself; the other library leaves that to its users. Not for accuracy, where no
    # time counts: it would compile a network of 100 layers for two minutes.
    compute = jax.jit(kernels) if spec.package == PEER and not spec.twins else kernels
    return lambda x1, x2: compute(x1, x2).ntk


def loss_of(spec: Spec) -> Callable[[Any, Any], Any]:
    """The loss of kernel inducing points x1 on targets x2, or what is derived from it, as a matrix.

    Nguyen et al. 2021, arXiv 2011.00050, eq. 3: half the mean squared error of the ridge regression
    on x1, with a ridge of 1e-3 times the mean of the diagonal.
    """
    stax = import_module(f"{spec.package}.stax")
    labels = [
        np.random.default_rng([2, side]).normal(size=(count, CLASSES)).astype(spec.dtype)
        for side, count in enumerate(spec.block)
    ]

    def loss(x1: Any, x2: Any, stds: Any) -> Any:
        kernel_fn = build(stax, spec.network, {**spec.options, **stds})[2]
        gram, across = kernel_fn(x1, None, "ntk"), kernel_fn(x2, x1, "ntk")
        ridge = 1e-3 * jnp.mean(jnp.diagonal(gram))
        weights = jnp.linalg.solve(gram + ridge * jnp.eye(len(gram), dtype=gram.dtype), labels[0])
        return 0.5 * jnp.mean((across @ weights - labels[1]) ** 2)

    if spec.loss == "slopes":
        slopes = jax.jit(jax.value_and_grad(loss, 2))
        stds = {"W_std": jnp.asarray(W_STD), "b_std": jnp.asarray(B_STD)}
        return lambda x1, x2: jnp.stack(jax.tree.leaves(slopes(x1, x2, stds)[1]))[None]
    if spec.loss == "value":
        value = jax.jit(loss)
        return lambda x1, x2: value(x1, x2, {})[None, None]
    gradient = jax.jit(jax.value_and_grad(loss))
    return lambda x1, x2: gradient(x1, x2, {})[1].reshape(len(x1), -1)


def inputs(spec: Spec, start: list[int]) -> tuple[jax.Array, jax.Array | None]:
    """Standard normal points, the same ones in every process."""
    if spec.twins:
        return on_device(twins(spec.shape, spec.block[0], spec.twins), spec.dtype), None
    x1, x2 = (
        np.stack([point(side, start[side] + i, spec.shape) for i in range(spec.block[side])])
        for side in (0, 1)
    )
    return on_device(x1, spec.dtype), on_device(x2, spec.dtype)


def point(side: int, index: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng([side, index]).normal(size=shape)


def twins(shape: tuple[int, ...], count: int, distance: float) -> np.ndarray:
    """Points of which the second half lies at a relative distance from the first."""
    first = np.stack([point(0, i, shape) for i in range(count // 2)])
    step = np.stack([point(1, i, shape) for i in range(count // 2)])
    axes = tuple(range(1, first.ndim))

    def norm(x: np.ndarray) -> np.ndarray:
        return np.sqrt((x**2).sum(axes, keepdims=True))

    return np.concatenate([first, first + step * (distance * norm(first) / norm(step))])


def on_device(x: np.ndarray, dtype: str) -> jax.Array:
    # Rounded to float32 first, so that both precisions get the same points.
    return jax.block_until_ready(jnp.asarray(x.astype(np.float32).astype(dtype)))


def peak_mib() -> float:
    """The most memory so far that arrays took on an accelerator, or this process on a processor."""
    (device, *_) = jax.local_devices()
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats:
        return stats["peak_bytes_in_use"] / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main(argument: str) -> None:
    # What a library prints must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    spec = Spec.from_json(argument)
    jax.config.update("jax_enable_x64", spec.dtype == "float64")
    versions = {name: version(name.replace("_", "-")) for name in (spec.package, "jax")}
    try:
        measurement = Measurement(spec)
    except MissingLayerError as error:
        return answer(missing=str(error))
    device = jax.local_devices()[0].device_kind
    answer(versions=versions, device=device, **measurement.turn())
    for _ in sys.stdin:
        answer(**measurement.turn(TURN))


if __name__ == "__main__":
    main(sys.argv[1])
