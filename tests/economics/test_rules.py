"""Steady state, law and likelihood of every reference economy, through all checks of a rule."""

import jax.numpy as jnp
import numpy as np
import pytest

from dini.testing import check_rule
from tests.support.economies import (
    asset_pricing,
    brock_mirman,
    new_keynesian,
    rbc,
    small_open_economy,
    smets_wouters,
)
from tests.support.models import model, name_of

pytestmark = pytest.mark.slow

# What is observed of each economy, and the parameter that leads to a unit root.
OBSERVED = {
    brock_mirman: (("c", "k"), "rho"),
    rbc: (("c", "q"), "rho"),
    new_keynesian: (("y", "pi", "i"), "rho_v"),
    asset_pricing: (("y",), "rho"),
    small_open_economy: (("gdp", "c", "tb"), "rho"),
    smets_wouters: (smets_wouters.OBSERVABLES, "crhob"),
}
PERIODS = 16


def params(economy, near_unit_root):
    """The calibration as one vector, whose parts are of very different size."""
    change = {OBSERVED[economy][1]: 0.9999} if near_unit_root else {}
    return jnp.array(economy.Params(**change))


def steady_state(economy, _):
    return lambda p: model(economy).steady_state(economy.Params(*p), throw=False).vector


def law(economy, _):
    def matrices(p):
        found = model(economy).first_order(economy.Params(*p), throw=False)
        return found.transition, found.impact

    return matrices


def likelihood(economy, at):
    """Of a path with errors of measurement as large as a tenth of it, and a number missing."""
    names = OBSERVED[economy][0]
    m, random = model(economy), np.random.default_rng(0)
    shocks = random.normal(size=(PERIODS, len(economy.SHOCKS)))
    path = np.array(m.first_order(economy.Params(*at)).simulate(shocks, levels=True))
    y = path[:, [economy.VARIABLES.index(name) for name in names]]
    sd = 0.1 * y.std(axis=0)
    y = y + sd * random.normal(size=y.shape)
    y[3, 0] = np.nan
    options = {"measurement_cov": sd**2, "throw": False}
    return lambda p: m.log_likelihood(economy.Params(*p), y, names, **options)


@pytest.mark.parametrize("near_unit_root", [False, True], ids=["calibration", "near a unit root"])
@pytest.mark.parametrize("of", [steady_state, law, likelihood], ids=lambda of: of.__name__)
@pytest.mark.parametrize("economy", OBSERVED, ids=name_of)
def test_rule(economy, of, near_unit_root):
    at = params(economy, near_unit_root)
    order = 2 if of is steady_state else 1
    check_rule(of(economy, at), at, order=order, transforms=("jit",))
