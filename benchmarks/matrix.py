"""Functions of matrices and matrix equations, in units of one matrix product of that size.

    taskset -c 0 python benchmarks/matrix.py            all tasks
    taskset -c 0 python benchmarks/matrix.py logm inv   some, beside what was measured of the others

On one core, as here, all contestants have one thread. On two, the threads of XLA and those of
LAPACK wait for each other, and the time of one function varies by a factor of ten.

Each task is a value, a derivative along one direction (with the value), or a gradient (with the
value), at matrices with known eigenvectors or a known solution, so that every error is against the
truth: a derivative's against the derivative, a gradient's by its inner product with a direction.
Peers: JAX by plain differentiation, SciPy (whose derivatives are Fréchet derivatives where it has
them, the block matrix or a further equation where it does not), and PyTorch where it is installed.
"""

import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matrix_cases as at
import matrix_peers as peer
import numpy as np
import scipy.linalg as sl
from harness import Entry, Row, against_peers, measured, race, report

from dini import linalg

SHAPES = ((10, 10), (50, 50), (200, 200), (500, 500), (256, 10, 10))
MODES = ("value", "jvp", "gradient")
SECONDS = 0.4  # for the rounds of one task
OF_BLOCKS, LIMIT = ("cosm", "logm", "power 0.3"), 50  # SciPy's derivatives: minutes beyond it


class Task(NamedTuple):
    """A function, its truth, and the functions of its peers by mode: (a, e) or (a, u) to arrays."""

    f: Callable
    case: Callable[[np.random.Generator, tuple], at.Case]
    peers: dict[str, dict[str, Callable]]


def tasks() -> dict[str, Task]:
    expm_peers = {"JAX": peer.differentiated(jax.scipy.linalg.expm), "SciPy": peer.frechet()}
    if importlib.util.find_spec("torch"):
        expm_peers["PyTorch"] = peer.torch_exponential()
    jax_sqrtm = jax.jit(jnp.vectorize(jax.scipy.linalg.sqrtm, signature=peer.MATRIX))
    exponential = np.exp, np.exp
    cosine = np.cos, lambda x: -np.sin(x)
    log = np.log, lambda x: 1 / x
    root = np.sqrt, lambda x: 0.5 / np.sqrt(x)
    power = lambda x: x**0.3, lambda x: 0.3 * x**-0.7
    inverse = lambda x: 1 / x, lambda x: -1 / x**2
    scipy_power = peer.each(lambda a: sl.fractional_matrix_power(a, 0.3), peer.MATRIX)
    sylvester = lambda x, a, b: a @ x + x @ b
    lyapunov = lambda x, a: a @ x + x @ at.transposed(a)
    stein = lambda x, a: x - a @ x @ at.transposed(a)
    return {
        "expm": Task(linalg.expm, at.spectral(*exponential, -2.0, 2.0), expm_peers),
        "expm, large": Task(linalg.expm, at.spectral(*exponential, -30.0, 3.0), expm_peers),
        "expm times B": Task(
            linalg.expm_multiply,
            at.acting(at.spectral(*exponential, -2.0, 2.0), 4),
            {
                "SciPy": peer.action(),
                "JAX": peer.differentiated(lambda a, b: jax.scipy.linalg.expm(a) @ b),
            },
        ),
        "logm times b": Task(
            lambda a, b: linalg.funm_multiply(a, b, linalg.logm, depth=min(a.shape[-1], 40)),
            at.acting(at.spectral(*log, 0.5, 4.0, symmetric=True), 1),
            {"SciPy": {"value": lambda a, b: sl.logm(a) @ b}},
        ),
        "cosm": Task(
            linalg.cosm, at.spectral(*cosine, -4.0, 4.0), {"SciPy": peer.of_block(sl.cosm)}
        ),
        "inv": Task(
            linalg.inv,
            at.spectral(*inverse, 0.5, 4.0),
            {"JAX": peer.differentiated(jnp.linalg.inv), "SciPy": {"value": sl.inv}},
        ),
        "logm": Task(linalg.logm, at.spectral(*log, 0.1, 4.0), {"SciPy": peer.of_block(sl.logm)}),
        "power 0.3": Task(
            lambda a: linalg.fractional_matrix_power(a, 0.3),
            at.spectral(*power, 0.1, 4.0),
            {"SciPy": peer.of_block(scipy_power)},
        ),
        "sqrtm": Task(
            linalg.sqrtm,
            at.spectral(*root, 0.1, 4.0),
            {
                "SciPy": peer.root(sl.sqrtm),
                "JAX": {"value": jax_sqrtm},
            },
        ),
        "spectral exp": Task(
            lambda a: linalg.spectral_function(a, "exp"),
            at.spectral(*exponential, -2.0, 2.0, symmetric=True),
            {
                "JAX, eigh": peer.differentiated(peer.exp_by_eigh),
                "JAX, expm": peer.differentiated(jax.scipy.linalg.expm),
            },
        ),
        "sylvester": Task(
            linalg.solve_sylvester,
            at.solved(sylvester, at.sylvester_matrices),
            {"SciPy": peer.sylvester()},
        ),
        "lyapunov": Task(
            linalg.solve_continuous_lyapunov,
            at.solved(lyapunov, at.lyapunov_matrices),
            {"SciPy": peer.lyapunov()},
        ),
        "stein": Task(
            linalg.solve_discrete_lyapunov,
            at.solved(stein, at.stein_matrices),
            {"SciPy": peer.stein()},
        ),
        "generalized": Task(
            linalg.solve_generalized_sylvester,
            at.solved(lambda x, a, b, c, d: a @ x @ b + c @ x @ d, at.generalized_matrices),
            {},
        ),
        "quadratic": Task(
            linalg.solve_quadratic,
            at.solved(lambda x, a, b: -(a @ x @ x + b @ x), at.quadratic_matrices),
            {},
        ),
        "riccati": Task(
            peer.in_order(linalg.solve_continuous_are),
            at.solved(at.continuous_riccati, at.riccati_matrices),
            {
                "SciPy": peer.closed_loop(
                    peer.riccati(sl.solve_continuous_are),
                    peer.continuous_loop,
                    lambda a, q: peer.continuous_lyapunov(a, -q),
                )
            },
        ),
        "discrete riccati": Task(
            peer.in_order(linalg.solve_discrete_are),
            at.solved(at.discrete_riccati, at.discrete_riccati_matrices),
            {
                "SciPy": peer.closed_loop(
                    peer.riccati(sl.solve_discrete_are), peer.discrete_loop, peer.discrete_lyapunov
                )
            },
        ),
    }


