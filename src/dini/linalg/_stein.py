"""X − W X V = F: by doubling, or by Schur forms."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Bool, Inexact, Int

from dini._matrices import once, product
from dini.linalg._matrices import norm
from dini.linalg._schur import schur

# (W, V), with None for a V that is W.
_Pair = tuple[Inexact[Array, "... m m"], Inexact[Array, "... n n"] | None]


class Stein(eqx.Module):
    """X − W X V = F for any F: the powers of W and V, or their Schur forms.

    Attributes:
        powers: what doubling multiplies by.
        by_schur: whether the Schur forms serve, and no doubling.
        forms: (T, U) with W = U T Uᴴ, complex, and the same of V; zeros where `by_schur` is false,
            None where they are not needed.
        doublings: how many at most; the n-th root of rounding, n = 2ᵏ, is the radius they serve.
    """

    powers: "_Powers"
    by_schur: Bool[Array, ""]
    forms: tuple[tuple[Array, Array], tuple[Array, Array]] | None
    doublings: int = eqx.field(static=True)

    @property
    def tame(self) -> Bool[Array, ""]:
        """Whether doubling converges soon and no power is large: X is no larger than F by far."""
        return ~self.by_schur & self.powers.tame

    def solve(self, f: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """X; not finite, or wrong, where the method fails."""
        if self.forms is None:
            return _doubling(self.powers, f, self.doublings)
        (t, u), (s, q) = self.forms

        def substitute() -> Array:
            x = product(u, _substitution(t, s, product(u.conj().T, f, q)), q.conj().T)
            return (x if jnp.iscomplexobj(f) else x.real).astype(f.dtype)

        return once(self.by_schur, substitute, _doubling(self.powers, f, self.doublings))

    def transpose(self) -> "Stein":
        """That of Xᵀ, in the equation of Wᵀ and Vᵀ: X − Wᵀ X Vᵀ = F ⇔ Xᵀ − V Xᵀ W = Fᵀ."""
        forms = None if self.forms is None else _exchanged(self.forms)
        kept = None if self.powers.kept is None else _exchanged(self.powers.kept)
        further = _exchanged(self.powers.further)
        powers = dataclasses.replace(self.powers, kept=kept, further=further)
        return dataclasses.replace(self, powers=powers, forms=forms)


def stein(
    w: Inexact[Array, "m m"],
    v: Inexact[Array, "n n"] | None,
    by_schur: Bool[Array, ""] | None,
    doublings: int,
) -> Stein:
    """The equation of W and V; with Schur forms where asked for, None for never.

    Args:
        w: W.
        v: V; None where it is W.
        by_schur: whether Schur forms are to serve.
        doublings: how many at most.
    """
    if by_schur is None:
        return Stein(_powers((w, v)), jnp.asarray(False), None, doublings)

    def forms() -> tuple:
        of_w = schur(w)
        return of_w, of_w if v is None else schur(v)

    blank = jtu.tree_map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(forms))
    powers = _powers((jnp.where(by_schur, 0, w), v))
    return Stein(powers, by_schur, once(by_schur, forms, blank), doublings)


# X = Σ Wʲ F Vʲ converges if ρ(W) ρ(V) < 1, and doubles its terms with X ← X + W X V, W ← W²,
# V ← V². W ← t W, V ← V/t changes nothing, and keeps both in range if one of them grows.
# (Smith, Matrix equation XA + BX = C (1968).)
class _Powers(eqx.Module):
    """The powers that all right-hand sides share, W, W², W⁴, …, and those of V.

    Those of small matrices are soon computed again, and moved with every step of a batch if kept.

    Attributes:
        kept: the first `count`, of shapes (_FIRST, m, m) and (_FIRST, n, n); None for small ones.
        count: until the product of two is at rounding, or beyond all bounds; _FIRST at most.
        further: the next ones.
        rest: the product of their norms.
        tame: whether it is at rounding after the first ones, of which none is large.
    """

    kept: _Pair | None
    count: Int[Array, ""]
    further: _Pair
    rest: Array
    tame: Bool[Array, ""]


def _powers(pair: _Pair) -> _Powers:
    keeps = len(pair[0]) * len(_right(pair)) >= _LARGE**2

    def step(state: tuple) -> tuple:
        kept, pair, rest, largest, k = state
        if keeps:
            kept = jtu.tree_map(lambda all_, one: all_.at[k].set(one), kept, pair)
        return kept, *_squares(pair), jnp.maximum(largest, rest), k + 1

    blank = jtu.tree_map(lambda m: jnp.zeros((_FIRST, *m.shape), m.dtype), pair)
    none, start = jnp.asarray(0), norm(pair[0]) * norm(_right(pair))
    more = lambda s: _goes_on(s[2]) & (s[4] < _FIRST)
    begin = blank if keeps else None, pair, start, jnp.zeros_like(start), none
    kept, further, rest, largest, count = jax.lax.while_loop(more, step, begin)
    eps = jnp.finfo(rest.dtype).eps
    tame = (rest <= eps) & (largest < eps**-0.5)
    if not keeps:
        return _Powers(None, none, pair, start, tame)
    return _Powers(kept, count, further, rest, tame)


def _doubling(powers: _Powers, f: Array, most: int) -> Array:
    """The sum, NaN where it diverges."""
    doubled = lambda x, pair: x + product(pair[0], x, _right(pair))
    power = lambda i: jtu.tree_map(lambda all_: all_[i], powers.kept)
    x = f
    if powers.kept is not None:
        x = jax.lax.fori_loop(0, powers.count, lambda i, x: doubled(x, power(i)), f)

    def further(state: tuple) -> tuple:
        x, pair, _, k = state
        return doubled(x, pair), *_squares(pair), k + 1

    start = x, powers.further, powers.rest, powers.count
    more = lambda s: _goes_on(s[2]) & (s[3] < most)
    x, _, rest, _ = jax.lax.while_loop(more, further, start)
    return jnp.where(rest <= jnp.finfo(f.dtype).eps, x, jnp.nan)


def _squares(pair: _Pair) -> tuple[_Pair, Array]:
    """The squares, and the product of their norms."""
    w, v = pair
    w = product(w, w)
    if v is None:
        return (w, None), norm(w) ** 2
    v = product(v, v)
    a, b = norm(w), norm(v)
    t = jnp.where((a > 0) & (b > 0), jnp.sqrt(b / a), 1)
    return (w * t, v / t), a * b


def _goes_on(rest: Array) -> Bool[Array, ""]:
    eps = jnp.finfo(rest.dtype).eps
    return (rest > eps) & (rest < eps**-2)


def _exchanged(pair: tuple) -> tuple:
    return pair if pair[1] is None else (pair[1], pair[0])


def _right(pair: _Pair) -> Array:
    w, v = pair
    return w if v is None else v


# Column j of Y − T Y S = G, T and S upper triangular: (I − s_jj T) y_j = g_j + T Σ_{k<j} y_k s_kj.
# (Kitagawa, An algorithm for solving the matrix equation X = F X Fᵀ + S (1977).)
def _substitution(t: Array, s: Array, g: Array) -> Array:
    one = jnp.eye(*t.shape, dtype=t.dtype)

    def column(j: Array, y: Array) -> Array:
        rhs = g[:, j] + product(t, product(y, s[:, j]))
        return y.at[:, j].set(jax.scipy.linalg.solve_triangular(one - s[j, j] * t, rhs))

    return jax.lax.fori_loop(0, s.shape[0], column, jnp.zeros_like(g))


# A radius of 0.99 takes 12.
_FIRST = 12
_LARGE = 128
