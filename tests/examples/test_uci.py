"""Kernels of frozen layers are the paper's, settings are chosen as said, a stopped run goes on."""

import json
import math

import numpy as np
import pytest
from sklearn.svm import SVC

import uci
import uci_svm
from uci_kernels import kernels_by_depth


def by_the_paper(x, depth, frozen):
    """The recursion of arXiv 1910.01663, entry by entry of single numbers."""
    out = np.empty((len(x), len(x)))
    for i, a in enumerate(x):
        for j, b in enumerate(x):
            aa, ab, bb = a @ a, a @ b, b @ b
            theta = 0.0
            for layer in range(depth + 1):
                theta += ab if layer >= frozen else 0.0
                if layer < depth:
                    angle = math.acos(max(-1.0, min(1.0, ab / math.sqrt(aa * bb))))
                    theta *= (math.pi - angle) / (2 * math.pi)
                    turned = math.sin(angle) + (math.pi - angle) * math.cos(angle)
                    ab = math.sqrt(aa * bb) * turned / (2 * math.pi)
                    aa, bb = aa / 2, bb / 2
            out[i, j] = theta
    return out


def test_frozen_layers_do_not_count():
    x = np.random.default_rng(0).normal(size=(6, 3))
    for frozen in range(3):
        kernels = kernels_by_depth(x, 3, frozen)
        for depth in range(3):
            np.testing.assert_allclose(
                kernels[depth], by_the_paper(x, depth, frozen), rtol=1e-6, atol=1e-12
            )
    # More rows than a block holds.
    many = np.random.default_rng(1).normal(size=(300, 3))
    ends = [0, 255, 256, 299]
    kernel = kernels_by_depth(many, 3, 1)[2]
    np.testing.assert_allclose(
        kernel[np.ix_(ends, ends)], by_the_paper(many[ends], 2, 1), rtol=1e-6
    )


