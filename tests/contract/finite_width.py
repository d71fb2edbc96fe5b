"""The law of finite width: many random networks have, on average, the kernel of a case.

How exact a mean over M networks of width n is follows from the central limit theorem. One network
deviates from the kernel by about c / sqrt(n), with c between 0.5 and 3 for the networks here (root
mean square over all entries, relative to the kernel); the mean of M of them by c / sqrt(n M). The
scatter of single networks is measured along with their mean, and networks are drawn until the
standard error of the mean is TARGET, whatever the c of a case, or they are MOST. With c = 2 and
n = 1024 it takes 1,400 networks.

The mean has a bias of its own, of order 1 / n, where a nonlinearity acts on what random weights
made of random weights: its expectation is not linear in the kernel of the earlier layer, which
fluctuates by c / sqrt(n). There two widths n and 2 n are drawn, since twice the deviation at 2 n
less the one at n has no such bias, but one of order 1 / n^2. Other networks have none (NNGP and NTK
are linear in the means over channels), or one below 1 / n (LayerNorm divides by such a mean).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from ntkjax import Kernel
from tests.contract.case import Case
from tests.contract.inputs import batch, kernels_in, shapes_of
from tests.helpers import fast_jit

#: Standard error of a mean, relative to the kernel.
TARGET = 1 / 600
#: How many standard errors a right kernel may be away from the mean: half a percent. A kernel that
#: is wrong by a percent is at least the other half away.
LIMIT = 3
#: Least allowance: for the bias of 1 / 1024, and where networks do not scatter, for rounding.
ALLOWANCE = 1e-3
IMAGES = 2
#: Networks in a vectorized step, in a call, and the most at one width.
LANES, AT_ONCE, MOST = 16, 64, 2**14

#: The outputs of a network, a function of its parameters.
Outputs = Callable[[Any], list[jax.Array]]
#: In float32 a network is drawn twice as fast. The older name is that of older versions of JAX.
enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


class Mean(NamedTuple):
    """Mean deviation of finite networks from a kernel, one number for each entry.

    Attributes:
      deviation: of the mean from the kernel, divided by the norm of the kernel.
      errors: standard errors of the entries of `deviation`.
    """

    deviation: np.ndarray
    errors: np.ndarray

    @property
    def distance(self) -> float:
        """Norm of the deviation."""
        return float(np.linalg.norm(self.deviation))

    @property
    def error(self) -> float:
        """What the distance would be by chance: the root of its expected square."""
        return float(np.linalg.norm(self.errors))


def finite_width_law(case: Case, field: str) -> None:
    """Mean "nngp" or "ntk" of finite networks are the kernel, to half a percent."""
    mean = mean_deviation(case, field)
    bound = max(LIMIT * mean.error, ALLOWANCE)
    # Networks that scatter much are held to the percent by their twins alone.
    assert bound <= (0.03 if callable(case.twin) else 0.005), "an error of a percent might pass"
    assert mean.distance <= bound, (
        f"{case}: the {field} is {mean.distance:.2%} from the mean of finite networks, whose "
        f"standard error is {mean.error:.2%}"
    )


def mean_deviation(case: Case, field: str, target: float = TARGET) -> Mean:
    """Of the "nngp" or "ntk" of finite networks from the kernel of a case."""
    if len(case.widths) == 1:
        return mean_at(case, case.widths[0], field, target)
    narrow, wide = case.widths
    assert wide == 2 * narrow
    # Errors of which the wide networks' counts twice.
    one = mean_at(case, narrow, field, target / np.sqrt(2))
    two = mean_at(case, wide, field, target / np.sqrt(8))
    return Mean(2 * two.deviation - one.deviation, np.sqrt(4 * two.errors**2 + one.errors**2))


def mean_at(case: Case, width: int, field: str, target: float) -> Mean:
    """The same at one width; as many networks as it takes."""
    wanted = np.concatenate([np.ravel(getattr(k, field)) for k in kernels_at(case, width)])
    norm = np.linalg.norm(wanted)
    draw = sampler(case, width)
    samples, needed = np.zeros((0, len(wanted))), 2 * AT_ONCE
    while True:
        calls = range(len(samples) // AT_ONCE, -(-needed // AT_ONCE))
        samples = np.concatenate([samples, *(draw(call)[field] - wanted for call in calls)])
        errors = samples.std(0) / np.sqrt(len(samples))
        # Layers without weights have no tangent kernel: then its own size is no measure.
        mean = Mean(*(array / (norm or 1.0) for array in (samples.mean(0), errors)))
        if mean.error <= target:
            return mean
        if len(samples) >= MOST:
            return mean
        needed = min(int(len(samples) * min(1.05 * mean.error / target, 4) ** 2), MOST)


@functools.cache
def kernels_at(case: Case, width: int) -> list[Kernel]:
    """The kernels of all outputs, of infinite width; the standard parameterization names it."""
    return kernels_in(fast_jit(case.built(width).kernel_fn)(batch(case.shape, IMAGES, 0)))


@functools.lru_cache(2)  # of one case, whose networks take much memory
def sampler(case: Case, width: int) -> Callable[[int], dict[str, np.ndarray]]:
    """Both kernels of AT_ONCE networks, all entries in a row: a function of the number of the call.

    What it gives is kept: the laws of both kernels look at the same networks.
    """
    network = case.built(width)
    shapes = shapes_of(case.shape, IMAGES)
    x = jax.tree.map(np.float32, batch(case.shape, IMAGES, 0))

    def sample(key: jax.Array) -> dict[str, jax.Array]:
        key, of_signs, of_layers = jax.random.split(key, 3)
        params = network.init_fn(key, shapes)[1]

        def outputs(params: Any) -> list[jax.Array]:
            return jax.tree.leaves(network.apply_fn(params, x, rng=of_layers))

        made = {"nngp": products(outputs, params), "ntk": tangents(outputs, params, of_signs)}
        return {field: jnp.concatenate(list(map(jnp.ravel, of))) for field, of in made.items()}

    def draw(call: int) -> dict[str, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), call), AT_ONCE)
        return jax.lax.map(sample, keys, batch_size=LANES)

    program = jax.jit(draw)

    @functools.cache
    def single(call: int) -> dict[str, np.ndarray]:
        with enable_x64(False):
            return jax.tree.map(np.asarray, program(call))

    return single


def products(outputs: Outputs, params: Any) -> list[jax.Array]:
    """Mean products of channels, for each output."""
    return [
        interleaved(jnp.tensordot(out, out, (-1, -1)) / out.shape[-1]) for out in outputs(params)
    ]


def tangents(outputs: Outputs, params: Any, key: jax.Array) -> list[jax.Array]:
    """Mean tangent kernels of channels, for each output.

    A sum of channels with random signs has as its tangent kernel the mean over channels, and terms
    between two channels whose mean over the signs is zero.
    """

    def projected(params: Any) -> list[jax.Array]:
        return [
            out @ (jax.random.rademacher(key, out.shape[-1:], out.dtype) / out.shape[-1] ** 0.5)
            for out in outputs(params)
        ]

    if not jax.tree.leaves(params):
        return [interleaved(0 * jnp.multiply.outer(out, out)) for out in projected(params)]
    kernels = []
    for jacobian in jax.jacrev(projected)(params):
        parts = [
            jnp.tensordot(j, j, (tuple(range(lead, j.ndim)),) * 2)
            for j, p in zip(jax.tree.leaves(jacobian), jax.tree.leaves(params), strict=True)
            for lead in [j.ndim - p.ndim]
        ]
        kernels.append(interleaved(sum(parts)))
    return kernels


def interleaved(array: jax.Array) -> jax.Array:
    """(n, h, w, n, h, w) as (n, n, h, h, w, w)."""
    half = array.ndim // 2
    return array.transpose([axis for i in range(half) for axis in (i, half + i)])
