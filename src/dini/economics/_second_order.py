"""The law of motion of second order, simulated with pruning."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dini._matrices import product
from dini.economics._law import FirstOrderLaw
from dini.linalg import solve_generalized_sylvester


class SecondOrderLaw(FirstOrderLaw):
    """x = X x₋ + R ε + ½ X₂[x₋, x₋] + Xε[x₋, ε] + ½ R₂[ε, ε] + ½ r, with x = w − w̄.

    `simulate` gives pruned paths: quadratic terms take the path of first order, so that none runs
    away. What it has of a [`FirstOrderLaw`][dini.economics.FirstOrderLaw] beside that and impulse
    responses, the covariance for instance, is of first order.

    Attributes:
        state_state: X₂, of shape (n, n, n), symmetric in the last two axes; 0 for variables that
            occur without a lag.
        state_shock: Xε, of shape (n, n, k).
        shock_shock: R₂, of shape (n, k, k), symmetric in the last two axes.
        risk: r, of shape (n,): what the size of the shocks alone moves.

    References: Schmitt-Grohé and Uribe, Solving dynamic general equilibrium models using a
    second-order approximation to the policy function (2004); Kim, Kim, Schaumburg and Sims,
    Calculating and using second-order accurate solutions of discrete time dynamic equilibrium
    models (2008), for pruning.
    """

    state_state: Float[Array, "n n n"]
    state_shock: Float[Array, "n n k"]
    shock_shock: Float[Array, "n k k"]
    risk: Float[Array, " n"]

    @property
    def mean(self) -> Float[Array, " n"]:
        """The mean of x in the long run, of shape (n,), in deviations from the steady state.

        (I − X) E x = ½ (X₂ : V + R₂ : I + r), V the covariance.
        """
        return _mean(self)

    def impulse_response(self, shock: str, horizon: int) -> Float[Array, "horizon n"]:
        """What one unit of a shock changes on a path from rest that has no other shock.

        Args:
            shock: its name.
            horizon: how many periods.

        Returns:
            An array of shape (horizon, n), row 0 the impact.

        Raises:
            KeyError: for a shock that the model does not have.
        """
        place = self._place(shock)
        still = jnp.zeros((horizon, len(self.shocks)), self.impact.dtype)
        return self.simulate(still.at[0, place].set(1)) - self.simulate(still)

    def _deviations(
        self, shocks: Float[Array, "periods k"], start: Float[Array, " s"]
    ) -> Float[Array, "periods n"]:
        return _pruned(self, shocks, start)


# F is zero for all v = (w₋, ε) along w = X w₋ + R ε + ½ W[v, v] + ½ r and w₊, the same of w and ε₊.
# With H v what v makes of w, and M v what it makes of all that occurs, the terms in v² say
#     (A X + B) W + A W[H·, H·] = −D²F[M·, M·],
# on the right of A only derivatives in the states; they stand by themselves,
#     (A X + B) W_ss + A W_ss (X ⊗ X) = −D²F[M_s·, M_s·].
# The constant terms say, summed over the unit vectors e of ε₊, for E ε₊ε₊ᵀ = I:
#     (A X + A + B) r = −Σ (A W[e, e] + ∂²F/∂w₊²[R e, R e]).
def second_order(law: FirstOrderLaw, residual: Callable[[Array], Array]) -> SecondOrderLaw:
    """The law of second order, from that of first order.

    Args:
        law: the law of first order; NaN where there is none, and so is what comes out.
        residual: the equations as a function of the deviations of what occurs, as
            `Equations.around` gives it.
    """
    a, b = law.linearised.lead, law.linearised.now
    lead, now, _, shock = (np.array(part, int) for part in law.linearised.occurrences)
    x, r, s = law.transition, law.impact, np.array(law.states, int)
    (n, k), m = r.shape, len(s)
    h = jnp.concatenate([x[:, s], r], axis=1)
    one = jnp.eye(m + k, dtype=x.dtype)
    along = jnp.concatenate([product(x[lead][:, s], h[s]), h[now], one[:m], one[m + shock]])
    ahead = jnp.zeros((len(along), k), x.dtype).at[: len(lead)].set(r[lead])

    g = product(a, x) + b
    curvature = _curvature(residual, along)
    of_states = _of_states_alone(g, a, h[s][:, :m], -curvature[:, :m, :m])
    carried = _contracted(a, jnp.einsum("npq,pi,qj->nij", of_states, h[s], h[s]))
    w = _contracted(jnp.linalg.inv(g), -curvature - carried)
    pushed = product(a, jnp.einsum("nii->n", w[:, m:, m:]))
    pushed = pushed + jnp.sum(_second_derivative(residual, ahead, ahead), axis=1)
    return SecondOrderLaw(
        **{field.name: getattr(law, field.name) for field in dataclasses.fields(law)},
        state_state=jnp.zeros((n, n, n), x.dtype).at[:, s[:, None], s].set(w[:, :m, :m]),
        state_shock=jnp.zeros((n, n, k), x.dtype).at[:, s].set(w[:, :m, m:]),
        shock_shock=w[:, m:, m:],
        risk=-jnp.linalg.solve(g + a, pushed),
    )


def _curvature(residual: Callable, along: Float[Array, "u v"]) -> Float[Array, "n v v"]:
    """D²F[M e_i, M e_j] for all i and j, computed for i ≤ j."""
    i, j = np.triu_indices(along.shape[1])
    half = _second_derivative(residual, along[:, i], along[:, j])
    whole = jnp.zeros((len(half), *[along.shape[1]] * 2), half.dtype)
    return whole.at[:, i, j].set(half).at[:, j, i].set(half)


def _second_derivative(
    residual: Callable, p: Float[Array, "u pairs"], q: Float[Array, "u pairs"]
) -> Float[Array, "n pairs"]:
    """D²F[p, q] at rest, for each pair of columns."""
    rest = jnp.zeros(len(p), p.dtype)

    def along(p: Array, q: Array) -> Array:
        first = lambda u: jax.jvp(residual, (u,), (p,))[1]
        return jax.jvp(first, (rest,), (q,))[1]

    return jax.vmap(along, in_axes=1, out_axes=1)(p, q)


# A symmetric W_ss is known by its columns (i, j), i ≤ j, and X ⊗ X acts on these as
# V_(pq)(ij) = X_pi X_qj, and X_qi X_pj with it where p < q.
def _of_states_alone(g: Array, a: Array, x: Float[Array, "m m"], forced: Array) -> Array:
    """W_ss, of shape (n, m, m)."""
    i, j = np.triu_indices(len(x))
    once, twice = x[i][:, i] * x[j][:, j], x[j][:, i] * x[i][:, j]
    v = once + jnp.where((i == j)[:, None], 0, twice)
    half = solve_generalized_sylvester(g, jnp.eye(len(i), dtype=x.dtype), a, v, forced[:, i, j])
    return jnp.zeros_like(forced).at[:, i, j].set(half).at[:, j, i].set(half)


def _contracted(m: Float[Array, "n n"], w: Float[Array, "n v v"]) -> Float[Array, "n v v"]:
    return product(m, w.reshape(len(w), -1)).reshape(w.shape)


@jax.jit
def _pruned(
    law: SecondOrderLaw, shocks: Float[Array, "periods k"], start: Float[Array, " s"]
) -> Float[Array, "periods n"]:
    s = np.array(law.states, int)
    columns, of_states = law.transition[:, s], law.state_state[:, s[:, None], s]
    mixed = law.state_shock[:, s]

    def step(lag: tuple[Array, Array], e: Array) -> tuple[tuple[Array, Array], Array]:
        first, second = lag
        quadratic = jnp.einsum("nij,i,j->n", of_states, first, first)
        quadratic += 2 * jnp.einsum("nij,i,j->n", mixed, first, e)
        quadratic += jnp.einsum("nij,i,j->n", law.shock_shock, e, e)
        second = product(columns, second) + (quadratic + law.risk) / 2
        first = product(columns, first) + product(law.impact, e)
        return (first[s], second[s]), first + second

    return jax.lax.scan(step, (start, jnp.zeros_like(start)), shocks)[1]


# E ½ X₂[x₋, x₋] = ½ X₂ : V with V = E x xᵀ of first order, as pruning has it.
@jax.jit
def _mean(law: SecondOrderLaw) -> Float[Array, " n"]:
    quadratic = jnp.einsum("nij,ij->n", law.state_state, law.covariance)
    quadratic += jnp.einsum("nii->n", law.shock_shock) + law.risk
    one = jnp.eye(len(quadratic), dtype=quadratic.dtype)
    return jnp.linalg.solve(one - law.transition, quadratic / 2)
