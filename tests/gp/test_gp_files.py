"""A fitted process is stored and read again, without code."""

import json

import numpy as np
import pytest
from gp_cases import X_TEST, X, Y, smooth

from ntkjax.gp import GaussianProcess, GaussianProcessClassifier


def made(**options):
    params = {"length": 0.9, "std": 1.2}
    given = {"noise": 0.1, "params": params, "bounds": {"noise": (0.01, 1)}, **options}
    return GaussianProcess(smooth, **given).fit(X, Y)


@pytest.mark.parametrize(
    "options",
    [{"standardize_x": True, "standardize_y": True, "get": "ntk"}, {"noise": np.full(30, 0.2)}],
    ids=["standardized", "noise by points"],
)
def test_what_is_read_is_what_was_stored(options, tmp_path):
    process = made(**options)
    process.save(tmp_path / "process.npz")
    again = GaussianProcess.load(tmp_path / "process.npz", smooth)
    for one, other in zip(again.predict(X_TEST), process.predict(X_TEST), strict=True):
        np.testing.assert_array_equal(one, other)
    names = "params", "bounds", "get", "standardize_x", "standardize_y", "mean"
    assert [getattr(again, n) for n in names] == [getattr(process, n) for n in names]
    np.testing.assert_array_equal(again.noise, process.noise)
    more = [p.update(X_TEST, Y[:7], 0.1).leave_one_out().mean for p in (process, again)]
    np.testing.assert_array_equal(*more)


def test_targets_keep_their_shape(tmp_path):
    process = GaussianProcess(smooth(), 0.1).fit(X, Y[:, 0])
    process.save(tmp_path / "process")
    assert GaussianProcess.load(tmp_path / "process", smooth()).predict(X_TEST).mean.shape == (7,)


def test_a_mean_is_code_and_is_passed_again(tmp_path):
    def mean(x):
        return x[:, 0]

    process = made(mean=mean)
    process.save(tmp_path / "process.npz")
    with pytest.raises(ValueError, match="the prior mean was a function"):
        GaussianProcess.load(tmp_path / "process.npz", smooth)
    for other in (0.0, lambda x: 2 * x[:, 0]):
        with pytest.raises(ValueError, match="mean is another one than that with which"):
            GaussianProcess.load(tmp_path / "process.npz", smooth, other)
    again = GaussianProcess.load(tmp_path / "process.npz", smooth, mean)
    np.testing.assert_array_equal(again.predict(X_TEST).mean, process.predict(X_TEST).mean)


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "process.npz"
    made().save(path)
    with pytest.raises(ValueError, match="network has another kernel"):
        GaussianProcess.load(path, lambda length, std: smooth(length, 2 * std))
    with np.load(path) as archive:
        arrays = dict(archive)
    description = json.loads(str(arrays["description"]))
    for change, phrase in (({"version": 99}, "format 99"), ({"kind": "other"}, "holds no ntkjax")):
        arrays["description"] = np.array(json.dumps({**description, **change}))
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=phrase):
            GaussianProcess.load(path, smooth)
    with pytest.raises(ValueError, match="save: the process has seen no points"):
        GaussianProcess(smooth()).save(path)


