"""Anderson acceleration, safeguarded."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float, Inexact, Int, PyTree, Scalar

from dini.solvers._iteration import AbstractIteration, size

# A step is taken back where it leaves the displacement more than this much larger.
_GROWTH = 2.0
# How many differences are used from the start where their number grows.
_FIRST = 2


class _Memory(eqx.Module):
    """The point to step from, the displacement there, and the differences collected so far."""

    z: Inexact[Array, " n"]
    r: Inexact[Array, " n"]
    dz: Inexact[Array, "depth n"]
    dr: Inexact[Array, "depth n"]
    count: Int[Array, ""]
    damping: Float[Array, ""]
    rejected: Int[Array, ""]
    largest: Float[Array, ""]


# With r(z) = T(z) − z and differences ΔZ, ΔR of past points and displacements, the secant model
# r(z − ΔZ γ) ≈ r − ΔR γ is smallest at γ = argmin |r − ΔR γ|; a damped step from there is
#     z₊ = z − ΔZ γ + β (r − ΔR γ).
class Anderson(AbstractIteration):
    """Anderson acceleration of z = T(z): a fixed-point iteration that learns from its past steps.

    It stops at the first z with |T(z) − z| ≤ atol + rtol |z| and returns that z. T is evaluated
    once a step; no derivative is taken. It often converges where the plain iteration does not.

    Safeguard: a step that more than doubles the displacement, or makes it anything but finite, is
    taken back: a plain step with half the damping is taken from the point before, and so on until
    one is accepted; the damping then recovers. A second refusal in a row restarts the method: all
    differences are forgotten.

    Far from the solution old differences mislead, close to it they help: with `growth` the number
    in use grows as the displacement falls. It is off by default: it helps a large depth on maps
    that contract, and holds back one that must learn all directions before it can.

    Attributes:
        rtol: relative tolerance of T(z) − z.
        atol: absolute tolerance of T(z) − z.
        depth: how many past differences are used; two vectors of the size of z are kept for each.
        growth: how many more differences are used, up to `depth` and from 2 on, for each power of
            ten that the displacement has fallen below its largest; None uses all there are.
        damping: β, the share of the displacement that is stepped, in (0, 1].
        regularisation: ridge added to the least-squares problem for γ, relative to the squared
            length of each difference; a small multiple of eps by default.
        norm: how the scaled displacement is measured; by its largest entry by default.

    References: Anderson, Iterative procedures for nonlinear integral equations (1965); Walker and
    Ni, Anderson acceleration for fixed-point iterations (2011); Zhang, O'Donoghue and Boyd,
    Globally convergent type-I Anderson acceleration for nonsmooth fixed-point iterations (2020).
    """

    rtol: float
    atol: float
    depth: int = eqx.field(static=True, default=5)
    damping: float = 1.0
    regularisation: float | None = None
    norm: Callable[[PyTree], Scalar] = optx.max_norm
    growth: float | None = None

    def __check_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, and is {self.depth}.")
        if isinstance(self.damping, float | int) and not 0 < self.damping <= 1:
            raise ValueError(f"damping must be in (0, 1], and is {self.damping}.")
        if isinstance(self.growth, float | int) and self.growth < 0:
            raise ValueError(f"growth must not be negative, and is {self.growth}.")

    def start(self, z: Inexact[Array, " n"]) -> _Memory:
        """No point yet: the first displacement is accepted whatever its size."""
        real = jnp.finfo(z.dtype).dtype
        depth = min(self.depth, z.size)
        differences = jnp.zeros((depth, z.size), z.dtype)
        return _Memory(
            z,
            jnp.full_like(z, jnp.inf),
            differences,
            differences,
            jnp.asarray(0),
            jnp.asarray(self.damping, real),
            jnp.asarray(0),
            jnp.zeros((), real),
        )

    def advance(
        self, z: Inexact[Array, " n"], r: Inexact[Array, " n"], memory: _Memory
    ) -> tuple[Inexact[Array, " n"], _Memory]:
        """The accelerated step from this point, or from the one before if this one is refused."""
        m = memory
        first = jnp.isinf(size(m.r))
        accepted = first | (size(r) <= _GROWTH * size(m.r))
        rejected = jnp.where(accepted, 0, m.rejected + 1)
        damping = jnp.where(accepted, jnp.minimum(2 * m.damping, self.damping), m.damping / 2)
        damping = damping.astype(m.damping.dtype)

        # The pair is a valid secant whether or not the step is kept, if it is finite.
        keep = ~first & jnp.isfinite(size(r))
        slot = m.count % m.dz.shape[0]
        dz = jnp.where(keep, m.dz.at[slot].set(z - m.z), m.dz)
        dr = jnp.where(keep, m.dr.at[slot].set(r - m.r), m.dr)
        restart = rejected >= 2  # noqa: PLR2004
        dz, dr = (jnp.where(restart, 0, d) for d in (dz, dr))
        count = jnp.where(restart, 0, m.count + keep)

        z, r = jnp.where(accepted, z, m.z), jnp.where(accepted, r, m.r)
        plain = z + damping.astype(z.dtype) * r
        largest = jnp.maximum(m.largest, size(r).astype(m.largest.dtype))
        age = (count - 1 - jnp.arange(dr.shape[0])) % dr.shape[0]
        recent = jnp.where((age < self._count(size(r), largest))[:, None], dr, 0)
        mixed = plain - self._mix(recent, r) @ (dz + damping.astype(z.dtype) * dr)
        after = jnp.where(accepted & jnp.all(jnp.isfinite(mixed)), mixed, plain)
        return after, _Memory(z, r, dz, dr, count, damping, rejected, largest)

    def _count(self, length: Scalar, largest: Scalar) -> Scalar:
        """How many differences are used, the newest first."""
        if self.growth is None:
            return jnp.asarray(self.depth)
        return _FIRST + self.growth * jnp.log10(largest / length)

    def _mix(
        self, dr: Inexact[Array, "depth n"], r: Inexact[Array, " n"]
    ) -> Inexact[Array, " depth"]:
        """γ = argmin |r − ΔR γ|, by normal equations between differences scaled to length 1."""
        depth = dr.shape[0]
        length = jnp.linalg.norm(dr, axis=1)
        unit = dr / jnp.where(length > 0, length, 1)[:, None]
        eps = jnp.finfo(r.dtype).eps
        ridge = 10 * depth * eps if self.regularisation is None else self.regularisation
        # An empty slot gets a unit diagonal, and so the coefficient 0.
        gram = unit.conj() @ unit.T + jnp.diag(jnp.where(length > 0, ridge, 1))
        gamma = jnp.linalg.solve(gram, unit.conj() @ r)
        return gamma / jnp.where(length > 0, length, 1)
