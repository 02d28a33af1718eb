"""The Moore–Penrose pseudo-inverse."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import product
from dini.linalg._matrices import adjoint, matrices, singular_values
from dini.rules import custom_rule


def pinv(
    a: Inexact[ArrayLike, "... m n"],
    *,
    atol: Float[ArrayLike, "..."] | None = None,
    rtol: Float[ArrayLike, "..."] | None = None,
) -> Inexact[Array, "... n m"]:
    """The Moore–Penrose pseudo-inverse A⁺.

    At a matrix of deficient rank, A⁺ is continuous along the perturbations that keep the rank, and
    the derivative, of any order, is that along them; along all others A⁺ jumps and there is none.
    So A(θ) must keep its rank as θ moves: nothing here can tell.

    Args:
        a: the matrices.
        atol: singular values s ≤ atol + rtol s₁ count as 0; default 0.
        rtol: default max(m, n) eps, as in SciPy; 0 where atol is given and positive.

    Returns:
        A⁺, (..., n, m); NaN where the matrix holds a NaN.

    Raises:
        TypeError, ValueError: for what is no matrix of numbers.

    Equation: ∂A⁺ = −A⁺ Ȧ A⁺ + A⁺ A⁺ᴴ Ȧᴴ (I − A A⁺) + (I − A⁺ A) Ȧᴴ A⁺ᴴ A⁺.

    Reference: Golub and Pereyra, The differentiation of pseudo-inverses and nonlinear least squares
    problems whose variables separate (1973).
    """
    a = matrices("pinv", "a: m n", a=a)[0]
    if rtol is None:
        default = max(a.shape[-2:]) * jnp.finfo(a.dtype).eps
        rtol = default if atol is None else jnp.where(jnp.asarray(atol) > 0, 0, default)
    constant = lambda t: jax.lax.stop_gradient(jnp.asarray(t, jnp.finfo(a.dtype).dtype))
    return _compiled(a, constant(0 if atol is None else atol), constant(rtol))


@custom_rule
def _pinv(a: Array, atol: Array, rtol: Array) -> Array:
    u, s, vh = singular_values(a, full_matrices=False)
    kept = ~(s <= atol[..., None] + rtol[..., None] * s[..., :1])  # NaN is kept
    inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)
    return product(adjoint(vh) * inverse[..., None, :], adjoint(u))


@_pinv.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (a, *_), (a_dot, *_) = primals, tangents
    x = _pinv(*primals)
    e = adjoint(a_dot)
    left = product(x, product(adjoint(x), e))
    right = product(e, adjoint(x), x)
    beyond = (left - product(left, a, x)) + (right - product(x, product(a, right)))
    return x, beyond - product(x, a_dot, x)


_compiled = jax.jit(_pinv)
