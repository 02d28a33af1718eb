"""A bracket and its next point: Chandrupatla's method, and whether the sign change is a root."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# The bracket must have halved over this many evaluations, or it is bisected; one bisection in three
# is geometric, where one end is this much larger than the other.
PATIENCE = 3
_EVERY, _APART = 3, 1000
# F is compared with itself where the bracket has shrunk by this much, or by up to that much.
SHRUNK, _COLLAPSED = 1 / 16, 1e-3
# A sign change of F that shrinks with the width w of the bracket at least as w^(1/8) is a root.
_EXPONENT = 1 / 8
# How much F may bend while the bracket collapses, and how many eps of F are rounding.
_BEND, NOISE = 8, 1000


_Real = Float[Array, ""]


class Point(NamedTuple):
    """A point and F there."""

    z: _Real
    f: _Real


class Sign(NamedTuple):
    """What is known of the sign change of F: a width of the bracket and |F(a) − F(b)| then."""

    width: _Real
    change: _Real
    is_root: Bool[Array, ""]
    noise: _Real


def where(pred: Bool[Array, ""], one: Point, other: Point) -> Point:
    """One point or the other."""
    return Point(jnp.where(pred, one.z, other.z), jnp.where(pred, one.f, other.f))


# With a the newest point, b the end of the other sign and c the point before, the inverse quadratic
# z(F) through the three has its value at F = 0 inside the bracket, and is monotonic there, where
#     φ² < ξ,  (1 − φ)² < 1 − ξ,   ξ = (a − b) / (c − b),  φ = (F(a) − F(b)) / (F(c) − F(b)).
# It is used there; elsewhere, or where the bracket has not halved in time, it is bisected.
def next_point(
    a: Point,
    b: Point,
    c: Point,
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


# Of a jump |F(a) − F(b)| tends to a constant as the bracket shrinks, of a pole it grows, of a root
# it tends to 0: as w for a simple root, faster for a multiple one, as w^(1/3) for a cube root.
# Where the bracket collapses in one step a jump may hide in the slope, and only w will do.
def followed(sign: Sign, width: _Real, a: Point, b: Point, second: Bool[Array, ""]) -> Sign:
    """What is known of the sign change after a step: compared once the width has shrunk enough."""
    change = jnp.abs(a.f - b.f)
    shrunk = width / sign.width
    allowed = jnp.maximum(_BEND * shrunk, jnp.where(shrunk >= _COLLAPSED, shrunk**_EXPONENT, 0))
    tends_to_zero = (change <= allowed * sign.change) & jnp.isfinite(change)
    compare = (shrunk <= SHRUNK) & ~second
    return Sign(
        jnp.where(second | compare, width, sign.width),
        jnp.where(second | compare, change, sign.change),
        (change <= sign.noise) | jnp.where(compare, tends_to_zero, sign.is_root & ~second),
        sign.noise,
    )
