"""F(X, θ) = 0 for a matrix X: Newton's last steps, and the implicit function theorem."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from dini.linalg._equation import Factors, Terms, Transformations, factorise, solve
from dini.linalg._stein import size
from dini.rules import custom_rule


# F(X(θ), θ) = 0  ⇒  ∂X F[Ẋ] = −∂θF θ̇, and ∂X F is a map A Ẋ B + C Ẋ D. The rule calls the function
# itself, and the solve is linear in its right-hand side and transposable: so every mode and order
# follows. What was factorised for Newton's steps serves every tangent and cotangent.
def implicit_equation(
    guess: Callable[..., tuple[Array, Array]],
    residual: Callable[..., Array],
    derivative: Callable[..., Terms],
    transformations: Transformations,
    signature: str,
    admits: Callable[..., Array] | None = None,
    schur: bool = False,
) -> Callable[..., Array]:
    """X(θ), for matrices θ with leading axes.

    Args:
        guess: θ ↦ (X₀, whether X₀ may stand where ∂X F is singular), for matrices.
        residual: (X, θ) ↦ F.
        derivative: (X, θ) ↦ the map ∂X F.
        transformations: of the map, for which doubling is tried.
        signature: the shapes, as `jnp.vectorize` reads them.
        admits: (X, θ) ↦ whether X is the solution that is meant, given that doubling converges.
        schur: whether complex matrices fall back on Schur forms.

    Returns:
        θ ↦ X, NaN where Newton's steps do not settle, or the solution is not the one meant.
    """

    @custom_rule
    def solution(*theta: Array) -> tuple[Array, Factors]:
        start, stands = guess(*theta)
        forms = schur and jnp.iscomplexobj(start)
        factors = factorise(derivative(start, *theta), transformations, start, forms)

        def step(state: tuple) -> tuple:
            x, *_, k = state
            delta = solve(derivative(x, *theta), factors, -residual(x, *theta))
            return x + delta, size(delta), k + 1

        # The error after a step is the square of the one before, and rounding, which may be all
        # there is in a step if the equation is ill-conditioned.
        eps = jnp.finfo(start.dtype).eps
        more = lambda s: factors.regular & (s[1] > eps**0.5 * size(s[0])) & (s[2] < _STEPS)
        x, last, _ = jax.lax.while_loop(more, step, (start, size(start) + jnp.inf, 0))
        settled = last <= eps**0.4 * size(x)
        good = settled if admits is None else settled & admits(x, *theta)
        value = jnp.where(factors.regular, jnp.where(good, x, jnp.nan), start)
        return jnp.where(factors.regular | stands, value, jnp.nan), factors

    @solution.defjvp
    def _(theta: tuple, tangents: tuple) -> tuple:
        x, factors = solution(*theta)
        _, b = jax.jvp(lambda *theta: residual(x, *theta), theta, tangents)
        tangent = solve(derivative(x, *theta), factors, -b)
        return (x, factors), (tangent, jtu.tree_map(lambda _: None, factors))

    def one(*theta: Array) -> Array:
        return solution(*theta)[0] if theta[0].size else theta[0]

    return jax.jit(jnp.vectorize(one, signature=signature))


_STEPS = 5
