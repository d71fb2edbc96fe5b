"""Small data sets: support vector machines on tangent kernels, beside classical methods.

    python examples/uci.py --data PATH

PATH is a folder of NAME.npz, one for each data set: rows `X` and labels `y`; row numbers `train`
and `valid`, on which hyperparameters are chosen; and `fold0_train`, `fold0_test` ... `fold3_test`,
for which accuracies are reported. The tangent kernel takes 1 to 5 layers, of which any number but
the last is frozen. How the kernel and the cost of errors are chosen is named by --protocol:

    arora    costs of 1e-2 to 1e4, by the accuracy on the validation rows
    shankar  costs of 2^-19 to 2^19, by the mean of that accuracy and of those on four random
             halves of all rows, with the same share of each class
    folds    costs of 1e-2 to 1e4, by the accuracy that is reported: the best that the kernels can
             do on these folds, and more than on new data. It gives the published accuracies.

The smallest sets come first. What has been measured stands in a file in the folder of --out, kernel
by kernel, and is not measured again: a run that was stopped goes on. If the folder of data holds
`published_accuracy.csv` (dataset, ntk, gaussian), its means are printed beside.

Sources: Arora et al. 2020, arXiv 1910.01663, section 4 and table 1; Shankar et al. 2020, arXiv
2003.02237, and the code that its authors published, which draws other halves for each setting, and
ten of them for Gaussian kernels. Their tables 7 and 8 are tuned on the four folds. The sets are
those of Fernández-Delgado et al. 2014.
"""

import argparse
import csv
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning

from options import positive, small_parser
from plots import new_panels, save
from report import progress, say
from uci_kernels import TANGENT, Named, gaussian_kernels, tangent_kernels
from uci_log import Log
from uci_svm import Split, accuracies_of, halves, mean_accuracies

FOLDS, HALVES = 4, 4
NTK, GAUSSIAN, FOREST = "NTK SVM", "Gaussian SVM", "random forest"
METHODS = {"ntk": NTK, "gaussian": GAUSSIAN, "forest": FOREST}

Data = dict[str, np.ndarray]


def folds_of(data: Data, seed: int = 0) -> list[Split]:
    """Row numbers for training and for tests."""
    return [Split(data[f"fold{k}_train"], data[f"fold{k}_test"]) for k in range(FOLDS)]


def validation_of(data: Data, seed: int) -> list[Split]:
    return [Split(data["train"], data["valid"])]


def validation_and_halves_of(data: Data, seed: int) -> list[Split]:
    return [*validation_of(data, seed), *halves(data["y"], HALVES, seed)]


class Protocol(NamedTuple):
    """Which costs and Gaussian kernels are tried, and on which splits of a data set."""

    costs: np.ndarray
    #: Of the kernel exp(-gamma |x - x'|^2 / d), by name.
    gammas: dict[str, float]
    splits: Callable[[Data, int], list[Split]]


TENS, FOURS = 10.0 ** np.arange(-2, 5), {f"gamma 4^{k}": 4.0**k for k in range(-3, 4)}
TWOS = {f"gamma 2^{k}": 2.0**k for k in range(-19, 20)}
PROTOCOLS = {
    "arora": Protocol(TENS, FOURS, validation_of),
    "shankar": Protocol(np.array([*TWOS.values()]), TWOS, validation_and_halves_of),
    "folds": Protocol(TENS, FOURS, folds_of),
}


class Family(NamedTuple):
    """Kernels of which one is chosen: their names, the simplest first, and those of some names."""

    names: list[str]
    kernels: Callable[[np.ndarray, list[str]], Named]


def family(method: str, protocol: Protocol) -> Family:
    if method == NTK:
        return Family(list(TANGENT), tangent_kernels)
    return Family(
        list(protocol.gammas), lambda x, names: gaussian_kernels(x, protocol.gammas, names)
    )


def missing(name: str, method: str, protocol: Protocol, log: Log) -> list[str]:
    """Names of the kernels that have not been tried on a data set."""
    names = [] if method == FOREST else family(method, protocol).names
    return [kernel for kernel in names if not log.has(name, method, kernel)]


