"""CIFAR-10 from 10 to 640 training images: the convolutional tangent kernel, as published.

    python examples/small_cifar.py --data path/to/cifar-10-batches-py

The kernel of --depth convolutions with global average pooling, between --images images, is computed
once, block by block, in a file in the folder of --out: a run that was stopped goes on, and one with
other training sizes computes nothing anew. With it, random balanced training sets of each size are
learned, by regression and by a support vector machine, and scored on all images that none of the
split's training sets holds. Of the default 1,000 images these are 360 in each of 20 splits; the
paper takes CIFAR-10's 10,000 test images. The means are printed beside the published ones.

Channels are shifted and scaled to mean 0 and variance 1 over all images; nothing is tuned.

Source: Arora et al. 2020, arXiv 1910.01663, table 2.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from sklearn.svm import SVC

import ntkjax
from datasets import Dataset, load
from kernels import convolutional_network
from ntkjax import ntk_predict
from options import positive, shrunk, sizes, small_parser
from plots import new_panels, save, set_sizes
from regression import accuracy_of, one_hot
from report import progress, say
from splits import random_split, subset

SIZES = [10, 20, 40, 80, 160, 320, 640]
#: Test accuracies in % of table 2: of the kernel of five layers, and of a trained ResNet-34.
PUBLISHED = {
    "CNTK": (15.08, 18.03, 20.83, 24.82, 29.63, 35.26, 41.24),
    "ResNet": (14.59, 17.50, 19.52, 23.32, 28.30, 33.15, 41.66),
}
PUBLISHED_DEPTH = 5
#: Rows and columns of a block, so many that what belongs to single images is shared by many pairs.
BLOCK = 50
#: Of regression, in units of the mean of the diagonal: there for the solve alone.
REG = 1e-6
#: Of errors of the support vector machine, with a kernel of diagonal about one: a hard margin.
COST = 1e4
REGRESSION, MACHINE = "regression", "SVM"
COLOURS = {REGRESSION: "#d55e00", MACHINE: "#e69f00", "CNTK": "#0072b2", "ResNet": "#606060"}


class Images(NamedTuple):
    images: np.ndarray
    labels: np.ndarray
    classes: int


def images_of(data: Dataset, count: int, shrink: int, seed: int) -> Images:
    """So many images, balanced over the classes, with standardised channels."""
    rows = subset(data.labels, count, seed)
    if len(rows) < count:
        raise SystemExit(f"{data.name} has {len(rows)} images: lower --images {count}")
    images = shrunk(data.images[rows], shrink)
    axes = (0, 1, 2)
    images = (images - images.mean(axes)) / np.maximum(images.std(axes), 1e-6)
    return Images(images.astype(np.float32), data.labels[rows], len(data.class_names))


def kernel_matrix(images: np.ndarray, depth: int, folder: Path) -> np.ndarray:
    """The kernel between all images, float32, from a file in which its blocks are kept."""
    digest = hashlib.sha256(images.tobytes() + f"{images.shape} {depth}".encode()).hexdigest()
    path, count = folder / f"small_cifar_{depth}_{digest[:12]}.npy", len(images)
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            np.save(file, np.full((count, count), np.nan, np.float32))
        fresh.replace(path)
    matrix = np.lib.format.open_memmap(path, mode="r+")
    kernel_fn = convolutional_network(depth).kernel_fn
    blocks = [slice(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]
    pairs = [(a, b) for i, a in enumerate(blocks) for b in blocks[i:]]
    # A kernel is never NaN: what is NaN has not been computed, or was not yet written as a whole.
    missing = [
        (a, b) for a, b in pairs if np.isnan(matrix[a, b]).any() or np.isnan(matrix[b, a]).any()
    ]
    if missing:
        say(f"{path}: {len(pairs) - len(missing)} of {len(pairs)} blocks are there")
        advance = progress(len(missing), "blocks of the kernel")
        for a, b in missing:
            block = np.asarray(kernel_fn(images[a], None if a is b else images[b], "ntk"))
            matrix[a, b], matrix[b, a] = block, block.T
            matrix.flush()
            advance()
    return np.asarray(matrix, np.float64)


def learned(kernel: np.ndarray, data: Images, train: np.ndarray, test: np.ndarray) -> list[float]:
    """Test accuracies of regression and of a support vector machine."""
    k_train, k_test, labels = kernel[np.ix_(train, train)], kernel[np.ix_(test, train)], data.labels
    scale = float(np.mean(np.diag(k_train)))
    scores = ntk_predict(k_train, k_test, one_hot(labels[train], data.classes), reg=REG * scale)
    svm = SVC(C=COST, kernel="precomputed").fit(k_train / scale, labels[train])
    said = svm.predict(k_test / scale)
    return [accuracy_of(np.asarray(scores), labels[test]), float(np.mean(said == labels[test]))]


def measure(
    kernel: np.ndarray, data: Images, train_sizes: Sequence[int], splits: int, seed: int
) -> dict[str, np.ndarray]:
    """Test accuracies in %, (splits, sizes), by method."""
    found = np.empty((splits, len(train_sizes), 2))
    advance = progress(splits, "splits")
    for split in range(splits):
        held_out = len(data.labels) - train_sizes[-1]
        pool, test = random_split(data.labels, held_out, seed + split)
        for k, size in enumerate(train_sizes):
            found[split, k] = learned(kernel, data, pool[:size], test)
        advance()
    return {name: 100 * found[:, :, k] for k, name in enumerate((REGRESSION, MACHINE))}


def published(train_sizes: Sequence[int], depth: int) -> dict[str, list[float]]:
    """The published means at these sizes, NaN where there is none."""
    names = ["CNTK", "ResNet"] if depth == PUBLISHED_DEPTH else ["ResNet"]
    means = {name: dict(zip(SIZES, PUBLISHED[name], strict=True)) for name in names}
    return {name: [by_size.get(n, np.nan) for n in train_sizes] for name, by_size in means.items()}


def main(arguments: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    options = parse(arguments)
    if options.train_sizes[-1] >= options.images:
        raise SystemExit(
            f"--images {options.images} leaves none for tests of {options.train_sizes[-1]} for "
            "training: raise it, or lower --train-sizes"
        )
    # Regression is float64, the kernel of float32 images float32.
    jax.config.update("jax_enable_x64", True)
    ntkjax.config.dtype = "inputs"
    data = images_of(load(options.data), options.images, options.shrink, options.seed)
    kernel = kernel_matrix(data.images, options.depth, options.out)
    found = measure(kernel, data, options.train_sizes, options.splits, options.seed)
    theirs = published(options.train_sizes, options.depth)
    say(
        f"\nTest accuracy in %, mean ± standard error over {options.splits} splits, by training "
        f"images; scored on {options.images - options.train_sizes[-1]}\n"
    )
    say(f"{'':<26}" + "".join(f"{size:>14}" for size in options.train_sizes))
    errors = {}
    for name, values in found.items():
        errors[name] = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        cells = [f"{m:.2f} ± {e:.2f}" for m, e in zip(values.mean(0), errors[name], strict=True)]
        say(f"{f'CNTK, {name}':<26}" + "".join(f"{cell:>14}" for cell in cells))
    for name, means in theirs.items():
        say(f"{f'published {name}':<26}" + "".join(f"{mean:>14.2f}" for mean in means))
    figure, (axes,) = new_panels(f"{options.images} images", ["test accuracy in %"])
    for name, values in found.items():
        axes.errorbar(options.train_sizes, values.mean(0), errors[name], color=COLOURS[name],
                      marker="o", markersize=3, lw=1.5, label=f"CNTK, {name}")  # fmt: skip
    for name, means in theirs.items():
        axes.plot(options.train_sizes, means, color=COLOURS[name], marker="x", markersize=4, lw=1,
                  dashes=(4, 2), label=f"published {name}")  # fmt: skip
    axes.set_xscale("log")
    set_sizes(axes, options.train_sizes)
    axes.set_xlabel("training images", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, options.out / "small_cifar.png")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = small_parser("small_cifar.py", __doc__)
    add = parser.add_argument
    add("--data", help="as for digits.py", type=Path, required=True, metavar="PATH")
    add("--train-sizes", help="default: 10,20,...,640", type=sizes, default=SIZES, metavar="N,N")
    for name, default, text in [
        ("images", 1000, "between which the kernel is computed"),
        ("splits", 20, "random splits"),
        ("depth", PUBLISHED_DEPTH, "convolutions"),
        ("shrink", 1, "average blocks of N x N pixels into one"),
    ]:
        how = f"{text} (default: {default})"
        add(f"--{name}", help=how, type=positive, default=default, metavar="N")
    options = parser.parse_args(arguments)
    if options.splits < 2:
        parser.error("--splits 1 has no standard error: 2 or more")
    return options


if __name__ == "__main__":
    main()
