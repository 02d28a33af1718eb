"""Broyden's method for many unknowns, from evaluations of F alone."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import RealView, all_finite, max_abs
from dini.linear import on_vectors, probe
from dini.solvers._iteration import size
from dini.solvers._root import AbstractSearch, Progress, Residual, code

_Vector = Float[Array, " n"]

# How many of the last points a new one is compared with, and by how much it must be better.
_COMPARED, _ENOUGH = 10, 1e-4
# A step refused is shortened to this share; one outside the domain of F to that.
_SHORTER, _MUCH_SHORTER = 0.5, 0.1
# After so many refusals in a row the method starts anew from where it stands; after so many it
# gives up.
_RESTART, _GIVE_UP = 5, 15
# A correction that is one leaves less than this share of the residual.
_VERIFIED = 0.5
# The cosine between a step and the change of F is taken to be at least this.
_SLANT = 0.1


class _Memory(eqx.Module):
    """The pairs that B agrees with, one a row: s of length 1, and y; rows of zeros are empty.

    `age` is 0 for an empty row and else larger the newer the pair; `scale` is σ in B₀ = I / σ.
    """

    s: Float[Array, "depth n"]
    y: Float[Array, "depth n"]
    age: Int[Array, " depth"]
    scale: Scalar

    def emptied(self, where: Bool[Array, ""], scale: Scalar) -> "_Memory":
        """Without pairs, and with a new scale."""
        s, y, age = (jnp.where(where, 0, x) for x in (self.s, self.y, self.age))
        return _Memory(s, y, age, jnp.where(where, scale, self.scale))

    def with_pair(self, s: _Vector, y: _Vector, where: Bool[Array, ""]) -> "_Memory":
        """With one more pair, in the place of the oldest."""
        slot, length = jnp.argmin(self.age), jnp.where(where, jnp.linalg.norm(s), 1)
        put = lambda rows, row: jnp.where(where, rows.at[slot].set(row), rows)
        age = put(self.age, jnp.max(self.age) + 1)
        return _Memory(put(self.s, s / length), put(self.y, y / length), age, self.scale)

    # Broyden's updates Bᵢ₊₁ = Bᵢ + (yᵢ − Bᵢ sᵢ) sᵢᵀ / sᵢᵀsᵢ from B₀ = I / σ, all together and
    # inverted, with the pairs in the rows of S and Y:
    #     B⁻¹ = σ I − (σY − S)ᵀ (L + σ S Yᵀ)⁻¹ σ S,   Lᵢⱼ = −sᵢᵀsⱼ where i is newer than j, else 0.
    def solve(self, f: _Vector) -> _Vector:
        """B⁻¹ f."""
        newer = self.age[:, None] > self.age[None, :]
        inner = jnp.where(newer, -self.s @ self.s.T, 0) + self.scale * (self.s @ self.y.T)
        inner = jnp.where(self.age[:, None] > 0, inner, jnp.eye(self.age.size, dtype=f.dtype))
        weights = jnp.linalg.solve(inner, self.scale * (self.s @ f))
        return self.scale * f - weights @ (self.scale * self.y - self.s)


class _Broyden(Progress):
    """The search, with what is known at its point z.

    Attributes:
        f: P F(z).
        recent: its Euclidean norm at the last points, −1 where there was none.
        first: its norm at the first point.
        accepted: how many points were accepted.
        memory: the pairs.
        size: the whole correction −B⁻¹ f in units of the tolerance.
        share: λ, the share of it that is tried next.
        radius: the longest step allowed.
        refused: how many points in a row were refused.
        probing: whether the next point is a probe, to learn the scale of ∂F.
    """

    f: _Vector
    recent: Float[Array, " compared"]
    first: Scalar
    accepted: Int[Array, ""]
    memory: _Memory
    size: Scalar
    share: Scalar
    radius: Scalar
    refused: Int[Array, ""]
    probing: Bool[Array, ""]


class Broyden(AbstractSearch):
    """TODO."""

    rtol: float
    atol: float
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None = None
    depth: int = eqx.field(static=True, default=30)
    norm: Callable[[PyTree], Scalar] = optx.max_norm

    def __check_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1, and is {self.depth}.")

    def start(self, z: _Vector) -> _Broyden:
        """No point yet: the first is accepted if F is finite there."""
        no, zero = jnp.asarray(False), jnp.asarray(0)
        infinite = jnp.asarray(jnp.inf, z.dtype)
        one = jnp.ones_like(infinite)
        depth = min(self.depth, z.size)
        none = jnp.zeros((depth, z.size), z.dtype)
        memory = _Memory(none, none, jnp.zeros(depth, int), one)
        return _Broyden(
            z, no, optx.RESULTS.successful, zero, zero, jnp.zeros_like(z),
            jnp.full(_COMPARED, -1.0, z.dtype), infinite, zero, memory,
            infinite, one, infinite, zero, no,
        )  # fmt: skip

    def advance(
        self, residual: Residual, z: _Vector, before: _Broyden, view: RealView
    ) -> tuple[_Vector, _Broyden, PyTree]:
        """A step from z, or, where z is refused, another from the point before."""
        b = before
        f, aux = residual(z)
        p = on_vectors(self.preconditioner, view)
        f = f if p is None else p.mv(f)
        norm, old = size(f), size(b.f)
        first = b.evaluations == 0
        finite = jnp.isfinite(norm)

        # Li and Fukushima, La Cruz, Martínez and Raydan
        bound = jnp.max(b.recent) ** 2 + b.first**2 / (1 + b.accepted) ** 2
        enough = norm**2 <= bound - _ENOUGH * (b.share * old) ** 2
        small = ~first & ~b.probing & (b.size <= 1) & (b.share == 1)
        accepted = finite & (first | ~b.probing & (enough | small))

        s, y = z - b.z, f - b.f
        pair = ~first & finite & (max_abs(s) > 0)
        memory = b.memory.emptied(b.probing & pair, _scale(s, y))
        memory = memory.with_pair(s, y, pair & (max_abs(y) > 0))
        here, there = jnp.where(accepted, z, b.z), jnp.where(accepted, f, b.f)
        at_zero = ~jnp.any(there)
        d = -memory.solve(there)
        usable = all_finite(d)
        refused = jnp.where(accepted, 0, b.refused + ~(b.probing & pair))

        probing = first | at_zero | ~usable | ~b.probing & ~accepted & (refused % _RESTART == 0)
        probing = probing | b.probing & ~pair
        length, whole = jnp.linalg.norm(s), jnp.linalg.norm(jnp.where(usable, d, 0))
        radius = jnp.where(b.share < 1, 2 * length, jnp.inf)
        shorter = length * jnp.where(finite, _SHORTER, _MUCH_SHORTER)
        radius = jnp.where(accepted, radius, jnp.where(b.probing, b.radius, shorter))
        radius = jnp.where(first, jnp.inf, radius).astype(z.dtype)
        share = jnp.where(whole > radius, radius / whole, 1)
        step = jnp.where(probing, self._probe(here, there, refused, view), share * d)

        correction = self.scaled(d, here, view.eps)
        verified = small & (norm <= _VERIFIED * old) & (norm > 0)
        noise = 16 * view.eps * jnp.max(jnp.linalg.norm(memory.y, axis=1)) * jnp.linalg.norm(z)
        rounding = ~first & accepted & (norm <= noise) & (correction <= 1)
        exact = b.probing & pair & ~jnp.any(b.f) & (max_abs(y) > 0)
        done = accepted & verified | rounding | exact
        flat = b.probing & pair & (max_abs(y) == 0)
        failed = (refused >= _GIVE_UP) | flat
        result = code(failed & ~done, optx.RESULTS.nonlinear_divergence)
        result = optx.RESULTS.where(first & ~finite, optx.RESULTS.nonfinite, result)
        recent = jnp.where(accepted, jnp.roll(b.recent, 1).at[0].set(norm), b.recent)
        state = _Broyden(
            here, done, result, b.evaluations + 1, b.products, there, recent,
            jnp.where(first, norm, b.first), b.accepted + accepted, memory,
            correction, share, radius, refused, probing,
        )  # fmt: skip
        return jnp.where(done, here, here + step), state, aux

    def _probe(self, z: _Vector, f: _Vector, refused: Int[Array, ""], view: RealView) -> _Vector:
        """A small step along f, to and fro."""
        along = jnp.where(jnp.any(f), f, probe(z))
        side = jnp.where(refused % 2 == 0, 1, -1)
        return side * view.eps**0.5 * (1 + max_abs(z)) / max_abs(along) * along


def _scale(s: _Vector, y: _Vector) -> Scalar:
    """The signed σ that brings |s − σ y| ..."""
    ls, ly = jnp.linalg.norm(s), jnp.linalg.norm(y)
    cos = s @ y / (ls * ly)
    cos = jnp.where(cos < 0, -1, 1) * jnp.maximum(jnp.abs(cos), _SLANT)
    return ls / ly * cos
