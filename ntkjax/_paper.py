"""The two kernels of Arora et al. 2019 (arXiv 1904.11955), by the names of the paper.

Each is one stack of layers. The layers divide by the number of inputs of each neuron
(parameterization "ntk"), the paper does not divide by the dimension of the input; a ReLU network
is homogeneous, so a single factor at the end passes from one convention to the other.
"""

import functools
import math
import operator
from typing import Any, NamedTuple

import jax

from ntkjax import stax
from ntkjax._jax_compat import is_traced
from ntkjax._kernel.arrays import as_floats, check_finite, describe
from ntkjax._kernel.config import config

_SQRT_C_SIGMA = math.sqrt(2.0)  # c_sigma = 1 / E[relu(z)^2] = 2


class PaperKernels(NamedTuple):
    """The tangent kernel `Theta` and the covariance `Sigma`, each of shape (n1, n2)."""

    Theta: jax.Array
    Sigma: jax.Array


def compute_ntk_relu(x1, x2, depth: int) -> PaperKernels:
    r"""Neural tangent kernel of an infinitely wide, fully connected ReLU network.

    The network has `depth` = L hidden layers, no biases, and one output; all layers are trained.
    With \(c_\sigma = 2\),

    $$\Sigma^{(0)}(x, x') = x \cdot x', \quad
      \Sigma^{(h)} = c_\sigma E[\sigma(u) \sigma(v)], \quad
      \dot\Sigma^{(h)} = c_\sigma E[\sigma'(u) \sigma'(v)], \quad
      \Theta^{(L)} = \sum_{h=1}^{L+1} \Sigma^{(h-1)} \prod_{h'=h}^{L+1} \dot\Sigma^{(h')},$$

    where (u, v) is Gaussian with the covariance \(\Sigma^{(h-1)}\) of x and x', and
    \(\dot\Sigma^{(L+1)} = 1\).

    **Normalisation.** \(\Sigma^{(0)} = x \cdot x'\) is *not* divided by the input dimension d, as
    in the paper. Both kernels are d times those of
    `stax.serial(Dense(1, W_std=1), Relu(), Dense(1, W_std=sqrt(2)), Relu(), ...)`.

    Args:
        x1: inputs, shape (n1, d).
        x2: inputs, shape (n2, d); None stands for x1.
        depth: number of hidden layers L, at least 1.

    Returns:
        `(Theta, Sigma)`: \(\Theta^{(L)}\) and \(\Sigma^{(L)}\), each of shape (n1, n2).

    Raises:
        ValueError: `depth` < 1; inputs that are not matrices, differ in d, are empty or hold
            NaN or infinity.
        TypeError: `depth` is not an integer; inputs are not real numbers.

    Source: Arora et al. 2019 (arXiv 1904.11955), section 3, equations (7) to (9).

    Example:
        >>> import numpy as np
        >>> from ntkjax import compute_ntk_relu
        >>> x = np.array([[1.0, 0.0], [0.0, 2.0]], np.float32)
        >>> Theta, Sigma = compute_ntk_relu(x, None, depth=1)
        >>> print(np.round(Theta, 3))
        [[2.    0.637]
         [0.637 8.   ]]
    """
    name = "compute_ntk_relu"
    depth = _positive_int(name, "depth", depth)
    x1 = _inputs(name, "x1", x1, axes=("n", "d"))
    if x2 is not None:
        x2 = _inputs(name, "x2", x2, axes=("n", "d"))
        _check_same(name, "x1", x1, "x2", x2, axes=("n", "d"))
    return _scaled(_fully_connected(depth)(x1, x2, ("ntk", "nngp")), x1.shape[-1])


