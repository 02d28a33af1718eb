"""Systems of many equations, F(z, θ) = 0, from differential and integral equations."""

import jax.numpy as jnp
import numpy as np


def broyden_tridiagonal(z, _=None):
    """Broyden's tridiagonal system; start at −1."""
    padded = jnp.pad(z, 1)
    return (3 - 2 * z) * z - padded[:-2] - 2 * padded[2:] + 1


def bratu(z, strength=6.0):
    """Δu + λ exp(u) = 0 on the unit square, u = 0 on its border; times −h². Start at 0."""
    n = round(z.size**0.5)
    u = jnp.pad(z.reshape(n, n), 1)
    around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
    inner = u[1:-1, 1:-1]
    return (4 * inner - around - strength * jnp.exp(inner) / (n + 1) ** 2).reshape(-1)


def inverse_laplacian(z):
    """Minus h² times the inverse of the discrete Laplacian, by sine transforms."""
    n = round(z.size**0.5)
    k = np.arange(1, n + 1)
    sine = jnp.asarray(np.sin(np.pi * np.outer(k, k) / (n + 1)) * (2 / (n + 1)) ** 0.5)
    values = 2 - 2 * np.cos(np.pi * k / (n + 1))
    spectrum = sine @ z.reshape(n, n) @ sine / (values[:, None] + values[None, :])
    return (sine @ spectrum @ sine).reshape(-1)


def chandrasekhar(z, c):
    """Chandrasekhar's H-equation by the midpoint rule; ∂F is singular at c = 1. Start at 1."""
    n = z.size
    mu = (jnp.arange(n) + 0.5) / n
    kernel = mu[:, None] / (mu[:, None] + mu[None, :]) / (2 * n)
    return z - 1 / (1 - c * kernel @ z)


def diffusion(z, source=20.0):
    """−∇·((1 + 10 u²) ∇u) = source on the unit square, u = 0 on its border; times h²."""
    n = round(z.size**0.5)
    u = jnp.pad(z.reshape(n, n), 1)
    k = 1 + 10 * u**2
    across = (k[1:] + k[:-1]) / 2 * jnp.diff(u, axis=0)
    along = (k[:, 1:] + k[:, :-1]) / 2 * jnp.diff(u, axis=1)
    divergence = jnp.diff(across, axis=0)[:, 1:-1] + jnp.diff(along, axis=1)[1:-1]
    return (-divergence - source / (n + 1) ** 2).reshape(-1)


def rosenbrock(z):
    """Rosenbrock's function as a system; root (1, 1), start (−1.2, 1)."""
    return jnp.array([10 * (z[1] - z[0] ** 2), 1 - z[0]])


def powell_badly_scaled(z):
    """Powell's badly scaled system; start (0, 1)."""
    return jnp.array([1e4 * z[0] * z[1] - 1, jnp.exp(-z).sum() - 1.0001])
