"""Discretised equations, each with few unknowns and with many.

References: Mohsen, A simple solution of the Bratu problem (2014); Kelley, Iterative Methods for
Linear and Nonlinear Equations (1995), section 5.6, for the H-equation; Broyden, A class of methods
for solving nonlinear simultaneous equations (1965); Knoll and Keyes, Jacobian-free Newton–Krylov
methods (2004), for nonlinear diffusion.
"""

import functools

import jax.numpy as jnp
import numpy as np

from tests.support.systems._system import System
from tests.support.systems.minpack import broyden_tridiagonal

BRATU = 6.0  # λ; there are two solutions below 6.808, and none above
SCATTERING = 0.9  # c of the H-equation


def _square(z):
    n = round(z.size**0.5)
    return z.reshape(n, n)


def bratu(z, _):
    """−Δu = λ exp u on the unit square, u = 0 on its boundary; five points, times h²."""
    u = _square(z)
    p = jnp.pad(u, 1)
    around = p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]
    return (4 * u - around - BRATU / (u.shape[0] + 1) ** 2 * jnp.exp(u)).ravel()


def transport(h, c):
    """h ↦ 1 / (1 − c/2 ∫ μ h(ν) / (μ + ν) dν), by the midpoint rule on [0, 1]."""
    mu = (np.arange(h.size) + 0.5) / h.size
    kernel = mu[:, None] / (mu[:, None] + mu)
    return 1 / (1 - c / (2 * h.size) * (kernel @ h))


def chandrasekhar(z, _):
    """The H-equation of radiative transfer. The mean of H is 2 (1 − √(1 − c)) / c, exactly."""
    return z - transport(z, SCATTERING)


def heat(n):
    """w = u⁴ at the nodes of the grid, boundary included: harmonic, also for five points."""
    x, y = np.meshgrid(*2 * [np.linspace(0, 1, n + 2)], indexing="ij")
    return 0.001 + x + (y**2 - x**2) / 2


def diffusion(z, _):
    """∇·(u³ ∇u) = 0 on the unit square; the flux between two nodes is the difference of u⁴/4.

    With u = w^¼ on the boundary, that is the solution.
    """
    u = _square(z)
    p = jnp.asarray(heat(u.shape[0]) ** 0.25).at[1:-1, 1:-1].set(u)

    def flux(v):
        return (u + v) * (u**2 + v**2) / 4 * (u - v)

    around = (p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:])
    return jnp.sum(jnp.stack([flux(v) for v in around]), axis=0).ravel()


def _systems(side, nodes, length):
    return (
        System("Bratu", bratu, (np.zeros(side**2),)),
        System("Broyden tridiagonal", broyden_tridiagonal, (-np.ones(length),)),
        System("Chandrasekhar H", chandrasekhar, (np.ones(nodes),)),
        System("nonlinear diffusion", diffusion, (np.ones(side**2),)),
    )


small = functools.partial(_systems, 10, 100, 100)
large = functools.partial(_systems, 64, 2000, 5000)
