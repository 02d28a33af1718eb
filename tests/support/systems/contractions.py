"""Fixed points z = T(z) that plain iteration finds, fast or slowly.

References: Kelley, Iterative Methods for Linear and Nonlinear Equations (1995), section 5.6;
Bellman, Dynamic Programming (1957); Bai, Kolter and Koltun, Deep equilibrium models (2019).
"""

import jax.numpy as jnp
import numpy as np

from tests.support.maps import affine, linear
from tests.support.systems._system import System
from tests.support.systems.grids import transport


def kepler(z, _):
    """The eccentric anomalies E = M + e sin E of 50 planets, e = 0.9."""
    return jnp.linspace(0.1, 3.1, z.size) + 0.9 * jnp.sin(z)


def capital(z, _):
    """Next year's capital: what does not wear out, and what is saved."""
    return 0.9 * z + 0.3 * z**0.33


def relaxation(z, _):
    """Jacobi's method for −Δu = 1 on the unit square, u = 0 on its boundary."""
    n = round(z.size**0.5)
    p = jnp.pad(z.reshape(n, n), 1)
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return ((around + 1 / (n + 1) ** 2) / 4).ravel()


def _affine(radius):
    a, b, _ = linear(radius, n=50)
    return lambda z, _: affine(z, (a, b))


def _layer(n=100):
    """tanh(W z + x), |W| < 1: an equilibrium layer."""
    random = np.random.default_rng(0)
    w = random.normal(size=(n, n))
    w *= 0.9 / np.linalg.norm(w, 2)
    x = random.normal(size=n)
    return lambda z, _: jnp.tanh(w @ z + x)


def _bellman(states=50, actions=4, discount=0.95):
    """v = max_a (r_a + γ P_a v), which has kinks."""
    random = np.random.default_rng(0)
    p = random.exponential(size=(actions, states, states)) ** 3
    p /= p.sum(axis=2, keepdims=True)
    r = random.normal(size=(actions, states))
    return lambda z, _: jnp.max(r + discount * (p @ z), axis=0)


def fixed_points() -> tuple[System, ...]:
    """All of them."""
    return (
        System("Kepler, e = 0.9", kepler, (np.linspace(0.1, 3.1, 50),)),
        System("capital", capital, (np.ones(1),)),
        System("affine, radius 0.5", _affine(0.5), (np.zeros(50),)),
        System("affine, radius 0.95", _affine(0.95), (np.zeros(50),)),
        System("equilibrium layer", _layer(), (np.zeros(100),)),
        System("Bellman, γ = 0.95", _bellman(), (np.zeros(50),)),
        System("H-equation, c = 0.9", lambda z, _: transport(z, 0.9), (np.ones(100),)),
        System("H-equation, c = 0.9999", lambda z, _: transport(z, 0.9999), (np.ones(100),)),
        System("Jacobi's relaxation", relaxation, (np.zeros(225),)),
    )
