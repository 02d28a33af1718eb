"""A X B + C X D = E: every linear matrix equation, solved for any right-hand side."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact, Int

from dini._matrices import once, product
from dini._tree import stop_gradient
from dini.linalg._matrices import norm
from dini.linalg._stein import Stein, stein


class Terms(eqx.Module):
    """The map X ↦ A X B + C X D; None stands for the identity.

    Attributes:
        a: of shape (m, m).
        b: of shape (n, n).
        c: of shape (m, m).
        d: of shape (n, n).
        twins: whether D is A, and B and C are the identity.
        doublings: how many may solve an equation with the map; few, where eigenvalues that meet
            leave it no solution, and rounding parts them.
    """

    a: Inexact[Array, "m m"] | None
    b: Inexact[Array, "n n"] | None
    c: Inexact[Array, "m m"] | None
    d: Inexact[Array, "n n"] | None
    twins: bool = eqx.field(static=True, default=False)
    doublings: int = eqx.field(static=True, default=64)

    def __call__(self, x: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """A X B + C X D."""
        between = lambda left, right: _times(_times(left, x), right)
        return between(self.a, self.b) + between(self.c, self.d)

    @property
    def size(self) -> Array:
        """A bound of the map's norm, ‖A‖ ‖B‖ + ‖C‖ ‖D‖."""
        a, b, c, d = (1 if x is None else norm(x) for x in (self.a, self.b, self.c, self.d))
        return jnp.asarray(a * b + c * d)


class Attempts(NamedTuple):
    """Möbius transformations M to try, one after the other.

    Attributes:
        tries: how many.
        pick: i ↦ M, of shape (2, 2); computed where it is tried.
    """

    tries: int
    pick: Callable[[Int[Array, ""]], Inexact[Array, "2 2"]]


# None for the equation as it stands.
Transformations = Callable[[Terms], Attempts | None]


class Factors(eqx.Module):
    """The equation as X − W X V = δ P E R, for every right-hand side.

    Attributes:
        left: P; None for the identity.
        right: R; None for the identity.
        scale: δ.
        stein: the equation of W and V.
        size: a bound of the norm of X ↦ A X B + C X D.
        regular: whether the equation has one solution, to working precision; before any trial,
            whether that is plain, since nothing that X is made of is large.
    """

    left: Inexact[Array, "m m"] | None
    right: Inexact[Array, "n n"] | None
    scale: Inexact[Array, ""]
    stein: Stein
    size: Array
    regular: Bool[Array, ""]

    def solve(self, e: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """X for the right-hand side E, before refinement."""
        return self.scale * self.stein.solve(_times(_times(self.left, e), self.right))

    def solve_transpose(self, g: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """The solution of Aᵀ Y Bᵀ + Cᵀ Y Dᵀ = G, before refinement."""
        y = self.stein.transpose().solve(g.T)
        return self.scale * _times(_times(self.right, y), self.left).T


# With M = [[α, β], [γ, δ]], A' = αA + βC, C' = γA + δC, B' = δB − γD, D' = αD − βB:
# A' X B' + C' X D' = det M (A X B + C X D). So X − W X V = det M A'⁻¹ E B'⁻¹, with W = −A'⁻¹ C' and
# V = D' B'⁻¹. M maps the eigenvalues of the pencils, as a Möbius transformation does.
def _transformed(terms: Terms, m: Array, by_schur: Array | None, like: Array) -> Factors:
    one = lambda k: jnp.eye(k, dtype=like.dtype)
    a, c = (one(like.shape[0]) if x is None else x for x in (terms.a, terms.c))
    b, d = (one(like.shape[1]) if x is None else x for x in (terms.b, terms.d))
    (alpha, beta), (gamma, delta) = m
    left, safe = _inverse(alpha * a + beta * c)
    w, v, right = product(-left, gamma * a + delta * c), None, left
    if not terms.twins:
        right, safe_too = _inverse(delta * b - gamma * d)
        v, safe = product(alpha * d - beta * b, right), safe & safe_too
    det = alpha * delta - beta * gamma
    equation = stein(w, v, by_schur, terms.doublings)
    return Factors(left, right, det, equation, terms.size, safe & equation.tame)


def _as_it_stands(terms: Terms, by_schur: Array | None, like: Array) -> Factors:
    """The same for M = I."""
    (left, safe), (right, safe_too) = (
        (None, True) if x is None else _inverse(x) for x in (terms.a, terms.b)
    )
    w, v = -_times(left, terms.c), _times(terms.d, right)
    one, equation = jnp.ones((), like.dtype), stein(w, v, by_schur, terms.doublings)
    return Factors(left, right, one, equation, terms.size, safe & safe_too & equation.tame)


def _inverse(x: Array) -> tuple[Array, Bool[Array, ""]]:
    """X⁻¹, and whether X is well conditioned."""
    inverse = jnp.linalg.inv(x)
    return inverse, norm(x) * norm(inverse) < jnp.finfo(x.dtype).eps ** -0.5


def factorise(
    terms: Terms, transformations: Transformations, like: Array, schur: bool = False
) -> Factors:
    """What all solves share: a transformation for which doubling converges, or Schur forms.

    Args:
        terms: the equation.
        transformations: those to try, in this order; the Schur forms are taken after the last.
        like: an X, for its shape and dtype.
        schur: whether Schur forms serve where doubling does not converge.
    """
    terms = stop_gradient(terms)
    attempts = transformations(terms)
    last = 0 if attempts is None else attempts.tries - 1
    probe = jnp.cos(1 + jnp.arange(like.size, dtype=jnp.finfo(like.dtype).dtype))
    probe = probe.reshape(like.shape).astype(like.dtype)
    eps = jnp.finfo(like.dtype).eps

    # A solution for what is no special right-hand side shows by its size whether there is one for
    # any, and by its residual whether this way leads to it.
    def tried(factors: Factors) -> Array:
        x = refined(terms, factors.solve, factors.size, probe)
        return 1024 * eps * factors.size * norm(x) < norm(probe)

    def attempt(state: tuple) -> tuple:
        i, _ = state
        by_schur = i > last if schur else None
        if attempts is None:
            factors = _as_it_stands(terms, by_schur, like)
        else:
            m = attempts.pick(jnp.minimum(i, last))
            factors = _transformed(terms, m, by_schur, like)
        regular = once(~factors.regular, lambda: tried(factors), jnp.asarray(True))
        return i + 1, eqx.tree_at(lambda f: f.regular, factors, regular)

    def more(state: tuple) -> Array:
        i, factors = state
        return ~factors.regular & (i <= last + schur)

    blank = jax.eval_shape(lambda: attempt((jnp.asarray(0), None)))[1]
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), blank)
    return jax.lax.while_loop(more, attempt, (0, blank))[1]


