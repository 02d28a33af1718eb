"""Powell's hybrid method for few unknowns: a Jacobian that is kept up to date, a trust region."""

from collections.abc import Callable

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


class _Hybrid(Progress):
    """The search, with what is known at its point z.

    Attributes:
        f: F(z), its rows divided by `rows`.
        recent: |F| at the points since the Jacobian was formed, −1 where there was none.
        rows: the largest entry in each row of the last Jacobian formed.
        columns: the largest norm so far of each column of a Jacobian so divided.
        matrix: B, the approximation of that Jacobian.
        fresh: whether B is that Jacobian, at z.
        size: the whole correction −B⁻¹ F in units of the tolerance.
        whole: whether that is the step tried next.
        predicted: the share of |F|² that the linear model leaves after the step tried next.
        radius: the longest step allowed, in norm |columns · s|.
        refused: how many steps in a row were poor.
        slow: how many in a row brought little.
        renew: whether F is evaluated next at z itself, to form its Jacobian.
    """

    f: _Vector
    recent: Float[Array, " compared"]
    rows: _Vector
    columns: _Vector
    matrix: _Matrix
    fresh: Bool[Array, ""]
    size: Scalar
    whole: Bool[Array, ""]
    predicted: Scalar
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
        one = jnp.ones_like(infinite)
        return _Hybrid(
            z, no, optx.RESULTS.successful, zero, zero, one,
            jnp.zeros_like(z), jnp.full(_COMPARED, -1.0, z.dtype), jnp.ones_like(z),
            jnp.zeros_like(z), jnp.eye(z.size, dtype=z.dtype), no,
            infinite, no, one, infinite, zero, zero, yes,
        )  # fmt: skip

    def advance(
        self, residual: Residual, z: _Vector, before: _Hybrid, view: RealView
    ) -> tuple[_Vector, _Hybrid, PyTree]:
        """A step from z, or, where z is refused, another from the point before."""
        b = before
        f, derivative, aux = jax.linearize(residual, z, has_aux=True)
        unit = b.unit_for(f)
        f = f / unit
        told = max_abs(b.f * b.rows * unit) > jnp.finfo(z.dtype).tiny / view.eps
        seen = size(f / b.rows)
        s, old = z - b.z, size(b.f)
        finite = jnp.isfinite(seen)

        # (fall of |F|²) / (fall predicted). Not monotone: a whole step falls from the largest.
        highest = jnp.where(b.whole, jnp.maximum(jnp.max(b.recent), old), old)
        promised = (1 - b.predicted) * old**2
        gain = (highest**2 - seen**2) / jnp.where(promised > 0, promised, jnp.inf)
        gain = jnp.where(finite, gain, -1)
        small = b.whole & (b.size <= 1)
        accepted = finite & (b.renew | (gain >= _ENOUGH) | small)
        here, there = jnp.where(accepted, z, b.z), jnp.where(accepted, f / b.rows, b.f)

        # A step refused tells nothing that the Jacobian at its beginning does not.
        learns = ~b.renew & finite & (accepted | ~b.fresh & (seen <= _WILD * old))
        matrix = _updated(b.matrix, s, f / b.rows - b.f, b.columns, learns)
        fresh = b.fresh & ~accepted

        poor = ~b.renew & (gain < _POOR)
        refused = jnp.where(poor, b.refused + 1, 0)
        slow = jnp.where(accepted & (seen < (1 - _SLOWLY) * old), 0, b.slow + 1)
        tired = ~fresh & ((refused >= _REFUSED) | (slow >= _SLOW))
        forms = accepted & (b.renew | tired)
        matrix, rows, columns = jax.lax.cond(
            forms,
            lambda: _formed(derivative, unit, b.columns),
            lambda: (matrix, b.rows, b.columns),
        )
        there = jnp.where(forms, f / rows, there)
        norm = size(there)
        fresh = fresh | forms
        refused, slow = jnp.where(forms, 0, refused), jnp.where(forms, 0, slow)
        recent = jnp.where(accepted, jnp.roll(b.recent, 1).at[0].set(norm), b.recent)
        recent = jnp.where(forms, jnp.full_like(recent, -1).at[0].set(norm), recent)

        length = size(b.columns * s)
        radius = jnp.where(jnp.isinf(b.radius) & ~b.renew, length, b.radius)
        longer = jnp.where(jnp.abs(gain - 1) <= _POOR, 2 * length, jnp.maximum(radius, 2 * length))
        radius = jnp.where(~b.renew & (gain >= _GOOD), longer, radius)
        shorter = length * jnp.where(finite, _SHORTER, _MUCH_SHORTER)
        radius = jnp.where(poor, shorter, radius)

        step, correction, usable, whole, predicted = _dogleg(matrix, there, columns, radius)
        units = jnp.where(usable, self.scaled(correction, here, view.eps), jnp.inf)
        # Whether the correction that led here has kept its promise, and what the next will leave.
        led, left = accepted & ~b.renew & b.whole & told, seen / old
        verified = (b.size <= 1) & ((left <= _VERIFIED) | fresh)
        arrived = (left <= _TELLING) & (units <= _TELLING * b.size)
        arrived = arrived | fresh & (units <= _VERIFIED * b.size)
        noise = 16 * view.eps * jnp.linalg.norm(here)
        root = led & (verified | arrived | (norm <= noise))
        root = root | forms & (norm == 0) & jnp.all(rows > 0)
        done = root & usable & (units <= 1)

        stuck = ~whole & (self.scaled(step, here, view.eps) <= 1)
        renew = ~accepted & tired | stuck & ~fresh
        result = code(stuck & fresh, optx.RESULTS.nonlinear_divergence)
        result = optx.RESULTS.where(stuck & fresh & ~usable, optx.RESULTS.singular, result)
        lost = b.renew & ~finite | forms & ~all_finite(matrix.ravel())
        result = optx.RESULTS.where(lost, optx.RESULTS.nonfinite, result)
        result = optx.RESULTS.where(done, optx.RESULTS.successful, result)
        products = b.products + jnp.where(forms, z.size, 0)
        state = _Hybrid(
            here, done, result, b.evaluations + 1, products, unit, there, recent, rows, columns,
            matrix, fresh, units, whole, predicted, radius, refused, slow, renew,
        )  # fmt: skip
        return jnp.where(done, here + correction, here + jnp.where(renew, 0, step)), state, aux


