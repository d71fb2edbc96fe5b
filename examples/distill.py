"""Dataset distillation: ten learned images that teach a kernel what a training set teaches it.

    python examples/distill.py
    python examples/distill.py --data path/to/MNIST --per-class 10 --learn-labels

One image of each class (or --per-class) is learned by gradients through exact tangent kernels, that
of a fully connected network and that of three convolutions with average pools, so that kernel
regression on the learned images alone fits the training images. Beside them: real images, in ten
random choices, and the means of the classes. Test images decide nothing but the scores.

What is learned is stored in the folder of --out every now and then: a run that was stopped goes on,
and one with more --steps does too.

Source: Nguyen et al. 2021, arXiv 2011.00050 and arXiv 2107.13034.
"""

import argparse
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure

import ntkjax
from checkpoints import read_arrays, write_arrays
from datasets import Dataset, load
from inducing_points import Learned, Learner, Points, mean_points, real_points, targets
from kernels import standardized
from ntkjax import stax
from options import LARGEST_SIDE, positive, shrunk, small_parser
from plots import INK, save
from regression import accuracy_of
from report import progress, say
from splits import random_split

FLAT, POOLED = "fully connected", "convolutional"
COLOURS = {FLAT: "#0072b2", POOLED: "#d55e00"}
DRAWS = 10
STATES = {FLAT: "distill_flat.npz", POOLED: "distill_pooled.npz"}


class Task(NamedTuple):
    """Standardised images and their labels, to learn from and to be scored on."""

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class Course(NamedTuple):
    """What came of learning: the points, and test accuracies and losses after numbers of steps."""

    points: Points
    steps: list[int]
    accuracies: list[float]
    losses: list[float]


def networks(side: int) -> dict[str, Any]:
    """The two networks, for images of which no side is shorter than this."""
    dense = stax.Dense(1, W_std=2**0.5, b_std=0.1)
    flat = stax.serial(stax.Flatten(), *[dense, stax.Relu()] * 3, dense)
    conv = stax.Conv(1, (3, 3), padding="SAME", W_std=2**0.5, b_std=0.1)
    # Fewer blocks where images are so small that pools would leave nothing of them.
    blocks = min(3, side.bit_length() - 1)
    pooled = [conv, stax.Relu(), stax.AvgPool((2, 2), (2, 2))] * blocks
    return {FLAT: flat, POOLED: stax.serial(*pooled, stax.Flatten(), dense)}


def task_of(data: Dataset, options: argparse.Namespace) -> Task:
    """Images shrunk and standardised one by one, and a random split of them."""
    side = max(data.images.shape[1:3])
    factor = options.shrink or -(-side // LARGEST_SIDE)
    images = standardized(shrunk(data.images, factor)).astype(np.float32)
    pool, test = random_split(data.labels, options.test_size, options.seed)
    classes = len(data.class_names)
    least = int(np.bincount(data.labels[pool], minlength=classes).min())
    if least < options.per_class:
        raise SystemExit(
            f"{data.name} has {len(data.labels)} images, and with {options.test_size} for tests a "
            f"class has {least} left: lower --per-class or --test-size"
        )
    return Task(
        data.name, data.class_names, images[pool], data.labels[pool], images[test],
        data.labels[test],
    )  # fmt: skip


def learn(
    name: str, learner: Learner, start: Points, task: Task, options: argparse.Namespace
) -> Course:
    """Learn points by as many steps as were asked for, from where the last run stopped."""
    path = options.out / STATES[name]
    settings = settings_of(name, task, options)
    learned, done, course = resumed(learner.start(start), read_arrays(path, settings))
    if done:
        say(f"{path} holds {done} steps")
    advance = progress(options.steps, f"learning through the {name} kernel")
    for _ in range(min(done, options.steps)):
        advance()
    classes, batch = len(task.classes), min(options.batch, len(task.images))
    labels, losses = targets(task.labels, classes), []

    def scored(points: Points) -> float:
        return accuracy_of(np.asarray(learner.scores(points, task.test_images)), task.test_labels)

    if not done:
        course = Course(start, [0], [scored(learned.points)], [np.nan])
    while done < options.steps:
        # Each step draws images by a seed of its own, so that a run goes on as if never stopped.
        rng = np.random.default_rng((options.seed, done))
        rows = rng.choice(len(task.images), batch, replace=False)
        learned, loss = learner.step(learned, task.images[rows], labels[rows])
        losses.append(float(loss))
        done += 1
        advance()
        if done % options.every == 0 or done == options.steps:
            course.steps.append(done)
            course.accuracies.append(scored(learned.points))
            course.losses.append(float(np.mean(losses)))
            losses.clear()
            write_arrays(path, stored(learned, course), settings)
    return course._replace(points=Points(*map(np.asarray, learned.points)))


def settings_of(name: str, task: Task, options: argparse.Namespace) -> dict[str, Any]:
    """What decides the course of learning, but for the number of steps."""
    digest = hashlib.sha256(task.images.tobytes()).hexdigest()[:16]
    names = ("per_class", "learn_labels", "rate", "reg", "batch", "seed", "test_size")
    chosen = {key: getattr(options, key) for key in names}
    return {"kernel": name, "data": task.name, "training images": digest, **chosen}


def stored(learned: Learned, course: Course) -> dict[str, Any]:
    leaves = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(learned))}
    return {**leaves, **{name: getattr(course, name) for name in Course._fields[1:]}}


