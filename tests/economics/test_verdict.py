"""Verdicts: on both sides of the unit circle, on it, and where there is no solvent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Verdict
from dini.economics._verdict import is_contraction, verdict
from tests.support.compare import all_nan
from tests.support.economies import new_keynesian, rbc
from tests.support.models import model

_random = np.random.default_rng(3)


def turned(a):
    """The same eigenvalues in another basis."""
    q = _random.normal(size=a.shape) + 2 * np.eye(len(a))
    return q @ a @ np.linalg.inv(q)


def jordan(value, n):
    return value * np.eye(n) + np.diag(np.ones(n - 1), 1)


def rotation(radius, angle=1.0):
    return radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def block(a, b):
    zeros = np.zeros((len(a), len(b)))
    return np.block([[a, zeros], [zeros.T, b]])


MATRICES = {
    "one number": lambda rho: np.array([[-rho]]),
    "diagonal": lambda rho: np.diag([rho, 0.3, -0.9 * rho, 0.0]),
    "turned": lambda rho: turned(np.diag([rho, 0.3, -0.9 * rho, 0.0, 1e-9])),
    "complex": lambda rho: turned(block(rotation(rho), rotation(0.5))),
    "opposite": lambda rho: turned(np.diag([rho, -rho, 0.1])),
    "badly scaled": lambda rho: np.array([[rho, 1e8], [0.0, 0.2]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_radius_is_told_from_one(name):
    told = jax.jit(is_contraction)
    for rho in (0.0, 0.5, 0.9999, 0.999999, 1 - 1e-9):
        assert told(jnp.array(MATRICES[name](rho))), rho
    for rho in (1 + 1e-9, 1.000001, 1.0001, 1.5, 1e9):
        assert not told(jnp.array(MATRICES[name](rho))), rho


def test_radius_of_one_is_no_contraction():
    for m in (
        np.eye(3),
        -np.eye(3),
        rotation(1.0, np.pi / 2),
        jordan(1.0, 3),
        np.eye(3)[[1, 2, 0]],
    ):
        assert not is_contraction(jnp.array(m))


def test_radius_of_defective_matrices():
    nilpotent = 1e3 * jordan(0.0, 6)
    for m in (nilpotent, jordan(0.9999, 3), 100 * jordan(0.0, 4) + 0.99 * np.eye(4)):
        assert is_contraction(jnp.array(m))
    assert not is_contraction(jnp.array(jordan(1.0001, 3)))
    assert is_contraction(jnp.zeros((3, 3)))
    assert is_contraction(jnp.zeros((0, 0)))


def pencil(roots):
    """A, B and C with these eigenvalues λ of λ² A + λ B + C, each in an equation of its own."""
    a, b, c = (np.diag([p[i] for p in (np.poly(pair) for pair in roots)]) for i in range(3))
    left, right = (_random.normal(size=a.shape) for _ in range(2))
    return tuple(jnp.array(left @ m @ right) for m in (a, b, c))


NOTHING = jnp.full((2, 2), jnp.nan)


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        ([(0.5, 0.3), (0.2, 2.0)], Verdict.indeterminate),
        ([(0.5, 0.3), (0.2, -0.9999)], Verdict.indeterminate),
        ([(5.0, 3.0), (0.2, 2.0)], Verdict.explosive),
        ([(5.0, 3.0), (-1.5, 1.2)], Verdict.explosive),
        ([(0.5, 0.3), (2.0, 3.0)], Verdict.failed),  # as many as a law needs, and no law
        ([(0.5, 1.0), (0.3, 2.0)], Verdict.failed),  # one on the circle
    ],
)
def test_count_decides_where_there_is_no_solvent(roots, expected):
    assert verdict(NOTHING, NOTHING, pencil(roots)) == expected


def test_count_takes_infinite_eigenvalues_for_unstable():
    zero, one = jnp.zeros((2, 2)), jnp.eye(2)
    stable = jnp.diag(jnp.array([0.5, 0.2]))
    assert verdict(NOTHING, NOTHING, (zero, one, -stable)) == Verdict.failed
    assert verdict(NOTHING, NOTHING, (zero, one, -4 * stable)) == Verdict.explosive
    assert verdict(NOTHING, NOTHING, (zero, zero, zero)) == Verdict.failed
    assert verdict(NOTHING, NOTHING, (NOTHING, one, one)) == Verdict.failed


# --- Of models ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_draw_below_the_taylor_threshold_is_indeterminate():
    """Of some there is no solvent: eigenvalues of one size lie where it should be cut."""
    draw = lambda low, high: jnp.array(_random.uniform(low, high, 200))
    p = new_keynesian.Params(
        beta=draw(0.9, 0.999),
        sigma=draw(0.3, 4.0),
        kappa=draw(0.01, 1.0),
        phi_pi=draw(0.0, 0.6),
        phi_y=draw(0.0, 0.02),
        rho_r=draw(0.0, 0.95),
        rho_v=draw(0.0, 0.95),
    )
    assert jnp.all(p.kappa * (p.phi_pi - 1) + (1 - p.beta) * p.phi_y < 0)
    law = jax.jit(jax.vmap(lambda p: model(new_keynesian).first_order(p, throw=False)))(p)
    assert jnp.all(law.result == Verdict.indeterminate)
    without = jnp.any(jnp.isnan(law.solvent), axis=(1, 2))
    assert 0 < jnp.sum(without) < 200
    assert all_nan((law.transition, law.impact))


@pytest.mark.parametrize(
    ("economy", "change", "expected"),
    [
        (rbc, {"rho": 1.0}, Verdict.explosive),
        (rbc, {"rho": 1.01}, Verdict.explosive),
        (rbc, {"rho": -1.0}, Verdict.explosive),
        (rbc, {"rho": 0.999999}, Verdict.determinate),
        (rbc, {"alpha": -0.5}, Verdict.failed),
        (new_keynesian, {"phi_pi": 0.8}, Verdict.indeterminate),
        (new_keynesian, {"rho_r": 1.0}, Verdict.explosive),
        (new_keynesian, {"rho_r": 0.9999, "rho_v": 0.9999}, Verdict.determinate),
        (new_keynesian, {"phi_pi": 1.0, "phi_y": 0.0}, Verdict.indeterminate),
    ],
)
def test_verdict_of_a_model(economy, change, expected):
    p = economy.Params(**change)
    law = model(economy).first_order(p, throw=False)
    assert law.result == expected
    assert all_nan(law.transition) == (expected is not Verdict.determinate)
    if expected is not Verdict.determinate:
        word = "Euler" if expected is Verdict.failed else str(expected).partition("<")[2][:8]
        with pytest.raises(RuntimeError, match=word):
            model(economy).first_order(p)


def test_error_tells_the_radii():
    with pytest.raises(RuntimeError, match=r"A X \+ B\)⁻¹ A are 0.5 and 1.078471"):
        model(new_keynesian).first_order(new_keynesian.Params(phi_pi=0.8))
    law = model(new_keynesian).first_order(new_keynesian.Params(phi_pi=0.8), throw=False)
    assert float(law.radii[1]) == pytest.approx(1.078471, abs=1e-6)


@pytest.mark.slow
def test_verdict_raises_in_compiled_code_and_in_derivatives():
    m, p = model(new_keynesian), jax.tree.map(jnp.asarray, new_keynesian.Params(phi_pi=0.8))
    y = lambda p: m.first_order(p).impact[0, 0]
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), p)
    for loud, at in ((jax.jit(y), p), (jax.grad(y), p), (jax.vmap(y), batch)):
        with pytest.raises(Exception, match="indeterminate"):
            jax.block_until_ready(loud(at))