# ∂(A X B + C X D) = E  ⇒  A ∂X B + C ∂X D = ∂E − ∂A X B − …: JAX's rule of a linear solve. Its
# transpose is Aᵀ Y Bᵀ + Cᵀ Y Dᵀ = G, and both are linear in the right-hand side.
def solve(terms: Terms, factors: Factors, e: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
    """X with A X B + C X D = E, differentiable in all of them to every order.

    NaN where the equation is singular, or the residual is too large.
    """
    factors = stop_gradient(factors)

    def checked(inverse: Callable[[Array], Array]) -> Callable:
        def run(image: Callable[[Array], Array], e: Array) -> Array:
            x = refined(image, inverse, factors.size, e)
            return jnp.where(factors.regular, x, jnp.nan)

        return run

    forward, backward = checked(factors.solve), checked(factors.solve_transpose)
    return jax.lax.custom_linear_solve(terms, e, forward, backward)


def solve_linear(
    terms: Terms, transformations: Transformations, e: Inexact[Array, "m n"]
) -> Inexact[Array, "m n"]:
    """The same for one right-hand side, by doubling or by Schur forms."""
    return solve(terms, factorise(terms, transformations, e, schur=True), e) if e.size else e


def refined(
    image: Callable[[Array], Array], inverse: Callable[[Array], Array], bound: Array, e: Array
) -> Array:
    """The solution of image(X) = E, by corrections of an approximate inverse; NaN if it fails.

    Args:
        image: X ↦ A X B + C X D.
        inverse: E ↦ X, approximately.
        bound: a bound of the norm of `image`.
        e: E.
    """
    eps = jnp.finfo(e.dtype).eps
    largest = jnp.max(jnp.abs(e), initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    e = e / scale

    def correct(state: tuple) -> tuple:
        x, r, _, k = state
        nearer = x + inverse(r)
        left = e - image(nearer)
        better = norm(left) < norm(r) / 2
        x, r = jnp.where(better, nearer, x), jnp.where(better, left, r)
        return x, r, better & (norm(r) > 8 * eps * bound * norm(x)), k + 1

    start = jnp.zeros_like(e), e, norm(e) > 0, 0
    x, r, *_ = jax.lax.while_loop(lambda s: s[2] & (s[3] < _CORRECTIONS), correct, start)
    solved = norm(r) <= eps**0.75 * (bound * norm(x) + norm(e))
    return jnp.where(solved, x * scale, jnp.nan)


def _times(x: Array | None, y: Array | None) -> Array:
    if x is None or y is None:
        x = y if x is None else x
        assert x is not None
        return x
    return product(x, y)


_CORRECTIONS = 6
