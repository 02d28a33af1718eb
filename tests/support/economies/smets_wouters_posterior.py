"""The log posterior of Smets and Wouters in NumPy and SciPy, independent of the package."""

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from tests.support import kalman, linearise, qz
from tests.support.economies import smets_wouters as economy

SEEN = [*economy.STATES, *economy.OBSERVABLES]
AT = [economy.VARIABLES.index(name) for name in SEEN]
# Of the published sample from the diffuse start, in the order of the parameters: from the Hessian
# at the mode, by second differences
POSTERIOR_SD = """
    0.02749 0.02332 0.02986 0.04894 0.01477 0.0167 0.02218 0.0104 0.08403
    0.008199 0.05969 0.06578 0.04656 0.01306 0.08689 0.05181 1.03 0.1344
    0.04174 0.07058 0.6198 0.05828 0.1331 0.09186 0.1155 0.07768 0.1824
    0.02455 0.02362 0.02727 0.1126 0.06055 1.107 0.01442 0.0889 0.01752
"""
POSTERIOR_SD = np.array(POSTERIOR_SD.split(), float)
ROWS = list(range(len(economy.STATES), len(SEEN)))


def _inverse_gamma(x, mean, sd):
    """Type 1: x² is inverse gamma with shape ν/2 and scale S/2."""

    def excess(nu):
        gammas = scipy.special.gammaln([(nu - 1) / 2, nu / 2])
        return (nu - 2) * (mean**2 + sd**2) / 2 * np.exp(2 * (gammas[0] - gammas[1])) - mean**2

    nu = scipy.optimize.root_scalar(excess, bracket=(2 + 1e-9, 100), xtol=1e-14).root
    scale = (nu - 2) * (mean**2 + sd**2) / 2
    return scipy.stats.invgamma.logpdf(x**2, nu / 2, scale=scale) + np.log(2 * x)


def _beta(x, mean, sd):
    t = mean * (1 - mean) / sd**2 - 1
    return scipy.stats.beta.logpdf(x, mean * t, (1 - mean) * t)


def _gamma(x, mean, sd):
    return scipy.stats.gamma.logpdf(x, (mean / sd) ** 2, scale=sd**2 / mean)


def _normal(x, mean, sd):
    return scipy.stats.norm.logpdf(x, mean, sd)


DENSITIES = {"inverse_gamma": _inverse_gamma, "beta": _beta, "gamma": _gamma, "normal": _normal}


def log_prior(p):
    """Within the bounds."""
    return sum(
        DENSITIES[prior.log_density.__name__](x, prior.mean, prior.sd)
        for x, prior in zip(p, economy.PRIORS.values(), strict=True)
    )


def log_likelihood(p, data, initial, presample=4):
    """Of `data` in levels, with `initial` "ergodic" or "diffuse": 10 I before the first quarter.

    The covariance is that of the twenty lagged variables and the seven observables.
    """
    law = qz.solve(*linearise.jacobians(economy, p))
    transition, impact = law.transition[np.ix_(AT, AT)], law.impact[AT]
    deviations = data - linearise.rest(economy, p)[AT][ROWS]
    cov = {"ergodic": kalman.ergodic(transition, impact), "diffuse": 10 * np.eye(len(AT))}[initial]
    mean = np.zeros(len(AT))
    return kalman.log_likelihood(
        transition, impact, ROWS, deviations, mean, cov, presample=presample
    )


def log_posterior(p, data, initial):
    return log_likelihood(p, data, initial) + log_prior(p)


def gradient(f, x, step):
    """By central differences of fourth order, a step for each number."""
    x, slopes = np.asarray(x, float), []
    for i, h in enumerate(step):
        at = lambda k: f(x + k * h * (np.arange(len(x)) == i))  # noqa: B023
        slopes.append((8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h))
    return np.array(slopes)
