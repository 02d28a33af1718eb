"""Newton's method for many unknowns: the Jacobian is known by its products alone."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree, Scalar

from dini._tree import RealView, max_abs
from dini.linear import minimal_residual, on_vectors, probe
from dini.solvers._iteration import size
from dini.solvers._root import AbstractSearch, Progress, Residual, code

_Vector = Float[Array, " n"]

# The relative residual asked of a linear solve: at first, at most, of a correction that is to show
# convergence; and the residual up to which it shows anything.
_FIRST, _LOOSEST, _SURE, _TELLING = 0.1, 0.9, 1e-4, 0.1
# A solve need not tell the error of the step beyond this share of the tolerance.
_NEEDED = 0.1
# A correction that cannot remove even this share of the residual: ∂F is as good as singular.
_HOPELESS = 1e-8
# A step must bring this share of the decrease of |F| that it promises; one refused is shortened to
# a share of itself between these.
_ENOUGH, _SHORTEST, _LONGEST = 1e-4, 0.1, 0.5
# Corrections that shrink at least this much converge, a residual this much quadratically; one that
# a step within the tolerance leaves larger than this is rounding.
_CONVERGES, _QUADRATIC, _ROUNDING = 0.5, 1e-2, 0.6


class _Newton(Progress):
    """The search, with what is known at its point z.

    Attributes:
        f: |F(z)|; infinite before the first point.
        s: the correction at z.
        size: s in units of the tolerance.
        left: |F + ∂F s| / |F|, what the linear solve left of the residual.
        asked: η, what it was asked to leave.
        share: λ, the share of s that is tried next.
        rows: the sizes of the rows of ∂F, up to a factor; and `level`, |F| with rows of one size.
    """

    f: Scalar
    s: _Vector
    size: Scalar
    left: Scalar
    asked: Scalar
    share: Scalar
    rows: _Vector
    level: Scalar


class NewtonKrylov(AbstractSearch):
    """Newton's method with inexact steps, from products with ∂F alone: for many unknowns.

    At z it solves ∂F s = −F by a Krylov method equivalent to GMRES, only as accurately as the
    iteration can use (|F + ∂F s| ≤ η |F|, Eisenstat and Walker's second choice of η), and steps to
    the first z + λs, λ = 1 and then shorter, where |F| falls by a share of what the linear model
    promises. F is linearised once at each point; no matrix is formed. A linear solve that stalls
    gives the direction that it has reached, which still leads downhill.

    It stops by the error in z, in whatever units F is written: where a correction within
    atol + rtol |z| is at most half of the one before, or the last one, shortened as much as |F|
    was, is well within. It fails, and says so, at a z where F or a step is not finite, where no
    step along s makes |F| smaller (a minimum of |F| that is no root), and where ∂F is singular.

    `stats` has the number of "evaluations" of F and of "products" with ∂F.

    Attributes:
        rtol: relative tolerance of the correction.
        atol: absolute tolerance of the correction.
        preconditioner: an approximate inverse of ∂F: a linear function on trees like the unknown,
            or a Lineax operator on its vector of real numbers, of shape (size,).
        depth: how many Krylov directions are kept, two vectors of the size of z for each.
        max_products: how many products one linear solve may take.
        norm: how a scaled correction is measured; by its largest entry by default.

    References: Dembo, Eisenstat and Steihaug, Inexact Newton methods (1982); Eisenstat and Walker,
    Choosing the forcing terms in an inexact Newton method (1996); Knoll and Keyes, Jacobian-free
    Newton–Krylov methods (2004).
    """

    rtol: float
    atol: float
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None = None
    depth: int = eqx.field(static=True, default=40)
    max_products: int = eqx.field(static=True, default=400)
    norm: Callable[[PyTree], Scalar] = optx.max_norm

    def __check_init__(self) -> None:
        for name in ("depth", "max_products"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, and is {getattr(self, name)}.")

    def start(self, z: _Vector) -> _Newton:
        """No point yet: the first is accepted if F is finite there."""
        no, zero = jnp.asarray(False), jnp.asarray(0)
        infinite = jnp.asarray(jnp.inf, z.dtype)
        one, first = jnp.ones_like(infinite), jnp.full_like(infinite, _FIRST)
        return _Newton(
            z, no, optx.RESULTS.successful, zero, zero, one,
            infinite, jnp.zeros_like(z), infinite, one, first, one, jnp.ones_like(z), infinite,
        )  # fmt: skip

    def advance(
        self, residual: Residual, z: _Vector, before: _Newton, view: RealView
    ) -> tuple[_Vector, _Newton, PyTree]:
        """A step from z, or, where z is refused, a shorter one from the point before."""
        f, derivative, aux = jax.linearize(residual, z, has_aux=True)
        unit = before.unit_for(f)
        f, pushforward = f / unit, lambda v: derivative(v) / unit
        b, norm = before, size(f)
        first = jnp.isinf(b.f)
        ratio = jnp.where(first, 1, norm / b.f)
        small = (b.size <= 1) & (b.share == 1)
        # A step within the tolerance need not lead downhill: rounding decides that.
        enough = small | (ratio <= 1 - _ENOUGH * b.share * (1 - b.left))
        accepted = jnp.isfinite(norm) & (first | enough)

        # As many directions as unknowns solve the system: what is asked then costs little.
        sure = view.eps**0.5 if z.size <= self.depth else _SURE
        asked = jnp.where(first, _FIRST, _forcing(ratio, b.asked))
        # The next correction is about as much smaller than the last as the residual,
        # small rows too.
        fall = jnp.maximum(ratio, size(f / b.rows) / b.level)
        arrived = (ratio > 0) & (fall <= _QUADRATIC) & (fall * b.size <= _NEEDED)
        arrived = arrived & (b.share == 1) & accepted & (b.left <= sure)
        s, left, products, rows = self._correct(
            pushforward, f, z, asked, sure, accepted & ~arrived, view
        )
        correction = self.scaled(s, z, view.eps)
        singular = ~(left < 1 - _HOPELESS) & ~arrived
        shrinks = ~first & (b.share == 1) & (correction <= _CONVERGES * b.size)
        settled = (left <= _TELLING) & (shrinks | small & (ratio > _ROUNDING))
        settled = settled | arrived | (norm == 0)
        done = settled & (correction <= 1) & ~singular
        result = code(singular, optx.RESULTS.singular)
        count = b.evaluations + 1
        on = _Newton(
            z, done, result, count, b.products + products, unit,
            norm, s, correction, left, asked, jnp.ones_like(b.share), rows, size(f / rows),
        )  # fmt: skip

        share = b.share * _shortened(ratio, b.share * (1 - b.left**2))
        result = code(share * b.size <= 1, optx.RESULTS.nonlinear_divergence)
        result = optx.RESULTS.where(first, optx.RESULTS.nonfinite, result)
        back = _Newton(
            b.z, b.done, result, count, b.products, unit,
            b.f, b.s, b.size, b.left, b.asked, share, b.rows, b.level,
        )  # fmt: skip
        state = jax.tree_util.tree_map(lambda x, y: jnp.where(accepted, x, y), on, back)
        after = state.z + state.share * state.s
        state = eqx.tree_at(lambda x: x.z, state, jnp.where(state.done, after, state.z))
        return after, state, aux

    def _correct(
        self,
        pushforward: Callable[[_Vector], _Vector],
        f: _Vector,
        z: _Vector,
        asked: Scalar,
        sure: float,
        accepted: Bool[Array, ""],
        view: RealView,
    ) -> tuple[_Vector, Scalar, Array, _Vector]:
        """The s with ∂F s ≈ −F, the share of F that it leaves, the products; the rows of ∂F."""
        # A residual that has underflowed to 0 with its derivative is no root: ask for one product.
        exact = ~jnp.any(f)
        p = on_vectors(self.preconditioner, view)

        def unsolved(s: _Vector, left: Scalar) -> Array:
            correction = self.scaled(s, z, view.eps)
            enough = jnp.maximum(asked, _NEEDED / correction)
            target = jnp.where(correction <= 1, sure, enough)
            return accepted & jnp.where(exact, left > 1 - _HOPELESS, left > target)

        s, r, products, rows = minimal_residual(
            pushforward,
            jnp.where(exact, probe(f), -f),
            (lambda v: v) if p is None else p.mv,
            unsolved,
            self.depth,
            self.max_products,
        )
        left = size(r) / size(jnp.where(exact, probe(f), f))
        rows = rows + view.eps**0.75 * max_abs(rows)
        return jnp.where(exact, 0, s), left, products, rows


# Choice 2 of Eisenstat and Walker: η = γ (|F| / |F₋|)², not much less than the η before squared.
def _forcing(ratio: Scalar, before: Scalar) -> Scalar:
    """The share of |F| that the next linear solve may leave."""
    asked, guard = _LOOSEST * ratio**2, _LOOSEST * before**2
    return jnp.clip(jnp.where(guard > 0.1, jnp.maximum(asked, guard), asked), 1e-10, _LOOSEST)  # noqa: PLR2004


# φ(λ) = |F(z + λs)|² / |F(z)|² has φ(0) = 1 and, as r = F + ∂F s is orthogonal to ∂F s, φ'(0) =
# −2 (1 − |r|² / |F|²); the parabola through φ(0), φ'(0), φ(λ) is lowest at λ d / (φ − 1 + 2 d).
def _shortened(ratio: Scalar, descent: Scalar) -> Scalar:
    """By which factor to shorten a step that brought |F| to this ratio; d = −λ φ'(0) / 2."""
    lowest = descent / (ratio**2 - 1 + 2 * descent)
    return jnp.clip(jnp.where(jnp.isfinite(ratio), lowest, 0), _SHORTEST, _LONGEST)
