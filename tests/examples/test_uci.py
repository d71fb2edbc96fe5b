"""The tangent kernels of frozen layers are those of the paper, and a stopped run goes on."""

import json
import math

import numpy as np
import pytest

import uci
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


def test_a_run_goes_on_where_it_was_stopped(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(uci, "RandomForestClassifier", lambda n, **kw: forest_of(20, **kw))
    out = tmp_path / "out"
    options = ["--data", str(folder), "--out", str(out), "--largest", "60", "--jobs", "1"]
    first = uci.main(options)
    assert first["mean accuracy"].min() > 75
    said = capsys.readouterr().out
    assert "published NTK" in said
    assert "large" not in said
    rows = [json.loads(line) for line in (out / "uci.jsonl").read_text().split("\n") if line]
    assert [row["dataset"] for row in rows] == 3 * ["angles"] + 3 * ["circle"]
    assert all(row["setting"].startswith("depth") for row in rows if row["method"] == uci.NTK)
    assert (out / "uci.png").stat().st_size > 5_000
    # What was measured is read; what was cut off is measured again.
    rows[0]["test"], half = 0.0, json.dumps(rows[5])[:30]
    (out / "uci.jsonl").write_text("\n".join([*map(json.dumps, rows[:5]), half]))
    measured = []
    for name, run in uci.METHODS.items():
        monkeypatch.setitem(
            uci.METHODS, name, lambda *a, name=name, run=run: measured.append(name) or run(*a)
        )
    second = uci.main(options)
    assert measured == [uci.FOREST]
    assert second["mean accuracy"][0] < first["mean accuracy"][0] - 35
    assert second["mean accuracy"][2] == first["mean accuracy"][2]
    assert uci.read(out / "uci.jsonl").keys() == {(r["dataset"], r["method"]) for r in rows}


forest_of = uci.RandomForestClassifier


def test_how_accuracies_are_summed_up():
    found = uci.summary(np.array([[1.0, 0.96, 0.5], [0.8, 0.9, 0.9]]))
    np.testing.assert_allclose(found["mean accuracy"], [90.0, 93.0, 70.0])
    np.testing.assert_allclose(found["average rank"], [2.0, 1.75, 2.25])
    np.testing.assert_allclose(found["sets within 5 % of the best"], [50.0, 100.0, 50.0])


def test_a_folder_without_data(tmp_path):
    with pytest.raises(SystemExit, match="holds no NAME"):
        uci.main(["--data", str(tmp_path)])
