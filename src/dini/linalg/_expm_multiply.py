"""The action of the matrix exponential."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import marked, product
from dini.linalg._expm import expm
from dini.linalg._matrices import matrices, norm
from dini.rules import custom_rule

# A Taylor polynomial of degree 5, 10, … has a backward error below the rounding of float64, and of
# float32, for |A| ≤ θ. (Al-Mohy and Higham 2011, table 3.1.)
_THETAS = (
    (2.4e-3, 0.14, 0.64, 1.4, 2.4, 3.5, 4.7, 6.0, 7.2, 8.5, 9.9),
    (0.13, 1.0, 2.2, 3.6, 4.9, 6.3),
)
_MOST_STEPS = 10**6


def expm_multiply(
    A: ArrayLike,
    B: ArrayLike,
    start: ArrayLike | None = None,
    stop: ArrayLike | None = None,
    num: int | None = None,
    endpoint: bool | None = None,
    traceA: ArrayLike | None = None,
) -> Inexact[Array, "..."]:
    """The product e^A B, or e^{tA} B at equidistant t, by products with A.

    About 6 |A − μI|₁ products of A with a matrix like B, with μ the mean of A's diagonal: for |A|
    of order 1 and few columns far cheaper than e^A. A tangent of A costs three times that, a
    tangent or a cotangent of B once, a cotangent of A a derivative of [`expm`][dini.linalg.expm].

    Args:
        A: of shape (..., n, n).
        B: of shape (..., n, k), or (n,).
        start: the first t; with it come `stop` and `num`.
        stop: the last t.
        num: how many t, 50 where it is not given.
        endpoint: whether `stop` is one of them, as it is where nothing is said.
        traceA: the trace of A where it is known. It has no effect on the result but rounding.

    Returns:
        e^A B, with the shape of B, or with a leading axis for t. NaN where A is not finite or |tA|₁
        is more than six million.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.
        ValueError: for a B that does not fit A, or a `start` without a `stop`.

    Reference: Al-Mohy and Higham, Computing the action of the matrix exponential, with an
    application to exponential integrators (2011).
    """
    vector = jnp.ndim(B) == 1
    a, b = matrices("expm_multiply", f"A: n n, B: n{'' if vector else ' k'}", A=A, B=B)
    t = _times(start, stop, num, endpoint, jnp.result_type(a, b))
    dtype = jnp.result_type(a, b, t)
    trace = jnp.trace(a, axis1=-2, axis2=-1) if traceA is None else jnp.asarray(traceA)
    mu = jax.lax.stop_gradient(trace) / max(a.shape[-1], 1)
    columns = b[:, None] if vector else b
    t = t.reshape(t.shape + (1,) * (max(a.ndim, columns.ndim) - 2) * t.ndim)
    out = _each(*(x.astype(dtype) for x in (a, columns, t, mu)))
    return out[..., 0] if vector else out


def _times(start: Any, stop: Any, num: int | None, endpoint: bool | None, dtype: Any) -> Array:
    """The t at which e^{tA} B is wanted, a single 1 by default.

    Python numbers take on the precision of A and B.
    """
    if all(x is None for x in (start, stop, num, endpoint)):
        return jnp.asarray(1, jnp.int32)  # which promotes nothing
    if start is None or stop is None:
        raise ValueError("dini.linalg.expm_multiply: `start` and `stop` come together.")
    given = jnp.result_type(start, stop, jnp.finfo(dtype).dtype)
    return jnp.linspace(start, stop, 50 if num is None else num, endpoint is not False, dtype=given)


@custom_rule
def _action(
    a: Inexact[Array, "n n"],
    b: Inexact[Array, "n k"],
    t: Inexact[Array, ""],
    mu: Inexact[Array, ""],
) -> Inexact[Array, "n k"]:
    """e^{tA} B."""
    a = _shifted(a, mu)
    return _polynomial(lambda v: product(a, v), norm(a), b, t, mu)


def _shifted(a: Array, mu: Array) -> Array:
    return a - mu * jnp.eye(len(a), dtype=a.dtype)


def _polynomial(
    times: Callable[[Array], Array],
    size: Float[Array, ""],
    x: Inexact[Array, "n k"],
    t: Inexact[Array, ""],
    mu: Inexact[Array, ""],
    derivative: bool = False,
) -> Inexact[Array, "n k"]:
    """(e^{tμ/s} T(t M/s))ˢ X, with T the polynomial that makes it cheapest.

    Args:
        times: V ↦ M V, for M = A − μI, or with the tangents of both.
        size: |A − μI|.
        x: X.
        t: t.
        mu: μ.
        derivative: whether the derivative of T is to have its accuracy.
    """
    size, eps = jnp.abs(t) * size, jnp.finfo(x.dtype).eps
    thetas = jnp.asarray(_THETAS[int(eps > 1e-8)], size.dtype)  # noqa: PLR2004
    degrees = 5 * (1 + jnp.arange(thetas.size))
    # The backward error, c θ^{m+1}, has a derivative that is (m + 1)/θ times it.
    thetas = thetas * (degrees + 1.0) ** (-1 / degrees) if derivative else thetas
    steps = jnp.maximum(jnp.ceil(size / thetas), 1)
    best = jnp.argmin(degrees * steps)
    possible = steps[best] <= _MOST_STEPS  # and not NaN
    m, s = degrees[best], jnp.where(possible, steps[best], 0).astype(jnp.int32)

    def step(_: Array, x: Array) -> Array:
        def term(j: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            v, total = state
            v = times(v) * (t / (s * j))
            return v, total + v

        return jnp.exp(t * mu / s) * jax.lax.fori_loop(1, m + 1, term, (x, x))[1]

    return marked(jax.lax.fori_loop(0, s, step, x), possible)


# d(e^{tA} B) = e^{tA} Ḃ + L(tA, tȦ) B + ṫ A e^{tA} B.
def _tangent(out: Array, primals: tuple, tangents: tuple) -> Array:
    (a, b, t, mu), (a_dot, b_dot, t_dot, _) = primals, tangents
    tangent = jnp.zeros_like(out) if t_dot is None else t_dot * product(a, out)
    if a_dot is not None:
        b_dot = jnp.zeros_like(b) if b_dot is None else b_dot
        return tangent + _along(a, a_dot, b, b_dot, t, mu)
    return tangent if b_dot is None else tangent + _action(a, b_dot, t, mu)


# The first two are what the product rule makes of each term: of V ← A V, V̇ ← A V̇ + Ȧ V.
@custom_rule
def _along(
    a: Inexact[Array, "n n"],
    a_dot: Inexact[Array, "n n"],
    b: Inexact[Array, "n k"],
    b_dot: Inexact[Array, "n k"],
    t: Inexact[Array, ""],
    mu: Inexact[Array, ""],
) -> Inexact[Array, "n k"]:
    """e^{tA} Ḃ + L(tA, tȦ) B."""
    a, k = _shifted(a, mu), b.shape[1]
    times = lambda v: product(a, v).at[:, :k].add(product(a_dot, v[:, k:]))
    both = jnp.concatenate([b_dot, b], axis=1)
    return _polynomial(times, norm(a), both, t, mu, derivative=True)[:, :k]


# They are the upper half of exp(t [[A, Ȧ], [0, A]]) [Ḃ; B] too: an action that can be
# differentiated as any other.
@_along.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return _along(*primals), jax.jvp(_along_by_blocks, primals, tangents)[1]


def _along_by_blocks(
    a: Array, a_dot: Array, b: Array, b_dot: Array, t: Array, mu: Array
) -> Inexact[Array, "n k"]:
    sizes = norm(a_dot), norm(a)
    scale = jnp.where((sizes[0] > 0) & (sizes[1] > 0), sizes[0] / sizes[1], 1).astype(a.dtype)
    block = jnp.block([[a, a_dot / scale], [jnp.zeros_like(a), a]])
    return scale * _action(block, jnp.concatenate([b_dot / scale, b]), t, mu)[: len(a)]


# ⟨U, e^{tA} Ḃ⟩ = ⟨e^{tAᵀ} U, Ḃ⟩ and ⟨U, L(tA, tȦ) B⟩ = ⟨t L(tAᵀ, U Bᵀ), Ȧ⟩ = ⟨t L(tA, B Uᵀ)ᵀ, Ȧ⟩.
def _pullback(out: Array, primals: tuple, u: Array, moving: tuple) -> tuple:
    a, b, t, mu = primals
    a_bar = jnp.zeros_like(a)
    if moving[0]:
        _, along = jax.jvp(expm, (t * a,), (product(b, u.T),))
        a_bar = t * along.T
    return a_bar, _action(a.T, u, t, mu), jnp.sum(u * product(a, out)), jnp.zeros_like(mu)


_action._defpair(_tangent, _pullback, symbolic_zeros=True)

_each = jax.jit(jnp.vectorize(_action, signature="(n,n),(n,k),(),()->(n,k)"))
