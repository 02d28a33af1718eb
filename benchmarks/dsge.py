"""The model of Smets and Wouters (2007): its solution, its likelihood, and their gradients.

    OPENBLAS_NUM_THREADS=1 python benchmarks/dsge.py

Forty equations, 36 parameters, seven series of 184 quarters: those published, where they lie in
../shared/reference/data, or else simulated. Peers: the QZ decomposition of SciPy, with differences
and with the adjoint of a dense Kronecker product; cyclic reduction and a textbook's filter in JAX,
plainly differentiated; statsmodels' filter; and gEconpy, if installed, for the solution (cyclic
reduction with an adjoint of its own, compiled by Numba). All start from the same parameters; QZ and
gEconpy are handed matrices, and hand back cotangents, through jitted functions of JAX. Errors are
against extended precision, forward derivatives by the dense system, and complex steps. A gradient's
time includes the value; ratios are to the value alone.
"""

import csv
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import dsge_peers as peer
import jax
import jax.numpy as jnp
import numpy as np
from harness import Entry, Row, race, report

from dini.economics import Model

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))
import smets_wouters_model as economy  # noqa: E402  the example lies beside

DATA = ROOT.parent / "shared/reference/data/usmodel.csv"
QUARTERS, DRAWS = 184, 64
SEEN = [economy.VARIABLES.index(name) for name in economy.OBSERVABLES]


def published_or_simulated(model: Model, p: tuple) -> tuple[np.ndarray, str]:
    """Levels of the seven observables, and where they come from."""
    if DATA.exists():
        with DATA.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[-QUARTERS:]
        table = [[float(row[name]) for name in economy.OBSERVABLES] for row in rows]
        return np.array(table), "published data, 1959Q1 to 2004Q4"
    shocks = np.random.default_rng(0).standard_normal((QUARTERS, len(economy.SHOCKS)))
    return np.asarray(model.first_order(p).simulate(shocks, levels=True))[:, SEEN], "simulated data"


# The cut that filters take: variables with a lag, then what is observed
def cut_of(x, r):
    kept = np.array([*LAGGED, *SEEN])
    return peer.Cut(x[kept][:, kept], r[kept], len(LAGGED), len(SEEN))


def rest(p):
    """The observables' steady state, in numbers of any kind."""
    levels = economy.steady_state(p)
    return [levels[name] for name in economy.OBSERVABLES]


MODEL = Model(
    economy.equations, economy.VARIABLES, economy.SHOCKS, steady_state=economy.steady_state
)
MODE = np.array(economy.Params())
LAGGED = []  # filled by main, from the model


def told(task: str, *args: Any) -> list[Row]:
    """The race, and how long it took."""
    start = time.perf_counter()
    rows = race(task, len(economy.VARIABLES), *args)
    print(f"{task}: {time.perf_counter() - start:.0f} s", flush=True)
    return rows