def _formed(
    derivative: Callable[[_Vector], _Vector], unit: Scalar, columns: _Vector
) -> tuple[_Matrix, _Vector, _Vector]:
    """The Jacobian with rows divided by their largest entries; those, and its columns' sizes."""
    basis = jnp.eye(columns.size, dtype=columns.dtype)
    jacobian = jax.vmap(derivative, out_axes=1)(basis) / unit
    rows = jnp.max(jnp.abs(jacobian), axis=1, initial=0)
    rows = jnp.where(rows > 0, rows, 1)
    jacobian = jacobian / rows[:, None]
    return jacobian, rows, jnp.maximum(columns, jnp.linalg.norm(jacobian, axis=0))


# The smallest change of B, in the scaled variables D s, that makes B s = y:
#     B + (y − B s) (D² s)ᵀ / |D s|².
def _updated(
    b: _Matrix, s: _Vector, y: _Vector, columns: _Vector, where: Bool[Array, ""]
) -> _Matrix:
    """Broyden's update of B."""
    d = _positive(columns)
    u = d * s
    squares = u @ u
    change = jnp.outer(y - b @ s, d * u / jnp.where(squares > 0, squares, jnp.inf))
    return b + jnp.where(where, change, 0)


# In u = D s the model is f + A u, A = B D⁻¹. It is lowest along g = −Aᵀf at c = g |g|² / |A g|²,
# and is zero at the whole correction u. From c on, |f + A ·| falls all the way to u.
def _dogleg(
    b: _Matrix, f: _Vector, columns: _Vector, radius: Scalar
) -> tuple[_Vector, _Vector, Bool[Array, ""], Bool[Array, ""], Scalar]:
    """The step, the whole correction, whether it is usable and the step; the |F|² left."""
    d = _positive(columns)
    correction = jnp.linalg.solve(b, -f)
    usable = all_finite(correction)
    correction = jnp.where(usable, correction, 0)
    u = d * correction
    g = -(f @ b) / d
    slope, bent = size(g), size(b @ (g / d))
    c = g * jnp.where(bent > 0, (slope / jnp.where(bent > 0, bent, 1)) ** 2, 0)
    short = size(c)
    along = g * jnp.where(slope > 0, jnp.minimum(radius, short) / jnp.where(slope > 0, slope, 1), 0)
    # |c + t (u − c)| = radius.
    w = jnp.where(usable, u - c, 0)
    a, h, k = w @ w, w @ c, radius**2 - short**2
    root = jnp.sqrt(jnp.maximum(h**2 + a * k, 0))
    t = jnp.where(h > 0, k / (h + root), (root - h) / jnp.where(a > 0, a, 1))
    bend = jnp.where((short < radius) & usable, c + t * w, along)
    whole = usable & (size(u) <= radius)
    step = jnp.where(whole, correction, bend / d)
    left = jnp.where(whole, 0, size(f + b @ step) / size(f))
    return step, correction, usable, whole, left**2


def _positive(columns: _Vector) -> _Vector:
    return jnp.where(columns > 0, columns, 1)
