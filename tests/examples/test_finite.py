"""The training of the finite network: it fits its training set, and looks at nothing else."""

import functools

import numpy as np
import pytest

import finite
import kernels
from datasets import load
from finite import Trainer
from splits import subset

TRAIN, CLASSES = np.arange(20), 10


@functools.cache
def tiny_data():
    """Thirty digits of 4 x 4 pixels, of which the first twenty serve for training."""
    data = load()
    chosen = subset(data.labels, 30, 0)
    blocks = data.images[chosen].reshape(30, 4, 2, 4, 2, 1)
    return kernels.standardized(blocks.mean((2, 4))).astype(np.float32), data.labels[chosen]


@functools.cache
def tiny_trainer():
    return Trainer(kernels.convolutional_network(2, 16, CLASSES), tiny_data()[0], CLASSES)


def test_all_training_images_are_right_in_the_end():
    _, labels = tiny_data()
    params, steps, accuracy = tiny_trainer().fit(TRAIN, labels[TRAIN], 0.1, seed=0)
    assert accuracy == 1
    assert steps == finite.steps_for(20)
    scores = tiny_trainer().scores(params, np.arange(30))
    assert (np.argmax(scores[:20], axis=1) == labels[:20]).all()


@pytest.mark.parametrize("doublings", [0, 9])
def test_training_takes_twice_the_steps_while_images_are_wrong(monkeypatch, doublings):
    _, labels = tiny_data()
    monkeypatch.setattr(finite, "steps_for", lambda size: 4)
    monkeypatch.setattr(finite, "DOUBLINGS", doublings)
    _, steps, accuracy = tiny_trainer().fit(TRAIN, labels[TRAIN], 0.1, seed=0)
    if doublings:
        assert accuracy == 1
        assert 4 < steps < 4 * 2**doublings
    else:
        # Four steps of a warm-up do not fit twenty digits, and the accuracy says so.
        assert accuracy < 1
        assert steps == 4


def test_the_learning_rate_is_chosen_on_training_images_alone():
    images, labels = tiny_data()
    hidden = images.copy()
    hidden[20:] = np.nan
    network = kernels.convolutional_network(2, 16, CLASSES)
    blind = Trainer(network, hidden, CLASSES).choose(TRAIN, labels[TRAIN], seed=0)
    assert blind.learning_rate in finite.RATES
    assert blind.accuracy > 0.1  # chance
    assert blind == tiny_trainer().choose(TRAIN, labels[TRAIN], seed=0)


def test_the_rate_that_learns_is_chosen(monkeypatch):
    _, labels = tiny_data()
    for rates in ((1e-6, 0.1), (0.1, 1e-6)):
        monkeypatch.setattr(finite, "RATES", rates)
        assert tiny_trainer().choose(TRAIN, labels[TRAIN], seed=0).learning_rate == 0.1


def test_held_out_images_are_not_fitted(monkeypatch):
    # With labels of no meaning, cross-validation sees no more than chance, though all are fitted.
    labels = np.random.default_rng(0).permutation(np.arange(20) % CLASSES)
    monkeypatch.setattr(finite, "RATES", (0.1,))
    assert tiny_trainer().fit(TRAIN, labels, 0.1, seed=0).accuracy == 1
    assert tiny_trainer().choose(TRAIN, labels, seed=0).accuracy < 0.5


def test_rates_warm_up_and_fall_to_nothing():
    rates = finite.cosine(0.1, 200)
    peak = int(np.argmax(rates))
    assert abs(peak - finite.WARM_UP) <= 1
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert 0.09 < rates[peak] <= 0.1
    np.testing.assert_allclose(rates[100], 0.05, rtol=1e-6)
    assert 0 < rates[-1] < 1e-4 * rates[peak]


@pytest.mark.parametrize("size", [5, 16, 40])
def test_every_pass_shows_each_image_once(size):
    shown = finite.batches(size, 15, np.random.default_rng(0))
    assert shown.shape == (15, finite.BATCH)
    whole = shown.ravel()[: shown.size // size * size].reshape(-1, size)
    np.testing.assert_array_equal(np.sort(whole), np.tile(np.arange(size), (len(whole), 1)))
    assert len(np.unique(whole, axis=0)) > 1
