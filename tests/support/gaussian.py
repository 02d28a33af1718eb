"""Densities and conditional moments of a linear Gaussian state space, from one dense covariance.

All that happens in a sample is a linear map of the base (x₀, ε_1 … ε_T, v_1 … v_T). So what is
observed has its density, and the rest its mean and covariance given that, by the formulas for a
normal vector. No recursion of covariances takes part.
"""

from typing import NamedTuple

import numpy as np


class Dense(NamedTuple):
    """The covariance of the base, and means and rows of maps from it, period by period."""

    cov: np.ndarray  # of the base
    x: tuple  # of shapes (T, s) and (T, s, base)
    y: tuple  # (T, m) and (T, m, base)
    shocks: tuple  # (T, k) and (T, k, base)
    errors: tuple  # (T, m) and (T, m, base)
    initial: tuple  # (s,) and (s, base)


def dense(t, r, z, h, mean, cov, periods, first=0):
    """The whole sample; with first=1 (mean, cov) are of x₁, and ε_1 plays no part."""
    s, k, m = t.shape[0], r.shape[1], z.shape[0]
    size = s + periods * (k + m)
    one, base = np.eye(size), np.eye(size)
    base[:s, :s] = cov
    base[s + periods * k :, s + periods * k :] = np.kron(np.eye(periods), h)
    shocks = one[s : s + periods * k].reshape(periods, k, size)
    errors = one[s + periods * k :].reshape(periods, m, size)
    x, at, maps, means = one[:s], mean, [], []
    for i in range(periods):
        if i or not first:
            x, at = t @ x + r @ shocks[i], t @ at
        maps.append(x)
        means.append(at)
    maps, means = np.array(maps), np.array(means)
    return Dense(
        base,
        (means, maps),
        (means @ z.T, z @ maps + errors),
        (np.zeros((periods, k)), shocks),
        (np.zeros((periods, m)), errors),
        (mean, one[:s]),
    )


def _seen(sample, data):
    where = ~np.isnan(data)
    means, maps = sample.y
    return maps[where], (data - means)[where]


def log_density(sample, data):
    """That of all numbers of the data that are not NaN."""
    maps, e = _seen(sample, data)
    f = maps @ sample.cov @ maps.T
    sign, log_det = np.linalg.slogdet(f)
    assert sign > 0
    return -(e @ np.linalg.solve(f, e) + log_det + e.size * np.log(2 * np.pi)) / 2


def given(sample, data, what):
    """The means and covariances, period by period, of a part of the sample given the data."""
    (means, rows), (maps, e) = what, _seen(sample, data)
    f = maps @ sample.cov @ maps.T
    across = rows @ sample.cov @ maps.T
    taken = across @ np.linalg.solve(f, np.swapaxes(across, -1, -2))
    return means + across @ np.linalg.solve(f, e), rows @ sample.cov @ np.swapaxes(
        rows, -1, -2
    ) - taken
