"""Learned images: the regression that learns them, a stopped run that goes on, and the script."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill
import inducing_points
from inducing_points import Learner, Points, mean_points, real_points, targets
from ntkjax import stax
from tests.helpers import fast_jit

SMALL = ["--shrink=2", "--test-size=200", "--batch=60", "--every=20"]


@pytest.fixture(autouse=True)
def compile_fast(monkeypatch):
    """Compile fast; and optax depends on promotion that the tests of the library itself forbid."""
    monkeypatch.setattr(inducing_points, "jit", fast_jit)
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_predictions_are_those_of_kernel_ridge_regression():
    rng = np.random.default_rng(0)
    a, b, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), rng.normal(size=(4, 2))
    kernel_fn = stax.serial(stax.Dense(1), stax.Relu(), stax.Dense(1)).kernel_fn
    within = np.asarray(kernel_fn(a, None, "ntk"))
    ridge = 0.1 * np.trace(within) / 4
    wanted = kernel_fn(b, a, "ntk") @ np.linalg.solve(within + ridge * np.eye(4), y)
    learner = Learner(kernel_fn, 0.01, 0.1)
    points = Points(jnp.asarray(a), jnp.asarray(y))
    np.testing.assert_allclose(learner.scores(points, b), wanted, rtol=1e-9)
    other = rng.normal(size=(5, 2))
    loss = np.mean(np.sum((wanted - other) ** 2, axis=1)) / 2
    np.testing.assert_allclose(learner.loss(points, b, other), loss, rtol=1e-9)


def test_points_come_class_by_class():
    labels = np.array([0, 1, 2] * 8)
    images = np.arange(24.0)[:, None, None, None]
    real = real_points(images, labels, 2, 3, 0)
    np.testing.assert_array_equal(real.images[:, 0, 0, 0] % 3, [0, 0, 1, 1, 2, 2])
    assert len(set(real.images[:, 0, 0, 0])) == 6
    np.testing.assert_allclose(real.labels[2], [-1 / 3, 2 / 3, -1 / 3])
    means = mean_points(images, labels, 2, 3, 0)
    for c in range(3):  # halves of a class have its mean
        wanted = images[labels == c].mean()
        np.testing.assert_allclose(means.images[2 * c : 2 * c + 2].mean(), wanted)


@pytest.fixture(scope="module")
def task():
    options = distill.parse(SMALL)
    return distill.task_of(distill.load(None), options)


def test_learning_goes_on_where_it_was_stopped(task, tmp_path, monkeypatch):
    monkeypatch.setattr(distill.ntkjax.config, "dtype", "inputs")
    learner = Learner(distill.networks(4)[distill.FLAT].kernel_fn, 0.02, 1e-3)
    start = real_points(task.images, task.labels, 1, 10, 0)

    def course(folder, steps, task=task, **changes):
        options = distill.parse([*SMALL, f"--steps={steps}", f"--out={tmp_path / folder}"])
        for name, value in changes.items():
            setattr(options, name, value)
        return distill.learn(distill.FLAT, learner, start, task, options)

    whole = course("whole", 60)
    assert whole.steps == [0, 20, 40, 60]
    assert whole.accuracies[-1] > whole.accuracies[0] + 0.1
    assert whole.losses[3] < whole.losses[1]
    np.testing.assert_array_equal(whole.points.labels, start.labels)
    assert course("parts", 20).steps == [0, 20]
    parts = course("parts", 60)
    np.testing.assert_array_equal(parts.points.images, whole.points.images)
    assert (parts.steps, parts.accuracies) == (whole.steps, whole.accuracies)
    # What was learned is read, and nothing is learned anew.
    monkeypatch.setattr(learner, "step", None)
    np.testing.assert_array_equal(course("parts", 60).points.images, whole.points.images)
    with pytest.raises(SystemExit, match=r"batch was 60 and is 50 now.*--out"):
        course("parts", 60, batch=50)


def test_test_images_decide_nothing_but_the_score(task, tmp_path, monkeypatch):
    monkeypatch.setattr(distill.ntkjax.config, "dtype", "inputs")
    learner = Learner(distill.networks(4)[distill.FLAT].kernel_fn, 0.02, 1e-3, learns_labels=True)
    start = real_points(task.images, task.labels, 1, 10, 0)
    wrong = task._replace(
        test_images=-task.test_images[::-1], test_labels=(task.test_labels + 1) % 10
    )
    found = []
    for name, each in (("right", task), ("wrong", wrong)):
        options = distill.parse([*SMALL, "--steps=20", f"--out={tmp_path / name}"])
        found.append(distill.learn(distill.FLAT, learner, start, each, options))
    np.testing.assert_array_equal(found[0].points.images, found[1].points.images)
    assert found[0].accuracies[-1] > found[1].accuracies[-1] + 0.3
    assert np.abs(found[0].points.labels - start.labels).max() > 0.01


def test_the_script(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(distill, "DRAWS", 2)
    shallow = distill.networks(2)  # one convolution compiles faster than three
    monkeypatch.setattr(distill, "networks", lambda side: shallow)
    found = distill.main([*SMALL, "--steps=20", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    for name in (distill.FLAT, distill.POOLED):
        learned = found[f"learned, {name}"][name]
        assert learned.shape == (1,)
        assert learned[0] > found["real images"][name].mean() + 0.05
        assert f"learned, {name}" in said
    assert (tmp_path / "distill.png").stat().st_size > 10_000


def test_too_few_images():
    with pytest.raises(SystemExit, match="lower --per-class or --test-size"):
        distill.main(["--per-class=200"])


def test_targets_have_mean_zero():
    np.testing.assert_allclose(targets(np.array([1]), 4), [[-0.25, 0.75, -0.25, -0.25]])
