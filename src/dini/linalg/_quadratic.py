"""The quadratic matrix equation A X² + B X + C = 0."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import product
from dini.linalg._equation import Terms
from dini.linalg._implicit import implicit_equation
from dini.linalg._matrices import matrices, norm
from dini.linalg._transformations import as_it_stands


def solve_quadratic(A: ArrayLike, B: ArrayLike, C: ArrayLike) -> Inexact[Array, "... n n"]:
    """The minimal solvent of A X² + B X + C = 0.

    Its eigenvalues are the n smallest of the 2n that λ² A + λ B + C has (infinite ones counted, A
    may be singular); the next one must be larger. By cyclic reduction, then Newton's method. Where
    B is singular the variable is transformed, for which a circle near the unit circle must part the
    eigenvalues. The derivative solves A L X + (A X + B) L = −(∂A X² + ∂B X + ∂C) by doubling.

    Args:
        A: of shape (..., n, n).
        B: of shape (..., n, n).
        C: of shape (..., n, n).

    Returns:
        X, of shape (..., n, n); NaN where no circle parts n eigenvalues from the others, to working
        precision. Whether they lie inside the unit circle is for
        [`quadratic_radii`][dini.linalg.quadratic_radii] to tell.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.

    References: Bini and Meini, On the solution of a nonlinear matrix equation arising in queueing
    problems (1996); Higham and Kim, Numerical analysis of a quadratic matrix equation (2000).
    """
    return _quadratic(*matrices("solve_quadratic", "A: n n, B: n n, C: n n", A=A, B=B, C=C))


def quadratic_radii(
    A: ArrayLike,
    B: ArrayLike,
    X: ArrayLike,
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The spectral radii of X and of (A X + B)⁻¹ A, X a solvent of A X² + B X + C = 0.

    The eigenvalues of λ² A + λ B + C are those of X, and minus one over those of (A X + B)⁻¹ A. X
    is the one stable solution if the first radius is less than 1, and the second no more than 1.

    Args:
        A: of shape (..., n, n).
        B: of shape (..., n, n).
        X: of shape (..., n, n).

    Returns:
        Two real arrays of shape (...); NaN where a matrix is not finite.

    Raises:
        TypeError, ValueError: for what are no matrices of numbers, or shapes that do not fit.
    """
    return _radii(*matrices("quadratic_radii", "A: n n, B: n n, X: n n", A=A, B=B, X=X))


@jax.jit
@functools.partial(jnp.vectorize, signature="(n,n),(n,n),(n,n)->(),()")
def _radii(a: Array, b: Array, x: Array) -> tuple[Array, Array]:
    return _radius(x), _radius(jnp.linalg.solve(product(a, x) + b, a))


def _radius(x: Array) -> Array:
    finite = jnp.all(jnp.isfinite(x))
    values = jnp.linalg.eigvals(jnp.where(finite, x, jnp.eye(*x.shape, dtype=x.dtype)))
    return jnp.where(finite, jnp.max(jnp.abs(values), initial=0), jnp.nan)


# Even powers of X obey an equation of the same form. With A X² + B X + C = 0, S ← S − A B⁻¹ C,
# A ← −A B⁻¹ A, B ← B − C B⁻¹ A − A B⁻¹ C, C ← −C B⁻¹ C, and S X = −C with the first C in the end.
# A ← A/t, C ← t C keeps both in range.
def _reduced(a: Array, b: Array, c: Array) -> Array:
    n = a.shape[0]
    close = jnp.finfo(a.dtype).eps ** 0.5

    def step(state: tuple) -> tuple:
        a, b, c, s, _, k = state
        solved = jnp.linalg.solve(b, jnp.concatenate([c, a], axis=1))
        of_c, of_a = solved[:, :n], solved[:, n:]
        less = product(a, of_c)
        a, b, c = product(-a, of_a), b - product(c, of_a) - less, product(-c, of_c)
        x, y = norm(a), norm(c)
        t = jnp.where((x > 0) & (y > 0), jnp.sqrt(x / y), 1)
        return a / t, b, c * t, s - less, norm(less) > close * norm(s), k + 1

    start = a, b, c, b, jnp.asarray(True), 0
    s = jax.lax.while_loop(lambda s: s[4] & (s[5] < _REDUCTIONS), step, start)[3]
    return -jnp.linalg.solve(s, c)


# λ = (μ + t)/(1 + t μ) maps the unit circle to itself, and A λ² + B λ + C to another quadratic:
# X = (Y + t)(I + t Y)⁻¹.
def _guess(a: Array, b: Array, c: Array) -> tuple[Array, None]:
    one = jnp.eye(*a.shape, dtype=a.dtype)

    def attempt(state: tuple) -> tuple:
        *_, k = state
        t = jnp.array([0, 0.37, -0.29], jnp.finfo(a.dtype).dtype)[k]
        y = _reduced(a + t * b + t**2 * c, 2 * t * (a + c) + (1 + t**2) * b, t**2 * a + t * b + c)
        x = jnp.linalg.solve(one + t * y, y + t * one)  # the two factors commute
        left = norm(_residual(x, a, b, c))
        total = norm(a) * norm(x) ** 2 + norm(b) * norm(x) + norm(c)
        return x, left <= _ROUGH * total, k + 1

    begin = jnp.zeros_like(a), jnp.asarray(False), 0
    x, good, _ = jax.lax.while_loop(lambda s: ~s[1] & (s[2] < _STARTS), attempt, begin)
    return jnp.where(good, x, jnp.nan), None


def _residual(x: Array, a: Array, b: Array, c: Array) -> Array:
    return product(product(a, x) + b, x) + c


# ∂X F[L] = (A X + B) L + A L X, which doubling solves if ρ(X) ρ((A X + B)⁻¹ A) < 1: if a circle
# parts the eigenvalues, with those of X inside.
def _derivative(x: Array, a: Array, b: Array, c: Array) -> Terms:
    del c
    return Terms(product(a, x) + b, None, a, x, doublings=_DOUBLINGS)


_REDUCTIONS = 60
_STARTS = 3
_ROUGH = 1e-3

# Eigenvalues that meet at the circle are parted by √eps in rounding.
_DOUBLINGS = 26

_quadratic = implicit_equation(
    _guess, _residual, _derivative, as_it_stands, "(n,n),(n,n),(n,n)->(n,n)"
)
