"""Powell's hybrid method for few unknowns: a Jacobian that is kept up to date, a trust region."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import RealView, all_finite, max_abs
from dini.solvers._iteration import size
from dini.solvers._root import AbstractSearch, Progress, Residual, code

_Vector = Float[Array, " n"]
_Matrix = Float[Array, "n n"]

# A step must bring this share of the decrease of |F|² that is predicted. Below the second share the
# region shrinks, from the third it grows.
_ENOUGH, _POOR, _GOOD = 1e-4, 0.1, 0.5
# Where the decrease is so close to the one predicted, the region is twice the step.
_EXACT = 0.1
# How many of the last points a whole step is compared with.
_COMPARED = 10
# The region after a poor step, and after one outside the domain of F, in lengths of that step.
_SHORTER, _MUCH_SHORTER = 0.5, 0.1
# So many poor steps in a row, or steps that bring |F| down by less than the share, ask for a new
# Jacobian.
_REFUSED, _SLOW, _SLOWLY = 2, 3, 0.01
# Where |F| is this much larger, F tells nothing of ∂F at the point before.
_WILD = 100
# A correction that is one leaves less than this share of the residual; one that leaves less than
# that share tells how good the next will be.
_VERIFIED, _TELLING = 0.5, 0.1


class _Step(eqx.Module):
    """What the model proposes at a point.

    Attributes:
        correction: the whole correction −B⁻¹ F; zero where it is not usable.
        usable: whether it is finite.
        taken: the step to try.
        whole: whether that is the correction.
        left: the share of |F|² that the model leaves after it.
    """

    correction: _Vector
    usable: Bool[Array, ""]
    taken: _Vector
    whole: Bool[Array, ""]
    left: Scalar


class _Model(eqx.Module):
    """F(z + s) ≈ F + B s, with the scales of equations and unknowns.

    Attributes:
        matrix: B, its rows divided by `rows`, as F is.
        rows: the largest entry in each row of the last Jacobian formed.
        columns: D, the largest norm so far of each column of a Jacobian so divided.
        fresh: whether B is the Jacobian at the point.
    """

    matrix: _Matrix
    rows: _Vector
    columns: _Vector
    fresh: Bool[Array, ""]

    def formed(self, derivative: Callable[[_Vector], _Vector]) -> "_Model":
        """The Jacobian in place of B, with new scales."""
        basis = jnp.eye(self.rows.size, dtype=self.rows.dtype)
        matrix = jax.vmap(derivative, out_axes=1)(basis)
        rows = jnp.max(jnp.abs(matrix), axis=1, initial=0)
        rows = jnp.where(rows > 0, rows, 1)
        matrix = matrix / rows[:, None]
        columns = jnp.maximum(self.columns, jnp.linalg.norm(matrix, axis=0))
        return _Model(matrix, rows, columns, jnp.asarray(True))

    # The smallest change of B, in u = D s, that makes B s = y:  B + (y − B s) (D u)ᵀ / |u|².
    def updated(self, s: _Vector, y: _Vector, where: Bool[Array, ""]) -> "_Model":
        """With Broyden's update for a step and its change of F."""
        d = self._scales()
        u = d * s
        change = jnp.outer(y - self.matrix @ s, _over(d * u, u @ u))
        matrix = self.matrix + jnp.where(where, change, 0)
        return _Model(matrix, self.rows, self.columns, self.fresh)

    # In u = D s the model is F + A u, A = B D⁻¹. Along g = −AᵀF it is lowest at c = g |g|²/|A g|²;
    # from there |F + A ·| falls all the way to the whole correction.
    def step(self, f: _Vector, radius: Scalar) -> _Step:
        """Powell's dogleg from a point with this F: the last of that way with |u| ≤ radius."""
        d = self._scales()
        correction = jnp.linalg.solve(self.matrix, -f)
        usable = all_finite(correction)
        correction = jnp.where(usable, correction, 0)
        u, g = d * correction, -(f @ self.matrix) / d
        slope = size(g)
        c = g * _over(slope, size(self.matrix @ (g / d))) ** 2
        short = size(c)
        along = _over(g, slope) * jnp.minimum(radius, short)
        # |c + t w| = radius; the root t of the quadratic that does not cancel.
        w = jnp.where(usable, u - c, 0)
        h, k = w @ c, radius**2 - short**2
        root = jnp.sqrt(jnp.maximum(h**2 + w @ w * k, 0))
        t = jnp.where(h > 0, k / (h + root), _over(root - h, w @ w))
        bent = jnp.where(usable & (short < radius), c + t * w, along) / d
        whole = usable & (size(u) <= radius)
        left = (size(f + self.matrix @ bent) / size(f)) ** 2
        taken = jnp.where(whole, correction, bent)
        return _Step(correction, usable, taken, whole, jnp.where(whole, 0, left))

    def length(self, s: _Vector) -> Scalar:
        """|D s|."""
        return size(self._scales() * s)

    def _scales(self) -> _Vector:
        return jnp.where(self.columns > 0, self.columns, 1)


