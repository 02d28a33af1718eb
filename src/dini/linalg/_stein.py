"""X − W X V = F: by doubling, or by Schur forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from dini.linalg._schur import schur


class Stein(eqx.Module):
    """The matrices of X − W X V = F, and how it is solved for any F.

    Attributes:
        w: W, of shape (m, m).
        v: V, of shape (n, n).
        by_schur: whether the Schur forms serve, and no doubling.
        schur_w: (T, U) with W = U T Uᴴ, complex; anything where `by_schur` is false.
        schur_v: the same of V.
    """

    w: Inexact[Array, "m m"]
    v: Inexact[Array, "n n"]
    by_schur: Bool[Array, ""]
    schur_w: tuple[Array, Array]
    schur_v: tuple[Array, Array]

    def solve(self, f: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """X; not finite, or wrong, where the method fails."""
        x = _doubling(jnp.where(self.by_schur, 0, self.w), self.v, f)

        def substituted(state: tuple) -> tuple:
            (t, u), (s, q) = self.schur_w, self.schur_v
            y = _substitution(t, s, u.conj().T @ f @ q)
            return jnp.asarray(False), _like(u @ y @ q.conj().T, f)

        # A loop of one step at most: `cond` would take both branches in every lane of a batch.
        return jax.lax.while_loop(lambda s: s[0], substituted, (self.by_schur, x))[1]

    def transpose(self) -> "Stein":
        """That of Xᵀ, in the equation of Wᵀ and Vᵀ: X − Wᵀ X Vᵀ = F ⇔ Xᵀ − V Xᵀ W = Fᵀ."""
        return Stein(self.v, self.w, self.by_schur, self.schur_v, self.schur_w)


def stein(w: Array, v: Array, by_schur: Bool[Array, ""]) -> Stein:
    """The equation of W and V; Schur forms are computed only where they are asked for."""

    def forms(state: tuple) -> tuple:
        del state
        return jnp.asarray(False), (schur(w), schur(v))

    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(forms, None)[1])
    _, (of_w, of_v) = jax.lax.while_loop(lambda s: s[0], forms, (by_schur, blank))
    return Stein(w, v, by_schur, of_w, of_v)


# X = Σ Wʲ F Vʲ converges if ρ(W) ρ(V) < 1, and doubles its terms with X ← X + W X V, W ← W²,
# V ← V². W ← t W, V ← V/t changes nothing, and keeps both in range if one of them grows.
# (Smith, Matrix equation XA + BX = C (1968).)
def _doubling(w: Array, v: Array, f: Array) -> Array:
    """The sum, NaN where it diverges."""
    eps = jnp.finfo(f.dtype).eps

    def more(state: tuple) -> Bool[Array, ""]:
        *_, rest, k = state
        return (rest > eps) & (rest < eps**-2) & (k < _DOUBLINGS)

    def double(state: tuple) -> tuple:
        x, w, v, _, k = state
        x = x + w @ x @ v
        w, v = w @ w, v @ v
        a, b = size(w), size(v)
        t = jnp.where((a > 0) & (b > 0), jnp.sqrt(b / a), 1)
        return x, w * t, v / t, a * b, k + 1

    start = f, w, v, size(w) * size(v) + 2 * eps, 0
    x, _, _, rest, _ = jax.lax.while_loop(more, double, start)
    return jnp.where(rest <= 2 * eps, x, jnp.nan)


# Column j of Y − T Y S = G, T and S upper triangular: (I − s_jj T) y_j = g_j + T Σ_{k<j} y_k s_kj.
# (Kitagawa, An algorithm for solving the matrix equation X = F X Fᵀ + S (1977).)
def _substitution(t: Array, s: Array, g: Array) -> Array:
    one = jnp.eye(*t.shape, dtype=t.dtype)

    def column(j: Array, y: Array) -> Array:
        rhs = g[:, j] + t @ (y @ s[:, j])
        return y.at[:, j].set(jax.scipy.linalg.solve_triangular(one - s[j, j] * t, rhs))

    return jax.lax.fori_loop(0, s.shape[0], column, jnp.zeros_like(g))


def size(x: Array) -> Array:
    """The ∞-norm of a matrix: no square that overflows, and ‖W X V‖ ≤ ‖W‖ ‖X‖ ‖V‖."""
    return jnp.max(jnp.sum(jnp.abs(x), axis=-1), initial=0)


def _like(x: Array, y: Array) -> Array:
    return (x if jnp.iscomplexobj(y) else x.real).astype(y.dtype)


_DOUBLINGS = 64
