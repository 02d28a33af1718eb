"""X − W X V = F: by doubling, or by Schur forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from dini._matrices import once, product
from dini.linalg._matrices import norm
from dini.linalg._schur import schur


class Stein(eqx.Module):
    """The matrices of X − W X V = F, and how it is solved for any F.

    Attributes:
        w: W, of shape (m, m).
        v: V, of shape (n, n); None where it is W.
        by_schur: whether the Schur forms serve, and no doubling.
        forms: (T, U) with W = U T Uᴴ, complex, and the same of V; zeros where `by_schur` is false,
            None where they are not needed.
    """

    w: Inexact[Array, "m m"]
    v: Inexact[Array, "n n"] | None
    by_schur: Bool[Array, ""]
    forms: tuple[tuple[Array, Array], tuple[Array, Array]] | None

    def solve(self, f: Inexact[Array, "m n"]) -> Inexact[Array, "m n"]:
        """X; not finite, or wrong, where the method fails."""
        if self.forms is None:
            return _doubling(self.w, self.v, f)
        (t, u), (s, q) = self.forms

        def substitute() -> Array:
            x = product(u, _substitution(t, s, product(u.conj().T, f, q)), q.conj().T)
            return (x if jnp.iscomplexobj(f) else x.real).astype(f.dtype)

        x = _doubling(jnp.where(self.by_schur, 0, self.w), self.v, f)
        return once(self.by_schur, substitute, x)

    def transpose(self) -> "Stein":
        """That of Xᵀ, in the equation of Wᵀ and Vᵀ: X − Wᵀ X Vᵀ = F ⇔ Xᵀ − V Xᵀ W = Fᵀ."""
        forms = None if self.forms is None else (self.forms[1], self.forms[0])
        if self.v is None:
            return self
        return Stein(self.v, self.w, self.by_schur, forms)


def stein(w: Array, v: Array | None, by_schur: Bool[Array, ""] | None) -> Stein:
    """The equation of W and V; with Schur forms where asked for, None for never."""
    if by_schur is None:
        return Stein(w, v, jnp.asarray(False), None)

    def forms() -> tuple:
        of_w = schur(w)
        return of_w, of_w if v is None else schur(v)

    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(forms))
    return Stein(w, v, by_schur, once(by_schur, forms, blank))


# X = Σ Wʲ F Vʲ converges if ρ(W) ρ(V) < 1, and doubles its terms with X ← X + W X V, W ← W²,
# V ← V². W ← t W, V ← V/t changes nothing, and keeps both in range if one of them grows.
# (Smith, Matrix equation XA + BX = C (1968).)
def _doubling(w: Array, v: Array | None, f: Array) -> Array:
    """The sum, NaN where it diverges."""
    eps = jnp.finfo(f.dtype).eps

    def more(state: tuple) -> Bool[Array, ""]:
        *_, rest, k = state
        return (rest > eps) & (rest < eps**-2) & (k < _DOUBLINGS)

    def double(state: tuple) -> tuple:
        x, w, v, _, k = state
        if v is None:
            x, w = x + product(w, x, w), product(w, w)
            return x, w, None, norm(w) ** 2, k + 1
        x, w, v = x + product(w, x, v), product(w, w), product(v, v)
        a, b = norm(w), norm(v)
        t = jnp.where((a > 0) & (b > 0), jnp.sqrt(b / a), 1)
        return x, w * t, v / t, a * b, k + 1

    rest = norm(w) * norm(w if v is None else v)
    x, _, _, rest, _ = jax.lax.while_loop(more, double, (f, w, v, rest, 0))
    return jnp.where(rest <= eps, x, jnp.nan)


# Column j of Y − T Y S = G, T and S upper triangular: (I − s_jj T) y_j = g_j + T Σ_{k<j} y_k s_kj.
# (Kitagawa, An algorithm for solving the matrix equation X = F X Fᵀ + S (1977).)
def _substitution(t: Array, s: Array, g: Array) -> Array:
    one = jnp.eye(*t.shape, dtype=t.dtype)

    def column(j: Array, y: Array) -> Array:
        rhs = g[:, j] + product(t, product(y, s[:, j]))
        return y.at[:, j].set(jax.scipy.linalg.solve_triangular(one - s[j, j] * t, rhs))

    return jax.lax.fori_loop(0, s.shape[0], column, jnp.zeros_like(g))


_DOUBLINGS = 64
