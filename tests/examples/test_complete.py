"""Missing pixels: the kernel of noise, its regression, the baselines, and the script."""

import jax
import numpy as np
import pytest

import complete


def by_loops(side):
    """The tangent kernel of a network that halves and doubles once, position by position."""

    def taps(kernel):
        """The mean over the nine taps, which are the same for both positions."""
        out = np.zeros_like(kernel)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                out += np.roll(kernel, (dy, dx, dy, dx), (0, 1, 2, 3)) / 9
        return out

    def rectified(cov, ntk):
        n = len(cov) ** 2
        variance = np.diag(cov.reshape(n, n))
        size = np.sqrt(np.multiply.outer(variance, variance)).reshape(cov.shape)
        angle = np.arccos(np.clip(cov / size, -1, 1))
        turned = np.sin(angle) + (np.pi - angle) * np.cos(angle)
        return size * turned / (2 * np.pi), ntk * (np.pi - angle) / (2 * np.pi)

    def doubled(kernel):
        identity = np.eye(len(kernel))
        weights = jax.image.resize(identity, (2 * len(kernel), len(kernel)), "linear")
        return np.einsum("ai,bj,ck,dl,ijkl->abcd", *[np.asarray(weights)] * 4, kernel)

    n = side * side
    noise = (np.full((n, n), 1 / 4) + np.eye(n) / 12).reshape(4 * (side,))
    first = 2 * taps(noise)[::2, ::2, ::2, ::2]
    cov, ntk = map(doubled, rectified(first, first))
    cov, ntk = rectified(2 * taps(cov), 2 * taps(cov) + 2 * taps(ntk))
    return (taps(cov) + taps(ntk)).reshape(n, n)


def test_the_kernel_between_pixels():
    kernel = complete.kernel_of_noise(4, 1)
    np.testing.assert_allclose(kernel, by_loops(4), rtol=1e-5)


def test_the_kernel_between_positions():
    kernel = complete.kernel_of_positions(5, 1)
    points = np.array([(i, j, 2) for i in range(-2, 3) for j in range(-2, 3)]) / 2
    cov = points @ points.T  # both weights of variance 2 / 2, and a bias
    size = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    angle = np.arccos(np.clip(cov / size, -1, 1))
    hidden = size * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
    wanted = hidden + 1 + cov * (np.pi - angle) / np.pi
    np.testing.assert_allclose(kernel, wanted, rtol=1e-6)


def test_networks_that_halve_the_image_more_often_see_further():
    near, far = (complete.kernel_of_noise(8, scales) for scales in (1, 2))
    np.testing.assert_allclose(far, far.T, rtol=1e-5)
    assert np.linalg.eigvalsh(far).min() > -1e-5 * np.mean(np.diag(far))
    middle, away = 3 * 8 + 3, 3 * 8 + 6  # at a distance of three
    for kernel in (near, far):
        kernel -= kernel.min()
    assert near[middle, away] / near[middle, middle] < far[middle, away] / far[middle, middle] / 2


def test_regression_and_what_it_leaves_out():
    rng = np.random.default_rng(0)
    image, root = rng.random((4, 4, 3)), rng.normal(size=(16, 20))
    kernel, known = root @ root.T, rng.random((4, 4)) > 0.3
    inside, outside = np.flatnonzero(known), np.flatnonzero(~known)
    pixels = image.reshape(16, 3)
    matrix = kernel[np.ix_(inside, inside)]
    matrix = matrix + 0.3 * np.mean(np.diag(matrix)) * np.eye(len(inside))
    mean = pixels[inside].mean(0)
    known_pixels = pixels[inside] - mean
    said = mean + kernel[np.ix_(outside, inside)] @ np.linalg.solve(matrix, known_pixels)
    made, error = complete.completed(kernel, image, known, 0.3)
    made = made.reshape(16, 3)
    np.testing.assert_allclose(made[outside], np.clip(said, 0, 1), rtol=1e-9)
    np.testing.assert_array_equal(made[inside], pixels[inside])
    errors = []
    for i in range(len(inside)):
        rest = np.delete(np.arange(len(inside)), i)
        weights = np.linalg.solve(matrix[np.ix_(rest, rest)], known_pixels[rest])
        errors.append((matrix[i, rest] @ weights - known_pixels[i]) ** 2)
    np.testing.assert_allclose(error, np.mean(errors), rtol=1e-9)


def test_baselines():
    # A plane is what linear interpolation makes again; a corner has no pixels around it.
    image = np.add.outer(np.arange(6.0), np.arange(6.0))[:, :, None] / 10
    known = np.full((6, 6), True)
    known[2, 3] = known[0, 0] = False
    linear = complete.interpolated(image, known, complete.LINEAR)
    assert linear[2, 3] == pytest.approx(image[2, 3])
    nearest = complete.interpolated(image, known, complete.NEAREST)
    assert linear[0, 0] == nearest[0, 0] == pytest.approx(0.1)
    mean = complete.interpolated(image, known, complete.MEAN)
    assert mean[2, 3] == pytest.approx(image[known].mean())
    wanted = -10 * np.log10((0.1**2 + 0.0**2) / 2)
    assert complete.psnr(image, linear, known) == pytest.approx(wanted)


def test_the_script(tmp_path, capsys):
    options = ["--side", "16", "--scales", "1", "--missing", "0.5", "--out", str(tmp_path)]
    found = complete.main(options)
    assert list(found) == ["50 % missing", "a hole"]
    for each in found.values():
        assert each[complete.CONVOLUTIONAL] > each[complete.MEAN] + 1
        assert each[complete.POSITIONS] > each[complete.NEAREST]
    assert "Peak signal-to-noise" in capsys.readouterr().out
    assert (tmp_path / "complete.png").stat().st_size > 10_000


def test_bad_numbers_are_refused(capsys):
    for option, message in [("--side=20", "cannot be halved 4 times"), ("--missing=1", "no share")]:
        with pytest.raises(SystemExit):
            complete.main([option])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit, match="lower --side"):
        complete.main(["--side=512"])
