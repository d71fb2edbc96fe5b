"""The Myrtle kernel on images, beside that of a fully connected network.

    python examples/myrtle.py --data path/to/cifar-10-batches-py --side 32

Myrtle networks are 3 x 3 convolutions with average pools between them until one position is left,
and no more. Without --data, the digits of scikit-learn are used, of 8 x 8 pixels; larger images are
averaged down to --side, whole, whatever their size. Of 32 x 32 pixels the network is
`architectures.myrtle(5)` of the paper.

Source: Shankar et al. 2020, arXiv 2003.02237.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets import load
from kernels import standardized
from ntkjax import architectures, stax
from options import positive, sizes, small_parser
from plots import new_panels, save, set_sizes
from regression import Candidate, Method, accuracy_of, choose, predict
from report import say
from splits import random_split

MYRTLE, FLAT = "Myrtle, five layers", "fully connected, three layers"


def network(side: int) -> Any:
    """A Myrtle network of four convolutions for images of side x side pixels, a power of two."""
    if side == 32:
        return architectures.myrtle(5)
    blocks: list[Any] = []
    for convolutions in (2, 1, 1):
        conv = stax.serial(stax.Conv(64, (3, 3), padding="SAME", W_std=2**0.5), stax.Relu())
        blocks += [conv] * convolutions + [stax.AvgPool((2, 2), (2, 2))]
    pools = [stax.AvgPool((2, 2), (2, 2))] * int(np.log2(side / 8))
    return stax.serial(*blocks, *pools, stax.Flatten(), stax.Dense(10, 2**0.5))


def images_of(
    path: Path | None, side: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, str]:
    """Standardised images of side x side pixels, their labels, and what they are."""
    data = load(path)
    pool = random_split(data.labels, 0, seed).pool[:count]
    images = data.images[pool]
    if min(images.shape[1:3]) < side:
        raise SystemExit(
            f"{data.name} has {images.shape[1]} x {images.shape[2]} pixels: lower --side"
        )
    return standardized(averaged(images, side)).astype(np.float32), data.labels[pool], data.name


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Means over side x side equal parts of each image; parts share the pixels between them."""

    def weights(pixels: int) -> np.ndarray:
        """The share of each pixel in each part, (part, pixel)."""
        ends, pixel = np.linspace(0, pixels, side + 1), np.arange(pixels)
        lower = np.maximum(ends[:-1, None], pixel)
        shares = np.maximum(np.minimum(ends[1:, None], pixel + 1) - lower, 0)
        return shares / shares.sum(1, keepdims=True)

    height, width = map(weights, images.shape[1:3])
    return np.einsum("Hh,nhwc,Ww->nHWc", height, images, width, optimize=True)


def methods(images: np.ndarray) -> list[Method]:
    """The NTK of a Myrtle network, and that of a fully connected one."""
    flat = images.reshape(len(images), -1)
    myrtle = np.asarray(network(images.shape[1]).kernel_fn(images, None, "ntk"), float)
    fcn = np.asarray(architectures.fcn(3).kernel_fn(flat, None, "ntk"), float)

    def method(name: str, k: np.ndarray) -> Method:
        return Method(name, [Candidate("", lambda rows, train: k[np.ix_(rows, train)])])

    return [method(MYRTLE, myrtle), method(FLAT, fcn)]


def accuracies(
    images: np.ndarray, labels: np.ndarray, train_sizes: Sequence[int], test_size: int
) -> dict[str, list[float]]:
    """Test accuracy by training size; the ridge is chosen within the training set."""
    test, classes = np.arange(test_size), int(labels.max()) + 1
    found: dict[str, list[float]] = {}
    for method in methods(images):
        for size in train_sizes:
            train = np.arange(test_size, test_size + size)
            choice = choose(method, train, labels[train], classes)
            scores = predict(choice, train, labels[train], test, classes)
            found.setdefault(method.name, []).append(accuracy_of(scores, labels[test]))
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, list[float]]:
    parser = small_parser("myrtle.py", __doc__)
    parser.add_argument("--data", help="as for digits.py", type=Path, metavar="PATH")
    parser.add_argument("--train-sizes", type=sizes, default=[20, 50, 100, 200], metavar="N,N,...")
    parser.add_argument("--test-size", type=positive, default=200, metavar="N")
    parser.add_argument(
        "--side", help="pixels (default: 8)", type=int, choices=(8, 16, 32, 64), default=8
    )
    options = parser.parse_args(arguments)
    count = options.test_size + options.train_sizes[-1]
    images, labels, name = images_of(options.data, options.side, count, options.seed)
    if len(images) < count:
        raise SystemExit(f"{name} has {len(images)} images, but {count} were asked for")
    found = accuracies(images, labels, options.train_sizes, options.test_size)
    figure, (axes,) = new_panels(
        f"{name}, {options.side} x {options.side} pixels", ["test accuracy"]
    )
    for method, values in found.items():
        say(f"{method:<30}" + "".join(f"{value:>8.1%}" for value in values))
        axes.semilogx(options.train_sizes, values, marker="o", markersize=4, label=method)
    set_sizes(axes, options.train_sizes)
    axes.set_xlabel("training images", fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    save(figure, options.out / "myrtle.png")
    return found


if __name__ == "__main__":
    main()
