"""Every decorator in every mode, at every order, under every transformation.

The oracle is the same solution in closed form, differentiated by JAX.
"""

import pytest

from tests.support.battery import (
    MODES,
    check_all_modes,
    check_derivative_in_guess_is_zero,
    check_mode,
    forward_over_reverse,
    hessian_vector_product_of_checkpoint,
    reverse_over_forward_mapped,
)
from tests.support.marks import case
from tests.support.scenarios import SCENARIOS

# What each scenario is put through: the second order in both nestings at least, and one scenario of
# each kind of equation every mode, for the decorators share their rule. Quick are every mode of the
# cheapest, and a Hessian-vector product (a value and a gradient come along) of three more.
_CHEAPEST = "custom_root, vector"
_EVERY_MODE = (
    "implicit_root, not holomorphic",
    "implicit_fixed_point, tree",
    "custom_minimum, tree",
    "custom_least_squares, curved",
    _CHEAPEST,
)
_QUICK = (
    "implicit_fixed_point, tree",
    "custom_fixed_point",
    "custom_root, tree, on the host",
)


def _pairs():
    second_order = (forward_over_reverse, reverse_over_forward_mapped)
    product = hessian_vector_product_of_checkpoint
    for scenario in SCENARIOS:
        for mode in MODES if scenario.name in _EVERY_MODE else (*second_order, product):
            quick = scenario.name == _CHEAPEST or (mode is product and scenario.name in _QUICK)
            yield case(scenario, mode, quick=quick, id=f"{scenario}-{mode.__name__}")


@pytest.mark.parametrize(("scenario", "mode"), list(_pairs()))
def test_solution_agrees_with_the_closed_form(scenario, mode):
    check_mode(scenario, mode)


def _named(name):
    return next(s for s in SCENARIOS if s.name == name)


@pytest.mark.slow
def test_solution_called_eagerly_agrees_with_the_closed_form():
    check_all_modes(_named(_CHEAPEST), compiled=False)


@pytest.mark.parametrize(
    "name", ["implicit_root, scalar", "custom_fixed_point", "custom_minimum, tree"]
)
def test_derivative_in_the_guess_is_zero(name):
    check_derivative_in_guess_is_zero(_named(name))
