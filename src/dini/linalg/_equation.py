"""A X B + C X D = E: every linear matrix equation, solved for any right-hand side."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from dini._tree import stop_gradient
from dini.linalg._stein import Stein, size, stein


class Terms(eqx.Module):
    """The map X ↦ A X B + C X D; None stands for the identity.

    Attributes:
        a: of shape (m, m).
        b: of shape (n, n).
        c: of shape (m, m).
        d: of shape (n, n).
    """

    a: Inexact[Array, "m m"] | None
    b: Inexact[Array, "n n"] | None
    c: Inexact[Array, "m m"] | None
    d: Inexact[Array, "n n"] | None

    def __call__(self, x: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """A X B + C X D."""
        return _product(_product(self.a, x), self.b) + _product(_product(self.c, x), self.d)

    @property
    def size(self) -> Array:
        """A bound of the map's norm, ‖A‖ ‖B‖ + ‖C‖ ‖D‖."""
        a, b, c, d = (1 if x is None else size(x) for x in (self.a, self.b, self.c, self.d))
        return a * b + c * d

    @property
    def units(self) -> Array:
        """How large the pair A, D is beside the pair C, B."""
        a, b, c, d = (1 if x is None else size(x) for x in (self.a, self.b, self.c, self.d))
        units = jnp.maximum(a / c, d / b)
        return jnp.where((units > 0) & (units < jnp.inf), units, 1)


class Factors(eqx.Module):
    """The equation as X − W X V = δ P E R.

    Attributes:
        left: P.
        right: R.
        scale: δ.
        stein: the equation of W and V.
        size: a bound of the norm of X ↦ A X B + C X D.
        regular: whether the equation has one solution, to working precision.
    """

    left: Inexact[Array, "m m"]
    right: Inexact[Array, "n n"]
    scale: Inexact[Array, ""]
    stein: Stein
    size: Array
    regular: Bool[Array, ""]

    def solve(self, e: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """X for the right-hand side E, before refinement."""
        return self.scale * self.stein.solve(self.left @ e @ self.right)

    def solve_transpose(self, g: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """The solution of Aᵀ Y Bᵀ + Cᵀ Y Dᵀ = G, before refinement."""
        return self.scale * (self.right @ self.stein.transpose().solve(g.T) @ self.left).T


# With M = [[α, β], [γ, δ]], A' = αA + βC, C' = γA + δC, B' = δB − γD, D' = αD − βB:
# A' X B' + C' X D' = det M (A X B + C X D). So X − W X V = det M A'⁻¹ E B'⁻¹, with W = −A'⁻¹ C' and
# V = D' B'⁻¹. M maps the eigenvalues of the pencils, as a Möbius transformation does.
def _transformed(terms: Terms, m: Inexact[Array, "2 2"], by_schur: Array, e: Array) -> Factors:
    one = lambda k: jnp.eye(k, dtype=e.dtype)
    a, c = (one(e.shape[0]) if x is None else x for x in (terms.a, terms.c))
    b, d = (one(e.shape[1]) if x is None else x for x in (terms.b, terms.d))
    (alpha, beta), (gamma, delta) = m
    left = jnp.linalg.inv(alpha * a + beta * c)
    right = jnp.linalg.inv(delta * b - gamma * d)
    w, v = -left @ (gamma * a + delta * c), (alpha * d - beta * b) @ right
    solver = stein(w, v, by_schur)
    regular = jnp.asarray(False)
    return Factors(left, right, alpha * delta - beta * gamma, solver, terms.size, regular)


def factorise(terms: Terms, starts: Inexact[Array, "k 2 2"], like: Array) -> Factors:
    """What all solves share: the transformation for which doubling converges, or Schur forms.

    Args:
        terms: the equation.
        starts: the transformations M to try, in this order.
        like: an X, for its shape and dtype.
    """
    terms, starts = stop_gradient((terms, starts))
    probe = jnp.cos(1 + jnp.arange(like.size, dtype=jnp.finfo(like.dtype).dtype))
    probe = probe.reshape(like.shape).astype(like.dtype)
    limit = 1 / (64 * jnp.finfo(like.dtype).eps)

    def attempt(state: tuple) -> tuple:
        i, _ = state
        by_schur = i == len(starts)
        rotate = lambda state: (jnp.asarray(False), _rotation(terms, like))
        start = by_schur, starts[jnp.minimum(i, len(starts) - 1)]
        _, m = jax.lax.while_loop(lambda state: state[0], rotate, start)  # none of its, or one
        factors = _transformed(terms, m, by_schur, like)
        x = refined(terms, factors.solve, factors.size, probe)
        regular = factors.size * size(x) < limit * size(probe)
        return i + 1, eqx.tree_at(lambda f: f.regular, factors, regular)

    def more(state: tuple) -> Array:
        i, factors = state
        return ~factors.regular & (i <= len(starts))

    struct = jax.eval_shape(lambda: attempt((0, None)))[1]
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), struct)
    return jax.lax.while_loop(more, attempt, (0, blank))[1]


