"""Functions of a matrix: the derivative by the function itself, of a larger matrix."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from dini.rules._custom_rule import CustomRule, custom_rule


# For f analytic, f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]], with L(A, E) the derivative of
# f at A along E. With f(A) = A^k, L = Σ A^i E A^(k−1−i), whose transpose in E is
# Σ (A^i)ᵀ U (A^(k−1−i))ᵀ = L(A, Uᵀ)ᵀ: ⟨U, L(A, E)⟩ = ⟨L(A, Uᵀ)ᵀ, E⟩, asked at the same A, so that
# a compiler finds again what f has computed.
def matrix_function(
    fn: Callable | None = None, *, frechet: Callable | None = None, forward: bool = False
) -> Any:
    """Gives a function of square matrices, f: (..., n, n) → (..., n, n), its Fréchet derivative.

    The derivative along E is the upper right block of f([[A, E], [0, A]]), so that f itself gives
    derivatives of every order, in both modes; its k-th derivative works on matrices of size 2ᵏ n.
    f takes nothing but the matrix, and may be a host function under
    [`external`][dini.external].

    Args:
        fn: f, analytic in the matrix (a power series in A, such as the exponential, and no function
            of the entries).
        frechet: `frechet(A, E)`, the derivative of f at A along E, of shape (..., n, n), in the
            place of the block matrix.
        forward: whether f is made of JAX's operations, and its own forward mode stands in the place
            of the block matrix: about three times the cost of f, where the block takes eight. What
            has no reverse mode, a `while_loop` for instance, gets one.

    Returns:
        The differentiable function.

    Raises:
        TypeError: for an argument that is not a square matrix of floating-point or complex numbers,
            or a result of another shape.

    References: Mathias, A chain rule for matrix functions (1996); Higham, Functions of Matrices
    (2008), chapter 3.
    """
    if fn is None:
        return functools.partial(matrix_function, frechet=frechet, forward=forward)
    inner = getattr(fn, "__name__", type(fn).__name__)

    @functools.wraps(fn)
    def checked(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
        a = jnp.asarray(a)
        if a.ndim < 2 or a.shape[-1] != a.shape[-2]:  # noqa: PLR2004
            raise TypeError(
                f"dini.matrix_function `{inner}` takes square matrices, of shape (..., n, n), and "
                f"was given {a.dtype}{list(a.shape)}."
            )
        out = jnp.asarray(fn(a))
        if out.shape != a.shape:
            raise TypeError(
                f"dini.matrix_function `{inner}` must keep the shape of its matrix, {a.shape}, and "
                f"returned {out.shape}."
            )
        return out

    del checked.__wrapped__  # its signature is that of one matrix
    if forward:
        return _by_forward_mode(checked)
    f: CustomRule = custom_rule(checked)

    def derivative(a: Array, e: Array) -> Array:
        if frechet is not None:
            return frechet(a, e)
        n, scale = a.shape[-1], _scale(a, e)
        whole = jnp.block([[a, e / scale], [jnp.zeros_like(a), a]])
        return scale * f(whole)[..., :n, n:]

    def tangent(out: Array, primals: tuple, tangents: tuple) -> Array:
        del out
        return derivative(primals[0], tangents[0])

    def pullback(out: Array, primals: tuple, cotangent: Array, moving: tuple) -> tuple:
        del out, moving
        (a,) = primals
        pulled = _transposed(derivative(a, _transposed(cotangent)))
        return (pulled if jnp.iscomplexobj(a) else pulled.real,)

    f._defpair(tangent, pullback)
    return f


# With nilpotent εᵢ, εᵢ² = 0, f takes A + ε₁ E₁ + ε₂ E₂ + ε₁ε₂ E₁₂ + … to as many parts, each of
# them a derivative of f: for one ε, (A, E) to (f(A), L(A, E)). One ε more gives the derivative of
# that along any parts, hence every order. To transpose f(A + ε E) along another ε, transpose as
# above every part, and reverse their order: what the part 1 does to ε, Uᵀ of ε does to 1.
def _by_forward_mode(fn: Callable) -> Callable:
    """f, and its derivatives by its own forward mode."""

    @custom_rule
    def of_parts(parts: tuple[Array, ...]) -> tuple[Array, ...]:
        return nested(parts)

    compiled = jax.jit(fn)

    def nested(parts: tuple[Array, ...]) -> tuple[Array, ...]:
        if len(parts) == 1:
            return (compiled(*parts),)
        half = len(parts) // 2
        out, out_dot = jax.jvp(nested, (parts[:half],), (parts[half:],))
        return (*out, *out_dot)

    def along(parts: tuple[Array, ...], dots: tuple[Array, ...]) -> tuple[Array, ...]:
        return of_parts((*parts, *dots))[len(parts) :]

    def tangent(out: tuple, primals: tuple, tangents: tuple) -> tuple:
        del out
        return along(primals[0], tangents[0])

    def pullback(out: tuple, primals: tuple, cotangent: tuple, moving: tuple) -> tuple:
        del out, moving
        reverse = lambda parts: tuple(map(_transposed, reversed(parts)))
        return (reverse(along(primals[0], reverse(cotangent))),)

    of_parts._defpair(tangent, pullback)

    @functools.wraps(fn)
    def f(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
        return of_parts((jnp.asarray(a),))[0]

    return f


def _transposed(a: Array) -> Array:
    return jnp.swapaxes(a, -1, -2)


def _scale(a: Array, e: Array) -> Array:
    """The power of 2 that brings E to the size of A: no f is good at a block that dwarfs A."""
    over = jax.lax.stop_gradient(_size(e) / _size(a))
    _, power = jnp.frexp(jnp.where(jnp.isfinite(over), over, 1))
    kind = jnp.finfo(over.dtype)
    return jnp.ldexp(jnp.ones_like(over), jnp.clip(power - 1, kind.minexp, kind.maxexp - 1))


def _size(a: Array) -> Array:
    """The largest number of each matrix, 1 of a zero one."""
    size = jnp.max(jnp.abs(a), axis=(-2, -1), keepdims=True, initial=0)
    return jnp.where(size > 0, size, 1)
