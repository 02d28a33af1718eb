"""Broyden's method for many unknowns, from evaluations of F alone."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import RealView, all_finite, max_abs
from dini.linear import on_vectors, probe, row_sizes
from dini.solvers._iteration import size
from dini.solvers._root import AbstractSearch, Progress, Residual, code

_Vector = Float[Array, " n"]

# How many of the last points a new one is compared with, and by what share of |F|² it must be
# better.
_COMPARED, _ENOUGH = 10, 1e-4
# A step refused is shortened to this share; one outside the domain of F to that.
_SHORTER, _MUCH_SHORTER = 0.5, 0.1
# So many refusals in a row forget all pairs and measure the scale anew; so many end the search.
_RESTART, _GIVE_UP = 3, 24
# Where |F| is this much larger, F tells nothing of ∂F at the point before.
_WILD = 100
# A correction that is one leaves less than this share of the residual.
_VERIFIED = 0.5
# What remains of F is rounding if it changes by this share of itself.
_VARIES = 0.1
# The cosine between a probe and the change of F is taken to be at least this; and so is γ, the
# factor that an update puts to det B.
_SLANT, _DAMPED = 0.1, 0.1


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

    # The update multiplies det B by γ = sᵀB⁻¹y / sᵀs. Where |γ| is small, y is moved towards
    # B s until it is not. (Moré and Trangenstein, 1976.)
    def with_pair(
        self, s: _Vector, y: _Vector, expected: _Vector, where: Bool[Array, ""]
    ) -> "_Memory":
        """With one more pair, damped, in the place of the oldest; `expected` is B s."""
        gamma = s @ self.solve(y) / (s @ s)
        share = (1 - jnp.where(gamma < 0, -_DAMPED, _DAMPED)) / (1 - gamma)
        damped = share * y + (1 - share) * expected
        y = jnp.where(jnp.abs(gamma) < _DAMPED, damped, y)
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
    """Broyden's method with limited memory: roots of many unknowns from evaluations of F alone.

    The Jacobian is a multiple of the identity, whose size and sign are measured by one small step,
    plus the rank-one updates of Broyden's good method for the last `depth` pairs of a step and the
    change of F. F is evaluated once a step; no derivative is taken and no matrix of the size of ∂F
    is formed. A preconditioner, if only roughly the inverse of ∂F, saves most of the steps where
    ∂F is badly conditioned.

    Safeguard: a step is refused unless |F| falls below the largest of its last ten values (a little
    above it is allowed at first). What it has told of ∂F is kept, and a new and shorter step is
    taken from the point before; a third refusal in a row forgets all pairs and measures anew.

    It stops by the error in z, in whatever units F is written: at the first z to which a correction
    within atol + rtol |z| has led, if that correction has halved |F|, as a wrong Jacobian's does
    not; or where all of F is rounding. It fails, and says so, where F is not finite at the start,
    where no step is accepted any more (a minimum of |F| that is no root), and where F is constant.

    `stats` has the number of "evaluations" of F; "products" are 0.

    Attributes:
        rtol: relative tolerance of the correction.
        atol: absolute tolerance of the correction.
        preconditioner: an approximate inverse of ∂F: a linear function on trees like the unknown,
            or a Lineax operator on its vector of real numbers, of shape (size,). The method is then
            applied to P F.
        depth: how many pairs are kept, two vectors of the size of z for each.
        norm: how a scaled correction is measured; by its largest entry by default.

    References: Broyden, A class of methods for solving nonlinear simultaneous equations (1965);
    Moré and Trangenstein, On the global convergence of Broyden's method (1976);
    Byrd, Nocedal and Schnabel, Representations of quasi-Newton matrices and their use in limited
    memory methods (1994); Li and Fukushima, A derivative-free line search and global convergence of
    Broyden-like method for nonlinear equations (2000); La Cruz, Martínez and Raydan, Spectral
    residual method without gradient information for solving large-scale nonlinear systems of
    equations (2006).
    """

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
        # More pairs than unknowns too: a linear system of n equations can take 2n of them.
        none = jnp.zeros((self.depth, z.size), z.dtype)
        memory = _Memory(none, none, jnp.zeros(self.depth, int), one)
        return _Broyden(
            z, no, optx.RESULTS.successful, zero, zero, one, jnp.zeros_like(z),
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
        unit = before.unit_for(f)
        f = f / unit
        norm, old = size(f), size(b.f)
        first = b.evaluations == 0
        finite = jnp.isfinite(norm)

        # Not monotone: |F|² below the largest of late, and more than that in the beginning.
        bound = jnp.max(b.recent) ** 2 + b.first**2 / (1 + b.accepted) ** 2
        enough = norm**2 <= bound - _ENOUGH * (b.share * old) ** 2
        small = ~first & ~b.probing & (b.size <= 1) & (b.share == 1)
        accepted = finite & (first | ~b.probing & (enough | small))

        s, y = z - b.z, f - b.f
        pair = ~first & finite & (max_abs(s) > 0) & (b.probing | (norm <= _WILD * old))
        memory = b.memory.emptied(b.probing & pair, _scale(s, y))
        expected = jnp.where(b.probing, s / memory.scale, -b.share * b.f)
        memory = memory.with_pair(s, y, expected, pair & (max_abs(y) > 0))
        here, there = jnp.where(accepted, z, b.z), jnp.where(accepted, f, b.f)
        at_zero = ~jnp.any(there)
        d = -memory.solve(there)
        usable = all_finite(d)
        refused = jnp.where(accepted, 0, b.refused + ~(b.probing & pair & usable))

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
        # The correction before has kept its promise, with rows on one scale; or all that is left of
        # F is rounding; or F was exactly zero, and is not beside that point.
        rows = row_sizes(memory.s, memory.y)
        rows = rows + view.eps**0.25 * max_abs(rows)
        left = size(f / rows)
        told = norm > jnp.finfo(z.dtype).tiny ** 0.5
        verified = small & told & (left <= _VERIFIED * size(b.f / rows))
        noise = 16 * view.eps * jnp.linalg.norm(z)
        # Rounding is another at another point.
        varies = size(y) >= _VARIES * norm
        rounding = ~first & accepted & told & varies & (left <= noise) & (correction <= 1)
        exact = b.probing & pair & ~jnp.any(b.f) & (max_abs(y) > 0)
        done = accepted & verified | rounding | exact
        flat = b.probing & pair & (max_abs(y) == 0)
        failed = (refused >= _GIVE_UP) | flat
        result = code(failed & ~done, optx.RESULTS.nonlinear_divergence)
        result = optx.RESULTS.where(first & ~finite, optx.RESULTS.nonfinite, result)
        recent = jnp.where(accepted, jnp.roll(b.recent, 1).at[0].set(norm), b.recent)
        state = _Broyden(
            here, done, result, b.evaluations + 1, b.products, unit, there, recent,
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
    """The σ, with its sign, at which |s − σ y| is smallest."""
    length, change = jnp.linalg.norm(s), jnp.linalg.norm(y)
    cos = s @ y / (length * change)
    cos = jnp.where(cos < 0, -1, 1) * jnp.maximum(jnp.abs(cos), _SLANT)
    return jnp.where(change > 0, length / change * cos, 1)