def resumed(start: Learned, arrays: dict[str, np.ndarray] | None) -> tuple[Learned, int, Course]:
    """What is learned, after how many steps, and its course."""
    if arrays is None:
        return start, 0, Course(start.points, [], [], [])
    leaves, structure = jax.tree.flatten(start)
    held = [jax.numpy.asarray(arrays[f"leaf{i}"]) for i in range(len(leaves))]
    learned: Learned = jax.tree.unflatten(structure, held)
    course = Course(learned.points, *(arrays[name].tolist() for name in Course._fields[1:]))
    return learned, course.steps[-1], course


def table(learners: dict[str, Learner], points: dict[str, list[Points]], task: Task) -> Any:
    """Test accuracies by kind of points and kernel, each an array over the points of that kind."""
    return {
        kind: {
            name: np.array(
                [
                    accuracy_of(np.asarray(learner.scores(p, task.test_images)), task.test_labels)
                    for p in each
                ]
            )
            for name, learner in learners.items()
        }
        for kind, each in points.items()
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    options = parse(arguments)
    ntkjax.config.dtype = "inputs"
    began = time.perf_counter()
    task = task_of(load(options.data), options)
    height, width = task.images.shape[1:3]
    learners = {
        name: Learner(network.kernel_fn, options.rate, options.reg, options.learn_labels)
        for name, network in networks(min(height, width)).items()
    }
    classes = len(task.classes)
    say(
        f"{task.name}, {height} x {width}: {classes * options.per_class} images are learned from "
        f"{len(task.images)}, and scored on {len(task.test_images)}."
    )

    def choice(seed: int) -> Points:
        return real_points(task.images, task.labels, options.per_class, classes, seed)

    courses = {n: learn(n, learner, choice(0), task, options) for n, learner in learners.items()}
    means = mean_points(task.images, task.labels, options.per_class, classes, options.seed)
    points = {
        "real images": [choice(seed) for seed in range(DRAWS)],
        "means of classes": [means],
        **{f"learned, {name}": [course.points] for name, course in courses.items()},
    }
    found = table(learners, points, task)
    say(f"\nTest accuracy in % of regression on {classes * options.per_class} images\n")
    say(f"{'':<26}" + "".join(f"{name:>20}" for name in learners))
    for kind, by_kernel in found.items():
        cells = [
            f"{100 * a.mean():.1f}" + (f" ± {100 * a.std(ddof=1):.1f}" if len(a) > 1 else "")
            for a in by_kernel.values()
        ]
        say(f"{kind:<26}" + "".join(f"{cell:>20}" for cell in cells))
    say(f"\nReal images: mean ± standard deviation of {DRAWS} random choices.")
    plot(options.out / "distill.png", task, choice(0), courses, found, options.per_class)
    say(f"Wrote {options.out / 'distill.png'}. Took {time.perf_counter() - began:.0f} s.")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = small_parser("distill.py", __doc__)
    add = parser.add_argument
    add("--data", help="as for digits.py (default: digits)", type=Path, metavar="PATH")
    number: Any = {"type": positive, "metavar": "N"}
    add("--per-class", help="images learned of each (default: 1)", default=1, **number)
    add("--learn-labels", help="learn their targets, too", action="store_true")
    add("--steps", help="of Adam (default: %(default)s)", default=150, **number)
    add("--every", help="steps between scores (default: %(default)s)", default=10, **number)
    add("--batch", help="images of a step (default: %(default)s)", default=100, **number)
    add("--test-size", help="default: %(default)s", default=500, **number)
    add("--shrink", help="average blocks of N x N pixels (default: to 16 a side)", **number)
    add("--rate", help="of Adam (default: %(default)s)", type=float, default=0.02)
    add("--reg", help="relative ridge (default: %(default)s)", type=float, default=1e-3)
    return parser.parse_args(arguments)


def plot(
    path: Path, task: Task, start: Points, courses: dict[str, Course], found: Any, per_class: int
) -> None:
    """Test accuracy over steps, and the first image of each class, real and learned."""
    figure = Figure(figsize=(10.5, 3.8), dpi=110, layout="constrained")
    title = f"{task.name}: test accuracy of regression on {len(start.images)} images"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    left, right = halves
    axes = left.subplots()
    for name, course in courses.items():
        real = found["real images"][name]
        colour = COLOURS[name]
        axes.plot(course.steps, course.accuracies, color=colour, lw=1.8, label=f"learned, {name}")
        axes.axhline(real.mean(), color=colour, lw=1, dashes=(2, 2), label="real images")
        spread = real.std(ddof=1)
        axes.axhspan(real.mean() - spread, real.mean() + spread, color=colour, alpha=0.12, lw=0)
        mean = found["means of classes"][name][0]
        axes.axhline(mean, color=colour, lw=1, dashes=(6, 2), label="means of classes")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.set_xlabel("steps of Adam", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5)
    shown = min(10, len(task.classes))
    rows = {"real": start.images, **{n: course.points.images for n, course in courses.items()}}
    grid = right.subplots(len(rows), shown, squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for c, each in enumerate(line):
            image = np.asarray(images[c * per_class])
            low, high = image.min(), image.max()
            each.imshow((image - low) / max(high - low, 1e-6), cmap="gray", interpolation="nearest")
            each.set(xticks=[], yticks=[])
            each.spines[:].set_visible(False)
            if line is grid[0]:
                each.set_title(task.classes[c], fontsize=8, color=INK)
        label = name if name == "real" else f"learned,\n{name}"
        line[0].set_ylabel(label, fontsize=8, color=COLOURS.get(name, INK))
    save(figure, path)


if __name__ == "__main__":
    main()
