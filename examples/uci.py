"""Small data sets: support vector machines on tangent kernels, beside classical methods.

    python examples/uci.py --data PATH

PATH is a folder of NAME.npz, one for each data set: rows `X` and labels `y`; row numbers `train`
and `valid`, on which hyperparameters are chosen; and `fold0_train`, `fold0_test` ... `fold3_test`,
for which accuracies are reported. The tangent kernel takes 1 to 5 layers, of which any number but
the last is frozen; all machines take costs of 1e-2 to 1e4. The smallest sets come first. What has
been measured stands in the folder of `--out`, and is not measured again: a run that was stopped
goes on. If the folder of data holds `published_accuracy.csv` (dataset, ntk, gaussian), its means
are printed beside.

Source: Arora et al. 2020, arXiv 1910.01663, section 4 and table 1; the sets are those of
Fernández-Delgado et al. 2014.
"""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from options import positive, small_parser
from plots import new_panels, save
from report import progress, say
from uci_kernels import kernels_by_depth

DEPTHS, FOLDS = 5, 4
COSTS = 10.0 ** np.arange(-2, 5)
#: Of the Gaussian kernel exp(-gamma |x - x'|^2), times the number of features.
GAMMAS = 4.0 ** np.arange(-3, 4)
NTK, GAUSSIAN, FOREST = "NTK SVM", "Gaussian SVM", "random forest"

Data = dict[str, np.ndarray]


def svm_accuracy(
    kernel: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, cost: float
) -> float:
    """Share of test rows that a support vector machine on the training rows gets right."""
    if len(np.unique(y[train])) == 1:
        return float(np.mean(y[test] == y[train][0]))
    svm = SVC(C=cost, kernel="precomputed", cache_size=1000)
    svm.fit(kernel[np.ix_(train, train)], y[train])
    return float(np.mean(svm.predict(kernel[np.ix_(test, train)]) == y[test]))


def ntk_kernels(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    """The kernels of all numbers of layers, with all numbers of frozen ones."""
    for frozen in range(DEPTHS):
        kernels = kernels_by_depth(data["X"], DEPTHS, frozen)
        for depth in range(frozen, DEPTHS):
            yield f"depth {depth + 1}, {frozen} frozen", kernels[depth]


def gaussian_kernels(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    """The Gaussian kernels of all widths."""
    x = data["X"].astype(np.float64)
    square = np.sum(x**2, axis=1)
    distance = np.maximum(square[:, None] + square - 2 * x @ x.T, 0.0)
    for gamma in GAMMAS:
        yield f"gamma {gamma:g}/d", np.exp(-gamma / x.shape[1] * distance)


def tuned_svm(
    data: Data, kernels: Iterable[tuple[str, np.ndarray]], pool: ThreadPoolExecutor
) -> dict[str, Any]:
    """The kernel and the cost that are best on the validation rows, and their accuracy on folds."""
    y, best = data["y"], None
    for name, kernel in kernels:

        def of(cost: float, kernel: np.ndarray = kernel) -> float:
            return svm_accuracy(kernel, y, data["train"], data["valid"], cost)

        for cost, accuracy in zip(COSTS, pool.map(of, COSTS), strict=True):
            # Of equal ones, the first: the shallowest network with the lowest cost.
            if best is None or accuracy > best[0]:
                best = accuracy, f"{name}, cost {cost:g}", kernel.copy(), cost
    assert best is not None
    validation, setting, kernel, cost = best
    waiting = [
        pool.submit(svm_accuracy, kernel, y, train, test, cost) for train, test in folds_of(data)
    ]
    mean = float(np.mean([one.result() for one in waiting]))
    return {"setting": setting, "validation": validation, "test": mean}


def folds_of(data: Data) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers for training and for tests."""
    return [(data[f"fold{k}_train"], data[f"fold{k}_test"]) for k in range(FOLDS)]


def forest(data: Data, pool: ThreadPoolExecutor) -> dict[str, Any]:
    """500 trees, as they are by default."""
    x, y = data["X"], data["y"]

    def of(fold: tuple[np.ndarray, np.ndarray]) -> float:
        model = RandomForestClassifier(500, random_state=0).fit(x[fold[0]], y[fold[0]])
        return float(model.score(x[fold[1]], y[fold[1]]))

    accuracies = [*pool.map(of, folds_of(data))]
    return {"setting": "500 trees", "validation": None, "test": float(np.mean(accuracies))}


METHODS: dict[str, Callable[[Data, ThreadPoolExecutor], dict[str, Any]]] = {
    NTK: lambda data, pool: tuned_svm(data, ntk_kernels(data), pool),
    GAUSSIAN: lambda data, pool: tuned_svm(data, gaussian_kernels(data), pool),
    FOREST: forest,
}


def sets_in(folder: Path, largest: int) -> list[Path]:
    """The data sets of up to so many rows, the smallest first."""
    sizes = {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            sizes[path] = len(data["y"])
    if not sizes:
        raise SystemExit(f"{folder} holds no NAME.npz; --data names a folder of data sets")
    return sorted((path for path, n in sizes.items() if n <= largest), key=lambda p: sizes[p])


def read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What has been measured, by data set and method."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # a run was stopped while it wrote
            continue
        found[row["dataset"], row["method"]] = row
    return found


def append(path: Path, row: dict[str, Any]) -> None:
    """Write a result down, after what an interrupted run may have left of a line."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    is_whole = not text or text.endswith("\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if is_whole else "\n") + json.dumps(row) + "\n")