class Run(NamedTuple):
    """What all measurements share."""

    protocol: Protocol
    seed: int
    log: Log
    pool: ThreadPoolExecutor
    jobs: int
    advance: Callable[[], None]


def tuned_svm(name: str, data: Data, method: str, run: Run) -> dict[str, Any]:
    """The kernel and the cost that are best by the protocol, and their accuracy on folds."""
    y, costs = data["y"], run.protocol.costs
    splits = run.protocol.splits(data, run.seed)
    names, kernels = family(method, run.protocol)
    wanted = missing(name, method, run.protocol, run.log)

    def of(setting: str, kernel: np.ndarray) -> tuple[str, dict[str, Any]]:
        began = time.thread_time()
        found = mean_accuracies(kernel, y, splits, costs)
        return setting, {"accuracies": found.tolist(), "seconds": time.thread_time() - began}

    for setting, found in in_order(run, of, kernels(data["X"], wanted)):
        run.log.add(name, method, setting, found)
        run.advance()
    tried = np.array([run.log.get(name, method, k)["accuracies"] for k in names])
    # Of equal ones, the first: the simplest kernel with the lowest cost.
    best, cost = np.unravel_index(np.argmax(tried), tried.shape)
    ((_, kernel),) = kernels(data["X"], [names[best]])
    tests = in_order(
        run,
        lambda *split: float(accuracies_of(kernel, y, Split(*split), costs[[cost]])[0]),
        folds_of(data),
    )
    return {
        "setting": f"{names[best]}, cost {costs[cost]:g}",
        "validation": float(tried[best, cost]),
        "test": float(np.mean([*tests])),
    }


def forest(name: str, data: Data, method: str, run: Run) -> dict[str, Any]:
    """500 trees, as they are by default."""
    x, y = data["X"], data["y"]

    def of(train: np.ndarray, test: np.ndarray) -> float:
        model = RandomForestClassifier(500, random_state=run.seed).fit(x[train], y[train])
        return float(model.score(x[test], y[test]))

    accuracies = [*in_order(run, of, folds_of(data))]
    return {"setting": "500 trees", "validation": None, "test": float(np.mean(accuracies))}


def in_order(run: Run, of: Callable[..., Any], arguments: Iterable[Sequence[Any]]) -> Iterator[Any]:
    """Results of a function in a pool, in order. Few arguments wait at a time: they are large."""
    waiting: deque[Any] = deque()
    for one in arguments:
        waiting.append(run.pool.submit(of, *one))
        if len(waiting) > run.jobs:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def sets_in(folder: Path, largest: int) -> list[Path]:
    """The data sets of up to so many rows, the smallest first."""
    sizes = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            sizes[path] = len(data["y"])
    if not sizes:
        raise SystemExit(f"{folder} holds no NAME.npz; --data names a folder of data sets")
    return sorted((path for path, n in sizes.items() if n <= largest), key=lambda p: sizes[p])


def measure(paths: Sequence[Path], methods: Sequence[str], run: Run) -> None:
    """Those methods on those data sets; each result is written down at once."""
    for path in paths:
        with np.load(path) as file:
            data = dict(file)
        for method in methods:
            if not run.log.has(path.stem, method):
                measured = forest if method == FOREST else tuned_svm
                run.log.add(path.stem, method, None, measured(path.stem, data, method, run))
                run.advance()


def published_in(folder: Path) -> dict[str, dict[str, float]]:
    """Published accuracies in %, by data set; none where the file is not there."""
    path = folder / "published_accuracy.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {r["dataset"]: {k: float(r[k]) for k in ("ntk", "gaussian")} for r in rows}


