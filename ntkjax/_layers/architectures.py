"""Architectures of the literature, each a function that composes layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._layers.branching import FanInSum, FanOut, Identity
from ntkjax._layers.checks import check_choice, check_count, check_counts
from ntkjax._layers.combinators import parallel, serial
from ntkjax._layers.conv import Conv
from ntkjax._layers.dense import Dense
from ntkjax._layers.flatten import Flatten
from ntkjax._layers.layer import Layer
from ntkjax._layers.parameterization import Scalar
from ntkjax._layers.pool import AvgPool, GlobalAvgPool
from ntkjax._layers.rectifiers import Relu
from ntkjax._layers.repetition import repeat

#: Convolutions at the three resolutions of Myrtle networks, by their number of layers.
_MYRTLE = {5: (2, 1, 1), 7: (2, 2, 2), 10: (3, 3, 3)}
_ROOT_TWO = math.sqrt(2)


def fcn(
    depth: int = 3,
    width: int = 512,
    out_dim: int = 10,
    activation: Callable[[], Any] = Relu,
    W_std: Scalar = _ROOT_TWO,
    b_std: Scalar | None = 0.1,
    parameterization: str = "ntk",
) -> Layer:
    r"""A fully connected network: `depth` times [Dense, activation], and a Dense on top.

    .. math::
        f = D \circ (\phi \circ D)^{\mathrm{depth}}.

    Args:
      depth: number of hidden layers.
      width: of the hidden layers of the finite network.
      out_dim: number of outputs.
      activation: makes a nonlinearity, such as `stax.Erf` or `lambda: stax.LeakyRelu(0.1)`.
      W_std: standard deviation of the weights.
      b_std: standard deviation of the biases; None for no biases.
      parameterization: "ntk" or "standard".

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range.

    Source: Lee et al. 2018, arXiv 1711.00165; Jacot et al. 2018, arXiv 1806.07572.

    Example:
      >>> import jax.numpy as jnp
      >>> import ntkjax
      >>> network = ntkjax.architectures.fcn(depth=2)
      >>> network.kernel_fn(jnp.ones((3, 8)), get="ntk").shape
      (3, 3)
    """
    check_count("fcn", "depth", depth)
    options: dict[str, Any] = {"parameterization": parameterization}
    hidden = serial(Dense(width, W_std, b_std, **options), activation())
    return serial(repeat(hidden, depth), Dense(out_dim, W_std, b_std, **options))


def cnn(
    depth: int = 3,
    width: int = 64,
    out_dim: int = 10,
    pooling: str = "gap",
    radius: int = 4,
    filter_shape: Sequence[int] = (3, 3),
    padding: str = "SAME",
    activation: Callable[[], Any] = Relu,
    W_std: Scalar = _ROOT_TWO,
    b_std: Scalar | None = 0.1,
    parameterization: str = "ntk",
) -> Layer:
    r"""A convolutional network: `depth` times [Conv, activation], a pool, and a Dense on top.

    Local average pooling averages over the windows of :math:`2 r + 1` positions along each axis
    around every position, with zeros outside the image, as if images were shifted by up to r:

    .. math::
        z[P] = \frac{1}{(2 r + 1)^2} \sum_{i, j = -r}^{r} x[P + (i, j)].

    Args:
      depth: number of convolutions.
      width: channels of the finite network.
      out_dim: number of outputs.
      pooling: "gap" (mean over all positions), "flatten" (equal positions alone) or "lap" (local
        average pooling, then Flatten).
      radius: r, of "lap".
      filter_shape: taps along each spatial axis; its length is the number of spatial axes.
      padding: "SAME", "VALID" or "CIRCULAR".
      activation: makes a nonlinearity.
      W_std: standard deviation of the weights.
      b_std: standard deviation of the biases; None for no biases.
      parameterization: "ntk" or "standard".

    Returns:
      `(init_fn, apply_fn, kernel_fn)`.

    Raises:
      ValueError: an argument is out of its range.

    Source: Arora et al. 2019, arXiv 1904.11955 ("gap", "flatten"); Li et al. 2019, arXiv
    1911.00809 ("lap").

    Example:
      >>> import jax.numpy as jnp
      >>> import ntkjax
      >>> network = ntkjax.architectures.cnn(depth=2, pooling="lap", radius=1)
      >>> network.kernel_fn(jnp.ones((2, 6, 6, 3)), get="ntk").shape
      (2, 2)
    """
    check_count("cnn", "depth", depth)
    taps = check_counts("cnn", "filter_shape", filter_shape)
    pooling = check_choice("cnn", "pooling", pooling, ("gap", "flatten", "lap"))
    window = (2 * check_count("cnn", "radius", radius) + 1,) * len(taps)
    pool = {
        "gap": [GlobalAvgPool()],
        "flatten": [Flatten()],
        "lap": [AvgPool(window, padding="SAME"), Flatten()],
    }[pooling]
    options: dict[str, Any] = {"parameterization": parameterization}
    conv = Conv(width, taps, padding=padding, W_std=W_std, b_std=b_std, **options)
    top = Dense(out_dim, W_std, b_std, **options)
    return serial(repeat(serial(conv, activation()), depth), *pool, top)


def resnet(
    block_size: int = 2, width: int = 16, out_dim: int = 10, pool: Sequence[int] | None = None
) -> Layer:
    r"""A residual network with activations before convolutions, at three resolutions.

    .. math::
        f \mapsto C(\phi(C(\phi(f)))) + S(f),

    with a convolution S where the number of channels changes, and else S(f) = f.

    Args:
      block_size: residual blocks at each resolution; the network has 6 block_size + 2 layers.
      width: channels at the first resolution, twice as many at each later one.
      out_dim: number of outputs.
      pool: window of an AvgPool before Flatten; None for a mean over all positions.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, for images of two spatial axes.

    Raises:
      ValueError: an argument is out of its range.

    Source: He et al. 2016, arXiv 1603.05027.

    Example:
      >>> import jax
      >>> import ntkjax
      >>> network = ntkjax.architectures.resnet(block_size=1)
      >>> network.init_fn(jax.random.key(0), (2, 8, 8, 3))[0]
      (2, 10)
    """
    return _residual("resnet", block_size, check_count("resnet", "width", width), out_dim, pool)


def wide_resnet(
    block_size: int = 4, k: int = 1, out_dim: int = 10, pool: Sequence[int] | None = (8, 8)
) -> Layer:
    r"""A wide residual network: `resnet` with 16 k channels at the first resolution.

    .. math::
        f \mapsto C(\phi(C(\phi(f)))) + S(f).

    Args:
      block_size: residual blocks at each of three resolutions.
      k: how many times as wide as the narrow one the finite network is.
      out_dim: number of outputs.
      pool: window of an AvgPool before Flatten, which is all positions of 32 x 32 images; None for
        a mean over all positions of images of any size.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, for images of two spatial axes.

    Raises:
      ValueError: an argument is out of its range.

    Source: Zagoruyko and Komodakis 2016, arXiv 1605.07146.

    Example:
      >>> import jax
      >>> import ntkjax
      >>> network = ntkjax.architectures.wide_resnet(block_size=1, k=2, pool=None)
      >>> network.init_fn(jax.random.key(0), (2, 8, 8, 3))[0]
      (2, 10)
    """
    width = 16 * check_count("wide_resnet", "k", k)
    return _residual("wide_resnet", block_size, width, out_dim, pool)


def _residual(
    name: str, block_size: int, width: int, out_dim: int, pool: Sequence[int] | None
) -> Layer:
    check_count(name, "block_size", block_size)

    def conv(channels: int, strides: tuple[int, int] = (1, 1)) -> Layer:
        return Conv(channels, (3, 3), strides, padding="SAME")

    def block(channels: int, strides: tuple[int, int], shortcut: Layer) -> Layer:
        main = serial(Relu(), conv(channels, strides), Relu(), conv(channels))
        return serial(FanOut(2), parallel(main, shortcut), FanInSum())

    def group(channels: int, strides: tuple[int, int]) -> Layer:
        first = block(channels, strides, conv(channels, strides))
        others = [block(channels, (1, 1), Identity()) for _ in range(block_size - 1)]
        return serial(first, *others)

    top = [GlobalAvgPool()] if pool is None else [AvgPool(pool), Flatten()]
    return serial(
        conv(16),
        group(width, (1, 1)),
        group(2 * width, (2, 2)),
        group(4 * width, (2, 2)),
        *top,
        Dense(out_dim, 1.0, 0.0),
    )


def myrtle(
    depth: int = 5,
    width: int = 64,
    out_dim: int = 10,
    W_std: Scalar = _ROOT_TWO,
    b_std: Scalar | None = None,
) -> Layer:
    r"""A Myrtle network: convolutions at three resolutions, five poolings of two by two positions.

    .. math::
        f = D \circ P^3 \circ (\phi \circ C)^{n_3} \circ P \circ (\phi \circ C)^{n_2} \circ P \circ
            (\phi \circ C)^{n_1},

    with n = (2, 1, 1) of depth 5, (2, 2, 2) of depth 7, and (3, 3, 3) of depth 10.

    Args:
      depth: 5, 7 or 10: convolutions and the Dense on top.
      width: channels of the finite network.
      out_dim: number of outputs.
      W_std: standard deviation of the weights.
      b_std: standard deviation of the biases; None for no biases.

    Returns:
      `(init_fn, apply_fn, kernel_fn)`, for images of 32 x 32 positions or other multiples of 32.

    Raises:
      ValueError: an argument is out of its range.

    Source: Shankar et al. 2020, arXiv 2003.02237, section 3.

    Example:
      >>> import jax
      >>> import ntkjax
      >>> network = ntkjax.architectures.myrtle(depth=7)
      >>> network.init_fn(jax.random.key(0), (2, 32, 32, 3))[0]
      (2, 10)
    """
    if depth not in _MYRTLE:
        raise ValueError(f"myrtle: depth={depth!r}, expected one of {list(_MYRTLE)}.")

    def convs(count: int) -> Layer:
        conv = Conv(width, (3, 3), padding="SAME", W_std=W_std, b_std=b_std)
        return repeat(serial(conv, Relu()), count)

    one, two, three = _MYRTLE[depth]
    half = AvgPool((2, 2), (2, 2))
    return serial(
        convs(one), half, convs(two), half, convs(three), half, half, half,
        Flatten(), Dense(out_dim, W_std, b_std),
    )  # fmt: skip
