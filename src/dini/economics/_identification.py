"""Which parameters the first two moments of the data can tell apart."""

import dataclasses
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from dini.economics._law import FirstOrderLaw
from dini.economics._model import Model
from dini.economics._parameters import Parameters, parameters
from dini.economics._record import unknown
from dini.economics._verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Identification:
    """What [`identification`][dini.economics.identification] found; `print` shows it as a table.

    J is the Jacobian of the moments: rows in units of the observables' standard deviations, a
    column for each parameter. Σ is J with columns of length 1; a column that is 0 stays so.

    Attributes:
        parameters: the names of the parameters.
        values: theirs, of shape (p,).
        observables: the names of the variables observed.
        lags: up to which autocovariances were taken.
        rank: of Σ; p if the parameters are identified at this point.
        singular_values: of Σ, falling, of shape (min(rows, p),).
        tolerance: singular values up to this one count as 0.
        directions: what the moments do not change in: of each direction, the weights by name, in
            the parameters' own units, the largest 1. They are in echelon form: groups of parameters
            that have nothing to do with each other stand apart.
        solution_rank: the rank of the Jacobian of the law itself, as if all variables were seen: of
            w̄, X and R Rᵀ.
        solution_directions: those in which even the law does not change.
        strength: the length of each parameter's column in J, for a change by 1; by name.
        collinearity: how well the other columns imitate that of a parameter: 1 if they span it, 0
            if it is at right angles to all of them; by name. NaN for a column that is 0.
        closest: of each parameter, the name of the one whose column is most like its own, and the
            correlation.
        jacobian: J, of shape (rows, p): the means of the observables, the autocovariances at lag 0
            (their lower triangle, row by row), and those at lags 1, 2, … (row by row).
    """

    parameters: tuple[str, ...]
    values: np.ndarray
    observables: tuple[str, ...]
    lags: int
    rank: int
    singular_values: np.ndarray
    tolerance: float
    directions: tuple[Mapping[str, float], ...]
    solution_rank: int
    solution_directions: tuple[Mapping[str, float], ...]
    strength: Mapping[str, float]
    collinearity: Mapping[str, float]
    closest: Mapping[str, tuple[str, float]]
    jacobian: np.ndarray

    @property
    def identified(self) -> bool:
        """Whether the moments tell all parameters apart, locally."""
        return self.rank == len(self.parameters)

    def __str__(self) -> str:
        p, last = len(self.parameters), self.singular_values[-1]
        verdict = "identified" if self.identified else "not identified"
        seen = ", ".join(self.observables)
        rows = {
            "observed": f"{seen}: means, and autocovariances at lags 0 to {self.lags}",
            "rank": f"{self.rank} of {p}: {verdict}; that of the law is {self.solution_rank}",
            "singular values": f"from {self.singular_values[0]:.2g} to {last:.1e}; up to "
            f"{self.tolerance:.0e} counts as 0",
        }
        width = max(map(len, rows))
        lines = [f"  {name:<{width}}  {text}" for name, text in rows.items()]
        lines = ["identification", *lines, "", *self._table()]
        if self.directions:
            lines += ["", "  Nothing observed changes in these directions:"]
        for i, weights in enumerate(self.directions, 1):
            terms = ", ".join(f"{name} {weight:+.4g}" for name, weight in weights.items())
            effect = " (without effect)" if len(weights) == 1 else ""
            lines.append(f"    {i}. {terms}{effect}")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        loose = {name for weights in self.directions for name in weights}
        head = ("parameter", "value", "strength", "collinearity", "closest", "")
        body = []
        for name, value in zip(self.parameters, self.values, strict=True):
            other, correlation = self.closest[name]
            body.append(
                (
                    name,
                    f"{value:.5g}",
                    f"{self.strength[name]:.3g}",
                    f"{self.collinearity[name]:.6f}",
                    f"{other} ({correlation:+.3f})" if abs(correlation) > _SHOWN else "",
                    "not identified" if name in loose else "",
                )
            )
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        left = (0, 4, 5)
        lines = []
        for row in (head, *body):
            cells = [
                f"{cell:<{w}}" if i in left else f"{cell:>{w}}"
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append(("  " + "  ".join(cells)).rstrip())
        return lines


def identification(
    model: Model,
    params: PyTree,
    observables: Sequence[str],
    lags: int = 10,
    *,
    names: Sequence[str] | None = None,
    tolerance: float | None = None,
) -> Identification:
    """Whether the moments of the observables tell the parameters apart, near this point.

    By the rank of the Jacobian of the means of the observables and of their autocovariances at lags
    0 to `lags`, in the parameters. Full rank is enough for local identification; a rank that is
    lower, and stays so nearby and for more lags, shows that there is none. All numbers of the
    result, but `strength` and the weights of `directions`, are free of units.

    Args:
        model: the model.
        params: the parameters, at which it has one stable law.
        observables: the names of the variables that are observed.
        lags: the last lag. All autocovariances follow from those up to twice the number of states.
        names: the parameters that are not known, `sd[1]` for one number of an array; None for all.
        tolerance: singular values up to this count as 0, and so does the column of a parameter if
            neither a change by 100 % nor one by 1 moves the moments by more; ε^(2/3) by default.

    Returns:
        An [`Identification`][dini.economics.Identification].

    Raises:
        ValueError: for unknown names, no observables or a negative lag, and where the Jacobian is
            not finite.
        RuntimeError: when there is not one stable law at these parameters.

    Reference: Iskrev, Local identification in DSGE models (2010).
    """
    seen = tuple(observables)
    if isinstance(observables, str) or not seen or lags < 0:
        raise ValueError("identification takes a sequence of observables, and lags of 0 or more.")
    for name in seen:
        if name not in model.variables:
            raise ValueError(
                f"identification: among the observables, {unknown(name, model.variables)}"
            )
    free = parameters(params, names, "identification")
    rows = tuple(model.variables.index(name) for name in seen)
    *found, determinate = _jacobians(model, free.vector, free, rows, lags)
    if not determinate:
        model.first_order(params)
    jacobians = [np.asarray(j) for j in found]
    if not all(np.all(np.isfinite(j)) for j in jacobians):
        raise ValueError("identification: the moments have no finite derivatives at this point.")
    values = np.asarray(free.vector)
    tol = float(np.finfo(values.dtype).eps) ** (2 / 3) if tolerance is None else tolerance
    of_moments, of_law = (_Columns(j, values, tol) for j in jacobians)
    named = lambda numbers: dict(zip(free.names, map(float, numbers), strict=True))
    return Identification(
        parameters=free.names,
        values=values,
        observables=seen,
        lags=lags,
        rank=of_moments.rank,
        singular_values=of_moments.singular_values,
        tolerance=tol,
        directions=of_moments.directions(free.names),
        solution_rank=of_law.rank,
        solution_directions=of_law.directions(free.names),
        strength=named(np.linalg.norm(jacobians[0], axis=0)),
        collinearity=named(of_moments.collinearity()),
        closest=of_moments.closest(free.names),
        jacobian=jacobians[0],
    )


@eqx.filter_jit
def _jacobians(
    model: Model, vector: Array, free: Parameters, rows: tuple[int, ...], lags: int
) -> tuple[Array, Array, Array]:
    """Of the moments and of the law, in units of standard deviations; and if there is a law."""

    def both(vector: Array) -> tuple:
        law = model.first_order(free.replace(vector), throw=False)
        v = law.covariance
        sd = jax.lax.stop_gradient(jnp.sqrt(jnp.maximum(jnp.diag(v), 0)))
        sd = jnp.where(sd > 0, sd, 1)
        determinate = law.result == Verdict.determinate
        moments, solution = _moments(law, sd, rows, lags), _solution(law, sd)
        return (moments, solution), determinate

    # In forward mode the cost grows with the parameters, in reverse mode with the numbers told.
    n, m = len(model.variables), len(rows)
    forward = vector.size <= m + m * m * (lags + 1) + n * n
    derivative = jax.jacfwd if forward else jax.jacrev
    jacobians, determinate = derivative(both, has_aux=True)(vector)
    return *jacobians, determinate


def _moments(law: FirstOrderLaw, sd: Float[Array, " n"], rows: tuple[int, ...], lags: int) -> Array:
    at = np.array(rows)
    mean = law.steady_state.vector[at] / sd[at]
    scale = sd[at][:, None] * sd[at]
    covariances = law.autocovariance(lags)[:, at[:, None], at] / scale
    now = covariances[0][np.tril_indices(len(at))]
    return jnp.concatenate([mean, now, covariances[1:].ravel()])


def _solution(law: FirstOrderLaw, sd: Float[Array, " n"]) -> Array:
    s, x, r = np.array(law.states, int), law.transition, law.impact / sd[:, None]
    shocks = (r @ r.T)[np.tril_indices(len(sd))]
    columns = x[:, s] * sd[s] / sd[:, None]
    return jnp.concatenate([law.steady_state.vector / sd, columns.ravel(), shocks])


class _Columns:
    """A Jacobian with columns of length 1, so that the units of the parameters do not matter."""

    def __init__(self, jacobian: np.ndarray, values: np.ndarray, tol: float) -> None:
        lengths = np.linalg.norm(jacobian, axis=0)
        self.moves = lengths * np.maximum(np.abs(values), 1) > tol
        self.lengths = np.where(self.moves, lengths, 1)
        self.scaled = np.where(self.moves, jacobian / self.lengths, 0)
        _, self.singular_values, vt = np.linalg.svd(self.scaled, full_matrices=True)
        self.tol = tol
        self.rank = int(np.sum(self.singular_values > tol))
        self.null = vt[self.rank :].T

    def directions(self, names: tuple[str, ...]) -> tuple[dict[str, float], ...]:
        """A basis of the kernel, in which each direction holds as few parameters as can be."""
        found = []
        for direction in _echelon(self.null.T):
            felt = np.abs(direction) > _FELT * np.max(np.abs(direction))
            step = direction / self.lengths
            step = step / step[np.argmax(np.abs(step) * felt)]
            found.append({names[i]: float(step[i]) for i in np.flatnonzero(felt)})
        return tuple(found)

    # With unit columns and Q R = Σ: the part of column j that the others do not span is as long as
    # that of the same column of R.
    def collinearity(self) -> np.ndarray:
        """√(1 − d²), d the distance of each column from the span of the others."""
        _, r = np.linalg.qr(self.scaled)
        found = np.full(len(self.lengths), np.nan)
        for j in np.flatnonzero(self.moves):
            others = np.delete(r, j, axis=1)
            fit, *_ = np.linalg.lstsq(others, r[:, j], rcond=self.tol)
            found[j] = np.linalg.norm(others @ fit)
        return np.minimum(found, 1)

    def closest(self, names: tuple[str, ...]) -> dict[str, tuple[str, float]]:
        """The other column with the largest correlation, and what that is."""
        like = self.scaled.T @ self.scaled
        np.fill_diagonal(like, 0)
        best = np.argmax(np.abs(like), axis=1)
        return {
            name: (names[j], float(like[i, j])) if like[i, j] else ("", 0.0)
            for i, (name, j) in enumerate(zip(names, best, strict=True))
        }


def _echelon(rows: np.ndarray) -> np.ndarray:
    """The reduced echelon form of independent rows, by the largest pivots."""
    rows = rows.copy()
    for k in range(len(rows)):
        i, j = divmod(int(np.argmax(np.abs(rows[k:]))), rows.shape[1])
        rows[[k, k + i]] = rows[[k + i, k]]
        rows[k] /= rows[k, j]
        others = np.arange(len(rows)) != k
        rows[others] -= rows[others, j][:, None] * rows[k]
    return rows


# A parameter that carries less than this share of a direction is not part of it.
_FELT = 1e-6
_SHOWN = 5e-4
