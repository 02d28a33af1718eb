"""Fixed-point maps with known fixed points, for the solvers."""

import jax.numpy as jnp
import numpy as np


def linear(radius, n=6, seed=0):
    """(A, b, z) with A asymmetric of this spectral radius, and z = A z + b."""
    random = np.random.default_rng(seed)
    a = random.normal(size=(n, n))
    a *= radius / np.max(np.abs(np.linalg.eigvals(a)))
    b = random.normal(size=n)
    return jnp.asarray(a), jnp.asarray(b), np.linalg.solve(np.eye(n) - a, b)


def affine(z, args):
    """A z + b."""
    a, b = args
    return a @ z + b


def displacement(fun, z, args=None):
    """The largest |T(z) − z|."""
    return np.max(np.abs(np.asarray(fun(z, args)) - np.asarray(z)))
