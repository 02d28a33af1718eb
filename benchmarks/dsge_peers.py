"""Other ways to solve, differentiate and estimate a linear model, and an exact reference.

A w₊ + B w + C w₋ + D ε = 0 has the law w = X w₋ + R ε, where A X² + B X + C = 0, G = A X + B and
R = −G⁻¹ D. A model here has a module's `equations`, linear in its variables, `VARIABLES`, `SHOCKS`.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg as sl
from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

from dini.economics import Record

Matrices = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


# --- Solutions -----------------------------------------------------------------------------------


def qz(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> tuple:
    """X and R from the deflating vectors of stable eigenvalues (Klein 2000), in real arithmetic."""
    n = len(a)
    zero, one = np.zeros((n, n)), np.eye(n)
    left, right = np.block([[zero, one], [-c, -b]]), np.block([[one, zero], [zero, a]])
    *_, z = sl.ordqz(left, right, sort="iuc", output="real")
    x = np.linalg.solve(z[:n, :n].T, z[n:, :n].T).T
    return x, -np.linalg.solve(a @ x + b, d)


def cyclic_reduction(a: Any, b: Any, c: Any, d: Any, steps: int = 14) -> tuple:
    """X and R in JAX, by steps that plain differentiation goes through."""

    def step(state: tuple, _: None) -> tuple:
        a, b, c, s = state
        of_c, of_a = jnp.split(jnp.linalg.solve(b, jnp.concatenate([c, a], axis=1)), 2, axis=1)
        return (-a @ of_a, b - c @ of_a - a @ of_c, -c @ of_c, s - a @ of_c), None

    (*_, s), _ = jax.lax.scan(step, (a, b, c, b), length=steps)
    x = -jnp.linalg.solve(s, c)
    return x, -jnp.linalg.solve(a @ x + b, d)


# --- Gradients of ⟨U, X⟩ + ⟨V, R⟩ in A, B, C and D -----------------------------------------------


# dR = −G⁻¹ (dG R + dD) with dG = dA X + A dX + dB, and G dX + A dX X = −(dA X² + dB X + dC). So V
# gives W = G⁻ᵀ V, D̄ = −W, Ḡ = −W Rᵀ, X̄ = U + Aᵀ Ḡ; with Λ from Gᵀ Λ + Aᵀ Λ Xᵀ = X̄, which is
# (I ⊗ Gᵀ + X ⊗ Aᵀ) vec Λ = vec X̄, follow C̄ = −Λ, B̄ = Ḡ − Λ Xᵀ and Ā = B̄ Xᵀ.
def kronecker_adjoint(matrices: Matrices, u: np.ndarray, v: np.ndarray) -> tuple:
    """X and R by QZ, and the cotangents by one dense system of n² equations."""
    a, b, _, _ = matrices
    x, r = qz(*matrices)
    g = a @ x + b
    w = np.linalg.solve(g.T, v)
    of_g = -w @ r.T
    of_x = u + a.T @ of_g
    system = np.kron(np.eye(len(a)), g.T) + np.kron(x, a.T)
    lam = np.linalg.solve(system, of_x.ravel(order="F")).reshape(a.shape, order="F")
    of_b = of_g - lam @ x.T
    return (x, r), (of_b @ x.T, of_b, -lam, -w)


def differences(value: Callable, p: np.ndarray, central: bool) -> tuple:
    """The value, and its slopes in each number of p."""
    middle, slopes = value(p), []
    for i, size in enumerate(np.maximum(np.abs(p), 0.1)):
        h = np.zeros_like(p)
        h[i] = size * (6e-6 if central else 1.5e-8)
        below, width = (value(p - h), 2 * h[i]) if central else (middle, h[i])
        slopes.append((value(p + h) - below) / width)
    return middle, np.array(slopes)


def geconpy() -> tuple[Callable, Callable] | None:
    """GEconpy's cyclic reduction, and the same with its adjoint; None where it is not installed."""
    if not importlib.util.find_spec("gEconpy"):
        return None
    import pytensor  # noqa: PLC0415  where it is installed
    import pytensor.tensor as pt  # noqa: PLC0415
    from gEconpy.solvers.cycle_reduction import cycle_reduction_pt  # noqa: PLC0415

    pytensor.config.floatX = "float64"
    a, b, c, d, u, v = (pt.dmatrix(name) for name in "abcduv")
    x, r = cycle_reduction_pt(c, b, a, d)  # it names them from the lag on
    value = pytensor.function([a, b, c, d], [x, r])
    slopes = pytensor.grad((u * x).sum() + (v * r).sum(), [a, b, c, d])
    both = pytensor.function([a, b, c, d, u, v], [x, r, *slopes])

    def with_gradient(matrices: Matrices, u: np.ndarray, v: np.ndarray) -> tuple:
        x, r, *slopes = both(*matrices, u, v)
        return (x, r), tuple(slopes)

    return value, with_gradient


# --- Likelihoods ---------------------------------------------------------------------------------


class Cut(NamedTuple):
    """The law of the variables with a lag and of those observed, and how many of each there are."""

    transition: Any
    impact: Any
    lagged: int
    seen: int


