"""Activations without a closed form, with their derivatives, for the integrals of the twins."""

import numpy as np
from numpy import ndarray
from scipy import special

from tests.contract.expectations import Pointwise

#: Of the scaled exponential linear unit.
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


def tanh_slope(x: ndarray) -> ndarray:
    """1 - tanh(x)^2."""
    return 1 / np.cosh(np.clip(x, -300, 300)) ** 2


def sigmoid_slope(x: ndarray) -> ndarray:
    """The derivative of the logistic sigmoid."""
    return special.expit(x) * special.expit(-x)


def silu(x: ndarray) -> ndarray:
    """x / (1 + exp(-x))."""
    return x * special.expit(x)


def silu_slope(x: ndarray) -> ndarray:
    """Its derivative."""
    return special.expit(x) + x * sigmoid_slope(x)


def softplus(x: ndarray) -> ndarray:
    """log(1 + exp(x))."""
    return np.logaddexp(0, x)


def mish(x: ndarray) -> ndarray:
    """x tanh(log(1 + exp(x)))."""
    return x * np.tanh(softplus(x))


def mish_slope(x: ndarray) -> ndarray:
    """Its derivative."""
    inner = softplus(x)
    return np.tanh(inner) + x * tanh_slope(inner) * special.expit(x)


def elu(alpha: float, scale: float = 1.0) -> Pointwise:
    """The exponential linear unit, times a number."""
    return lambda x: scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_slope(alpha: float, scale: float = 1.0) -> Pointwise:
    """Its derivative."""
    return lambda x: scale * np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))


def hard_tanh(x: ndarray) -> ndarray:
    """x between -1 and 1."""
    return np.clip(x, -1, 1)


def hard_tanh_slope(x: ndarray) -> ndarray:
    """Whether x lies there."""
    return 1.0 * (np.abs(x) < 1)


#: Name of the layer: f and f'.
FUNCTIONS = {
    "Tanh": (np.tanh, tanh_slope),
    "Sigmoid": (special.expit, sigmoid_slope),
    "Silu": (silu, silu_slope),
    "Softplus": (softplus, special.expit),
    "Mish": (mish, mish_slope),
    "Elu": (elu(1.0), elu_slope(1.0)),
    "Selu": (elu(SELU_ALPHA, SELU_SCALE), elu_slope(SELU_ALPHA, SELU_SCALE)),
    "HardTanh": (hard_tanh, hard_tanh_slope),
}