def changed(path, description=(), **arrays):
    """Writes a file with some arrays and words of its description changed, None taken out."""
    with np.load(path) as archive:
        held = dict(archive)
    words = {**json.loads(str(held["description"])), **dict(description)}
    held["description"] = np.array(json.dumps({k: v for k, v in words.items() if v is not None}))
    held.update(arrays)
    np.savez(path, **{name: array for name, array in held.items() if array is not None})


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """With another byte in the middle of the arrays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


#: What may happen to a file, and what is said of it.
DAMAGES = {
    "empty": (lambda path: path.write_bytes(b""), "it is no NumPy archive"),
    "text": (lambda path: path.write_text("a process"), "it is no NumPy archive"),
    "cut": (cut, "or its end is missing"),
    "flipped": (flipped, "cannot be read: Bad|cannot be read: Error|cannot be read: Overlapped"),
    "no version": (lambda path: changed(path, {"version": None}), "it does not say its format"),
    "no flag": (lambda path: changed(path, {"get": None}), "it lacks 'get'"),
    "no weights": (lambda path: changed(path, weights=None), "it lacks 'weights'"),
    "NaN": (lambda path: changed(path, weights=np.full((30, 2), np.nan)), "than finite numbers"),
    "text for numbers": (lambda path: changed(path, noise=np.array("a")), "noise"),
    "fewer": (lambda path: changed(path, weights=np.ones((3, 2))), r"has shape \(3, 2\), with 30"),
}


@pytest.mark.parametrize("name", list(DAMAGES))
def test_a_damaged_file_says_what_is_wrong_with_it(name, tmp_path):
    path = tmp_path / "process.npz"
    made().save(path)
    damage, phrase = DAMAGES[name]
    damage(path)
    with pytest.raises((ValueError, TypeError), match=phrase):
        GaussianProcess.load(path, smooth)


def test_what_later_versions_add_is_passed_over(tmp_path):
    path = tmp_path / "process.npz"
    made().save(path)
    changed(path, {"more": 1}, more=np.ones(3))
    assert GaussianProcess.load(path, smooth).is_fitted
    with pytest.raises(TypeError, match="path is None, expected that of a file"):
        GaussianProcess.load(None, smooth)


#: Likelihood, labels, options.
CLASSIFIERS = {
    "dirichlet": (np.where(X[:, 0] > 0, "right", "left"), {"epsilon": 0.05, "get": "ntk"}),
    "laplace": (X[:, 0] > 0, {"bounds": {"std": (0.1, 5)}}),
    "laplace of three": ((X[:, 0] > 0) + 1 * (X[:, 1] > 0), {}),
    "one_hot": ((X[:, 0] > 0) + 1 * (X[:, 1] > 0), {"noise": 0.1}),
}


@pytest.mark.parametrize("name", list(CLASSIFIERS))
def test_a_classifier_is_read_as_it_was_stored(name, tmp_path):
    labels, options = CLASSIFIERS[name]
    params = {"length": 0.9, "std": 1.2}
    made = GaussianProcessClassifier(smooth, name.split()[0], params=params, **options)
    made = made.fit(X[:25], labels[:25])
    made.save(tmp_path / "classes.npz")
    again = GaussianProcessClassifier.load(tmp_path / "classes.npz", smooth)
    np.testing.assert_array_equal(again.predict(X_TEST), made.predict(X_TEST))
    np.testing.assert_array_equal(again.predict_proba(X_TEST), made.predict_proba(X_TEST))
    names = "likelihood", "noise", "epsilon", "params", "bounds", "get", "history"
    assert [getattr(again, n) for n in names] == [getattr(made, n) for n in names]
    assert again.classes.dtype.kind == labels.dtype.kind
    # What is read goes on learning, and is then as if all points had come at once.
    more = again.update(X[25:], labels[25:])
    whole = GaussianProcessClassifier(smooth, made.likelihood, params=params, **options)
    whole = whole.fit(X, labels)
    np.testing.assert_allclose(
        more.log_marginal_likelihood(), whole.log_marginal_likelihood(), rtol=1e-9
    )
    np.testing.assert_allclose(more.predict_proba(X_TEST), whole.predict_proba(X_TEST), atol=1e-9)


def test_files_of_other_classifiers_are_refused(tmp_path):
    path = tmp_path / "file.npz"
    made(noise=0.1).save(path)
    with pytest.raises(ValueError, match=r"holds no ntkjax\.gp\.GaussianProcessClassifier"):
        GaussianProcessClassifier.load(path, smooth)
    GaussianProcessClassifier(smooth()).fit(X, X[:, 0] > 0).save(path)
    with pytest.raises(ValueError, match="network has another kernel"):
        GaussianProcessClassifier.load(path, smooth(2.0))
    with pytest.raises(ValueError, match=r"holds no ntkjax\.gp\.GaussianProcess:"):
        GaussianProcess.load(path, smooth)