def compute_cntk(images1, images2, depth: int, filter_size: int = 3) -> PaperKernels:
    r"""Convolutional neural tangent kernel with global average pooling (CNTK-GAP).

    The network has `depth` = L convolutional layers, each with filters of `filter_size` = q in
    both directions, stride 1 and zero padding, each followed by a ReLU; then the mean over all
    positions and a linear readout. No biases; all layers are trained. For positions p of image x
    and p' of image x', with \(c_\sigma = 2\) and T the sum over the \(q^2\) taps of the filter,

    $$\Sigma^{(0)} = \Theta^{(0)} = T[x_p \cdot x'_{p'}], \quad
      K^{(h)} = \frac{c_\sigma}{q^2} E[\sigma(u) \sigma(v)], \quad
      \dot K^{(h)} = \frac{c_\sigma}{q^2} E[\sigma'(u) \sigma'(v)],$$

    $$\Sigma^{(h)} = T[K^{(h)}], \quad
      \Theta^{(h)} = T[\dot K^{(h)} \Theta^{(h-1)} + K^{(h)}] \ (h < L), \quad
      \Theta^{(L)} = \dot K^{(L)} \Theta^{(L-1)} + K^{(L)}.$$

    The results are the means of \(\Theta^{(L)}\) and of \(K^{(L)}\) over all *pairs* of positions
    (p, p'). The variance of each image is that of its own recursion with itself.

    **Normalisation.** The inner product \(x_p \cdot x'_{p'}\) is *not* divided by the number of
    channels C, as in the paper. Both kernels are C times those of
    `stax.serial(Conv(1, (q, q), padding="SAME", W_std=1), Relu(), ..., GlobalAvgPool(),
    Dense(1, W_std=sqrt(2)))`, in which every later layer has W_std = sqrt(2).

    Args:
        images1: images, shape (n1, height, width, channels).
        images2: images, shape (n2, height, width, channels); None stands for images1.
        depth: number of convolutional layers L, at least 1.
        filter_size: size of the filters q, odd.

    Returns:
        `(Theta, Sigma)`: the tangent kernel, and the covariance of the same network at
        initialisation (the kernel when the readout alone is trained), each of shape (n1, n2).

    Raises:
        ValueError: `depth` < 1; an even `filter_size`; images that do not have four axes, differ
            in size or channels, are empty or hold NaN or infinity.
        TypeError: `depth` or `filter_size` is not an integer; images are not real numbers.

    Source: Arora et al. 2019 (arXiv 1904.11955), section 4 and the appendix "CNTK".

    Example:
        >>> import numpy as np
        >>> from ntkjax import compute_cntk
        >>> images = np.ones((2, 4, 4, 1), np.float32)
        >>> Theta, Sigma = compute_cntk(images, None, depth=2)
        >>> Theta.shape
        (2, 2)
    """
    name = "compute_cntk"
    depth = _positive_int(name, "depth", depth)
    filter_size = _positive_int(name, "filter_size", filter_size)
    if filter_size % 2 == 0:
        raise ValueError(
            f"{name}: filter_size={filter_size} is even. The filter of the paper is centred on a "
            f"position and reaches (filter_size - 1) / 2 positions to each side, so that the image "
            f"keeps its size; choose an odd size such as {filter_size - 1} or {filter_size + 1}, "
            f"or build the network from ntkjax.stax.Conv, which accepts even filters."
        )
    axes = ("n", "height", "width", "channels")
    images1 = _inputs(name, "images1", images1, axes)
    if images2 is not None:
        images2 = _inputs(name, "images2", images2, axes)
        _check_same(name, "images1", images1, "images2", images2, axes)
    kernels = _convolutional(depth, filter_size)(images1, images2, ("ntk", "nngp"))
    return _scaled(kernels, images1.shape[-1])


# Cached, so that a second call with inputs of the same shape does not compile again.
@functools.cache
def _fully_connected(depth: int):
    layers = [stax.Dense(1, W_std=1.0)]
    for _ in range(depth):
        layers += [stax.Relu(), stax.Dense(1, W_std=_SQRT_C_SIGMA)]
    return stax.serial(*layers)[2]


@functools.cache
def _convolutional(depth: int, filter_size: int):
    def conv(W_std):
        return stax.Conv(1, (filter_size, filter_size), padding="SAME", W_std=W_std)

    layers = [conv(1.0), stax.Relu()]
    for _ in range(depth - 1):
        layers += [conv(_SQRT_C_SIGMA), stax.Relu()]
    return stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(1, W_std=_SQRT_C_SIGMA))[2]


def _scaled(kernels: Any, factor: int) -> PaperKernels:
    return PaperKernels(Theta=factor * kernels.ntk, Sigma=factor * kernels.nngp)


def _positive_int(name: str, argument: str, value: Any) -> int:
    """`value` as an int of at least 1; it shapes the network, so a traced value cannot serve."""
    if is_traced(value):
        raise TypeError(
            f"{name}: {argument} decides how many layers there are, so it must be a plain int, "
            f"known before tracing; mark it static: jax.jit(..., static_argnames={argument!r})."
        )
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name}: {argument} must be an int, got {describe(value)} of type "
            f"{type(value).__name__}; pass a number of layers or positions, such as 3."
        ) from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name}: {argument} must be at least 1, got {value!r}; pass 1 or more.")
    return number


def _inputs(name: str, argument: str, value: Any, axes: tuple[str, ...]) -> jax.Array:
    """`value` as an array of floats with the given axes."""
    array = as_floats(f"{name}: {argument}", value, config.keeps_dtype)
    if array.ndim != len(axes):
        raise ValueError(
            f"{name}: {argument} must have shape ({', '.join(axes)}), got shape {array.shape}; "
            f"{_reshape_hint(argument, array.ndim, axes)}."
        )
    if 0 in array.shape:
        empty = [axis for axis, size in zip(axes, array.shape, strict=True) if size == 0]
        raise ValueError(
            f"{name}: {argument} of shape {array.shape} is empty along {', '.join(empty)}; "
            f"pass at least one input with at least one value."
        )
    check_finite(f"{name}: {argument}", array)
    return array


def _reshape_hint(argument: str, ndim: int, axes: tuple[str, ...]) -> str:
    if len(axes) == 2 and ndim == 1:
        return f"for a single input pass {argument}[None, :], for one feature {argument}[:, None]"
    if len(axes) == 2 and ndim > 2:
        return f"flatten each input with {argument}.reshape(len({argument}), -1)"
    if len(axes) == 4 and ndim == 3:
        return f"for grey images pass {argument}[..., None], for a single one {argument}[None]"
    return "reshape it"


def _check_same(name: str, argument1: str, x1, argument2: str, x2, axes) -> None:
    """Both inputs agree in all axes but the first."""
    for axis, size1, size2 in zip(axes[1:], x1.shape[1:], x2.shape[1:], strict=True):
        if size1 != size2:
            raise ValueError(
                f"{name}: {argument1} and {argument2} must agree in {axis}, got {size1} and "
                f"{size2} (shapes {x1.shape} and {x2.shape}); prepare both in the same way."
            )