class _Hybrid(Progress):
    """The search, with what is known at its point z.

    Attributes:
        f: F(z), its rows divided by those of the model.
        recent: |f| at the last points, −1 where there was none since the Jacobian was formed.
        model: B, and the scales.
        size: the whole correction in units of the tolerance.
        whole: whether that is the step tried next.
        left: the share of |f|² that the model leaves after it.
        radius: the longest step allowed, in the model's norm.
        refused: how many steps in a row were poor.
        slow: how many in a row brought little.
        renew: whether F is evaluated next at z itself, to form its Jacobian.
    """

    f: _Vector
    recent: Float[Array, " compared"]
    model: _Model
    size: Scalar
    whole: Bool[Array, ""]
    left: Scalar
    radius: Scalar
    refused: Int[Array, ""]
    slow: Int[Array, ""]
    renew: Bool[Array, ""]


class PowellHybrid(AbstractSearch):
    """Powell's hybrid method: roots of up to a few hundred unknowns, from few evaluations of F.

    The Jacobian is formed at the start, by as many products as there are unknowns. From then on
    Broyden's updates keep it: a step costs one evaluation of F. It is formed anew where two steps
    in a row are poor or three bring nothing; each time, equations and unknowns are scaled anew.

    A step is Powell's dogleg: the whole correction −B⁻¹F if it is within the trust region, else the
    longest step there on the way from the steepest descent of the linear model to it. The region
    starts with the whole correction, grows while the model is right, and shrinks where it is not.
    A step is refused unless |F| falls; a whole one, unless it is below the largest of late.

    It stops by the error in z, in whatever units F is written: at a z to which a whole correction
    within atol + rtol |z| has led, if that correction has halved |F|; or one correction earlier,
    where the last has left a tenth, and so has shown what the next will leave. It fails, and says
    so, where F or ∂F is not finite at the start or at a point accepted, where no step makes |F|
    smaller (a minimum of |F| that is no root), and where that is because ∂F is singular.

    `stats` has the number of "evaluations" of F and of "products" with ∂F, n for a Jacobian.

    Attributes:
        rtol: relative tolerance of the correction.
        atol: absolute tolerance of the correction.
        norm: how a scaled correction is measured; by its largest entry by default.

    References: Powell, A hybrid method for nonlinear equations (1970); Broyden, A class of methods
    for solving nonlinear simultaneous equations (1965); Moré, Garbow and Hillstrom, User guide for
    MINPACK-1 (1980); Toint, Non-monotone trust-region algorithms for nonlinear optimization subject
    to convex constraints (1997).
    """

    rtol: float
    atol: float
    norm: Callable[[PyTree], Scalar] = optx.max_norm

    def start(self, z: _Vector) -> _Hybrid:
        """No point yet: at the first, the Jacobian is formed."""
        no, yes, zero = jnp.asarray(False), jnp.asarray(True), jnp.asarray(0)
        infinite = jnp.asarray(jnp.inf, z.dtype)
        one, zeros = jnp.ones_like(infinite), jnp.zeros_like(z)
        model = _Model(jnp.eye(z.size, dtype=z.dtype), jnp.ones_like(z), zeros, no)
        return _Hybrid(
            z, no, optx.RESULTS.successful, zero, zero, one,
            zeros, jnp.full(_COMPARED, -1.0, z.dtype), model,
            infinite, no, one, infinite, zero, zero, yes,
        )  # fmt: skip

    def advance(
        self, residual: Residual, z: _Vector, before: _Hybrid, view: RealView
    ) -> tuple[_Vector, _Hybrid, PyTree]:
        """A step from z, or, where z is refused, another from the point before."""
        b, s = before, z - before.z
        raw, derivative, aux = jax.linearize(residual, z, has_aux=True)
        unit = b.unit_for(raw)
        raw, pushforward = raw / unit, lambda v: derivative(v) / unit
        f = raw / b.model.rows
        norm, old = size(f), size(b.f)
        finite = jnp.isfinite(norm)

        # The fall of |F|² by the one promised. Not monotone: a whole step falls from the highest.
        highest = jnp.where(b.whole, jnp.maximum(jnp.max(b.recent), old), old)
        gain = jnp.where(finite, _over(highest**2 - norm**2, (1 - b.left) * old**2), -1)
        accepted = finite & (b.renew | (gain >= _ENOUGH) | b.whole & (b.size <= 1))
        poor = ~b.renew & (gain < _POOR)
        refused = jnp.where(poor, b.refused + 1, 0)
        slow = jnp.where(accepted & (norm < (1 - _SLOWLY) * old), 0, b.slow + 1)

        # A step refused tells nothing that the Jacobian at its beginning does not.
        fresh = b.model.fresh & ~accepted
        tired = ~fresh & ((refused >= _REFUSED) | (slow >= _SLOW))
        forms = accepted & (b.renew | tired)
        learns = ~b.renew & finite & (accepted | ~fresh & (norm <= _WILD * old))
        model = b.model.updated(s, f - b.f, learns)
        model = _Model(model.matrix, model.rows, model.columns, fresh)
        model = jax.lax.cond(forms, lambda: model.formed(pushforward), lambda: model)
        here, there = jnp.where(accepted, z, b.z), jnp.where(accepted, raw / model.rows, b.f)
        recent = jnp.where(forms, -1, b.recent)
        recent = jnp.where(accepted, jnp.roll(recent, 1).at[0].set(size(there)), recent)

        length = b.model.length(s)
        radius = jnp.where(jnp.isinf(b.radius), length, b.radius)
        radius = jnp.where(gain >= _GOOD, jnp.maximum(radius, 2 * length), radius)
        radius = jnp.where(jnp.abs(gain - 1) <= _EXACT, 2 * length, radius)
        radius = jnp.where(poor, length * jnp.where(finite, _SHORTER, _MUCH_SHORTER), radius)
        radius = jnp.where(b.renew, b.radius, radius)
        step = model.step(there, radius)

        units = jnp.where(step.usable, self.scaled(step.correction, here, view.eps), jnp.inf)
        led = accepted & ~b.renew & b.whole
        root = led & self._converges(b, units, norm / old, model.fresh)
        root = root | led & (size(there) <= 16 * view.eps * jnp.linalg.norm(here))
        root = root & (max_abs(b.f * b.model.rows * unit) > jnp.finfo(z.dtype).tiny / view.eps)
        root = root | forms & ~jnp.any(there)
        done = root & step.usable & (units <= 1)

        stuck = ~step.whole & (self.scaled(step.taken, here, view.eps) <= 1)
        renew = ~accepted & tired | stuck & ~model.fresh
        lost = b.renew & ~finite | ~all_finite(model.matrix.ravel())
        stopped = stuck & model.fresh & ~done
        result = code(stopped, optx.RESULTS.nonlinear_divergence)
        result = optx.RESULTS.where(step.usable, result, code(stopped, optx.RESULTS.singular))
        result = optx.RESULTS.where(lost, optx.RESULTS.nonfinite, result)
        products = b.products + jnp.where(forms, z.size, 0)
        state = _Hybrid(
            here, done, result, b.evaluations + 1, products, unit, there, recent, model,
            units, step.whole, step.left, radius, refused, slow, renew,
        )  # fmt: skip
        after = jnp.where(renew, 0, jnp.where(done, step.correction, step.taken))
        return here + after, state, aux

    def _converges(
        self, b: _Hybrid, units: Scalar, left: Scalar, fresh: Bool[Array, ""]
    ) -> Bool[Array, ""]:
        """Whether the whole correction that led here, and left this share of |F|, is told right."""
        verified = (b.size <= 1) & (fresh | (left <= _VERIFIED))
        exact = fresh & (units <= _VERIFIED * b.size)
        return verified | exact | (left <= _TELLING) & (units <= _TELLING * b.size)


def _over(x: Array, y: Scalar) -> Array:
    """The quotient, and 0 where y is 0."""
    return jnp.where(y > 0, x / jnp.where(y > 0, y, 1), 0)
