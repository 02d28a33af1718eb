"""Whether a point solves an equation: the estimated error in z, against a tolerance on z."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree, Scalar

from dini._tree import all_finite, allowed_error, max_abs, stop_gradient
from dini.linear import Direct, System, lanczos, probe

# A linear solve this accurate is enough to estimate an error.
_ROUGH = 1e-3
# How much of ∂zF may change over the error of z. Newton's method is sure to converge below 1/2
# (Kantorovich); an m-fold root gives 1 − 1/m, and a residual that decays as its unknown runs away
# 1 or more.
_BEND = 0.4
# A solver that stopped within this many tolerances of the solution is helped over the rest.
_REACH = 1e3
# How many products with a Hessian are spent on the search for a negative eigenvalue.
_LANCZOS = 32

_Vector = Float[Array, " n"]


class Tolerance(eqx.Module):
    """|error| ≤ atol + rtol |z|, in a norm; never asking for more than a few units of rounding."""

    rtol: float
    atol: float
    norm: Callable[[PyTree], Scalar]
    eps: float = eqx.field(static=True)

    def of(self, error: _Vector, z: _Vector) -> Scalar:
        """The error in units of the tolerance: at most 1 is within it."""
        allowed = allowed_error(z, self.rtol, self.atol, self.eps)
        return self.norm(jnp.where(error == 0, 0, error / allowed))


class Verdict(eqx.Module):
    """The point, perhaps polished; the result code; the estimated error of the point in z."""

    z: _Vector
    result: optx.RESULTS
    error: Float[Array, ""]


def accept_fixed_point(
    displacement: Callable[[_Vector], _Vector],
    z: _Vector,
    claimed: optx.RESULTS,
    tolerance: Tolerance,
    slack: float,
) -> Verdict:
    """Accepts z where |T(z) − z| is within the tolerance.

    A step that is small against |z| proves nothing where the steps do not shrink. Along r the
    error is about |r|² / |(∂T − I) r|, and where the displacement does not shrink from z to T(z)
    it is that which must be within the tolerance: infinite for T(z) = z + 1. Where it does shrink,
    but by less and less on the way to the point so extrapolated, there may be none: z + exp(−z).
    """
    root_eps = tolerance.eps**0.5
    sample = root_eps * probe(z) * (1 + jnp.abs(z))

    def look(carry: tuple[_Vector, _Vector], first: Array) -> tuple:
        point, along = carry
        r = displacement(point)
        # A displacement that is mere rounding tells no direction: take another, of a size that
        # shows, and ask only that T is not the identity along it.
        rounding = max_abs(r) <= 64 * tolerance.eps * max_abs(z)
        longer = jnp.maximum(1, root_eps * (max_abs(z) + tolerance.atol) / max_abs(r))
        along = jnp.where(first, jnp.where(rounding, sample, r * longer), along)
        change = displacement(point + along) - r
        gap = jnp.linalg.norm(change) / jnp.linalg.norm(along)
        return (point + r / gap, along), (r, rounding, change, gap, along)

    # A scan, so that T is compiled twice and not four times.
    _, seen = jax.lax.scan(look, (z, z), jnp.array([True, False]))
    (r, rounding, change, gap, along), (_, _, _, gap_there, _) = (
        jax.tree_util.tree_map(lambda x, i=i: x[i], seen) for i in range(2)
    )
    trusted = jnp.where(rounding, ~(gap <= 4 * root_eps), jnp.vdot(along, change) < 0)
    error = jnp.abs(r) / jnp.where(trusted, 1, jnp.where(rounding, 0, gap))
    bends = ~rounding & (tolerance.of(r / gap, z) > slack) & (gap_there < (1 - _BEND) * gap)
    near = (tolerance.of(error, z) <= slack) & ~bends
    result = _result(claimed, z, r, near, optx.RESULTS.nonlinear_divergence)
    return stop_gradient(Verdict(z, result, max_abs(error)))


# F(z + δ) ≈ F(z) + ∂zF δ = 0  ⇒  the error of z is about δ = −(∂zF)⁻¹ F(z), which stays the same
# when F is multiplied by a constant or by a regular matrix. With the same ∂zF at z + δ, the next
# correction δ' estimates what is left. A step s along δ should change the correction by −s: how far
# it does not, −½ (∂zF)⁻¹ ∂²zF[s, s], tells how much ∂zF changes over the length of δ.
def accept_root(
    residual: Callable[[_Vector], _Vector],
    z: _Vector,
    claimed: optx.RESULTS,
    tolerance: Tolerance,
    system: System,
    factors: Direct | None,
    polish: bool,
) -> Verdict:
    """Accepts z where its Newton correction is within the tolerance, and the root is simple.

    With `polish`, a z that is close enough is first moved by its correction. Of a minimum, whose
    ∂zF is tagged negative semidefinite, it is asked that this be so: a saddle is refused.
    """
    rough = eqx.tree_at(lambda s: s.config.rtol, system, jnp.maximum(system.config.rtol, _ROUGH))
    unit = jnp.maximum(jnp.abs(z), tolerance.eps**0.25 * max_abs(z)) + tolerance.atol
    small = tolerance.eps ** (3 / 8)

    def correction(carry: tuple[_Vector, _Vector], which: Array) -> tuple:
        point, step = carry
        # A residual that has underflowed to 0 with its derivative is no root: ask for A⁻¹ 1 there.
        f = residual(point)
        exact = max_abs(f) == 0
        b = jnp.where(exact, 1, -system.weight * f)
        raw, finite, solved = rough.compute(factors, system.matvec, b, jnp.asarray(False))
        solved = jnp.where(exact, all_finite(raw), finite & solved)
        delta = jnp.where(exact, 0, raw)
        step = jnp.where(which == 0, small * raw / max_abs(raw / unit), step)
        # At an exact root the next point shows the rounding of F.
        after = jnp.where(exact, 4 * tolerance.eps * jnp.abs(z), delta)
        return (z + jnp.where(which == 0, after, step), step), (f, delta, solved)

    # A scan, so that the residual and the solve are compiled once.
    (_, step), (fs, deltas, solves) = jax.lax.scan(correction, (z, z), jnp.arange(3))
    delta, after, along = deltas
    solved = solves[0]
    large = max_abs(delta) > tolerance.eps**0.5 * (max_abs(z) + tolerance.atol)
    error = max_abs(jnp.maximum(jnp.abs(delta), jnp.abs(after)) / unit)
    bend = max_abs((along - delta + step) / unit)
    # A small error may be mere rounding, and so may what looks like a bend of about that size.
    noise = jnp.where(large, 0, tolerance.eps**-0.25 / 16 * error)
    bends = solved & (bend > noise) & (2 * bend * error > _BEND * small**2)
    if polish:
        near = (tolerance.of(delta, z) <= _REACH) | ~large
        near = near & solves[1] & (tolerance.of(after, z) <= 1)
        moved = near & ~bends & solved
        z, error = jnp.where(moved, z + delta, z), jnp.where(moved, max_abs(after), max_abs(delta))
    else:
        near, error = tolerance.of(delta, z) <= 1, max_abs(delta)
    singular = optx.RESULTS.promote(lx.RESULTS.singular)
    why = optx.RESULTS.where(solved, optx.RESULTS.nonlinear_divergence, singular)
    near = near & solved & ~bends
    if lx.negative_semidefinite_tag in system.config.tags:
        near = near & _is_concave(system, factors)
    result = _result(claimed, z, fs[0], near, why)
    return stop_gradient(Verdict(z, result, error))


def _is_concave(system: System, factors: Direct | None) -> Bool[Array, ""]:
    """No positive eigenvalue of ∂zF, as far as Lanczos' method sees if it was not formed."""
    if factors is None or factors.matrix is None:
        hessian = -lanczos(system.action, system.struct, _LANCZOS)
    else:
        hessian = -factors.matrix
    size = hessian.shape[0]
    ridge = 64 * size * system.eps * max_abs(hessian.reshape(-1))
    shifted = (hessian + hessian.T) / 2 + ridge * jnp.eye(size, dtype=hessian.dtype)
    return jnp.all(jnp.isfinite(jnp.linalg.cholesky(shifted))) & (ridge > 0)


def _result(
    claimed: optx.RESULTS, z: _Vector, f: _Vector, near: Bool[Array, ""], why: optx.RESULTS
) -> optx.RESULTS:
    """The solver's own verdict where it has failed; else ours."""
    ours = optx.RESULTS.where(near, optx.RESULTS.successful, why)
    ours = optx.RESULTS.where(all_finite(z) & all_finite(f), ours, optx.RESULTS.nonfinite)
    return optx.RESULTS.where(claimed == optx.RESULTS.successful, ours, claimed)