def references(data: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple:
    """The law; ⟨U, X⟩ + ⟨V, R⟩ and the likelihood, with their gradients."""
    x, r, dx, dr = peer.exact(economy, economy.Params, MODE)
    slopes = np.einsum("pij,ij->p", dx, u) + np.einsum("pij,ij->p", dr, v)
    step = 1e-30j
    cuts = [
        cut_of(x + step * along_x, r + step * along_r)
        for along_x, along_r in zip(dx, dr, strict=True)
    ]
    moved = [economy.Params(*(MODE + step * unit)) for unit in np.eye(len(MODE))]
    seen = [data - np.array(rest(p)) for p in moved]
    weighted = np.sum(u * x) + np.sum(v * r)
    return (x, r), (weighted, slopes), peer.exact_likelihood(cuts, seen)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    params = lambda p: economy.Params(*p)
    n, k = len(economy.VARIABLES), len(economy.SHOCKS)
    LAGGED.extend(MODEL.jacobians(params(MODE)).states)
    data, source = published_or_simulated(MODEL, params(MODE))
    rng = np.random.default_rng(1)
    u, v = rng.standard_normal((n, n)), rng.standard_normal((n, k))
    draws = MODE * np.exp(0.005 * rng.standard_normal((DRAWS, len(MODE))))

    # In JAX, jitted: matrices and their pullback; ours; and what is differentiated plainly
    @jax.jit
    def matrices(p):
        levels = economy.steady_state(params(p))
        record = {name: jnp.asarray(levels[name], float) for name in economy.VARIABLES}
        out = MODEL.equations.linearise(jnp.stack(list(record.values())), params(p))
        return out.lead, out.now, out.lag, out.shock

    pullback = jax.jit(lambda p, bars: jax.vjp(matrices, p)[1](bars)[0])
    observed = jax.jit(lambda p: data - jnp.stack(rest(params(p))))

    def ours(p):
        law = MODEL.first_order(params(p), throw=False)
        return law.transition, law.impact

    def our_likelihood(p):
        options = {"observables": economy.OBSERVABLES, "throw": False}
        return MODEL.log_likelihood(params(p), data, **options)

    plain = lambda p: peer.cyclic_reduction(*matrices(p))
    plain_likelihood = lambda p: peer.plain_likelihood(cut_of(*plain(p)), observed(p))
    weighted = lambda law: jnp.sum(u * law[0]) + jnp.sum(v * law[1])
    both = lambda solve: jax.jit(jax.value_and_grad(lambda p: weighted(solve(p))))

    # By SciPy, NumPy and gEconpy
    at = lambda p: tuple(map(np.asarray, matrices(p)))
    by_qz = lambda p: peer.qz(*at(p))
    of_law = lambda law: np.sum(u * law[0]) + np.sum(v * law[1])
    by_statsmodels = lambda p: peer.statsmodels_likelihood(
        cut_of(*by_qz(p)), np.asarray(observed(p))
    )

    def adjoint(solve, p):
        law, bars = solve(at(p), u, v)
        return of_law(law), np.asarray(pullback(p, tuple(bars)))

    law, slopes, likelihood = references(data, u, v)
    of_draws = [by_qz(p) for p in draws]
    of_draws = tuple(np.stack(parts) for parts in zip(*of_draws, strict=True))

    gecon = peer.geconpy()
    solve, solve_plainly = jax.jit(ours), jax.jit(plain)
    value, value_plainly = jax.jit(our_likelihood), jax.jit(plain_likelihood)
    gradient, batch = both(ours), jax.jit(jax.vmap(ours))
    on = lambda f, *more: partial(f, *more, MODE)
    by_differences = lambda f, central: partial(peer.differences, f, MODE, central)
    scalar = lambda p: of_law(by_qz(p))

    rows = told(
        "solution",
        [
            Entry("dini", on(solve)),
            Entry("JAX, cyclic reduction", on(solve_plainly)),
            Entry("SciPy, QZ", on(by_qz)),
            *([Entry("gEconpy", lambda: gecon[0](*at(MODE)))] if gecon else []),
        ],
        law,
        31,
    )
    rows += told(
        "gradient",
        [
            Entry("dini, the value alone", on(solve), None),
            Entry("dini", on(gradient)),
            Entry("JAX, through cyclic reduction", on(both(plain))),
            *([Entry("gEconpy", on(adjoint, gecon[1]))] if gecon else []),
        ],
        slopes,
        31,
    )
    rows += told(
        "gradient, slowly",
        [
            Entry("dini, the value alone", on(solve), None),
            Entry("dini", on(gradient)),
            Entry("QZ, the value alone", on(by_qz), None),
            Entry("QZ, Kronecker adjoint", on(adjoint, peer.kronecker_adjoint)),
            Entry("QZ, forward differences", by_differences(scalar, False)),
            Entry("QZ, central differences", by_differences(scalar, True)),
        ],
        slopes,
        11,
    )
    ours_alone, ours_both, qz_alone, qz_both = (row.median for row in rows[-6:-2])
    added = ours_both - ours_alone, qz_both - qz_alone
    print("what the gradient adds: {:.3f} ms, and by Kronecker {:.1f} ms".format(*added))
    rows += told(
        "likelihood",
        [
            Entry("dini", on(value)),
            Entry("JAX, plain", on(value_plainly)),
            Entry("QZ, statsmodels", on(by_statsmodels)),
        ],
        likelihood[0],
        31,
    )
    rows += told(
        "likelihood, gradient",
        [
            Entry("dini, the value alone", on(value), None),
            Entry("dini", on(jax.jit(jax.value_and_grad(our_likelihood)))),
            Entry("JAX, plain", on(jax.jit(jax.value_and_grad(plain_likelihood)))),
            Entry("QZ, statsmodels, differences", by_differences(by_statsmodels, True)),
        ],
        likelihood,
        3,
    )
    rows += told(
        f"{DRAWS} draws",
        [
            Entry("dini, one of them", on(solve), None),
            Entry("dini", partial(batch, draws)),
            Entry("dini, with gradients", partial(jax.jit(jax.vmap(both(ours))), draws), None),
            Entry("JAX, cyclic reduction", partial(jax.jit(jax.vmap(plain)), draws)),
            Entry("dini, one after another", lambda: [solve(p) for p in draws], None),
            Entry("SciPy, QZ, one after another", lambda: [by_qz(p) for p in draws], None),
        ],
        of_draws,
        3,
    )
    print(source)
    report("dsge", rows)


if __name__ == "__main__":
    main()