def statsmodels_likelihood(cut: Cut, data: np.ndarray) -> float:
    """The log density, by statsmodels' filter from the law in the long run."""
    t, r, lagged, seen = cut
    ssm = KalmanFilter(k_endog=seen, k_states=len(t), k_posdef=r.shape[1])
    ssm.bind(np.asfortranarray(data.T))
    ssm["design"] = np.eye(len(t))[lagged:]
    ssm["transition"], ssm["selection"], ssm["state_cov"] = t, r, np.eye(r.shape[1])
    ssm.initialize_known(np.zeros(len(t)), ergodic(np, t, r))
    return ssm.loglike()


def plain_likelihood(cut: Cut, data: Any) -> Any:
    """The same in JAX, written down as in a textbook."""
    t, r, lagged, _ = cut

    def step(state: tuple, y: Any) -> tuple:
        mean, cov = state
        e, f = y - mean[lagged:], cov[lagged:, lagged:]
        root = jax.scipy.linalg.cho_factor(f, lower=True)
        gain = jax.scipy.linalg.cho_solve(root, cov[lagged:]).T
        log_det = 2 * jnp.sum(jnp.log(jnp.diag(root[0])))
        density = e @ jax.scipy.linalg.cho_solve(root, e) + log_det + len(y) * jnp.log(2 * jnp.pi)
        cov = t @ (cov - gain @ cov[lagged:]) @ t.T + r @ r.T
        return (t @ (mean + gain @ e), (cov + cov.T) / 2), -density / 2

    start = jnp.zeros(len(t)), ergodic(jnp, t, r)
    return jnp.sum(jax.lax.scan(step, start, data)[1])


def ergodic(xp: ModuleType, t: Any, r: Any, doublings: int = 16) -> Any:
    """V = T V Tᵀ + R Rᵀ, the sum of Tʲ R Rᵀ Tʲᵀ."""
    v = r @ r.T
    for _ in range(doublings):
        v, t = v + t @ v @ t.T, t @ t
    return xp.asarray(v)


# --- The reference: complex steps, and forward derivatives by the dense system -------------------


class Exact(NamedTuple):
    """X and R, and their derivatives in each parameter, along the first axis."""

    x: np.ndarray
    r: np.ndarray
    dx: np.ndarray
    dr: np.ndarray


def linear_matrices(economy: Any, p: Any) -> Matrices:
    """A, B, C and D from the residuals at unit vectors, of complex parameters too."""
    n, k = len(economy.VARIABLES), len(economy.SHOCKS)
    units = np.vstack([np.zeros(3 * n + k), np.eye(3 * n + k)])
    lead, now, lag, shock = np.split(units, [n, 2 * n, 3 * n], axis=1)
    record = lambda names, rows: Record(tuple(names), tuple(rows.T))
    variables = partial(record, economy.VARIABLES)
    shocks = record(economy.SHOCKS, shock)
    out = economy.equations(variables(lag), variables(now), variables(lead), shocks, p)
    rows = np.stack([np.broadcast_to(f, len(units)) for f in out.values()])
    return tuple(np.split(rows[:, 1:] - rows[:, :1], [n, 2 * n, 3 * n], axis=1))


def exact(economy: Any, params: Callable, p: np.ndarray) -> Exact:
    """The solution refined in extended precision, and the derivatives of A, B, C, D through it."""
    step = 1e-30
    a, b, c, d = (m.real for m in linear_matrices(economy, params(*p)))
    n = len(a)
    x, _ = qz(a, b, c, d)
    factors = sl.lu_factor(np.kron(np.eye(n), a @ x + b) + np.kron(x.T, a))
    along = lambda f: sl.lu_solve(factors, f.ravel(order="F")).reshape(n, n, order="F")
    long = np.longdouble
    for _ in range(3):
        fine = a.astype(long) @ x @ x + b.astype(long) @ x + c
        x = x.astype(long) - along(fine.astype(float))
    x, g = x.astype(float), a @ x.astype(float) + b
    r = -np.linalg.solve(g, d)
    dx, dr = [], []
    for unit in np.eye(len(p)):
        shifted = linear_matrices(economy, params(*(p + 1j * step * unit)))
        da, db, dc, dd = (m.imag / step for m in shifted)
        dx.append(-along((da @ x + db) @ x + dc))
        dr.append(-np.linalg.solve(g, (da @ x + a @ dx[-1] + db) @ r + dd))
    return Exact(x, r, np.array(dx), np.array(dr))


def exact_likelihood(cuts: list[Cut], data: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """The value, and the gradient by complex steps: a law and data for each parameter."""
    values = np.array([_complex_likelihood(*both) for both in zip(cuts, data, strict=True)])
    return values[0].real, values.imag / 1e-30


def _complex_likelihood(cut: Cut, data: np.ndarray) -> complex:
    t, r, lagged, seen = cut
    mean, cov, total = np.zeros(len(t), complex), ergodic(np, t, r), 0j
    for y in data:
        e, f = y - mean[lagged:], cov[lagged:, lagged:]
        inverse = np.linalg.inv(f)
        gain = cov[:, lagged:] @ inverse
        sign, log_det = np.linalg.slogdet(f)
        total -= (e @ inverse @ e + log_det + np.log(sign) + seen * np.log(2 * np.pi)) / 2
        mean, cov = t @ (mean + gain @ e), t @ (cov - gain @ cov[lagged:]) @ t.T + r @ r.T
    return total
