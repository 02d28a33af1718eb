"""Conditions of optimality as equations: what the result of an optimiser satisfies."""

from dini.conditions._condition import Condition as Condition
from dini.conditions._gradient_map import (
    mirror_descent as mirror_descent,
    projected_gradient as projected_gradient,
    proximal_gradient as proximal_gradient,
)
from dini.conditions._kkt import kkt as kkt
from dini.conditions._stationary import stationary as stationary
