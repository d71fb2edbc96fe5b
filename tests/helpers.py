"""Layers together with their twins, for tests of random networks: `Twin(layer, act)`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.arrays import is_concrete
from ntkjax._kernel.engine import execute
from tests.contract import twins
from tests.contract.expectations import error_function, gaussian_error_linear, rectifier
from tests.contract.twins import Kernels

WIDTH = 3  # Output channels: of no effect but in the standard parameterization.


#: What makes XLA on CPU compile faster, and its programs slower. Its newer code generator for fused
#: operations takes twice as long as the older one, which not all versions of XLA have.
FAST = {"xla_backend_optimization_level": 0}
OLDER_FUSIONS = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def fast_options() -> dict[str, Any]:
    """The options of `jax.jit` for what runs once; those that this version of XLA knows."""
    if jax.default_backend() != "cpu":
        return FAST
    try:
        jax.jit(lambda x: -x, compiler_options=OLDER_FUSIONS)(1.0)
    except jax.errors.JaxRuntimeError:
        return FAST
    return FAST | OLDER_FUSIONS


def fast_jit(fn: Callable, older_fusions: bool = True) -> Callable:
    """`jax.jit` for what runs once, where compiling it well takes longer than running it.

    The older code generator has a fault, by which the gradient of one network is wrong.
    """
    return jax.jit(fn, compiler_options=fast_options() if older_fusions else FAST)


class FastProgram:
    """A function of the engine, compiled as `fast_jit` does; static in its last three arguments."""

    def __init__(self, fn: Callable):
        count = len(inspect.signature(fn).parameters)
        static = range(count - 3, count)
        self.inside = jax.jit(fn, static_argnums=static)
        self.alone = jax.jit(fn, static_argnums=static, compiler_options=fast_options())
        self.lower = self.alone.lower

    def __call__(self, *args: Any) -> Any:
        # Options belong to whole programs.
        is_alone = is_concrete((*jax.tree.leaves(args[:-3]), jnp.zeros(())))
        return (self.alone if is_alone else self.inside)(*args)


@functools.cache
def fast_compiled(fn: Callable, options: Any = (), given_away: str | None = None) -> FastProgram:
    """A stand-in for `execute._compiled`, which gives no memory away."""
    del options, given_away
    return FastProgram(fn)


@pytest.fixture(autouse=True)
def programs_compile_fast(monkeypatch):
    """Kernel functions compile as `fast_jit` does; a module that imports this uses it."""
    fast_options()  # Found out here: within a program of a test, options may not be given.
    monkeypatch.setattr(execute, "_compiled", fast_compiled)


class Twin(NamedTuple):
    """A layer, and what it does to kernels."""

    layer: Any
    act: Callable[[Kernels], Kernels]


def kernels_of_inputs(x1: np.ndarray, x2: np.ndarray) -> Kernels:
    """Mean products of channels; inputs of shape (n, *sizes, channels)."""
    return twins.inputs(x1, x2, WIDTH)


def dense(**options: Any) -> Twin:
    """Dense, at each position."""
    return Twin(stax.Dense(WIDTH, **options), twins.dense(**options))


def conv(
    taps: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    padding: str = "VALID",
    dilation: tuple[int, ...] | None = None,
    **options: Any,
) -> Twin:
    """Conv."""
    return Twin(
        stax.Conv(WIDTH, taps, strides, padding, dilation=dilation, **options),
        twins.conv(taps, strides, padding, dilation, **options),
    )


def pool(
    kind: str,
    taps: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    padding: str = "VALID",
    normalize_edges: bool = False,
) -> Twin:
    """AvgPool or SumPool."""
    if kind == "avg":
        arguments = (taps, strides, padding, normalize_edges)
        return Twin(stax.AvgPool(*arguments), twins.avg_pool(*arguments))
    return Twin(stax.SumPool(taps, strides, padding), twins.sum_pool(taps, strides, padding))


def global_pool(kind: str) -> Twin:
    """GlobalAvgPool or GlobalSumPool."""
    if kind == "avg":
        return Twin(stax.GlobalAvgPool(), twins.global_avg_pool())
    return Twin(stax.GlobalSumPool(), twins.global_sum_pool())


def flatten() -> Twin:
    """Flatten."""
    return Twin(stax.Flatten(), twins.flatten())


def abrelu(a: float, b: float) -> Twin:
    """ABRelu, or the layer of a name of its own for its slopes."""
    named = {(0.0, 1.0): stax.Relu, (-1.0, 1.0): stax.Abs}
    layer = named[a, b]() if (a, b) in named else stax.ABRelu(a, b)
    return Twin(layer, twins.activation(rectifier(a, b)))


def erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Twin:
    """Erf."""
    return Twin(stax.Erf(a, b, c), twins.activation(error_function(a, b, c)))


def gelu() -> Twin:
    """Gelu."""
    return Twin(stax.Gelu(), twins.activation(gaussian_error_linear()))


def layer_norm(over: tuple[int, ...] = (), eps: float = 1e-12) -> Twin:
    """LayerNorm over channels and the spatial axes `over`."""
    axis = (*(1 + axis for axis in over), -1)
    return Twin(stax.LayerNorm(axis, eps), twins.layer_norm(over, eps))


def serial(*parts: Twin) -> Twin:
    """One after the other."""
    layers, acts = zip(*parts, strict=True)
    return Twin(stax.serial(*layers), twins.serial(*acts))


def identity() -> Twin:
    """The skip connection."""
    return Twin(stax.Identity(), twins.identity())


def branches(*parts: Twin) -> Twin:
    """FanOut, one branch each, FanInSum."""
    layers, acts = zip(*parts, strict=True)
    count = len(parts)
    return Twin(
        stax.serial(stax.FanOut(count), stax.parallel(*layers), stax.FanInSum()),
        twins.serial(twins.fan_out(count), twins.parallel(*acts), twins.fan_in_sum()),
    )
