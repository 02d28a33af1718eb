"""How a derivative is registered with JAX."""

from dini.rules._custom_rule import CustomRule as CustomRule, custom_rule as custom_rule
from dini.rules._decorated import DecoratedFunction as DecoratedFunction
from dini.rules._external import external as external
from dini.rules._forward_mode import forward_mode as forward_mode
from dini.rules._linear_map import linear_map as linear_map
from dini.rules._linearise import (
    Derivative as Derivative,
    differentiable as differentiable,
    linearise as linearise,
)
from dini.rules._matrix_function import matrix_function as matrix_function
from dini.rules.symbolic import symbolic_rule as symbolic_rule
