"""The demo from its command line, at a size of seconds."""

import contextlib
import csv
import io
import json
import re

import numpy as np
import pytest

import digits
from datasets import load
from options import parse, prepared

# Four by four pixels, one hidden layer: every part of the demo runs, none for long.
TINY = [
    "--train-sizes=20,30", "--test-size=20", "--splits=2", "--depth=1", "--width=4",
    "--widths=4,8", "--shrink=2",
]  # fmt: skip
METHODS = [
    "Gaussian",
    "polynomial",
    "arc-cosine",
    "NTK, fully connected",
    "NNGP, fully connected",
    "CNTK, Flatten",
    "CNTK, global pooling",
    "finite network",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The printed text and the folder of one tiny run."""
    out = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        digits.main([*TINY, "--out", str(out)])
    return printed.getvalue(), out


def rows_of(out):
    with (out / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_method_is_measured_on_every_training_set(run):
    _, out = run
    measured = [(r["method"], int(r["training_size"]), int(r["split"])) for r in rows_of(out)]
    expected = [(m, size, split) for m in METHODS for split in (0, 1) for size in (20, 30)]
    assert sorted(measured) == sorted(expected)
    for row in rows_of(out):
        # 20 test images: accuracies are multiples of a twentieth.
        assert float(row["test_accuracy"]) * 20 == pytest.approx(
            round(float(row["test_accuracy"]) * 20)
        )


def test_the_table_shows_the_measured_means(run):
    text, out = run
    assert re.search(r"^ +20 +30$", text, re.MULTILINE)
    for method in METHODS:
        cells = []
        for size in ("20", "30"):
            values = [
                100 * float(r["test_accuracy"])
                for r in rows_of(out)
                if r["method"] == method and r["training_size"] == size
            ]
            cells.append(f"{np.mean(values):.1f} ± {np.std(values):.1f}")
        assert re.search(rf"^{method} +{cells[0]} +{cells[1]}$", text, re.MULTILINE)


def test_the_finite_networks_training_accuracy_is_reported(run):
    text, out = run
    trained = [float(r["training_accuracy"]) for r in rows_of(out) if r["method"] == METHODS[-1]]
    shown = re.search(r"^Lowest training accuracy of the finite networks: (\S+) %$", text, re.M)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(100 * min(trained), abs=0.01)
    # Of twenty images, chosen in turns from ten classes, chance gets two right.
    assert min(trained) > 0.5


def test_kernels_learn_something(run):
    _, out = run
    for method in METHODS[:-1]:
        accuracy = [float(r["test_accuracy"]) for r in rows_of(out) if r["method"] == method]
        assert np.mean(accuracy) > 0.4  # chance is 0.1


def test_plots_and_numbers_are_written(run):
    _, out = run
    for name in ("accuracy.png", "convergence.png"):
        content = (out / name).read_bytes()
        assert content.startswith(b"\x89PNG")
        assert 10_000 < len(content) < 150_000
    record = json.loads((out / "convergence.json").read_text())
    assert record["widths"] == [4, 8]
    for errors in record["relative_errors"].values():
        assert np.shape(errors) == (2, digits.SWEEP_SEEDS)
        assert (np.array(errors) > 0).all()
    assert json.loads((out / "options.json").read_text())["train_sizes"] == [20, 30]


def test_labels_of_test_images_decide_nothing_but_the_score(monkeypatch):
    options = parse(TINY, None)
    data = prepared(load(), options)
    settings = []
    for wrong in (False, True):
        labels = data.labels.copy()
        splits = [
            (split, train, test)
            for split, train, test in digits.training_sets(data, options)
            if split == 0
        ]
        test = splits[0][2]
        if wrong:
            labels[test] = (labels[test] + 1) % 10
        monkeypatch.setattr(digits, "training_sets", lambda *_, splits=splits: iter(splits))
        changed = data._replace(labels=labels)
        results = digits.run_kernels(
            digits.all_methods(data.images, options.depth)[:5], changed, options
        )
        monkeypatch.undo()
        settings.append([(r.setting, r.validation_accuracy) for r in results])
        accuracy = np.mean([r.test_accuracy for r in results])
        assert accuracy < 0.2 if wrong else accuracy > 0.4
    assert settings[0] == settings[1]


def test_large_images_are_shrunk_and_fewer():
    data = load()
    big = data._replace(images=np.repeat(np.repeat(data.images, 4, axis=1), 4, axis=2))
    options = parse([], None)
    small = prepared(big, options)
    assert small.images.shape[1:3] == (16, 16)
    assert options.train_sizes[-1] < parse_default_largest()
    assert len(small.labels) == options.train_sizes[-1] + options.test_size


def parse_default_largest():
    options = parse([], None)
    prepared(load(), options)
    return options.train_sizes[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train-sizes=5000"], "1797 images, of which 700 are skipped, but 5000 for training"),
        (["--shrink=9"], "leaves nothing of images of 8 x 8"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(SystemExit, match=message):
        digits.main(arguments)


@pytest.mark.parametrize("argument", ["--train-sizes=0,5", "--splits=0", "--depth=x"])
def test_bad_numbers_are_refused(argument, capsys):
    with pytest.raises(SystemExit):
        digits.main([argument])
    assert argument.split("=")[0] in capsys.readouterr().err


def test_help_explains(capsys):
    with pytest.raises(SystemExit):
        digits.main(["--help"])
    text = capsys.readouterr().out
    for option in ("--data", "--train-sizes", "--test-size", "--seed", "--depth", "--out"):
        assert option in text
    assert "cross-validation inside that training set" in text
