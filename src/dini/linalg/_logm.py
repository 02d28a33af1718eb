"""The principal logarithm of a matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Inexact

from dini.linalg._matrices import each, marked, norm, product, square
from dini.linalg._scaling import growth
from dini.linalg._square_roots import square_root
from dini.rules import matrix_function

# The [m/m] Padé approximant of log(1 + x) = ∫₀¹ x/(1 + t x) dt is Gauss's rule with m nodes; its
# relative error is below 1e-16 for |x| ≤ θ.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(10)
_THETA = 0.45
_MOST_ROOTS = 60


def logm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The principal logarithm, eigenvalues of imaginary part between −π and π.

    Inverse scaling and squaring by products and solves: log A = 2ᵏ log A^(1/2ᵏ), a Padé approximant
    in partial fractions. The derivative is that of each step.

    Args:
        A: matrices, real or complex.

    Returns:
        log A, of the shape and dtype of A. NaN, with its derivatives, where A is singular, not
        finite, or has an eigenvalue on the negative real axis: a real matrix then has no real
        principal logarithm, and that of a complex one jumps there.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Al-Mohy and Higham, Improved inverse scaling and squaring algorithms for the matrix
    logarithm (2012); Al-Mohy, Higham and Relton, Computing the Fréchet derivative of the matrix
    logarithm and estimating the condition number (2013).
    """
    return _logm(square("logm", A))


@jax.jit
@functools.partial(matrix_function, forward=True)
def _logm(a: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    return each(_of_one, a)


def _of_one(a: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    one = jnp.eye(len(a), dtype=a.dtype)

    def near(x: Array) -> Array:
        r = jax.lax.stop_gradient(x) - one
        r2 = product(r, r)
        return growth([norm(r), norm(r2), norm(product(r2, r))], 20) <= np.log2(_THETA)

    def root(state: tuple) -> tuple:
        x, roots, found = state
        x, converged = square_root(x, x, final=3)
        return x, roots + 1, found & converged

    def more(state: tuple) -> Array:
        x, roots, found = state
        return found & (roots < _MOST_ROOTS) & ~near(x)

    start = a, jnp.zeros((), jnp.int32), jnp.isfinite(norm(a))
    x, roots, found = jax.lax.while_loop(more, root, start)
    r = x - one
    nodes, weights = (jnp.asarray(c, r.real.dtype) for c in ((_NODES + 1) / 2, _WEIGHTS / 2))
    # One after the other: as a batch beside another loop they can stop jaxlib 0.10 for good on two
    # cores, at n = 200 in a derivative.
    add = lambda i, s: s + weights[i] * jnp.linalg.solve(one + nodes[i] * r, r)
    total = jax.lax.fori_loop(0, len(nodes), add, jnp.zeros_like(r))
    return marked(jnp.ldexp(jnp.ones((), nodes.dtype), roots) * total, found & near(x))
