"""The law of motion of first order, and what is computed from it."""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float

from dini._matrices import product
from dini.economics import _decompositions
from dini.economics._covariance import long_run_covariance
from dini.economics._decompositions import Forecast, HistoricalDecomposition, Variables
from dini.economics._equations import Linearised
from dini.economics._record import Record, unknown
from dini.economics._verdict import Verdict
from dini.linalg import quadratic_radii


class FirstOrderLaw(eqx.Module):
    """w_t − w̄ = X (w_{t−1} − w̄) + R ε_t, with ε_t independent and N(0, I).

    A pytree: it is what functions under `jit` and `vmap` may return. Of a batch of laws,
    `jax.vmap(lambda law: law.covariance)` takes what the methods give of one.

    Attributes:
        transition: X, of shape (n, n), in the order of the variables; its columns are 0 for
            variables that occur without a lag. NaN where `result` is not determinate.
        impact: R, of shape (n, k), columns in the order of the shocks; NaN as X.
        steady_state: w̄, a [`Record`][dini.economics.Record] of n numbers.
        result: a [`Verdict`][dini.economics.Verdict]; compare with `==`.
        linearised: A, B, C and D of A w₊ + B w + C w₋ + D ε = 0.
        solvent: the minimal solvent of A X² + B X + C = 0, stable or not; NaN where there is none.
        shocks: the names of the shocks.
    """

    transition: Float[Array, "n n"]
    impact: Float[Array, "n k"]
    steady_state: Record
    result: Verdict
    linearised: Linearised
    solvent: Float[Array, "n n"]
    shocks: tuple[str, ...] = eqx.field(static=True)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables."""
        return self.steady_state.names

    @property
    def states(self) -> tuple[int, ...]:
        """The places of the variables that occur with a lag."""
        return self.linearised.states

    @property
    def radii(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The spectral radii of the solvent X and of (A X + B)⁻¹ A, of other verdicts too.

        There is a stable law if the first is less than 1, and no other if the second is.
        """
        return quadratic_radii(self.linearised.lead, self.linearised.now, self.solvent)

    @property
    def covariance(self) -> Float[Array, "n n"]:
        """That of the variables in the long run: V = X V Xᵀ + R Rᵀ, of shape (n, n)."""
        return long_run_covariance(self.transition, self.impact, self.states)

    def impulse_response(self, shock: str, horizon: int) -> Float[Array, "horizon n"]:
        """Deviations from the steady state after one unit of a shock, in periods 0, 1, ….

        Args:
            shock: its name.
            horizon: how many periods.

        Returns:
            An array of shape (horizon, n): row 0 is the shock's column of R, row t is Xᵗ times it.

        Raises:
            KeyError: for a shock that the model does not have.
        """
        first = self.impact[:, self._place(shock)]
        return _responses(self.transition, first, self.states, horizon)

    def simulate(
        self, shocks: ArrayLike, *, initial: Variables | None = None, levels: bool = False
    ) -> Float[Array, "periods n"]:
        """The path of the variables from rest, that is from w₋₁ = w̄.

        Args:
            shocks: ε, of shape (periods, k).
            initial: w₋₁, where it is not w̄, in the forms of `forecast`.
            levels: whether `initial` and the path are levels, and not deviations from w̄.

        Returns:
            An array of shape (periods, n), of deviations from the steady state or of levels.

        Raises:
            ValueError: for shocks of another shape.
        """
        given = self._shocks(shocks, "simulate"), self._start(initial, levels, "simulate")
        deviations = self._deviations(*given)
        return deviations + self.steady_state.vector if levels else deviations

    def autocovariance(self, lags: int) -> Float[Array, "lags+1 n n"]:
        """Cov(w_t, w_{t−l}) = Xˡ V for l = 0, …, lags, of shape (lags + 1, n, n)."""
        v = self.covariance
        return _decompositions.autocovariances(self.transition, v, self.states, lags)

    def variance_decomposition(self, horizon: int | None = None) -> Float[Array, "... n k"]:
        """The share of each shock in the variance of the error of a forecast.

        Args:
            horizon: how many periods ahead at most; None for the variance in the long run.

        Returns:
            Shares of shape (horizon, n, k), where row 0 is one period ahead, or (n, k). They sum to
            1 over the shocks, but are 0 for a variable that no shock moves by then: whose standard
            deviation is within n ε of 0, in units of the largest.
        """
        return _decompositions.variance_shares(self.transition, self.impact, self.states, horizon)

    def forecast(
        self,
        state: Variables,
        horizon: int,
        *,
        coverage: ArrayLike = 0.9,
        state_cov: ArrayLike | None = None,
        levels: bool = False,
    ) -> Forecast:
        """The mean of the periods ahead, and bands from the quantiles of the normal distribution.

        Args:
            state: the variables today, by name (the states are enough), or as a vector of all n
                variables or of the states alone: deviations from the steady state, or levels.
            horizon: how many periods.
            coverage: the probability that a variable lies within its band; or several, for bands
                within bands.
            state_cov: the covariance of `state`, where that is an estimate, of shape (n, n), or of
                the states alone.
            levels: whether `state` and the path are levels.

        Returns:
            A [`Forecast`][dini.economics.Forecast].

        Raises:
            ValueError: for names or shapes that do not fit, and a coverage that is not in (0, 1).
        """
        x, dtype = self.transition, self.transition.dtype
        probability = jnp.asarray(coverage, dtype)
        inside = (probability > 0) & (probability < 1)
        if not isinstance(inside, Tracer) and not jnp.all(inside):
            raise ValueError(f"forecast: coverage lies between 0 and 1, and is {coverage}.")
        mean = self._start(state, levels, "forecast")
        cov = _decompositions.state_covariance(state_cov, x.shape[-1], self.states, dtype)
        rest = self.steady_state.vector * (1 if levels else 0)
        start, law = (mean, cov), (x, self.impact)
        return _decompositions.forecast(law, start, rest, probability, self.states, horizon)

    def historical_decomposition(
        self,
        shocks: ArrayLike,
        initial: Variables | None = None,
        *,
        levels: bool = False,
    ) -> HistoricalDecomposition:
        """What each shock, and the start, contributes to the path that they make.

        Args:
            shocks: ε, of shape (periods, k): those of a smoother, for instance.
            initial: the variables before the first period, in the forms of `forecast`; None for
                rest.
            levels: whether `initial` is given in levels; contributions are deviations.

        Returns:
            A [`HistoricalDecomposition`][dini.economics.HistoricalDecomposition].

        Raises:
            ValueError: for names or shapes that do not fit.
        """
        path = self._shocks(shocks, "historical_decomposition")
        start = self._start(initial, levels, "historical_decomposition")
        return _decompositions.historical(self.transition, self.impact, path, start, self.states)

    def _deviations(
        self, shocks: Float[Array, "periods k"], start: Float[Array, " s"]
    ) -> Float[Array, "periods n"]:
        return _path(self.transition, self.impact, shocks, start, self.states)

    def _place(self, shock: str) -> int:
        if shock not in self.shocks:
            raise KeyError(unknown(shock, self.shocks))
        return self.shocks.index(shock)

    def _start(self, variables: Variables | None, levels: bool, what: str) -> Float[Array, " s"]:
        """The states in deviations from the steady state, of variables in any form."""
        rest = self.steady_state
        return _decompositions.state_vector(variables, rest, self.states, levels, what)

    def _shocks(self, shocks: ArrayLike, what: str) -> Float[Array, "periods k"]:
        path = jnp.asarray(shocks, self.impact.dtype)
        if path.ndim != 2 or path.shape[1] != len(self.shocks):  # noqa: PLR2004
            raise ValueError(
                f"{what} takes shocks of shape (periods, {len(self.shocks)}), in the order "
                f"{', '.join(self.shocks)}, and was given {path.shape}."
            )
        return path

    def __repr__(self) -> str:
        n, k = self.impact.shape[-2:]
        return f"FirstOrderLaw({n} variables, {len(self.states)} states, {k} shocks)"


def _of_states(states: Sequence[int]) -> np.ndarray:
    return np.array(states, int)


@functools.partial(jax.jit, static_argnames=("states", "horizon"))
def _responses(x: Array, first: Array, states: tuple[int, ...], horizon: int) -> Array:
    columns = x[:, _of_states(states)]

    def step(w: Array, _: None) -> tuple[Array, Array]:
        return product(columns, w[_of_states(states)]), w

    return jax.lax.scan(step, first, length=horizon)[1]


@functools.partial(jax.jit, static_argnames="states")
def _path(x: Array, r: Array, shocks: Array, start: Array, states: tuple[int, ...]) -> Array:
    s = _of_states(states)
    columns, pushes = x[:, s], product(shocks, r.T)

    def step(lag: Array, push: Array) -> tuple[Array, Array]:
        w = product(columns, lag) + push
        return w[s], w

    return jax.lax.scan(step, start, pushes)[1]
