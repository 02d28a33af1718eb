"""F(X, θ) = 0 for a matrix X: Newton's last steps, and the implicit function theorem."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array

from dini._matrices import once
from dini.linalg._equation import Factors, Terms, Transformations, factorise, solve
from dini.linalg._matrices import norm
from dini.rules import custom_rule


# F(X(θ), θ) = 0  ⇒  ∂X F[Ẋ] = −∂θF θ̇, and ∂X F is a map A Ẋ B + C Ẋ D. The rule calls the function
# itself, and the solve is linear in its right-hand side and transposable: so every mode and order
# follows. What was factorised for Newton's steps serves every tangent and cotangent.
def implicit_equation(
    guess: Callable[..., tuple[Array, Array | None]],
    residual: Callable[..., Array],
    derivative: Callable[..., Terms],
    transformations: Transformations,
    signature: str,
    admits: Callable[..., Array] | None = None,
    schur: bool = False,
) -> Callable[..., Array]:
    """X(θ), for matrices θ with leading axes.

    Args:
        guess: θ ↦ (X₀, the relative residual of X₀), for matrices; None for the residual where only
            the equation of the derivative tells whether X₀ is the solution meant.
        residual: (X, θ) ↦ F.
        derivative: (X, θ) ↦ the map ∂X F.
        transformations: of the map, for which doubling is tried.
        signature: the shapes, as `jnp.vectorize` reads them.
        admits: (X, θ) ↦ whether X is the solution that is meant, given that doubling converges.
        schur: whether complex matrices fall back on Schur forms.

    Returns:
        θ ↦ X, NaN where Newton's steps do not settle, or the solution is not the one meant. A guess
        with a residual at rounding is the solution; with a small one it stands where ∂X F is
        singular.
    """

    def factors_at(x: Array, theta: tuple) -> Factors:
        forms = schur and jnp.iscomplexobj(x)
        return factorise(derivative(x, *theta), transformations, x, forms)

    # The error after a step is the square of the one before, and rounding, which may be all there
    # is in a step if the equation is ill-conditioned.
    def newton(start: Array, theta: tuple) -> tuple[Array, Factors]:
        factors = factors_at(start, theta)
        eps = jnp.finfo(start.dtype).eps

        def step(state: tuple) -> tuple:
            x, _, k = state
            delta = solve(derivative(x, *theta), factors, -residual(x, *theta))
            return x + delta, norm(delta), k + 1

        more = lambda s: factors.regular & (s[1] > eps**0.5 * norm(s[0])) & (s[2] < _STEPS)
        x, last, _ = jax.lax.while_loop(more, step, (start, norm(start) + jnp.inf, 0))
        good = factors.regular & (last <= eps**0.4 * norm(x))
        good = good if admits is None else good & admits(x, *theta)
        return jnp.where(good, x, jnp.nan), factors

    @custom_rule
    def solution(*theta: Array) -> tuple[Array, Factors | None]:
        start, off = guess(*theta)
        if off is None:
            return newton(start, theta)
        eps = jnp.finfo(start.dtype).eps

        def polished() -> Array:
            x, factors = newton(start, theta)
            return jnp.where(~factors.regular & (off <= eps**0.75), start, x)

        return once(~(off <= _ROUNDING * eps), polished, start), None

    @solution.defjvp
    def _(theta: tuple, tangents: tuple) -> tuple:
        out = x, factors = solution(*theta)
        _, b = jax.jvp(lambda *theta: residual(x, *theta), theta, tangents)
        factors = factors_at(x, theta) if factors is None else factors
        tangent = solve(derivative(x, *theta), factors, -b)
        return out, (tangent, jtu.tree_map(lambda _: None, out[1]))

    def one(*theta: Array) -> Array:
        return solution(*theta)[0] if theta[0].size else theta[0]

    return jax.jit(jnp.vectorize(one, signature=signature))


_STEPS = 5
# In units of eps: of a root rounded to working precision up to 6 were seen.
_ROUNDING = 16
