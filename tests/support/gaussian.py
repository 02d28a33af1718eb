"""Densities and conditional moments of a linear Gaussian state space, from one dense covariance.

Everything in a sample is a linear map of the independent normals (x₀, ε_1 … ε_T, v_1 … v_T): what is
observed has its density, and the rest its mean and covariance given that, by the formulas for a
normal vector. No recursion takes part.
"""

from typing import NamedTuple

import numpy as np


class Dense(NamedTuple):
    """Means and maps of the stacked x (T s), ε (T k), v (T m), y (T m) and of x₀, and the base's."""

    mean: np.ndarray
    root: np.ndarray  # covariance of the base
    x: tuple
    shocks: np.ndarray
    errors: np.ndarray
    y: tuple
    initial: np.ndarray


def dense(t, r, z, h, mean, cov, periods, first=0):
    """The whole sample; with first=1 (mean, cov) are of x₁, and ε_1 plays no part."""
    s, k, m = t.shape[0], r.shape[1], z.shape[0]
    size = s + periods * (k + m)
    base = np.zeros((size, size))
    base[:s, :s] = cov
    base[s : s + periods * k, s : s + periods * k] = np.eye(periods * k)
    base[s + periods * k :, s + periods * k :] = np.kron(np.eye(periods), h)
    eps = lambda i: np.eye(size)[s + i * k : s + (i + 1) * k]
    v = lambda i: np.eye(size)[s + periods * k + i * m :][:m]
    start = np.eye(size)[:s]
    x_map, x_mean, xs, means, ys = start, mean, [], [], []
    for i in range(periods):
        if i or not first:
            x_map, x_mean = t @ x_map + r @ eps(i), t @ x_mean
        xs.append(x_map)
        means.append(x_mean)
        ys.append(z @ x_map + v(i))
    means = np.array(means)
    return Dense(
        mean,
        base,
        (means, np.array(xs)),
        np.array([eps(i) for i in range(periods)]),
        np.array([v(i) for i in range(periods)]),
        (means @ z.T, np.array(ys)),
        start,
    )


def _seen(sample, data):
    where = ~np.isnan(data)
    e = (data - sample.y[0])[where]
    rows = sample.y[1][where]
    return rows, e, rows @ sample.root @ rows.T


def log_density(sample, data):
    """That of all numbers of the data that are not NaN."""
    _, e, f = _seen(sample, data)
    sign, log_det = np.linalg.slogdet(f)
    assert sign > 0
    return -(e @ np.linalg.solve(f, e) + log_det + e.size * np.log(2 * np.pi)) / 2


def given(sample, data, mean, rows):
    """The mean and covariance of mean + rows @ base, given the data; rows of shape (..., j, size)."""
    seen, e, f = _seen(sample, data)
    across = rows @ sample.root @ seen.T
    gain = np.linalg.solve(f, np.swapaxes(across, -1, -2))
    cov = rows @ sample.root @ np.swapaxes(rows, -1, -2) - across @ gain
    return mean + across @ np.linalg.solve(f, e), cov