@pytest.fixture
def folder(tmp_path):
    """Two sets: a circle in a square, and labels of three classes."""
    rng = np.random.default_rng(0)
    for name, n in (("circle", 60), ("angles", 40), ("large", 100)):
        x = rng.normal(size=(n, 2)).astype(np.float32)
        y = (np.sum(x**2, 1) > 1.4).astype(np.int16)
        if name == "angles":
            y = (x[:, 0] > 0).astype(np.int16) + (x[:, 1] > 0)
        order = rng.permutation(n)
        rows = {"train": order[: n // 2], "valid": order[n // 2 :]}
        for k in range(4):
            rows[f"fold{k}_test"] = order[k::4]
            rows[f"fold{k}_train"] = np.setdiff1d(order, order[k::4])
        np.savez(tmp_path / f"{name}.npz", X=x, y=y, **rows)
    published = "# in percent\ndataset,ntk,gaussian\ncircle,90.0,91.0\n"
    (tmp_path / "published_accuracy.csv").write_text(published)
    return tmp_path


forest_of = uci.RandomForestClassifier


@pytest.fixture
def small_forests(monkeypatch):
    monkeypatch.setattr(uci, "RandomForestClassifier", lambda n, **kw: forest_of(20, **kw))


def rows_of(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def test_a_run_goes_on_where_it_was_stopped(folder, tmp_path, capsys, monkeypatch, small_forests):
    out, log = tmp_path / "out", tmp_path / "out" / "uci_arora_0.jsonl"
    options = ["--data", str(folder), "--out", str(out), "--largest", "60", "--jobs", "1"]
    first = uci.main(options)
    assert first["mean accuracy"].min() > 75
    said = capsys.readouterr().out
    assert "published NTK" in said
    assert "large" not in said
    rows = rows_of(log)
    results = [row for row in rows if row["kernel"] is None]
    assert [row["dataset"] for row in results] == 3 * ["angles"] + 3 * ["circle"]
    assert [row["setting"].split()[0] for row in results] == 2 * ["depth", "gamma", "500"]
    assert len(rows) == 6 + 2 * (15 + 7)
    assert (out / "uci_arora.png").stat().st_size > 5_000
    # What was measured is read; what was cut off is measured again.
    kept = [row for row in rows if row not in results[3:]]
    kept[15]["test"], half = 0.0, json.dumps(rows[-2])[:30]
    log.write_text("\n".join([*map(json.dumps, kept[:-2]), half]))
    again = kept[-2:]
    assert [row["method"] for row in again] == 2 * [uci.GAUSSIAN]
    second = uci.main(options)
    made = rows_of_whole(log)[len(kept) - 2 :]
    assert [(row["method"], row["kernel"]) for row in made] == [
        (uci.NTK, None),
        *((uci.GAUSSIAN, row["kernel"]) for row in again),
        (uci.GAUSSIAN, None),
        (uci.FOREST, None),
    ]
    assert second["mean accuracy"][0] < first["mean accuracy"][0] - 35
    np.testing.assert_array_equal(second["mean accuracy"][1:], first["mean accuracy"][1:])
    # Nothing is measured for a report, which holds the sets that are complete.
    log.write_text("\n".join(map(json.dumps, kept)))
    capsys.readouterr()
    assert uci.main([*options, "--report"])["mean accuracy"][0] == 0.0
    said = capsys.readouterr().out
    assert "mean of 1 sets" in said
    assert "circle" not in said
    assert len(rows_of(log)) == len(kept)


def rows_of_whole(path):
    """The rows of a log in which one line was cut off."""
    return [json.loads(line) for line in path.read_text().split("\n") if line.endswith("}")]


def test_settings_are_chosen_over_halves_as_well(folder, tmp_path, monkeypatch):
    costs = 4.0 ** np.arange(-2, 3)
    real, gammas = uci.PROTOCOLS["shankar"], {"wide": 0.5, "narrow": 32.0}
    np.testing.assert_array_equal(real.costs, 2.0 ** np.arange(-19, 20))
    few = real._replace(costs=costs, gammas=gammas)
    monkeypatch.setitem(uci.PROTOCOLS, "shankar", few)
    where = ["--data", str(folder), "--out", str(tmp_path), "--largest", "60"]
    uci.main([*where, "--protocol", "shankar", "--methods", "gaussian", "--seed", "3"])
    (*_, result) = rows_of(tmp_path / "uci_shankar_3.jsonl")
    data = np.load(folder / "circle.npz")
    x, y = data["X"].astype(float), data["y"]
    splits = [(data["train"], data["valid"]), *uci_svm.halves(y, 4, 3)]
    tried = {
        f"{name}, cost {cost:g}": np.mean(
            [SVC(C=cost, gamma=g / 2).fit(x[a], y[a]).score(x[b], y[b]) for a, b in splits]
        )
        for name, g in gammas.items()
        for cost in costs
    }
    assert result["validation"] == pytest.approx(max(tried.values()))
    assert result["setting"] == max(tried, key=tried.__getitem__)
    # Tuned on the folds that are reported: nothing else can be better on them.
    monkeypatch.setitem(uci.PROTOCOLS, "folds", uci.PROTOCOLS["folds"]._replace(gammas=gammas))
    uci.main([*where, "--protocol", "folds", "--methods", "gaussian"])
    (*_, best) = rows_of(tmp_path / "uci_folds_0.jsonl")
    assert best["test"] == pytest.approx(best["validation"])
    assert best["test"] > result["test"]


def test_halves_hold_every_class_alike():
    y = np.repeat([0, 2, 1], [8, 5, 1])
    found = [*uci_svm.halves(y, 3, seed=0)]
    for train, test in found:
        np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(14))
        np.testing.assert_array_equal(np.bincount(y[train]), [4, 0, 2])
    assert len({tuple(train) for train, _ in found}) == 3
    np.testing.assert_array_equal(found[1].train, [*uci_svm.halves(y, 2, seed=0)][1].train)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_larger_costs_are_not_solved_where_they_change_nothing(monkeypatch):
    fits = []

    class Counted(SVC):
        def fit(self, *a):
            fits.append(self.C)
            return super().fit(*a)

    monkeypatch.setattr(uci_svm, "SVC", Counted)
    rng, costs = np.random.default_rng(1), 4.0 ** np.arange(-4, 7)
    x = rng.normal(size=(90, 3))
    y = np.digitize(x[:, 0] * x[:, 1], [-0.5, 0.5])
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(-1))
    split = uci_svm.Split(np.arange(60), np.arange(60, 90))
    found = uci_svm.accuracies_of(kernel, y, split, costs)
    plain = [SVC(C=c, gamma=1.0).fit(x[:60], y[:60]).score(x[60:], y[60:]) for c in costs]
    np.testing.assert_allclose(found, plain)
    assert len({*plain}) > 1
    assert 5 < len(fits) < len(costs)
    # Labels that no plane separates: costs rise until the steps run out.
    linear, y = 100 * x @ x.T, rng.integers(2, size=90)
    fits.clear()
    monkeypatch.setattr(uci_svm, "STEPS", 1000)
    found = uci_svm.accuracies_of(linear, y, split, costs)
    assert 1 < len(fits) < len(costs)
    assert len({*found[len(fits) - 1 :]}) == 1
    # One class alone.
    found = uci_svm.accuracies_of(linear, np.arange(90) // 70, split, costs)
    np.testing.assert_allclose(found, np.full(11, 1 / 3))


def test_how_accuracies_are_summed_up():
    found = uci.summary(np.array([[1.0, 0.96, 0.5], [0.8, 0.9, 0.9]]))
    np.testing.assert_allclose(found["mean accuracy"], [90.0, 93.0, 70.0])
    np.testing.assert_allclose(found["average rank"], [2.0, 1.75, 2.25])
    np.testing.assert_allclose(found["sets within 5 % of the best"], [50.0, 100.0, 50.0])


def test_a_folder_without_data(tmp_path):
    with pytest.raises(SystemExit, match="holds no NAME"):
        uci.main(["--data", str(tmp_path)])