def summary(accuracies: np.ndarray) -> dict[str, np.ndarray]:
    """Of accuracies (set, method): mean, average rank, shares of the best one's accuracy."""
    best = accuracies.max(axis=1, keepdims=True)
    return {
        "mean accuracy": 100 * accuracies.mean(axis=0),
        "average rank": rankdata(-accuracies, axis=1).mean(axis=0),
        "sets within 5 % of the best": 100 * np.mean(accuracies >= 0.95 * best, axis=0),
        "mean share of the best": 100 * np.mean(accuracies / best, axis=0),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    options = parse(arguments)
    jax.config.update("jax_enable_x64", True)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # it is looked at: uci_svm.py
    paths, protocol = sets_in(options.data, options.largest), PROTOCOLS[options.protocol]
    methods = [METHODS[name] for name in options.methods]
    log = Log(options.out / f"uci_{options.protocol}_{options.seed}.jsonl")
    if not options.report:
        todo = [(p.stem, m) for p in paths for m in methods if not log.has(p.stem, m)]
        work = sum(1 + len(missing(name, method, protocol, log)) for name, method in todo)
        advance = progress(work, "kernels and results")
        with ThreadPoolExecutor(options.jobs) as pool:
            measure(paths, methods, Run(protocol, options.seed, log, pool, options.jobs, advance))
    names = [path.stem for path in paths if all(log.has(path.stem, m) for m in methods)]
    if not names:
        raise SystemExit(f"{log.path} holds no data set that all methods were measured on")
    accuracies = np.array([[log.get(name, m)["test"] for m in methods] for name in names])
    known = published_in(options.data)
    theirs = {name: known[name] for name in names if name in known}
    report(names, methods, accuracies, theirs)
    plot(options.out / f"uci_{options.protocol}.png", names, methods, accuracies, theirs)
    return summary(accuracies)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = small_parser("uci.py", __doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="PATH", help="folder of data sets")
    add("--protocol", choices=PROTOCOLS, default="arora", help="default: %(default)s")
    add(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME",
        help=f"of {', '.join(METHODS)} (default: all)",
    )  # fmt: skip
    add("--largest", type=positive, default=5000, metavar="N", help="rows (default: %(default)s)")
    add("--jobs", type=positive, default=os.cpu_count(), metavar="N", help="threads (default: all)")
    add("--report", action="store_true", help="print what has been measured, and measure nothing")
    return parser.parse_args(arguments)


def report(
    names: list[str], methods: list[str], accuracies: np.ndarray, published: dict[str, Any]
) -> None:
    """Print accuracies by set, and what the paper sums them up by."""
    columns = [*methods, *(["published NTK", "published Gaussian"] if published else [])]
    table = 100 * accuracies
    if published:
        unknown = {"ntk": np.nan, "gaussian": np.nan}
        theirs = [[*published.get(name, unknown).values()] for name in names]
        table = np.concatenate([table, theirs], axis=1)
    say(f"\nTest accuracy in %\n\n{'':<34}" + "".join(f"{c:>20}" for c in columns))
    for name, row in zip(names, table, strict=True):
        say(f"{name:<34}" + "".join(f"{value:>20.2f}" for value in row))
    mean = f"mean of {len(names)} sets"
    say(f"{mean:<34}" + "".join(f"{value:>20.2f}" for value in np.nanmean(table, axis=0)))
    say(f"\n{'':<34}" + "".join(f"{method:>20}" for method in methods))
    for label, values in summary(accuracies).items():
        say(f"{label:<34}" + "".join(f"{value:>20.2f}" for value in values))


def plot(
    path: Path,
    names: list[str],
    methods: list[str],
    accuracies: np.ndarray,
    published: dict[str, Any],
) -> None:
    """The first method's accuracies against those of the others, a dot for each data set."""
    others = dict(zip(methods, accuracies.T, strict=True))
    first = others.pop(methods[0])
    if published:
        known = [published.get(name, {"ntk": np.nan})["ntk"] / 100 for name in names]
        others["published NTK"] = np.array(known)
    if not others:
        return
    figure, panels = new_panels(f"Test accuracy on {len(names)} data sets", list(others))
    for axes, (other, theirs) in zip(panels, others.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=0.8)
        axes.scatter(theirs, first, s=12, color="#0072b2")
        axes.set(xlim=(0.2, 1.02), ylim=(0.2, 1.02), xlabel=other, ylabel=methods[0])
    save(figure, path)


if __name__ == "__main__":
    main()
