"""Whether a point solves an equation: the estimated error in z, against a tolerance on z."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree, Scalar

from dini._tree import all_finite, max_abs, stop_gradient
from dini.linear import System

# A linear solve this accurate is enough to estimate an error.
_ROUGH = 1e-3
# Newton corrections that shrink by less than this are not those of a simple root nearby: a double
# root gives 1/4, and a residual that decays as its unknown runs away 1/e or more.
_SHRINKAGE = 0.3
# A solver that stopped within this many tolerances of the solution is helped over the rest.
_REACH = 1e3

_Vector = Float[Array, " n"]


class Tolerance(eqx.Module):
    """|error| ≤ atol + rtol |z|, in a norm; never asking for more than a few units of rounding."""

    rtol: float | Array
    atol: float | Array
    norm: Callable[[PyTree], Scalar]
    eps: float = eqx.field(static=True)

    def of(self, error: _Vector, z: _Vector) -> Scalar:
        """The error in units of the tolerance: at most 1 is within it."""
        allowed = self.atol + self.rtol * jnp.abs(z)
        return self.norm(error / jnp.maximum(allowed, 64 * self.eps * (max_abs(z) + self.atol)))


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

    A step that is small against |z| proves nothing where the steps do not shrink: along r the
    error is r / (1 − λ), with λ the growth of the displacement from z to T(z), and where λ ≥ 1
    that is what must be within the tolerance.
    """
    r = displacement(z)
    r_next = displacement(z + r)
    square = jnp.vdot(r, r)
    growth = jnp.vdot(r, r_next) / jnp.where(square > 0, square, 1)
    error = jnp.where(growth >= 1, jnp.abs(r) / jnp.abs(1 - growth), jnp.abs(r))
    error = jnp.where(square > 0, error, jnp.abs(r))
    near = tolerance.of(error, z) <= slack
    result = _result(claimed, z, r, near, optx.RESULTS.nonlinear_divergence)
    return stop_gradient(Verdict(z, result, max_abs(error)))


# F(z + δ) ≈ F(z) + ∂zF δ = 0  ⇒  the error of z is about δ = −(∂zF)⁻¹ F(z), which stays the same
# when F is multiplied by a constant or by a regular matrix. With the same ∂zF at z + δ, the next
# correction δ' estimates what is left, and |δ'| / |δ| whether Newton's method converges here.
def accept_root(
    residual: Callable[[_Vector], _Vector],
    z: _Vector,
    claimed: optx.RESULTS,
    tolerance: Tolerance,
    system: System,
    factors: PyTree[Array] | None,
    polish: bool,
) -> Verdict:
    """Accepts z where its Newton correction is within the tolerance.

    With `polish`, a z that is close enough is first moved by its correction.
    """
    rough = eqx.tree_at(lambda s: s.config.rtol, system, jnp.maximum(system.config.rtol, _ROUGH))
    never = jnp.asarray(False)

    def correction(z: _Vector) -> tuple[_Vector, _Vector, Bool[Array, ""]]:
        f = residual(z)
        delta, finite, solved = rough.compute(factors, system.matvec, -f, never)
        return f, delta, finite & solved

    f, delta, solved = correction(z)
    _, after, solved_after = correction(z + delta)
    large = max_abs(delta) > tolerance.eps**0.5 * (max_abs(z) + tolerance.atol)
    runs_away = large & ~(max_abs(after) <= _SHRINKAGE * max_abs(delta))
    if polish:
        near = (tolerance.of(delta, z) <= _REACH) | ~large
        near = near & solved_after & (tolerance.of(after, z) <= 1)
        moved = near & ~runs_away & solved
        z, error = jnp.where(moved, z + delta, z), jnp.where(moved, max_abs(after), max_abs(delta))
    else:
        near, error = tolerance.of(delta, z) <= 1, max_abs(delta)
    why = optx.RESULTS.where(solved, optx.RESULTS.nonlinear_divergence, optx.RESULTS.singular)
    result = _result(claimed, z, f, near & solved & ~runs_away, why)
    return stop_gradient(Verdict(z, result, error))


def _result(
    claimed: optx.RESULTS, z: _Vector, f: _Vector, near: Bool[Array, ""], why: optx.RESULTS
) -> optx.RESULTS:
    """The solver's own verdict where it has failed; else ours."""
    ours = optx.RESULTS.where(near, optx.RESULTS.successful, why)
    ours = optx.RESULTS.where(all_finite(z) & all_finite(f), ours, optx.RESULTS.nonfinite)
    return optx.RESULTS.where(claimed == optx.RESULTS.successful, ours, claimed)
