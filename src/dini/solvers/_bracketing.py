"""Bracketing: a scalar root between two bounds, superlinear and safe."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import describe
from dini.solvers._bracket import NOISE, PATIENCE, SHRUNK, Point, Sign, followed, next_point, where

_Real = Float[Array, ""]


class _State(eqx.Module):
    """The point asked for next; the bracket [a, b], a the newer end, and the end before them, c."""

    query: _Real
    a: Point
    b: Point
    c: Point
    widths: Float[Array, " patience"]
    bisections: Int[Array, ""]
    sign: Sign
    evaluations: Int[Array, ""]
    bracketed: Bool[Array, ""]
    done: Bool[Array, ""]
    result: optx.RESULTS


class Bracketing(optx.AbstractRootFinder):
    """Chandrupatla's method: a root of one real equation in one real unknown, between two bounds.

    `options={"lower": ..., "upper": ...}` gives the bracket; the bounds may be traced. F must have
    opposite signs there, or be 0 at one. F is evaluated once a step, never outside the bracket and
    never differentiated. The guess is the first point tried inside, where it is inside.

    It stops when the bracket is no wider than atol + rtol |z|, or when F is 0, and returns the end
    with the smaller |F|. A root of odd multiplicity is found like another. A jump or a pole, where
    F changes its sign but does not shrink with the bracket, is none: the bracket is followed down
    to rounding before that is said.

    In smooth cases the order of convergence is 1.84 (inverse quadratic interpolation). In the
    worst case one evaluation in four bisects the bracket; one bisection in three is at the
    geometric mean, so that bounds may be many orders of magnitude apart. It was chosen over the
    methods of Brent, Ridders, and Oliveira and Takahashi, and TOMS 748, by evaluations counted:
    the fewest on average, and in the worst case about those of bisection.

    The unknown is one number: with many in one, F need not be diagonal, one result code would stand
    for all, and no bracket would be proved. Use `jax.vmap` for many equations; each lane has its
    own bracket and its own code.

    Attributes:
        rtol: relative tolerance of z, the width of the last bracket.
        atol: absolute tolerance of the same.

    Result codes, without a host callback: `nonfinite` for a bound that is not finite, or an F
    that is NaN; `nonlinear_divergence` for lower > upper, equal signs at the bounds, a jump or a
    pole. `stats` holds "evaluations", "bracketed" (whether a sign change has been seen), and the
    last bracket, "lower" and "upper".

    Raises:
        ValueError: without both bounds, or when z, F or a bound is not one real number.

    References: Chandrupatla, A new hybrid quadratic/bisection algorithm for finding the zero of a
    nonlinear function without using derivatives (1997); Scherer, Computational Physics (2010),
    section 6.1.7.3.
    """

    rtol: float
    atol: float
    norm: ClassVar[Callable[[PyTree], Scalar]] = jnp.abs  # all norms agree
    remedy: ClassVar[str] = (
        "Bracketing needs finite bounds, lower <= upper, at which F is defined and has opposite "
        "signs, and a continuous F between them (a pole or a jump is no root)"
    )

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> _State:
        """Optimistix's protocol."""
        del fn, args, aux_struct, tags
        if missing := {"lower", "upper"} - set(options):
            raise ValueError(
                'dini.Bracketing reads its bracket from options={"lower": ..., "upper": ...}; '
                f"{' and '.join(sorted(missing))} is missing."
            )
        z, f = _number(y, "the unknown"), _number(f_struct, "the residual")
        lower, upper = (
            jnp.asarray(_number(options[k], f"options[{k!r}]"), z.dtype) for k in ("lower", "upper")
        )
        finite = jnp.isfinite(lower) & jnp.isfinite(upper)
        why = optx.RESULTS.where(finite, optx.RESULTS.nonlinear_divergence, optx.RESULTS.nonfinite)
        ordered = finite & (lower <= upper)
        # Both bounds are evaluated in the loop, so that F is compiled once: first a, then query.
        point = Point(lower, jnp.zeros((), f.dtype))
        width, change = jnp.asarray(jnp.inf, z.dtype), jnp.asarray(jnp.inf, f.dtype)
        return _State(
            query=lower,
            a=point,
            b=Point(upper, point.f),
            c=point,
            widths=jnp.full(PATIENCE, jnp.inf, z.dtype),
            bisections=jnp.asarray(0),
            sign=Sign(width, change, jnp.asarray(False), change),
            evaluations=jnp.asarray(0),
            bracketed=jnp.asarray(False),
            done=~ordered,
            result=optx.RESULTS.where(ordered, optx.RESULTS.successful, why),
        )

    def step(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
    ) -> tuple[PyTree, _State, PyTree]:
        """Optimistix's protocol."""
        del options, tags
        s, guess = state, _number(y, "the unknown")
        out, aux = fn(_like(y, s.query), args)
        new = Point(s.query, _number(out, "the residual").astype(s.a.f.dtype))
        evaluations = s.evaluations + 1

        same = jnp.sign(new.f) == jnp.sign(s.a.f)
        first, second = evaluations == 1, evaluations == 2  # noqa: PLR2004
        b = where(first, s.b, where(same, s.b, s.a))
        c = where(same, s.a, s.b)
        a = new
        bracketed = s.bracketed | (second & ~same) | (a.f == 0)

        width = jnp.abs(b.z - a.z)
        size = jnp.minimum(jnp.abs(a.f), jnp.abs(b.f))
        best = jnp.where(jnp.abs(a.f) <= jnp.abs(b.f), a.z, b.z)
        eps = jnp.finfo(a.z.dtype).eps
        tolerance = (self.atol + self.rtol * jnp.abs(best)).astype(a.z.dtype)
        rounding = eps * (jnp.maximum(jnp.abs(a.z), jnp.abs(b.z)) + tolerance)
        noise = jnp.where(second, NOISE * eps * size, s.sign.noise)
        sign = followed(s.sign._replace(noise=noise.astype(a.f.dtype)), width, a, b, second)
        tolerance = jnp.maximum(tolerance, 4 * rounding)
        narrow = width <= tolerance

        undefined, unbracketed = jnp.isnan(a.f), second & same & (a.f != 0)
        found = (a.f == 0) | (~first & narrow & sign.is_root)
        exhausted = ~first & (width <= rounding + jnp.finfo(a.z.dtype).tiny)
        failed = undefined | unbracketed | (exhausted & ~found)
        why = optx.RESULTS.where(
            undefined, optx.RESULTS.nonfinite, optx.RESULTS.nonlinear_divergence
        )

        # A bracket that is narrow and not yet proved is narrowed further.
        goal = jnp.where(narrow, SHRUNK * width, tolerance)
        halved = width <= s.widths[-1] / 2
        query, bisections = next_point(a, b, c, goal, halved, s.bisections, self.atol)
        inside = (jnp.minimum(a.z, b.z) < guess) & (guess < jnp.maximum(a.z, b.z))
        query = jnp.where(second & inside, guess, query)
        query = jnp.where(first, s.b.z, query)
        # Until both bounds are known the guess is kept, and it is what a failure returns.
        z = jnp.where(found, jnp.where(a.f == 0, a.z, best), jnp.where(first | failed, guess, best))
        after = _State(
            query=query,
            a=a,
            b=b,
            c=c,
            widths=jnp.concatenate([width[None], s.widths[:-1]]),
            bisections=bisections,
            sign=sign,
            evaluations=evaluations,
            bracketed=bracketed,
            done=found | failed,
            result=optx.RESULTS.where(failed, why, optx.RESULTS.successful),
        )
        return _like(y, z), after, aux

    def terminate(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Optimistix's protocol."""
        del fn, y, args, options, tags
        return state.done, state.result

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Optimistix's protocol."""
        del fn, args, options, tags, result
        ends = state.a.z, state.b.z
        stats = {"evaluations": state.evaluations, "bracketed": state.bracketed}
        return y, aux, stats | {"lower": jnp.minimum(*ends), "upper": jnp.maximum(*ends)}


def _number(tree: PyTree, what: str) -> Any:
    """The one real number in a tree, whatever the tree."""
    leaves = jtu.tree_leaves(tree)
    scalar = len(leaves) == 1 and jnp.shape(leaves[0]) == ()
    if not scalar or jnp.issubdtype(jnp.result_type(leaves[0]), jnp.complexfloating):
        raise ValueError(
            f"dini.Bracketing solves one real equation in one real unknown: {what} must be one "
            f"real number, and is {describe(tree)}. Use jax.vmap for many equations."
        )
    return leaves[0]


def _like(tree: PyTree, z: _Real) -> PyTree:
    return jtu.tree_structure(tree).unflatten([z])
