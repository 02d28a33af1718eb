"""The reference economies as models: one for all tests, so that each is compiled once."""

import functools

from dini.economics import Model


@functools.cache
def model(economy):
    """With its closed form of the steady state."""
    return Model(
        economy.equations, economy.VARIABLES, economy.SHOCKS, steady_state=economy.steady_state
    )


@functools.cache
def law(economy):
    """At its calibration."""
    return model(economy).first_order(economy.Params())


def name_of(economy):
    """For the names of tests."""
    return economy.__name__.rpartition(".")[2]
