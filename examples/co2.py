"""Carbon dioxide in the air: a Gaussian process of a network with a trend, a season and a memory.

    python examples/co2.py

The series of Mauna Loa, weekly from 1958 to 2001, comes with statsmodels (`pip install
statsmodels`; nothing is downloaded by the script); `--data` names another file, of lines
`YYYYMMDD,value`. A network of three branches reads the time: a slow trend, a season that grows with
time, and irregular years. Its hyperparameters maximise the marginal likelihood of all but the last
ten years, which it then predicts, with intervals, beside Gaussian kernels of scikit-learn that are
fitted to the same years.

Source: Rasmussen and Williams 2006, section 5.4.3, whose kernel is a sum of such parts; Keeling and
Whorf 2004 (the data, public domain).
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from ntkjax import gp, stax
from options import small_parser
from plots import INK, new_panels, save
from report import progress, say

NETWORK, BY_TIME, BY_SEASON = "network", "RBF of time", "RBF of time and season"
COLOURS = {NETWORK: "#0072b2", BY_TIME: "#a0a0a0", BY_SEASON: "#d55e00"}
#: Half the width of a 90 % interval, in standard deviations.
NINETY = 1.645


class Series(NamedTuple):
    """Monthly means: the time in years, in the middle of each month, and the value."""

    years: np.ndarray
    values: np.ndarray


class Forecast(NamedTuple):
    """Mean and standard deviation of new observations."""

    mean: np.ndarray
    std: np.ndarray


def bundled() -> Path:
    """The file of statsmodels, found without importing it."""
    spec = importlib.util.find_spec("statsmodels")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(
            "The series comes with statsmodels, which is not installed: pip install statsmodels, "
            "or name a file of lines YYYYMMDD,value by --data"
        )
    return Path(spec.submodule_search_locations[0], "datasets", "co2", "co2.csv")


def monthly(path: Path) -> Series:
    """Means over months of lines `YYYYMMDD,value`; other lines and missing values are skipped."""
    found: dict[int, list[float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        date, _, value = line.partition(",")
        digits = date.replace("-", "").strip('" ')
        if len(digits) == 8 and digits.isdigit() and value.strip():
            month = 12 * int(digits[:4]) + int(digits[4:6]) - 1
            found.setdefault(month, []).append(float(value))
    if not found:
        raise SystemExit(f"{path} has no lines YYYYMMDD,value")
    months = sorted(found)
    return Series(
        (np.array(months) + 0.5) / 12, np.array([np.mean(found[month]) for month in months])
    )


def inputs(years: np.ndarray, middle: float) -> np.ndarray:
    """Decades from the middle, and the place in the circle of the year: (n, 3, 1)."""
    angle = 2 * np.pi * years
    return np.stack([(years - middle) / 10, np.cos(angle), np.sin(angle)], axis=1)[:, :, None]


def network(trend: Any, season: Any, shape: Any, irregular: Any) -> Any:
    """Trend + season * drift + irregular years, each a network of one hidden layer.

    Args:
      trend: standard deviation of the weights of the readout of the trend, a sum of ramps.
      season: the same for the season.
      shape: weights of the season's hidden layer; the larger, the more it differs from a sine.
      irregular: the same for irregular years, a sum of steps.
    """
    when = stax.serial(stax.Index(stax.Slice[:, :1]), stax.Flatten())
    where = stax.serial(stax.Index(stax.Slice[:, 1:]), stax.Flatten())
    # Biases decide where ramps and steps stand: all over the decades that the data span.
    ramps = stax.serial(when, stax.Dense(1, 1.0, 2.0), stax.Relu())
    steps = stax.serial(when, stax.Dense(1, 1.0, 2.0), stax.Sign(), stax.Dense(1, irregular))
    cycle = stax.serial(where, stax.Dense(1, shape, 1.0), stax.Erf(), stax.Dense(1))
    drift = stax.serial(ramps, stax.Dense(1))
    growing = stax.serial(
        stax.FanOut(2), stax.parallel(cycle, drift), stax.FanInProd(), stax.Dense(1, season)
    )
    slow = stax.serial(ramps, stax.Dense(1, trend))
    return stax.serial(stax.FanOut(3), stax.parallel(slow, growing, steps), stax.FanInSum())


START = {"trend": 1.0, "season": 0.3, "shape": 1.0, "irregular": 0.1}


def fitted_network(x: np.ndarray, y: np.ndarray) -> gp.GaussianProcess:
    """The process with the hyperparameters of the largest marginal likelihood."""
    process = gp.GaussianProcess(network, noise=1e-3, params=START, standardize_y=True)
    return process.fit(x, y).optimize()


def gaussian(columns: int) -> Callable[[np.ndarray, np.ndarray], GaussianProcessRegressor]:
    """A Gaussian kernel of the first columns, with a length for each, and noise."""

    def fit(x: np.ndarray, y: np.ndarray) -> GaussianProcessRegressor:
        lengths: Any = np.ones(columns)
        function = ConstantKernel(10.0, (1e-2, 1e4)) * RBF(lengths, (1e-2, 1e3))
        model = GaussianProcessRegressor(
            function + WhiteKernel(1e-3, (1e-6, 1.0)), normalize_y=True, random_state=0
        )
        with warnings.catch_warnings():
            # A length at its bound is an answer: that column does not matter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(x[:, :columns, 0], y)

    return fit


def forecast(model: Any, x: np.ndarray) -> Forecast:
    """New observations at points, noise included, by a process of either library."""
    if isinstance(model, gp.GaussianProcess):
        mean, variance = model.predict(x, noisy=True)
        return Forecast(np.asarray(mean), np.sqrt(variance))
    return Forecast(*model.predict(x[:, : model.n_features_in_, 0], return_std=True))


def scores(said: Forecast, values: np.ndarray) -> dict[str, float]:
    """How far off a forecast is, how often its intervals hold, and its log density."""
    z = (values - said.mean) / said.std
    density = -0.5 * z**2 - np.log(said.std) - 0.5 * np.log(2 * np.pi)
    return {
        "root mean squared error": float(np.sqrt(np.mean((values - said.mean) ** 2))),
        "share in 90 % intervals": float(100 * np.mean(np.abs(z) < NINETY)),
        "log density of a month": float(np.mean(density)),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = small_parser("co2.py", __doc__)
    parser.add_argument("--data", help="lines YYYYMMDD,value", type=Path, metavar="FILE")
    parser.add_argument(
        "--held-out", help="years at the end (default: 10)", type=float, default=10, metavar="YEARS"
    )
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    series = monthly(options.data or bundled())
    end = series.years[-1] - options.held_out + 1 / 24  # between two months
    train, test = series.years < end, series.years > end
    if not 24 <= train.sum() < len(train):
        raise SystemExit(
            f"--held-out {options.held_out:g} leaves {train.sum()} of {len(train)} months to learn "
            "from, of which 24 or more are needed, and some for the score: name another number"
        )
    middle = float(series.years[train].mean())
    x, y = inputs(series.years[train], middle), series.values[train]
    ahead = np.arange(series.years[0], series.years[-1] + options.held_out, 1 / 12)
    fits = {NETWORK: fitted_network, BY_TIME: gaussian(1), BY_SEASON: gaussian(3)}
    advance = progress(len(fits), f"fits to {len(y)} months")
    models, found, curves = {}, {}, {}
    for name, fit in fits.items():
        began = time.perf_counter()
        models[name] = fit(x, y)
        took = time.perf_counter() - began
        said = forecast(models[name], inputs(series.years[test], middle))
        found[name] = {**scores(said, series.values[test]), "seconds to fit": took}
        curves[name] = forecast(models[name], inputs(ahead, middle))
        advance()
    tell(models[NETWORK], found, int(test.sum()))
    plot(options.out / "co2.png", series, end, ahead, curves)
    return found


def tell(process: gp.GaussianProcess, found: dict[str, dict[str, float]], count: int) -> None:
    params = ", ".join(f"{name} {float(v):.3g}" for name, v in (process.params or {}).items())
    say(f"{params}, noise {float(process.noise):.3g}")
    say(f"\nThe {count} months after those that were learned from\n")
    say(f"{'':<26}" + "".join(f"{name:>26}" for name in found))
    for label in next(iter(found.values())):
        say(f"{label:<26}" + "".join(f"{each[label]:>26.2f}" for each in found.values()))


def plot(
    path: Path, series: Series, end: float, ahead: np.ndarray, curves: dict[str, Forecast]
) -> None:
    """All years with the network's forecast, then the held-out ones with all forecasts."""
    titles = ["network: all years", "network: held-out years", "Gaussian kernels"]
    figure, panels = new_panels("Carbon dioxide at Mauna Loa, parts per million", titles)
    shown = [(NETWORK,), (NETWORK,), (BY_TIME, BY_SEASON)]
    late = ahead > end - 4
    for i, (axes, names) in enumerate(zip(panels, shown, strict=True)):
        when = late if i else np.full(len(ahead), True)
        for name in names:
            mean, std = curves[name]
            low, high = mean - NINETY * std, mean + NINETY * std
            colour, t = COLOURS[name], ahead[when]
            axes.fill_between(t, low[when], high[when], color=colour, alpha=0.25, lw=0)
            axes.plot(t, mean[when], color=colour, lw=1, label=name)
        held = series.years >= end
        seen = ~held & (series.years > ahead[when][0])
        axes.plot(series.years[seen], series.values[seen], ".", color=INK, ms=2, label="learned")
        axes.plot(series.years[held], series.values[held], ".", color="#009e73", ms=2.5,
                  label="held out")  # fmt: skip
        axes.legend(frameon=False, fontsize=7.5, loc="upper left")
        if i:
            mean, std = curves[NETWORK]
            low, high = (mean - 3 * std)[when].min(), (mean + 4 * std)[when].max()
            axes.set_ylim(low - 3, high)
    save(figure, path)


if __name__ == "__main__":
    main()