# --- The race ------------------------------------------------------------------------------------


def truth(case: at.Case, mode: str) -> Any:
    """What an answer must be; of a gradient, its inner product with the direction."""
    if mode == "value":
        return case.value
    if mode == "jvp":
        return case.value, case.along
    return case.value, np.sum(case.u * case.along, axis=(-2, -1))


def paired(answer: tuple, case: at.Case) -> tuple:
    """A gradient's inner product with the direction in its place."""
    out, gradient = answer
    pairs = zip(gradient, case.e, strict=True)
    return out, sum(np.sum(np.asarray(g) * d, axis=(-2, -1)) for g, d in pairs)


def run(name: str, task: Task, shape: tuple, rng: np.random.Generator) -> list[Row]:
    """All modes of one function at one size."""
    case, rows, n = task.case(rng, shape), [], shape[-1]
    product = functools.partial(jax.jit(jnp.matmul), *[jnp.asarray(case.a[0])] * 2)
    label = name if len(shape) == 2 else f"{name}, {shape[0]} of them"
    contestants = {"dini": peer.modes_of(task.f), **task.peers}
    inputs = {"value": case.a, "jvp": (case.a, case.e), "gradient": (case.a, case.u)}
    for mode in MODES:
        args = inputs[mode]
        read = functools.partial(paired, case=case) if mode == "gradient" else lambda x: x
        entries = [Entry("product", product, None)]
        for who, modes in contestants.items():
            if mode in modes and not (
                who == "SciPy" and name in OF_BLOCKS and mode != "value" and n > LIMIT
            ):
                here = jax.tree.map(jnp.asarray, args) if who.startswith(("dini", "JAX")) else args
                run_one = functools.partial(modes[mode], *here)
                entries.append(Entry(who, run_one, read))
        for entry in entries:  # once to compile
            jax.block_until_ready(entry.run())
        start = time.perf_counter()
        for entry in entries:
            jax.block_until_ready(entry.run())
        rounds = int(np.clip(SECONDS / (time.perf_counter() - start), 3, 101))
        rows += race(f"{label}: {mode}", n, entries, truth(case, mode), rounds)
        told = [
            f"{row.name} {row.ratio:.1f} ({row.error:.0e})" for row in rows[-len(entries) + 1 :]
        ]
        print(f"{label}: {mode}, n = {n}", *told, sep="   ", flush=True)
    return rows


def summary(rows: list[Row]) -> None:
    """Ours against the best peer of each cell."""
    ratios = against_peers(rows)
    print(
        f"\ngeometric mean of {len(ratios)} cells: {statistics.geometric_mean(ratios.values()):.2f}"
    )
    for (task, size), ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        if ratio > 1.1:
            print(f"  {ratio:6.2f}  {task}, n = {size}")


def main(names: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    rng, rows = np.random.default_rng(0), {}
    for name, task in tasks().items():
        if not names or name in names:
            rows[name] = [row for shape in SHAPES for row in run(name, task, shape, rng)]
        else:
            ours = lambda row, name=name: row.task.split(":")[0] in (name, f"{name}, 256 of them")
            rows[name] = list(filter(ours, measured("matrix")))
    together = [row for some in rows.values() for row in some]
    report("matrix", together)
    summary(together)


if __name__ == "__main__":
    main(sys.argv[1:])
