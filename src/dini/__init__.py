"""Derivatives where JAX's own are wrong, wasteful or impossible."""

from dini import (
    conditions as conditions,
    economics as economics,
    linalg as linalg,
    numeric as numeric,
    testing as testing,
)
from dini.implicit import (
    Diagnosis as Diagnosis,
    Implicit as Implicit,
    Neumann as Neumann,
    custom_fixed_point as custom_fixed_point,
    custom_least_squares as custom_least_squares,
    custom_minimum as custom_minimum,
    custom_root as custom_root,
    diagnose as diagnose,
    implicit_fixed_point as implicit_fixed_point,
    implicit_least_squares as implicit_least_squares,
    implicit_minimum as implicit_minimum,
    implicit_root as implicit_root,
    root_jacobian as root_jacobian,
    root_jvp as root_jvp,
    root_vjp as root_vjp,
)
from dini.rules import (
    custom_rule as custom_rule,
    external as external,
    forward_mode as forward_mode,
    linear_map as linear_map,
    matrix_function as matrix_function,
    symbolic_rule as symbolic_rule,
)
from dini.solvers import (
    Anderson as Anderson,
    Bracketing as Bracketing,
    Broyden as Broyden,
    Continuation as Continuation,
    NewtonKrylov as NewtonKrylov,
    Picard as Picard,
    PowellHybrid as PowellHybrid,
)
