"""The kernels of Arora et al. 2019 (arXiv 1904.11955) as plain NumPy loops.

Written to be read beside the paper, one line for one line, and for nothing else: every pair of
inputs and every pair of positions is visited on its own, and nothing is shared with the library.

- `ntk_relu`: section 3, equations (7) to (9), with sigma = ReLU and c_sigma = 2.
- `cntk_gap`: section 4 and its appendix, the CNTK with global average pooling.
"""

import math

import numpy as np

C_SIGMA = 2.0  # 1 / E[relu(z)^2], z standard normal


def relu_expectations(var1, cov, var2):
    """E[relu(u) relu(v)] and E[relu'(u) relu'(v)] for (u, v) ~ N(0, [[var1, cov], [cov, var2]])."""
    norm = math.sqrt(var1 * var2)
    if norm == 0.0:
        # One of u, v is zero. The second value multiplies a kernel that is zero here too.
        return 0.0, 0.0
    cosine = min(1.0, max(-1.0, cov / norm))
    angle = math.acos(cosine)
    product = norm * (math.sin(angle) + (math.pi - angle) * cosine) / (2 * math.pi)
    derivative = (math.pi - angle) / (2 * math.pi)
    return product, derivative


# ---- the fully connected network, section 3


def ntk_relu(x1, x2, depth):
    """Theta^(L) and Sigma^(L), each of shape (n1, n2), for L = depth hidden layers."""
    theta = np.zeros((len(x1), len(x2)))
    sigma = np.zeros((len(x1), len(x2)))
    for a, x in enumerate(x1):
        for b, y in enumerate(x2):
            theta[a, b], sigma[a, b] = ntk_relu_of_pair(x, y, depth)
    return theta, sigma


def ntk_relu_of_pair(x, y, depth):
    """The two numbers of one pair: three recursions side by side, of (x, x), (x, y), (y, y)."""
    var_x, cov, var_y = float(x @ x), float(x @ y), float(y @ y)
    sigmas = [cov]  # Sigma^(0), ..., Sigma^(L) at (x, y)
    sigma_dots = []  # Sigmadot^(1), ..., Sigmadot^(L + 1) at (x, y)
    for _ in range(depth):
        product, derivative = relu_expectations(var_x, cov, var_y)
        var_x = C_SIGMA * relu_expectations(var_x, var_x, var_x)[0]
        var_y = C_SIGMA * relu_expectations(var_y, var_y, var_y)[0]
        cov = C_SIGMA * product
        sigmas.append(cov)
        sigma_dots.append(C_SIGMA * derivative)
    sigma_dots.append(1.0)

    # Theta^(L) = sum_{h=1}^{L+1} Sigma^(h-1) prod_{h'=h}^{L+1} Sigmadot^(h'), equation (9).
    theta = 0.0
    for h in range(1, depth + 2):
        product = 1.0
        for later in range(h, depth + 2):
            product *= sigma_dots[later - 1]
        theta += sigmas[h - 1] * product
    return theta, sigmas[depth]


# ---- the convolutional network with global average pooling, section 4


def cntk_gap(images1, images2, depth, filter_size):
    """Theta and Sigma, each of shape (n1, n2), for L = depth convolutional layers."""
    theta = np.zeros((len(images1), len(images2)))
    sigma = np.zeros((len(images1), len(images2)))
    for a, x in enumerate(images1):
        for b, y in enumerate(images2):
            theta[a, b], sigma[a, b] = cntk_gap_of_pair(x, y, depth, filter_size)
    return theta, sigma


def cntk_gap_of_pair(x, y, depth, filter_size):
    """The two numbers of one pair of images of shape (height, width, channels)."""
    height, width, _ = x.shape
    # Each image's own variances come from the recursion of that image with itself.
    variances_x = self_variances(x, depth, filter_size)
    variances_y = self_variances(y, depth, filter_size)

    sigma = sum_over_taps(inner_products(x, y), filter_size)
    theta = sigma.copy()
    for h in range(1, depth + 1):
        k = np.zeros_like(sigma)
        k_dot = np.zeros_like(sigma)
        for i, j, i2, j2 in np.ndindex(sigma.shape):
            product, derivative = relu_expectations(
                variances_x[h - 1][i, j], sigma[i, j, i2, j2], variances_y[h - 1][i2, j2]
            )
            k[i, j, i2, j2] = C_SIGMA / filter_size**2 * product
            k_dot[i, j, i2, j2] = C_SIGMA / filter_size**2 * derivative
        theta = k_dot * theta + k
        sigma = k
        if h < depth:
            theta = sum_over_taps(theta, filter_size)
            sigma = sum_over_taps(sigma, filter_size)

    # Pooling averages the features of all positions, hence the kernel over all pairs of positions.
    number_of_pairs = (height * width) ** 2
    theta_total = sigma_total = 0.0
    for position_pair in np.ndindex(sigma.shape):
        theta_total += theta[position_pair]
        sigma_total += sigma[position_pair]
    return theta_total / number_of_pairs, sigma_total / number_of_pairs


def self_variances(x, depth, filter_size):
    """Sigma^(h)(x, x) at equal positions, for h = 0, ..., depth - 1, each (height, width)."""
    height, width, _ = x.shape
    sigma = sum_over_taps(inner_products(x, x), filter_size)
    variances = []
    for _ in range(depth):
        variance = np.zeros((height, width))
        for i, j in np.ndindex(height, width):
            variance[i, j] = sigma[i, j, i, j]
        variances.append(variance)

        k = np.zeros_like(sigma)
        for i, j, i2, j2 in np.ndindex(sigma.shape):
            product, _ = relu_expectations(variance[i, j], sigma[i, j, i2, j2], variance[i2, j2])
            k[i, j, i2, j2] = C_SIGMA / filter_size**2 * product
        sigma = sum_over_taps(k, filter_size)
    return variances


def inner_products(x, y):
    """K^(0): the products of channels at every pair of positions, summed over the channels."""
    height, width, channels = x.shape
    k = np.zeros((height, width, height, width))
    for i, j, i2, j2 in np.ndindex(k.shape):
        for channel in range(channels):
            k[i, j, i2, j2] += x[i, j, channel] * y[i2, j2, channel]
    return k


def sum_over_taps(k, filter_size):
    """tr(K over D_{ij,i'j'}): both positions move together; outside either image there is zero."""
    height, width = k.shape[:2]
    reach = (filter_size - 1) // 2
    total = np.zeros_like(k)
    for i, j, i2, j2 in np.ndindex(k.shape):
        for a in range(-reach, reach + 1):
            for b in range(-reach, reach + 1):
                rows_inside = 0 <= i + a < height and 0 <= i2 + a < height
                columns_inside = 0 <= j + b < width and 0 <= j2 + b < width
                if rows_inside and columns_inside:
                    total[i, j, i2, j2] += k[i + a, j + b, i2 + a, j2 + b]
    return total
