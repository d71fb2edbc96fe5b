"""Kernels of infinite networks on real images, beside classical kernels and a finite network.

Exact kernel regression with a Gaussian, a polynomial and an arc-cosine kernel, with the NTK and
NNGP of fully connected networks, and with the CNTK with and without global average pooling; and a
finite convolutional network of the same architecture, trained with Adam until it gets every
training image right. For each training set, everything that can be chosen (bandwidth, degree,
depth, ridge, learning rate) is chosen by cross-validation inside that training set. Test images
serve only for the numbers that are shown.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from threadpoolctl import threadpool_limits

import kernels
import ntkjax
from datasets import Dataset, load
from finite import Trainer, relative_errors
from options import parse, prepared
from plots import plot_accuracy, plot_convergence
from regression import Method, accuracy_of, choose, predict
from report import (
    Result,
    accuracies,
    methods_of,
    print_settings,
    print_table,
    progress,
    say,
    write_convergence,
    write_results,
)
from splits import random_split

FINITE = "finite network"
POOLED = "CNTK, global pooling"
# The width sweep: layers, networks of each width, and images between which kernels are compared.
SWEEP_DEPTH, SWEEP_SEEDS, SWEEP_IMAGES = 2, 8, 8


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, __doc__)
    # Regression is float64; what is made from the float32 images of `load` stays float32.
    jax.config.update("jax_enable_x64", True)
    ntkjax.config.dtype = "inputs"
    started = time.perf_counter()

    data = prepared(load(options.data), options)
    sizes = options.train_sizes
    height, width, channels = data.images.shape[1:]
    say(
        f"{data.name}: {len(data.labels)} images of {height} x {width} x {channels}, "
        f"{len(data.class_names)} classes, in {options.splits} random splits into "
        f"{options.test_size} test images and a pool for training sets of "
        f"{', '.join(map(str, sizes))}."
    )
    results = run_kernels(all_methods(data.images, options.depth), data, options)
    if options.width:
        results += run_finite(results, data, options)
    print_table(results, sizes)
    print_settings(results, sizes[-1])
    write_results(options.out, results, vars(options))
    plot_accuracy(
        options.out / "accuracy.png",
        f"{data.name}, {height} x {width}: mean of {options.splits} random splits",
        sizes,
        {name: accuracies(results, name, sizes) for name in methods_of(results)},
    )
    run_sweep(data, options)
    written = "results.csv, options.json, convergence.json, accuracy.png and convergence.png"
    say(f"Wrote {written} to {options.out}/. Took {time.perf_counter() - started:.0f} s.")


def all_methods(images: np.ndarray, depth: int) -> list[Method]:
    """Every kernel between all images, in all settings that cross-validation may choose."""
    pixels = images.reshape(len(images), -1).astype(np.float64)
    return [
        kernels.gaussian(pixels),
        kernels.polynomial(pixels),
        kernels.arc_cosine(pixels),
        *kernels.fully_connected(pixels, depth, progress),
        *kernels.convolutional(images, depth, progress),
    ]


def training_sets(
    data: Dataset, options: argparse.Namespace
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(split, training indices, test indices) for all splits and sizes."""
    for split in range(options.splits):
        pool, test = random_split(data.labels, options.test_size, options.seed + split)
        for size in options.train_sizes:
            yield split, pool[:size], test


def run_kernels(
    methods: Sequence[Method], data: Dataset, options: argparse.Namespace
) -> list[Result]:
    classes = len(data.class_names)
    tasks = [(m, *sets) for m in methods for sets in training_sets(data, options)]
    advance = progress(len(tasks), "cross-validation of the kernels")

    def result(task: tuple[Method, int, np.ndarray, np.ndarray]) -> Result:
        method, split, train, test = task
        labels = data.labels[train]
        choice = choose(method, train, labels, classes)
        scores = predict(choice, train, labels, np.concatenate([train, test]), classes)
        training_accuracy = accuracy_of(scores[: len(train)], labels)
        accuracy = accuracy_of(scores[len(train) :], data.labels[test])
        setting = f"{choice.candidate.setting}, ridge {choice.ridge:g}"
        return Result(
            method.name, len(train), split, setting, choice.accuracy, training_accuracy, accuracy
        )

    results = []
    # Matrices of this size gain nothing from threads within a decomposition, and lose much when
    # other work shares the cores; two decompositions at a time do gain.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=2) as pool:
        for each in pool.map(result, tasks):
            results.append(each)
            advance()
    return results


def run_finite(
    of_kernels: Sequence[Result], data: Dataset, options: argparse.Namespace
) -> list[Result]:
    """The finite network, of the depth that cross-validation chose for its infinite counterpart."""
    depths = {
        (r.training_size, r.split): depth_in(r.setting) for r in of_kernels if r.method == POOLED
    }
    classes = len(data.class_names)
    trainers = {
        depth: Trainer(
            kernels.convolutional_network(depth, options.width, classes), data.images, classes
        )
        for depth in set(depths.values())
    }
    # The largest sets take longest: they come first, lest one thread be left alone with the last.
    tasks = sorted(training_sets(data, options), key=lambda sets: -len(sets[1]))
    advance = progress(len(tasks), "training of the finite network")

    def result(task: tuple[int, np.ndarray, np.ndarray]) -> Result:
        split, train, test = task
        depth, labels, seed = depths[len(train), split], data.labels[train], options.seed + split
        trainer = trainers[depth]
        rate, validation_accuracy = trainer.choose(train, labels, seed)
        params, steps, training_accuracy = trainer.fit(train, labels, rate, seed)
        accuracy = accuracy_of(trainer.scores(params, test), data.labels[test])
        setting = f"depth {depth}, width {options.width}, rate {rate:g}, {steps} steps"
        return Result(
            FINITE, len(train), split, setting, validation_accuracy, training_accuracy, accuracy
        )

    results = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        for each in pool.map(result, tasks):
            results.append(each)
            advance()
    lowest = min(each.training_accuracy for each in results)
    say(f"Lowest training accuracy of the finite networks: {100 * lowest:.4g} %")
    return sorted(results, key=lambda each: (each.split, each.training_size))


def depth_in(setting: str) -> int:
    """The depth in 'depth 2, ridge 0.1'."""
    return int(setting.removeprefix("depth ").split(",")[0])


def run_sweep(data: Dataset, options: argparse.Namespace) -> None:
    """How fast the kernels of finite networks approach the exact ones."""
    networks = {
        "convolutional,\nglobal pooling": kernels.convolutional_network,
        "fully connected": kernels.fully_connected_network,
    }
    depth = min(options.depth, SWEEP_DEPTH)
    images = data.images[:SWEEP_IMAGES]
    advance = progress(len(networks) * len(options.widths) * SWEEP_SEEDS, "sweep of widths")
    errors = {}
    for name, network in networks.items():

        def of_width(width: int, network=network):
            return network(depth, width)

        errors[name] = relative_errors(of_width, images, options.widths, SWEEP_SEEDS, advance)
    plot_convergence(
        options.out / "convergence.png",
        f"NTK of finite networks of {depth} hidden layers: distance from the exact kernel",
        options.widths,
        errors,
    )
    flat_names = {name.replace("\n", " "): values for name, values in errors.items()}
    write_convergence(options.out, depth, options.widths, flat_names)


if __name__ == "__main__":
    main()
