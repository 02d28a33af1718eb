"""Small state spaces: asymmetric, with missing data, singular, near a unit root."""

import numpy as np

from dini.economics._state_space import Prior, StateSpace

_random = np.random.default_rng(11)

S, P, K, M, T = 4, 3, 3, 2, 8
TRANSITION = np.where(np.arange(S) < P, 0.45 * _random.normal(size=(S, S)), 0)
IMPACT = _random.normal(size=(S, K))
OBSERVATION = _random.normal(size=(M, S))
FULL = np.array([[0.5, 0.2], [0.2, 0.3]])
VARIANCES = np.array([0.4, 0.7])
_root = _random.normal(size=(S, S))
MEAN, COV = _random.normal(size=S), _root @ _root.T

DATA = _random.normal(size=(T, M))
GAPS = DATA.copy()
GAPS[2, 0] = GAPS[4] = GAPS[T - 1, 1] = np.nan


def spaces(h=None, initial=(MEAN, COV), transition=TRANSITION, impact=IMPACT):
    """The small one, with what is asked for."""
    return StateSpace(transition, impact, OBSERVATION, h, initial, lags=P)


def at_first(mean=MEAN, cov=COV):
    """The prior of x₁."""
    return Prior(mean, cov, 1)


# x = (an AR(1) near a unit root, its innovation, twice): the covariance that can be reached is
# singular, and the observables have no errors.
def singular(rho=0.9999, theta=0.4, sigma=0.3):
    """Two processes of which one is stored twice, seen without errors."""
    t = np.zeros((5, 5), object)
    t[0, 0], t[0, 1], t[2, 2], t[2, 0] = rho, theta, 0.5, 0.2
    t[3, 2], t[3, 0] = 0.5, 0.2
    r = np.zeros((5, 2), object)
    r[0, 0] = r[1, 0] = r[4, 0] = 1
    r[2, 1] = r[3, 1] = sigma
    z = np.array([[1.0, 0, 0, 0.5, 0], [0, 0, 1, 0, 0.1]])
    return t, r, z
