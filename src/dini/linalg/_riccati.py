"""Algebraic Riccati equations, continuous and discrete."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import product
from dini.linalg._equation import Terms
from dini.linalg._implicit import implicit_equation
from dini.linalg._matrices import hermitian_part, matrices, norm
from dini.linalg._transformations import as_it_stands, shifts


def solve_continuous_are(
    A: ArrayLike,
    B: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
) -> Inexact[Array, "... n n"]:
    """The stabilising solution of Aᴴ X + X A − X B R⁻¹ Bᴴ X + Q = 0.

    By structured doubling, then Newton's method. The derivative solves a Lyapunov equation in the
    closed loop, A − B R⁻¹ Bᴴ X.

    Args:
        A: of shape (..., n, n).
        B: of shape (..., n, k).
        Q: of shape (..., n, n); its Hermitian part is read.
        R: of shape (..., k, k), with an inverse; its Hermitian part is read.

    Returns:
        X, Hermitian, of shape (..., n, n), with all eigenvalues of the closed loop in the left
        half-plane; NaN where there is none, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    Reference: Chu, Fan and Lin, A structure-preserving doubling algorithm for continuous-time
    algebraic Riccati equations (2005).
    """
    given = matrices("solve_continuous_are", _SHAPES, A=A, B=B, Q=Q, R=R)
    return hermitian_part(_continuous(*_with_hermitian_weights(given)))


def solve_discrete_are(
    A: ArrayLike,
    B: ArrayLike,
    Q: ArrayLike,
    R: ArrayLike,
) -> Inexact[Array, "... n n"]:
    """The stabilising solution of Aᴴ X A − X − Aᴴ X B (R + Bᴴ X B)⁻¹ Bᴴ X A + Q = 0.

    By structured doubling, then Newton's method. The derivative solves a discrete Lyapunov equation
    in the closed loop, A − B (R + Bᴴ X B)⁻¹ Bᴴ X A.

    Args:
        A: of shape (..., n, n).
        B: of shape (..., n, k).
        Q: of shape (..., n, n); its Hermitian part is read.
        R: of shape (..., k, k), singular or not; its Hermitian part is read.

    Returns:
        X, Hermitian, of shape (..., n, n), with all eigenvalues of the closed loop inside the unit
        circle; NaN where there is none, to working precision.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    Reference: Chu, Fan, Lin and Wang, Structure-preserving algorithms for periodic discrete-time
    algebraic Riccati equations (2004).
    """
    given = matrices("solve_discrete_are", _SHAPES, A=A, B=B, Q=Q, R=R)
    return hermitian_part(_discrete(*_with_hermitian_weights(given)))


def _with_hermitian_weights(given: list[Array]) -> list[Array]:
    a, b, q, r = given
    return [a, b, hermitian_part(q), hermitian_part(r)]


# X = Eᴴ X (I + G X)⁻¹ E + H, composed with itself, keeps its form:
# E ← E T E, G ← G + E T G Eᴴ, H ← H + Eᴴ H T E with T = (I + G H)⁻¹, and H → X as E → 0.
def _doubled(e: Array, g: Array, h: Array) -> Array:
    n = e.shape[0]
    one = jnp.eye(n, dtype=e.dtype)
    close = jnp.finfo(e.dtype).eps ** 0.5

    # H settles too where a mode that grows is nowhere in it, and then E does not decay.
    def step(state: tuple) -> tuple:
        e, g, h, _, k = state
        solved = jnp.linalg.solve(one + product(g, h), jnp.concatenate([e, g], axis=1))
        te, tg = solved[:, :n], solved[:, n:]
        more = hermitian_part(product(e.conj().T, h, te))
        g = g + hermitian_part(product(e, tg, e.conj().T))
        e = product(e, te)
        again = (norm(more) > close * norm(h)) | (norm(e) > _DECAYED)
        return e, g, h + more, again, k + 1

    start = e, hermitian_part(g), hermitian_part(h), jnp.asarray(True), 0
    more = lambda s: s[3] & (s[4] < _DOUBLINGS) & jnp.isfinite(norm(s[0]))
    e, _, h, again, _ = jax.lax.while_loop(more, step, start)
    return jnp.where(again, jnp.nan, h)


# X = X₀ + Y changes A and Q, and leaves the form of the equation and the closed loop: every mode of
# Y is seen where Q has none of it. With γ > 0 and W = (A − γ)ᴴ + Q (A − γ)⁻¹ G, a Cayley
# transformation of the Hamiltonian matrix:
# E = I + 2γ W⁻ᴴ, G ← 2γ (A − γ)⁻¹ G W⁻¹, H = 2γ W⁻¹ Q (A − γ)⁻¹.
def _from_continuous(a: Array, b: Array, q: Array, r: Array, which: Array) -> Array:
    one = jnp.eye(*a.shape, dtype=a.dtype)
    g = _weight(b, r)
    scale = norm(a) / jnp.where(norm(g) > 0, norm(g), 1)
    x = (jnp.array([0, 0, 0, 1, 5.3])[which] * scale).astype(a.dtype) * one
    a, q = a - product(g, x), _continuous_residual(x, a, b, q, r)
    hamiltonian = jnp.block([[a, -g], [-q, -a.conj().T]])
    _, logarithm = jnp.linalg.slogdet(hamiltonian)
    # The geometric mean of its eigenvalues' sizes; then more, lest it be an eigenvalue of A.
    mean = jnp.maximum(
        jnp.exp(logarithm / (2 * a.shape[0])), jnp.finfo(a.dtype).eps ** 0.5 * norm(hamiltonian)
    )
    way = which % 3
    gamma = jnp.where(way == 0, mean, jnp.where(way == 1, 3.7 * mean, 1.9 * norm(hamiltonian)))
    left = jnp.linalg.inv(a - gamma * one)
    w = jnp.linalg.inv((a - gamma * one).conj().T + product(q, left, g))
    g, h = product(left, g, w), product(w, q, left)
    return x + _doubled(one + 2 * gamma * w.conj().T, 2 * gamma * g, 2 * gamma * h)


# X = X₀ + Y changes A, Q and R, and leaves the form of the equation and the closed loop, here too:
# R' = R + Bᴴ X₀ B has an inverse where R has none.
def _from_discrete(a: Array, b: Array, q: Array, r: Array, which: Array) -> Array:
    scale = (norm(q) + norm(r)) / (1 + norm(b) ** 2)
    x = jnp.array([0, 1, 37, 1e-3, 1e3])[which] * scale
    x = x.astype(a.dtype) * jnp.eye(*a.shape, dtype=a.dtype)
    r = r + product(b.conj().T, x, b)
    closed = a - product(b, jnp.linalg.solve(r, product(b.conj().T, x, a)))
    h = q - x + hermitian_part(product(a.conj().T, x, closed))
    return x + _doubled(closed, _weight(b, r), h)


def _guess(start: Callable[..., Array], residual: Callable[..., Array]) -> Callable:
    """The first start from which doubling comes near a solution."""

    def guess(a: Array, b: Array, q: Array, r: Array) -> tuple[Array, None]:
        def attempt(state: tuple) -> tuple:
            _, _, k = state
            x = start(a, b, q, r, k)
            # Newton's steps do the rest.
            good = norm(residual(x, a, b, q, r)) <= _ROUGH * (
                norm(x) * (1 + norm(a)) ** 2 + norm(q)
            )
            return x, good, k + 1

        begin = jnp.zeros_like(a), jnp.asarray(False), 0
        x, good, _ = jax.lax.while_loop(lambda s: ~s[1] & (s[2] < _STARTS), attempt, begin)
        return jnp.where(good, x, jnp.nan), None

    return guess


def _continuous_residual(x: Array, a: Array, b: Array, q: Array, r: Array) -> Array:
    ax = product(a.conj().T, x)
    return ax + product(x, a) - product(x, _weight(b, r), x) + q


def _discrete_residual(x: Array, a: Array, b: Array, q: Array, r: Array) -> Array:
    return x - q - product(a.conj().T, x, _discrete_loop(x, a, b, r))


# ∂X F[L] = Aᴴ L + L A − L G X − X G L = (A − G X)ᴴ L + L (A − G X).
def _continuous_derivative(x: Array, a: Array, b: Array, q: Array, r: Array) -> Terms:
    del q
    loop = a - product(_weight(b, r), x)
    return Terms(loop.conj().T, None, None, loop)


# ∂X F[L] = L − Aᴴ L A_c − Aᴴ X ∂A_c = L − A_cᴴ L A_c, A_c = A − B (R + Bᴴ X B)⁻¹ Bᴴ X A.
def _discrete_derivative(x: Array, a: Array, b: Array, q: Array, r: Array) -> Terms:
    del q
    loop = _discrete_loop(x, a, b, r)
    return Terms(None, None, -loop.conj().T, loop)


def _discrete_loop(x: Array, a: Array, b: Array, r: Array) -> Array:
    bx = product(b.conj().T, x)
    return a - product(b, jnp.linalg.solve(r + product(bx, b), product(bx, a)))


# Doubling converges for a Lyapunov equation if all eigenvalues lie on one side: the left one here.
def _hurwitz(x: Array, a: Array, b: Array, q: Array, r: Array) -> Array:
    del q
    return jnp.trace(a - product(_weight(b, r), x)).real < 0


def _weight(b: Array, r: Array) -> Array:
    """B R⁻¹ Bᴴ."""
    return product(b, jnp.linalg.solve(r, b.conj().T))


_SHAPES = "A: n n, B: n k, Q: n n, R: k k"
_SIGNATURE = "(n,n),(n,k),(n,n),(k,k)->(n,n)"
_DOUBLINGS = 60
_DECAYED = 0.5
_STARTS = 5
_ROUGH = 1e-3

_continuous = implicit_equation(
    _guess(_from_continuous, _continuous_residual),
    _continuous_residual,
    _continuous_derivative,
    shifts,
    _SIGNATURE,
    admits=_hurwitz,
)
_discrete = implicit_equation(
    _guess(_from_discrete, _discrete_residual),
    _discrete_residual,
    _discrete_derivative,
    as_it_stands,
    _SIGNATURE,
)
