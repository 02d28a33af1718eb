"""What moments tell apart: where theory says, and beside differences of closed forms."""

import dataclasses
import functools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini.economics import Model, identification
from tests.support.compare import assert_close
from tests.support.economies import new_keynesian, smets_wouters

SEEN = ["y", "pi", "i"]
P = {
    "slope": {"alpha": 1 / 3, "theta": 2 / 3, "eps": 6.0, "phi": 1.0},
    "phi_pi": 1.5,
    "phi_y": 0.125,
    "rho": np.array([0.5, 0.8]),
    "s1": 0.5,
    "s2": 2.0,
    "mean": 0.4,
    "idle": 0.0,
    "name": "a",
}
NAMES = "idle mean phi_pi phi_y rho[0] rho[1] s1 s2 slope.alpha slope.eps slope.phi slope.theta"
NAMES = NAMES.split()
VALUES = np.array([0.0, 0.4, 1.5, 0.125, 0.5, 0.8, 0.5, 2.0, 1 / 3, 6.0, 1.0, 2 / 3])


def textbook(p):
    kappa = new_keynesian.slope(**p["slope"])
    rest = {"phi_pi": p["phi_pi"], "phi_y": p["phi_y"]}
    return new_keynesian.Params(kappa=kappa, rho_r=p["rho"][0], rho_v=p["rho"][1], **rest)


def equations(lag, now, lead, shock, p):
    """Four parameters in κ alone, a product of two scales, and the mean of what is seen of i."""
    shock = SimpleNamespace(e_r=shock.e_r, e_v=p["s1"] * p["s2"] * shock.e_v)
    observed = {"seen": now.i + p["mean"] - now.seen_i}
    return new_keynesian.equations(lag, now, lead, shock, textbook(p)) | observed


MODEL = Model(
    equations,
    [*new_keynesian.VARIABLES, "seen_i"],
    new_keynesian.SHOCKS,
    steady_state=lambda p: new_keynesian.steady_state(p) | {"seen_i": p["mean"]},
)


@functools.cache
def found(lags=10):
    return identification(MODEL, P, ["y", "pi", "seen_i"], lags)


def moments(vector, lags=10):
    """By the closed form and SciPy, in the order documented."""
    _, mean, phi_pi, phi_y, r0, r1, s1, s2, a, e, f, t = vector
    slope = {"alpha": a, "theta": t, "eps": e, "phi": f}
    x, r = new_keynesian.law(textbook({"slope": slope, "phi_pi": phi_pi, "phi_y": phi_y,
                                       "rho": (r0, r1)}))  # fmt: skip
    x, r = np.asarray(x), np.asarray(r) * np.array([1.0, s1 * s2])
    v, at = scipy.linalg.solve_discrete_lyapunov(x, r @ r.T), slice(0, 3)
    sd = np.sqrt(np.diag(v))[at]
    covariances = [(np.linalg.matrix_power(x, lag) @ v)[at, at] for lag in range(lags + 1)]
    lower = covariances[0][np.tril_indices(3)]
    later = [c.ravel() for c in covariances[1:]]
    units = np.outer(sd, sd)
    scale = np.concatenate([sd, units[np.tril_indices(3)], *[units.ravel()] * lags])
    return np.concatenate([[0, 0, mean], lower, *later]), scale


@functools.cache
def expected():
    columns = []
    for j in range(len(VALUES)):
        at = lambda h, j=j: moments(VALUES + h * (np.arange(len(VALUES)) == j))[0]
        h = 2e-4
        columns.append((8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h))
    return np.stack(columns, 1) / moments(VALUES)[1][:, None]


def test_jacobian_is_that_of_the_closed_form():
    assert found().parameters == tuple(NAMES)
    assert_close(found().values, VALUES, rtol=1e-15)
    assert_close(found().jacobian, expected(), rtol=1e-8)


def test_rank_is_what_theory_says():
    """Of twelve: one product, one slope of four, one without effect, and the rule below."""
    assert found().solution_rank == 12 - 1 - 3 - 1
    assert found().rank == found().solution_rank - 1
    assert not found().identified
    scaled = expected() / np.maximum(np.linalg.norm(expected(), axis=0), 1e-8)
    assert np.linalg.matrix_rank(scaled, tol=1e-7) == 6


def test_directions_are_those_in_which_nothing_changes():
    directions, largest = found().directions, np.max(np.abs(expected()))
    assert len(directions) == 6
    for weights in directions:
        assert 1.0 in weights.values()
        step = np.array([weights.get(name, 0.0) for name in NAMES])
        assert np.max(np.abs(expected() @ step)) < 1e-7 * largest
    assert {"idle": 1.0} in directions
    assert sum(all(name.startswith("slope.") for name in d) for d in directions) == 3
    (pair,) = (d for d in directions if set(d) == {"s1", "s2"})
    assert_close(pair["s1"] / pair["s2"], -0.5 / 2.0, rtol=1e-9)
    hidden_law_too = [frozenset(d) for d in found().solution_directions]
    assert len(hidden_law_too) == 5
    assert frozenset(["s1", "s2"]) in hidden_law_too


def test_policy_rule_and_its_shocks_are_told_apart_by_the_law_alone():
    """y, π and i depend on the rule by D(ρ) = (1 − βρ)(σ(1 − ρ) + φ_y) + κ(φ_π − ρ) alone.

    So D(ρ_r), and D(ρ_v) over the scale of v, is all that can be known of three numbers.
    """
    (rule,) = (d for d in found().directions if "phi_pi" in d)
    p = textbook(P)
    assert set(rule) - {"s1", "s2"} == {"phi_pi", "phi_y"}
    assert_close(rule["phi_y"] / rule["phi_pi"], -p.kappa / (1 - p.beta * p.rho_r), rtol=1e-9)
    by_y = 1 - p.beta * p.rho_v
    size = by_y * (p.sigma * (1 - p.rho_v) + p.phi_y) + p.kappa * (p.phi_pi - p.rho_v)
    scale = rule.get("s1", 0.0) / P["s1"] + rule.get("s2", 0.0) / P["s2"]
    assert_close(scale, (by_y * rule["phi_y"] + p.kappa * rule["phi_pi"]) / size, rtol=1e-9)


