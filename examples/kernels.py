"""The kernels that the demo compares: three classical ones, and those of infinite networks.

All of them act on images of which each was shifted to mean zero and scaled to variance one on its
own, so that no preprocessing looks at the training set. Each kernel of a network is computed once,
for all pairs of images, and cut into training and test parts afterwards.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from ntkjax import stax
from regression import Candidate, Method

Progress = Callable[[int, str], Callable[[], None]]


def standardized(images: np.ndarray) -> np.ndarray:
    """Each image with mean 0 and variance 1 over its own pixels and channels."""
    axes = (1, 2, 3)
    centred = images - images.mean(axes, keepdims=True)
    # A constant image stays zero.
    return centred / np.maximum(centred.std(axes, keepdims=True), 1e-6)


# ---- classical kernels, on pixels


def gaussian(x: np.ndarray) -> Method:
    """exp(-|x - y|^2 / (2 s^2)), s in units of the median distance of the training points."""
    squared = squared_distances(x)

    def candidate(factor: float) -> Candidate:
        def kernel(rows, train):
            between = squared[np.ix_(train, train)][np.triu_indices(len(train), 1)]
            bandwidth = factor * np.median(np.sqrt(between))
            return np.exp(-squared[np.ix_(rows, train)] / (2 * bandwidth**2))

        return Candidate(f"bandwidth {factor:g} x median", kernel)

    return Method("Gaussian", [candidate(f) for f in (0.125, 0.25, 0.5, 1.0, 2.0)])


def polynomial(x: np.ndarray) -> Method:
    """(1 + x.y / m)^degree, m the mean of x.x over the training points."""
    products = x @ x.T

    def candidate(degree: int) -> Candidate:
        def kernel(rows, train):
            mean = np.mean(products[train, train])
            return (1 + products[np.ix_(rows, train)] / mean) ** degree

        return Candidate(f"degree {degree}", kernel)

    return Method("polynomial", [candidate(degree) for degree in (1, 2, 3, 4, 6, 8)])


def arc_cosine(x: np.ndarray) -> Method:
    """The kernels of Cho and Saul 2009 of order 0, 1 and 2, composed one to three times."""
    return Method(
        "arc-cosine",
        [
            Candidate(f"order {order}, {layers} layers", of_matrix(arc_cosines(x, order, layers)))
            for order in (0, 1, 2)
            for layers in (1, 2, 3)
        ],
    )


def arc_cosines(x: np.ndarray, order: int, layers: int) -> np.ndarray:
    """k_n(x, y) = |x|^n |y|^n J_n(angle) / pi, applied to its own feature space `layers` times."""
    kernel = x @ x.T
    for _ in range(layers):
        norms = np.sqrt(np.diag(kernel))
        scale = np.outer(norms, norms)
        cosine = np.clip(kernel / np.maximum(scale, 1e-300), -1, 1)
        # An image with itself has angle zero; the quotient above is off by rounding.
        np.fill_diagonal(cosine, 1.0)
        kernel = scale**order * angular_part(np.arccos(cosine), order) / np.pi
    return kernel


def angular_part(angle: np.ndarray, order: int) -> np.ndarray:
    """J_0, J_1, J_2 of Cho and Saul 2009, equations (4) to (6)."""
    rest, sine, cosine = np.pi - angle, np.sin(angle), np.cos(angle)
    if order == 0:
        return rest
    if order == 1:
        return sine + rest * cosine
    return 3 * sine * cosine + rest * (1 + 2 * cosine**2)


def squared_distances(x: np.ndarray) -> np.ndarray:
    norms = np.sum(x**2, axis=1)
    return np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0)


def of_matrix(matrix: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda rows, train: matrix[np.ix_(rows, train)]


# ---- infinite networks


def fully_connected(x: np.ndarray, depth: int, progress: Progress) -> list[Method]:
    """The NTK and the NNGP of ReLU networks with 1 to `depth` hidden layers."""
    _, _, kernel_fn = every_depth(depth, dense, lambda: [dense()])
    kernels = all_pairs(
        lambda a, b: kernel_fn(a, b, ("ntk", "nngp")), x, 256, progress, "fully connected"
    )
    ntks, nngps = kernels[0::2], kernels[1::2]
    return [
        Method("NTK, fully connected", by_depth(ntks)),
        Method("NNGP, fully connected", by_depth(nngps)),
    ]


def convolutional(images: np.ndarray, depth: int, progress: Progress) -> list[Method]:
    """The CNTK of 1 to `depth` convolutions with ReLU, with Flatten and with global pooling."""
    _, _, kernel_fn = every_depth(depth, conv, lambda: [flatten_readout(), pooled_readout()])
    # Large enough that what belongs to single images is shared by many pairs.
    positions = images.shape[1] * images.shape[2]
    tile = max(16, min(128, 8192 // positions))
    kernels = all_pairs(lambda a, b: kernel_fn(a, b, "ntk"), images, tile, progress, "CNTK")
    flattened, pooled = kernels[0::2], kernels[1::2]
    return [
        Method("CNTK, Flatten", by_depth(flattened)),
        Method("CNTK, global pooling", by_depth(pooled)),
    ]


def by_depth(matrices: list[np.ndarray]) -> list[Candidate]:
    return [
        Candidate(f"depth {depth}", of_matrix(matrix))
        for depth, matrix in enumerate(matrices, start=1)
    ]


# Layers without bias, with weights of variance 2 / inputs, as in Arora et al. 2019. (There, the
# first layer has half of that; the ridge is relative to the kernel, so a factor does not matter.)
def conv(width: int = 1):
    return stax.Conv(width, (3, 3), padding="SAME", W_std=math.sqrt(2))


def dense(outputs: int = 1):
    return stax.Dense(outputs, W_std=math.sqrt(2))


def flatten_readout():
    return stax.serial(stax.Flatten(), dense())


def pooled_readout(outputs: int = 1):
    return stax.serial(stax.GlobalAvgPool(), dense(outputs))


def convolutional_network(depth: int, width: int = 1, outputs: int = 1):
    """`depth` convolutions with ReLU, global average pooling and a readout: CNTK-GAP when wide."""
    layers = [layer for _ in range(depth) for layer in (conv(width), stax.Relu())]
    return stax.serial(*layers, pooled_readout(outputs))


def fully_connected_network(depth: int, width: int = 1, outputs: int = 1):
    """`depth` hidden layers with ReLU and a readout."""
    layers = [layer for _ in range(depth) for layer in (dense(width), stax.Relu())]
    return stax.serial(stax.Flatten(), *layers, dense(outputs))


def every_depth(depth: int, hidden: Callable[[], tuple], readouts: Callable[[], list]):
    """One network whose outputs are the readouts after 1, 2, ..., `depth` hidden layers.

    Every hidden layer feeds its readouts and the next layer, so that one pass through the deepest
    network gives the kernels of all depths.
    """
    deeper = []
    for _ in range(depth):
        branches = [*readouts(), *deeper]
        if len(branches) == 1:
            deeper = [stax.serial(hidden(), stax.Relu(), *branches)]
        else:
            split = (stax.FanOut(len(branches)), stax.parallel(*branches))
            deeper = [stax.serial(hidden(), stax.Relu(), *split)]
    return deeper[0]


def all_pairs(
    kernel: Callable, x: np.ndarray, tile: int, progress: Progress, label: str
) -> list[np.ndarray]:
    """The kernels of all pairs, tile by tile above the diagonal, as float64 matrices.

    `kernel(x1, x2)` returns any nesting of (n1, n2) arrays; here they come as a flat list. All
    tiles have the same shape, so that one compilation serves, and two are on their way at a time.
    """
    n = len(x)
    tile = min(tile, n)
    starts = [min(start, n - tile) for start in range(0, n, tile)]
    corners = [(i, j) for index, i in enumerate(starts) for j in starts[index:]]
    advance = progress(len(corners), label)

    def blocks_at(corner: tuple[int, int]) -> list[np.ndarray]:
        i, j = corner
        return [np.asarray(k) for k in jax.tree.leaves(kernel(x[i : i + tile], x[j : j + tile]))]

    first = blocks_at(corners[0])  # compiles
    matrices = [np.empty((n, n)) for _ in first]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for (i, j), blocks in zip(corners, pool.map(blocks_at, corners), strict=True):
            for matrix, block in zip(matrices, blocks, strict=True):
                matrix[i : i + tile, j : j + tile] = block
                matrix[j : j + tile, i : i + tile] = block.T
            advance()
    return matrices
