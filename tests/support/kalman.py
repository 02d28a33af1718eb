"""The log-likelihood of a linear economy, by the Kalman filter of the textbooks, in NumPy."""

import numpy as np
import scipy.linalg


def ergodic(transition, impact):
    """V = X V Xᵀ + R Rᵀ."""
    return scipy.linalg.solve_discrete_lyapunov(transition, impact @ impact.T)


def log_likelihood(transition, impact, rows, data, mean, cov, *, measurement_cov=None, presample=0):
    """log p(data) with `data` (T, m) in deviations from the steady state, NaN where not observed.

    w_t = X w_{t−1} + R ε_t, data_t = w_t[rows] + error. `mean` and `cov` are those of w₁ before any
    datum is seen. The first `presample` quarters are filtered and do not count.
    """
    x, p = np.array(mean, float), np.array(cov, float)
    noise = impact @ impact.T
    errors = np.zeros((len(rows), len(rows))) if measurement_cov is None else measurement_cov
    total = 0.0
    for t, datum in enumerate(data):
        seen = np.flatnonzero(~np.isnan(datum))
        at = np.asarray(rows)[seen]
        surprise = datum[seen] - x[at]
        f = p[np.ix_(at, at)] + errors[np.ix_(seen, seen)]
        if t >= presample:
            _, log_det = np.linalg.slogdet(f)
            distance = surprise @ np.linalg.solve(f, surprise)
            total -= (len(at) * np.log(2 * np.pi) + log_det + distance) / 2
        gain = np.linalg.solve(f, p[at]).T
        x, p = x + gain @ surprise, p - gain @ p[at]
        x, p = transition @ x, transition @ p @ transition.T + noise
        p = (p + p.T) / 2
    return total
