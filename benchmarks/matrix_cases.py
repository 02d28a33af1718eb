"""Matrices at which functions and equations have a known answer, and a known derivative."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A point, a direction, weights, and what is true there."""

    a: tuple
    e: tuple
    u: np.ndarray
    value: np.ndarray
    along: np.ndarray


def transposed(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2)


def eigenvectors(rng: np.random.Generator, shape: tuple, symmetric: bool) -> tuple:
    """V, close to orthogonal, and its inverse, in extended precision."""
    n = shape[-1]
    v, _ = np.linalg.qr(rng.normal(size=shape))
    if symmetric:
        return v, transposed(v)
    v = v @ (np.eye(n) + 0.2 * rng.normal(size=shape) / np.sqrt(n))
    return v, np.linalg.inv(v)


def spectral(f: Callable, df: Callable, low: float, high: float, symmetric: bool = False) -> Any:
    """f(A) = V f(Λ) V⁻¹, and its derivative by divided differences: no two eigenvalues are near."""

    def case(rng: np.random.Generator, shape: tuple) -> Case:
        n = shape[-1]
        v, inverse = eigenvectors(rng, shape, symmetric)
        w = np.broadcast_to(np.linspace(low, high, n), shape[:-1])
        e, u = rng.normal(size=shape), rng.normal(size=shape)
        e = e + transposed(e) if symmetric else e
        u = u + transposed(u) if symmetric else u
        x, y = w[..., :, None].astype(np.longdouble), w[..., None, :].astype(np.longdouble)
        gap = np.where(x == y, 1, x - y)
        slopes = np.where(x == y, df(x), (f(x) - f(y)) / gap).astype(float)
        a = (v * w[..., None, :]) @ inverse
        a = (a + transposed(a)) / 2 if symmetric else a
        return Case(
            (a,),
            (e,),
            u,
            (v * f(w)[..., None, :]) @ inverse,
            v @ (slopes * (inverse @ e @ v)) @ inverse,
        )

    return case


def acting(one: Any, columns: int) -> Any:
    """f(A) B, of a case of f(A)."""

    def case(rng: np.random.Generator, shape: tuple) -> Case:
        (a,), (e,), _, value, along = one(rng, shape)
        b, b_dot, u = rng.normal(size=(3, *shape[:-1], columns))
        return Case((a, b), (e, b_dot), u, value @ b, along @ b + value @ b_dot)

    return case


def solved(residual: Callable, arguments: Callable) -> Any:
    """X is chosen, and the last matrix so that X solves the equation; and along a direction."""

    def case(rng: np.random.Generator, shape: tuple) -> Case:
        *a, x, x_dot = arguments(rng, shape)
        e = [rng.normal(size=m.shape) for m in a]
        e = [
            m + transposed(m) if np.array_equal(d, transposed(d)) else m
            for m, d in zip(e, a, strict=True)
        ]
        h = 1e-30j
        last = residual(x, *a).real
        step = residual(x + h * x_dot, *(m + h * d for m, d in zip(a, e, strict=True)))
        return Case((*a, last), (*e, step.imag / h.imag), rng.normal(size=x.shape), x, x_dot)

    return case


def normal(rng: np.random.Generator, shape: tuple) -> np.ndarray:
    return rng.normal(size=shape) / np.sqrt(shape[-1])


def sylvester_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    one = np.eye(shape[-1])
    a, b = (normal(rng, shape) / 2 + one for _ in range(2))
    return a, b, normal(rng, shape), normal(rng, shape)


def lyapunov_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    a = normal(rng, shape) / 2 - np.eye(shape[-1])
    return a, *symmetric_pair(rng, shape)


def stein_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    return 0.9 * normal(rng, shape), *symmetric_pair(rng, shape)


def symmetric_pair(rng: np.random.Generator, shape: tuple) -> tuple:
    x, x_dot = normal(rng, shape), normal(rng, shape)
    return x @ transposed(x) / 4 + np.eye(shape[-1]) / 4, x_dot + transposed(x_dot)


def riccati_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    a, x, x_dot = lyapunov_matrices(rng, shape)
    n = shape[-1]
    r = np.broadcast_to(np.eye(n // 2), (*shape[:-2], n // 2, n // 2)).copy()
    return a, normal(rng, (*shape[:-1], n // 2)), r, x, x_dot


def discrete_riccati_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    _, *rest = riccati_matrices(rng, shape)
    return 0.6 * normal(rng, shape), *rest


def generalized_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    one = np.eye(shape[-1])
    large = [normal(rng, shape) / 3 + 2 * one for _ in range(2)]
    small = [0.5 * normal(rng, shape) for _ in range(2)]
    return *large, *small, normal(rng, shape), normal(rng, shape)


def quadratic_matrices(rng: np.random.Generator, shape: tuple) -> tuple:
    a = 0.2 * normal(rng, shape)
    return (
        a,
        np.eye(shape[-1]) + 0.1 * normal(rng, shape),
        0.5 * normal(rng, shape),
        normal(rng, shape),
    )


def continuous_riccati(x, a, b, r):
    return -(transposed(a) @ x + x @ a - x @ b @ np.linalg.solve(r, transposed(b)) @ x)


def discrete_riccati(x, a, b, r):
    bx = transposed(b) @ x
    closed = a - b @ np.linalg.solve(r + bx @ b, bx @ a)
    return x - transposed(a) @ x @ closed
