"""Bracketing: a scalar root between two bounds, superlinear and safe."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import describe

# The bracket must have halved over this many evaluations, or it is bisected; one bisection in three
# is geometric, where one end is this much larger than the other.
_PATIENCE = 3
_EVERY, _APART = 3, 1000
# F is compared with itself where the bracket has shrunk by this much, or by up to that much.
_SHRUNK, _COLLAPSED = 1 / 16, 1e-3
# A sign change of F that shrinks with the width w of the bracket at least as w^(1/8) is a root.
_EXPONENT = 1 / 8
# How much F may bend while the bracket collapses, and how many eps of F are rounding.
_BEND, _NOISE = 8, 1000

_Real = Float[Array, ""]


class _Point(NamedTuple):
    """A point and F there."""

    z: _Real
    f: _Real


class _Sign(NamedTuple):
    """What is known of the sign change of F: a width of the bracket and |F(a) − F(b)| then."""

    width: _Real
    change: _Real
    is_root: Bool[Array, ""]
    noise: _Real


class _State(eqx.Module):
    """The point asked for next; the bracket [a, b], a the newer end, and the end before them, c."""

    query: _Real
    a: _Point
    b: _Point
    c: _Point
    widths: Float[Array, " patience"]
    bisections: Int[Array, ""]
    sign: _Sign
    evaluations: Int[Array, ""]
    bracketed: Bool[Array, ""]
    done: Bool[Array, ""]
    result: optx.RESULTS


# With a the newest point, b the end of the other sign and c the point before, the inverse quadratic
# z(F) through the three has its value at F = 0 inside the bracket, and is monotonic there, where
#     φ² < ξ,  (1 − φ)² < 1 − ξ,   ξ = (a − b) / (c − b),  φ = (F(a) − F(b)) / (F(c) − F(b)).
# It is used there; elsewhere, and where the bracket has not halved in time, the bracket is bisected.
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
    worst case the bracket is halved every four evaluations; one bisection in three is at the
    geometric mean, so that bounds may be many orders of magnitude apart.

    The unknown is one number: with many in one, F need not be diagonal, one result code would stand
    for all, and no bracket would be proved. Use `jax.vmap` for many equations; each lane has its
    own bracket and its own code.

    Attributes:
        rtol: relative tolerance of z, the width of the last bracket.
        atol: absolute tolerance of the same.

    Result codes, all without host callback: `nonfinite` for a bound that is not finite, or an F
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
        point = _Point(lower, jnp.zeros((), f.dtype))
        width, change = jnp.asarray(jnp.inf, z.dtype), jnp.asarray(jnp.inf, f.dtype)
        return _State(
            query=lower,
            a=point,
            b=_Point(upper, point.f),
            c=point,
            widths=jnp.full(_PATIENCE, jnp.inf, z.dtype),
            bisections=jnp.asarray(0),
            sign=_Sign(width, change, jnp.asarray(False), change),
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
        new = _Point(s.query, _number(out, "the residual").astype(s.a.f.dtype))
        evaluations = s.evaluations + 1

        same = jnp.sign(new.f) == jnp.sign(s.a.f)
        first, second = evaluations == 1, evaluations == 2  # noqa: PLR2004
        b = _where(first, s.b, _where(same, s.b, s.a))
        c = _where(same, s.a, s.b)
        a = new
        bracketed = s.bracketed | (second & ~same) | (a.f == 0)

        width = jnp.abs(b.z - a.z)
        size = jnp.minimum(jnp.abs(a.f), jnp.abs(b.f))
        best = jnp.where(jnp.abs(a.f) <= jnp.abs(b.f), a.z, b.z)
        eps = jnp.finfo(a.z.dtype).eps
        tolerance = (self.atol + self.rtol * jnp.abs(best)).astype(a.z.dtype)
        rounding = eps * (jnp.maximum(jnp.abs(a.z), jnp.abs(b.z)) + tolerance)
        noise = jnp.where(second, _NOISE * eps * size, s.sign.noise)
        sign = _followed(s.sign._replace(noise=noise.astype(a.f.dtype)), width, a, b, second)
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
        goal = jnp.where(narrow, _SHRUNK * width, tolerance)
        halved = width <= s.widths[-1] / 2
        query, bisections = _next(a, b, c, goal, halved, s.bisections, self.atol)
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
        return y, aux, {
            "evaluations": state.evaluations,
            "bracketed": state.bracketed,
            "lower": jnp.minimum(*ends),
            "upper": jnp.maximum(*ends),
        }


# Of a jump |F(a) − F(b)| tends to a constant as the bracket shrinks, of a pole it grows, of a root
# it tends to 0: as w for a simple root, faster for a multiple one, as w^(1/3) for a cube root.
# Where the bracket collapses in one step a jump may hide in the slope, and only w will do.
def _followed(
    sign: _Sign, width: _Real, a: _Point, b: _Point, second: Bool[Array, ""]
) -> _Sign:
    """What is known of the sign change after a step: compared once the width has shrunk enough."""
    change = jnp.abs(a.f - b.f)
    shrunk = width / sign.width
    allowed = jnp.maximum(_BEND * shrunk, jnp.where(shrunk >= _COLLAPSED, shrunk**_EXPONENT, 0))
    tends_to_zero = (change <= allowed * sign.change) & jnp.isfinite(change)
    compare = (shrunk <= _SHRUNK) & ~second
    return _Sign(
        jnp.where(second | compare, width, sign.width),
        jnp.where(second | compare, change, sign.change),
        (change <= sign.noise) | jnp.where(compare, tends_to_zero, sign.is_root & ~second),
        sign.noise,
    )


def _next(
    a: _Point,
    b: _Point,
    c: _Point,
    goal: _Real,
    halved: Bool[Array, ""],
    bisections: Int[Array, ""],
    atol: float,
) -> tuple[_Real, Int[Array, ""]]:
    """The next point, strictly inside the bracket where a number is; and the bisections so far."""
    xi, phi = (a.z - b.z) / (c.z - b.z), (a.f - b.f) / (c.f - b.f)
    smooth = halved & (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
    # The quadratic's value at F = 0, as a share of the way from a to b; a little beyond the root,
    # so that the bracket closes from the other side too.
    share = a.f / (b.f - a.f) * (c.f / (b.f - c.f))
    share += (c.z - a.z) / (b.z - a.z) * (a.f / (c.f - a.f)) * (b.f / (c.f - b.f))
    margin = jnp.minimum(0.5 * goal / jnp.abs(b.z - a.z), 0.5)
    share = jnp.clip(share.astype(a.z.dtype), margin, 1 - margin)
    interpolated = a.z + share * (b.z - a.z)
    smooth &= jnp.isfinite(interpolated)

    lower, upper = jnp.minimum(a.z, b.z), jnp.maximum(a.z, b.z)
    inside = lambda z: (lower < z) & (z < upper)
    arithmetic = 0.5 * lower + 0.5 * upper
    near, far = jnp.minimum(jnp.abs(lower), jnp.abs(upper)), jnp.maximum(jnp.abs(lower), upper)
    floor = jnp.maximum(jnp.asarray(atol, lower.dtype), jnp.finfo(lower.dtype).tiny)
    mean = jnp.sqrt(jnp.maximum(near, floor)) * jnp.sqrt(far)
    mean = jnp.where((lower < 0) & (upper > 0), 0, jnp.where(upper <= 0, -mean, mean))
    geometric = (bisections % _EVERY == _EVERY - 1) & (far > _APART * near) & inside(mean)
    middle = jnp.where(geometric, mean, arithmetic)
    query = jnp.where(smooth & inside(interpolated), interpolated, middle)
    return query, bisections + ~smooth


def _where(pred: Bool[Array, ""], one: _Point, other: _Point) -> _Point:
    return _Point(jnp.where(pred, one.z, other.z), jnp.where(pred, one.f, other.f))


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
