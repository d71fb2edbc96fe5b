"""Checks of a layer's arguments: choices, counts, axes, flags and numbers that may be traced.

What decides the architecture (counts, axes, flags, choices) is known before tracing. Numbers such
as standard deviations and slopes may be traced, so that they can be differentiated: nothing here
looks at their values.
"""

import enum
import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntkjax._jax_compat import is_traced
from ntkjax._kernel.algebra.errors import UnsupportedError
from ntkjax._kernel.arrays import default_float, describe

Shape = tuple[int, ...]


def check_choice(layer: str, argument: str, value: Any, choices: Sequence[str]) -> str:
    """A string argument (or a member of an enumeration of them), in the spelling of its choices."""
    value = value.value if isinstance(value, enum.Enum) else value
    for choice in choices:
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    raise UnsupportedError(
        f"{layer}: {argument}={describe(value)} is unknown; expected one of {list(choices)}."
    )


def check_flag(layer: str, argument: str, value: Any) -> bool:
    """True or False."""
    _check_static(layer, argument, value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{layer}: {argument}={describe(value)}, expected True or False.")


def check_count(layer: str, argument: str, value: Any) -> int:
    """A positive integer argument."""
    number = _integer(layer, argument, value)
    if number is not None and number > 0:
        return number
    raise ValueError(f"{layer}: {argument}={describe(value)}, expected a positive integer.")


def check_counts(layer: str, argument: str, values: Any, length: int | None = None) -> Shape:
    """A sequence of positive integers, one for each spatial axis."""
    _check_static(layer, argument, values)
    if np.ndim(values) == 0 or not isinstance(values, (Sequence, np.ndarray, Array)):
        raise ValueError(
            f"{layer}: {argument}={describe(values)}, expected a tuple with one positive integer "
            f"for each spatial axis, such as {argument}=(3, 3) for images."
        )
    counts = tuple(check_count(layer, f"{argument}[{i}]", v) for i, v in enumerate(values))
    if length is not None and len(counts) != length:
        raise ValueError(
            f"{layer}: {argument}={counts} has {len(counts)} entries, expected {length}, one for "
            "each spatial axis of the window."
        )
    return counts


def check_axis(layer: str, argument: str, value: Any) -> int:
    """The number of an axis, perhaps negative; whether the input has it is known later."""
    number = _integer(layer, argument, value)
    if number is not None:
        return number
    raise TypeError(
        f"{layer}: {argument}={describe(value)}, expected the number of an axis, such as -1."
    )


def check_axes(layer: str, argument: str, values: Any) -> Shape:
    """The numbers of one or several axes."""
    if isinstance(values, (tuple, list)):
        return tuple(check_axis(layer, f"{argument}[{i}]", v) for i, v in enumerate(values))
    return (check_axis(layer, argument, values),)


def check_number(layer: str, argument: str, value: Any) -> float | Array:
    """A finite real number as a float; a traced scalar as a floating-point one."""
    if is_traced(value):
        _check_scalar(layer, argument, value)
        is_float = jnp.issubdtype(value.dtype, np.floating)
        return value if is_float else value.astype(default_float())
    if not isinstance(value, (numbers.Real, np.bool_, np.ndarray, Array)):
        raise TypeError(f"{layer}: {argument}={describe(value)}, expected a real number.")
    if isinstance(value, (np.ndarray, Array)):
        _check_scalar(layer, argument, value)
    # A Python float takes the precision of the kernel; an array would impose its own.
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{layer}: {argument}={describe(value)}, expected a finite real number.")
    return number


def check_not_negative(layer: str, argument: str, value: Any) -> float | Array:
    """A finite real number which, if it is known, is not negative."""
    number = check_number(layer, argument, value)
    if isinstance(number, float) and number < 0:
        raise ValueError(f"{layer}: {argument}={number:g}, expected a number of at least 0.")
    return number


def check_degree(layer: str, argument: str, value: Any, most: int) -> int:
    """A power, from 0 to a largest one."""
    number = _integer(layer, argument, value)
    if number is not None and 0 <= number <= most:
        return number
    raise UnsupportedError(
        f"{layer}: {argument}={describe(value)}, expected an integer from 0 to {most}."
    )


def check_static_numbers(layer: str, argument: str, values: Any, most: int) -> tuple[float, ...]:
    """A sequence of finite real numbers that decide the architecture."""
    _check_static(layer, argument, values)
    if np.ndim(values) != 1 or len(values) > most:
        raise ValueError(
            f"{layer}: {argument}={describe(values)}, expected a sequence of at most {most} "
            "numbers, such as [0.0, 1.0, 0.5]."
        )
    return tuple(
        float(check_number(layer, f"{argument}[{i}]", value)) for i, value in enumerate(values)
    )


def show(value: Any) -> str:
    """A number in a `repr`."""
    return f"{value:g}" if isinstance(value, float) else "traced"


def show_all(values: Sequence[Any], defaults: Sequence[float]) -> str:
    """Several numbers in a `repr`; nothing where all are the defaults."""
    shown = [show(value) for value in values]
    return "" if shown == [show(default) for default in defaults] else ", ".join(shown)


def _check_scalar(layer: str, argument: str, value: Any) -> None:
    """An array that stands for a number must be one, and real."""
    if value.shape != ():
        raise ValueError(f"{layer}: {argument} has shape {value.shape}, expected a scalar.")
    dtype = value.dtype
    real = any(jnp.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_))
    if not real:
        raise TypeError(f"{layer}: {argument} has dtype {dtype}, expected a real number.")


def _integer(layer: str, argument: str, value: Any) -> int | None:
    """An integer of Python, NumPy or JAX; None where it is no integer."""
    _check_static(layer, argument, value)
    if isinstance(value, (bool, np.bool_)):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _check_static(layer: str, argument: str, value: Any) -> None:
    """What decides the architecture must be known before tracing."""
    if any(map(is_traced, jax.tree.leaves(value))):
        raise TypeError(
            f"{layer}: {argument} is traced, but it decides the architecture, which must be known "
            f"before tracing; mark it static, as in jax.jit(..., static_argnames={argument!r})."
        )