def measure(paths: Sequence[Path], log: Path, jobs: int) -> dict[tuple[str, str], dict[str, Any]]:
    """All methods on all data sets; each result is written down at once."""
    log.parent.mkdir(parents=True, exist_ok=True)
    found = read(log)
    advance = progress(len(paths) * len(METHODS), "data sets and methods")
    with ThreadPoolExecutor(jobs) as pool:
        for path in paths:
            with np.load(path) as file:
                data = dict(file)
            for method, run in METHODS.items():
                key = path.stem, method
                if key not in found:
                    found[key] = {"dataset": path.stem, "method": method, **run(data, pool)}
                    append(log, found[key])
                advance()
    return found


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
    parser = small_parser("uci.py", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="PATH")
    parser.add_argument(
        "--largest", type=positive, default=5000, metavar="N", help="rows (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=positive, default=os.cpu_count(), metavar="N", help="threads (default: all)"
    )
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    paths = sets_in(options.data, options.largest)
    found = measure(paths, options.out / "uci.jsonl", options.jobs)
    names = [path.stem for path in paths]
    accuracies = np.array([[found[name, m]["test"] for m in METHODS] for name in names])
    published = published_in(options.data)
    report(names, accuracies, published)
    figure, panels = new_panels(f"Test accuracy on {len(names)} data sets", [GAUSSIAN, FOREST])
    for axes, other in zip(panels, (1, 2), strict=True):
        axes.plot([0, 1], [0, 1], color="#a0a0a0", linewidth=0.8)
        axes.scatter(accuracies[:, other], accuracies[:, 0], s=12, color="#0072b2")
        axes.set(xlim=(0.2, 1.02), ylim=(0.2, 1.02), xlabel=list(METHODS)[other], ylabel=NTK)
    save(figure, options.out / "uci.png")
    return summary(accuracies)


def report(names: list[str], accuracies: np.ndarray, published: dict[str, Any]) -> None:
    """Print accuracies by set, and what the paper sums them up by."""
    columns = [*METHODS, *(["published NTK", "published Gaussian"] if published else [])]
    table = 100 * accuracies
    if published:
        unknown = {"ntk": np.nan, "gaussian": np.nan}
        theirs = [[*published.get(name, unknown).values()] for name in names]
        table = np.concatenate([table, theirs], axis=1)
    say(f"\nTest accuracy in %\n\n{'':<34}" + "".join(f"{c:>20}" for c in columns))
    for name, row in zip(names, table, strict=True):
        say(f"{name:<34}" + "".join(f"{value:>20.2f}" for value in row))
    say(f"{'mean':<34}" + "".join(f"{value:>20.2f}" for value in np.nanmean(table, axis=0)))
    say(f"\n{'':<34}" + "".join(f"{method:>20}" for method in METHODS))
    for label, values in summary(accuracies).items():
        say(f"{label:<34}" + "".join(f"{value:>20.2f}" for value in values))


if __name__ == "__main__":
    main()
