"""Splits share no image, are nested and balanced; folds cover each point once."""

import numpy as np

from splits import folds, random_split, subset


def test_test_images_are_no_training_images():
    labels = np.repeat(np.arange(4), 25)
    for seed in range(5):
        pool, test = random_split(labels, 20, seed)
        assert len(test) == 20
        np.testing.assert_array_equal(np.sort(np.concatenate([pool, test])), np.arange(100))


def test_splits_differ_by_seed_and_repeat_with_it():
    labels = np.repeat(np.arange(4), 25)
    np.testing.assert_array_equal(
        random_split(labels, 20, 1).test, random_split(labels, 20, 1).test
    )
    assert set(random_split(labels, 20, 1).test) != set(random_split(labels, 20, 2).test)


def test_every_training_size_is_balanced():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), 30))
    pool, test = random_split(labels, 50, 0)
    for part in (pool[:10], pool[:23], pool, test):
        counts = np.bincount(labels[part], minlength=5)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(labels[subset(labels, 33, 0)], minlength=5)
    assert counts.max() - counts.min() <= 1


def test_a_class_with_few_images_gives_what_it_has():
    labels = np.array([0] * 20 + [1] * 3)
    np.testing.assert_array_equal(np.bincount(labels[subset(labels, 12, 0)]), [9, 3])


def test_folds_hold_out_each_point_once():
    for n in (2, 3, 20, 23):
        parts = folds(3, n)
        held_out = np.concatenate([out for _, out in parts])
        np.testing.assert_array_equal(np.sort(held_out), np.arange(n))
        for fit, out in parts:
            assert len(fit) > 0
            assert not set(fit) & set(out)