# A − p and B − q, p and q in one direction, small beside A + q and B + p: M = [[1, q], [−1, p]] gives
# W = (A + q)⁻¹(A − p), V = (B − q)(B + p)⁻¹. Its powers decay where a circle parts the eigenvalues
# of A from those of −B, with p inside and −q outside: alternating directions with one pair of shifts.
def sylvester(a: Array, b: Array) -> tuple[Terms, Inexact[Array, "2 2 2"]]:
    """The terms of A X + X B = Q, and transformations to start from.

    The first suits eigenvalues in one half-plane, of whatever sizes: p and q are the geometric
    means of their sizes. The second suits two clusters: p and q are the means themselves.
    """
    m, n = a.shape[0], b.shape[0]
    p, q = jnp.trace(a) / m, jnp.trace(b) / n
    whole = jnp.abs(p + q)
    side = jnp.where(whole > 0, (p + q) / jnp.where(whole > 0, whole, 1), 1)
    starts = [_shifts(side * _geometric_mean(a), side * _geometric_mean(b)), _shifts(p, q)]
    return Terms(a, None, None, b), jnp.stack(starts).astype(a.dtype)


def _shifts(p: Array, q: Array) -> Array:
    return jnp.stack([jnp.stack([jnp.ones_like(q), q]), jnp.stack([-jnp.ones_like(p), p])])


def _geometric_mean(a: Array) -> Array:
    """That of the eigenvalues' sizes, and no less than √eps ‖A‖."""
    _, logarithm = jnp.linalg.slogdet(a)
    return jnp.maximum(jnp.exp(logarithm / a.shape[0]), jnp.finfo(a.dtype).eps ** 0.5 * size(a))


# ∂(A X B + C X D) = E  ⇒  A ∂X B + C ∂X D = ∂E − ∂A X B − …: JAX's rule of a linear solve. Its
# transpose is Aᵀ Y Bᵀ + Cᵀ Y Dᵀ = G, and both are linear in the right-hand side.
def solve(terms: Terms, factors: Factors, e: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """X with A X B + C X D = E, differentiable in all of them to every order.

    NaN where the equation is singular, or the residual is too large.
    """
    factors = stop_gradient(factors)

    def checked(inverse):  # noqa: ANN001, ANN202
        def run(product, e):  # noqa: ANN001, ANN202
            x = refined(product, inverse, factors.size, e)
            return jnp.where(factors.regular, x, jnp.nan)

        return run

    forward, backward = checked(factors.solve), checked(factors.solve_transpose)
    return jax.lax.custom_linear_solve(terms, e, forward, backward)


def refined(product, inverse, norm: Array, e: Array) -> Array:  # noqa: ANN001
    """The solution of product(X) = E, by corrections of an approximate inverse; NaN if it fails.

    Args:
        product: X ↦ A X B + C X D.
        inverse: E ↦ X, approximately.
        norm: a bound of the norm of `product`.
        e: E.
    """
    eps = jnp.finfo(e.dtype).eps
    largest = jnp.max(jnp.abs(e), initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    e = e / scale

    def correct(state: tuple) -> tuple:
        x, r, _, k = state
        nearer = x + inverse(r)
        left = e - product(nearer)
        better = size(left) < size(r) / 2
        x, r = jnp.where(better, nearer, x), jnp.where(better, left, r)
        return x, r, better & (size(r) > 8 * eps * norm * size(x)), k + 1

    start = jnp.zeros_like(e), e, size(e) > 0, 0
    x, r, *_ = jax.lax.while_loop(lambda s: s[2] & (s[3] < _CORRECTIONS), correct, start)
    solved = size(r) <= eps**0.75 * (norm * size(x) + size(e))
    return jnp.where(solved, x * scale, jnp.nan)


def _rotation(terms: Terms, like: Array) -> Array:
    """A transformation for the Schur forms: the one whose two inverses are the best conditioned."""
    angles = (jnp.arange(8, dtype=jnp.finfo(like.dtype).dtype) + 0.37) * jnp.pi / 8
    t = terms.units
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    ms = jnp.stack([jnp.stack([cos / t, sin]), jnp.stack([-sin / t, cos])]).transpose(2, 0, 1)
    ms = ms.astype(like.dtype)

    def badness(m: Array) -> Array:
        f = _transformed(terms, m, jnp.asarray(False), like)
        return size(f.left) * size(f.stein.w) + size(f.right) * size(f.stein.v)

    bad = jax.vmap(badness)(ms)
    return ms[jnp.nanargmin(jnp.where(jnp.isfinite(bad), bad, jnp.inf))]


def _product(x: Array | None, y: Array | None) -> Array:
    if x is None or y is None:
        return x if y is None else y  # pyright: ignore[reportReturnType]
    return x @ y


_CORRECTIONS = 6
