"""F(X, θ) = 0 for matrices in any arithmetic, and its solution and derivatives to 40 digits."""

import mpmath
import numpy as np

mpmath.mp.dps = 50


def inverse(a):
    """The inverse, of numbers or of mpmath's."""
    if a.dtype != object:
        return np.linalg.inv(a)
    return np.array((mpmath.matrix(a.tolist()) ** -1).tolist()).reshape(a.shape)


def hermitian(a):
    return (a + a.conj().T) / 2


def exact(a):
    """The same numbers as mpmath's."""
    return np.vectorize(mpmath.mpmathify, otypes=[object])(np.asarray(a))


def solved(f, x, theta):
    """The root of F near x, by Newton's method with differences for the Jacobian."""
    h = mpmath.mpf(10) ** -25
    x = x.copy()
    for _ in range(12):
        r = f(x, *theta)
        columns = []
        for i in np.ndindex(x.shape):
            moved = x.copy()
            moved[i] += h
            columns.append(((f(moved, *theta) - r) / h).reshape(-1).tolist())
        step = mpmath.lu_solve(mpmath.matrix(columns).T, mpmath.matrix(r.reshape(-1).tolist()))
        x = x - np.array(list(step)).reshape(x.shape)
        if mpmath.norm(step) < mpmath.mpf(10) ** -35 * (1 + mpmath.norm(x.reshape(-1).tolist())):
            return x
    raise AssertionError("Newton's method has not converged")


def derivatives(f, x, theta, along, across):
    """X, its derivative along one direction, and the mixed second one, from differences."""
    theta, along, across = ([exact(a) for a in t] for t in (theta, along, across))
    h = mpmath.mpf(10) ** -10

    def at(s, t):
        moved = [a + s * h * u + t * h * v for a, u, v in zip(theta, along, across, strict=True)]
        return solved(f, x, moved)

    x = solved(f, exact(x), theta)
    first = (at(1, 0) - at(-1, 0)) / (2 * h)
    second = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h**2)
    kind = complex if any(isinstance(v, mpmath.mpc) for v in x.reshape(-1)) else float
    return [v.astype(kind) for v in (x, first, second)]


def square(s, a):
    return s @ s - a


def inverse_square(z, a):
    return z @ a @ z - np.eye(len(a), dtype=int)


def involution(n, a):
    return n @ a @ n - a


def sylvester(x, a, b, q):
    return a @ x + x @ b - q


def generalized(x, a, b, c, d, e):
    return a @ x @ b + c @ x @ d - e


def lyapunov(x, a, q):
    return a @ x + x @ a.conj().T - q


def stein(x, a, q):
    return a @ x @ a.conj().T - x + q


def continuous_riccati(x, a, b, q, r):
    loss = x @ b @ inverse(hermitian(r)) @ b.conj().T @ x
    return a.conj().T @ x + x @ a - loss + hermitian(q)


def discrete_riccati(x, a, b, q, r):
    bx = b.conj().T @ x
    gain = inverse(hermitian(r) + bx @ b) @ bx @ a
    return a.conj().T @ x @ (a - b @ gain) - x + hermitian(q)


def quadratic(x, a, b, c):
    return a @ x @ x + b @ x + c