def test_strength_and_collinearity_are_those_of_least_squares():
    j = found().jacobian
    for i, name in enumerate(NAMES[1:], 1):
        size = np.linalg.norm(j[:, i])
        units = j / np.maximum(np.linalg.norm(j, axis=0), 1e-8)
        column, others = units[:, i], np.delete(units, i, axis=1)
        fit = others @ np.linalg.lstsq(others, column, rcond=1e-10)[0]
        assert_close(found().strength[name], size, rtol=1e-12)
        assert abs(found().collinearity[name] - np.linalg.norm(fit)) < 1e-10
        other, correlation = found().closest[name]
        if other:
            assert_close(correlation, column @ units[:, NAMES.index(other)], rtol=1e-12)
        assert abs(correlation) > np.max(np.abs(others.T @ column)) - 1e-12
    assert found().collinearity["s1"] == pytest.approx(1, abs=1e-12)
    assert found().collinearity["rho[0]"] < 0.99
    assert found().strength["idle"] == 0
    assert np.isnan(found().collinearity["idle"])
    assert found().closest["idle"] == ("", 0.0)


@pytest.mark.slow
def test_few_moments_leave_most_parameters_in_the_dark():
    few = identification(MODEL, P, ["pi"], 0, names=["phi_pi", "phi_y", "rho", "s1"])
    assert few.parameters == ("phi_pi", "phi_y", "rho[0]", "rho[1]", "s1")
    assert few.rank == 1 < few.solution_rank == 5
    assert len(few.directions) == 4
    assert not few.solution_directions
    assert len(few.singular_values) == 2


def test_table_names_what_is_not_identified():
    lines = str(found()).splitlines()
    assert "rank             6 of 12: not identified; that of the law is 7" in str(found())
    assert any("s1" in line and "not identified" in line for line in lines)
    assert not any("rho" in line and "not identified" in line for line in lines)
    assert any(line.endswith("idle +1 (without effect)") for line in lines)
    told = str(dataclasses.replace(found(), rank=12, directions=()))
    assert "12 of 12: identified" in told
    assert "directions" not in told


def test_identification_refuses_what_it_cannot_answer():
    with pytest.raises(ValueError, match="among the observables, there is no 'pie'"):
        identification(MODEL, P, ["pie"])
    with pytest.raises(ValueError, match=r"among the parameters, there is no 'slope\.beta'"):
        identification(MODEL, P, ["pi"], names=["slope.beta"])
    with pytest.raises(ValueError, match="a sequence of observables"):
        identification(MODEL, P, "pi")
    with pytest.raises(ValueError, match="lags of 0 or more"):
        identification(MODEL, P, ["pi"], -1)


@pytest.mark.slow
def test_identification_asks_for_a_stable_law():
    with pytest.raises(RuntimeError, match="indeterminate"):
        identification(MODEL, P | {"phi_pi": 0.5, "phi_y": 0.0}, ["y", "pi", "seen_i"])


@pytest.mark.slow
def test_more_parameters_than_moments_are_told_from_their_sum():
    """Backwards then, as there are fewer numbers to tell than parameters."""
    scale = lambda p: jnp.sum(p["weights"]) + jnp.sqrt(p["root"])
    one = lambda lag, now, lead, shock, p: [p["rho"] * lag.z + scale(p) * shock.e - now.z]
    model = Model(one, ["z"], ["e"], steady_state={"z": 0.0})
    p = {"rho": 0.5, "root": 0.0, "weights": jnp.linspace(0.1, 1, 30)}
    some = identification(model, p, ["z"], 2, names=["rho", "weights"])
    assert some.rank == some.solution_rank == 2
    assert len(some.directions) == 29
    assert all(len(d) == 2 and sum(d.values()) == pytest.approx(0) for d in some.directions)
    assert some.collinearity["rho"] < 1 == pytest.approx(some.collinearity["weights[3]"])
    with pytest.raises(ValueError, match="no finite derivatives"):
        identification(model, p, ["z"], 2)


WOUTERS = Model(
    smets_wouters.equations,
    smets_wouters.VARIABLES,
    smets_wouters.SHOCKS,
    steady_state=smets_wouters.steady_state,
)


def wouters(p):
    return identification(WOUTERS, p, smets_wouters.OBSERVABLES)


@pytest.mark.slow
def test_smets_wouters_is_identified_at_the_mode():
    mode = wouters(smets_wouters.Params())
    assert mode.identified
    assert mode.solution_rank == 36
    assert mode.singular_values[-1] > 1e-3


@pytest.mark.slow
def test_smets_wouters_mark_ups_without_memory_are_not_identified():
    """ρ = μ = 0 makes white noise of an ARMA(1, 1), as every ρ = μ does."""
    start = wouters(smets_wouters.START)
    assert start.rank == 34
    assert start.singular_values[33] > 1e-3
    assert start.singular_values[34] < 1e-13
    pairs = {frozenset(direction) for direction in start.directions}
    assert pairs == {frozenset(["crhopinf", "cmap"]), frozenset(["crhow", "cmaw"])}
    for direction in start.directions:
        assert_close(list(direction.values()), [1.0, 1.0], rtol=1e-10)
