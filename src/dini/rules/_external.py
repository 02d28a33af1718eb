"""Functions on the host, written in NumPy, SciPy, C or anything else, inside JAX."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_args

from jaxtyping import PyTree

from dini.rules._custom_rule import CustomRule
from dini.rules._decorated import title
from dini.rules._host import Failures, VmapMethod
from dini.rules._host_differences import Method, difference_rules
from dini.rules._host_function import HostFunction
from dini.rules._positions import Positions, bind


class External(CustomRule):
    """A host function with a derivative of its own; usable as a method.

    Attributes:
        fn: the function on JAX arrays.
        host: the function that was decorated.
    """

    _kind = "external"
    _remedy = (
        "defjvp, defvjp or defpartials give it one, derivative= takes differences, and "
        "dini.custom_root makes it the solver of an equation."
    )

    def __init__(self, host: HostFunction, derivative: Method | None) -> None:
        def call(*args: Any, **kwargs: Any) -> PyTree:
            return host(*bind(host.fn, args, kwargs))

        fn: Any = functools.wraps(host.fn, updated=())(call)
        del fn.__wrapped__  # which may hold arrays, no business of JAX's
        with contextlib.suppress(ValueError):
            fn.__signature__ = inspect.signature(host.fn)
        super().__init__(fn, has_residuals=False)
        self.host = host.fn
        self._host = host
        self._derivative: Method | None = derivative
        self._failures = Failures(f"the derivative of {self._name}")

    def _rules_at(self, positions: Positions) -> Mapping[str, Callable]:
        if self._rules or self._derivative is None:
            return self._rules
        # A complex step must see whether what comes back is complex.
        cast = self._derivative != "complex_step"
        evaluate = lambda args, out: self._host.evaluate(args, positions, out, cast=cast)
        return difference_rules(evaluate, positions.names, self._derivative, self._failures)


def external(
    fn: Callable | None = None,
    *,
    like: str | None = None,
    out: Any = None,
    derivative: Method | None = None,
    vmap_method: VmapMethod = "sequential",
    throw: bool = True,
) -> Any:
    """Makes a function of NumPy arrays on the host one of JAX arrays.

    NumPy, SciPy, C or any other code inside `jit`, `vmap`, `scan` and derivatives:

        @dini.external(like="z0")
        def solve(z0, theta, *, method="hybr"):
            return scipy.optimize.root(excess, z0, args=(theta,), method=method).x

    Its derivative comes from a rule, given once and in JAX by `defjvp`, `defvjp` or `defpartials`
    as for [`custom_rule`][dini.custom_rule]; from the equation that it solves, as the solver under
    [`custom_root`][dini.custom_root]; or, if so asked, from differences of its values.

    Arrays and floats reach the function as NumPy arrays of its own, integer arrays too. Every other
    leaf (Python int, bool, str, None, callable) reaches it unchanged. It must be pure: a compiled
    program may leave a call out, or repeat one (`jax.checkpoint` does, and each device of a mesh
    makes its own), but makes no more calls than the value needs; a rule that uses `out` makes none,
    nor do tracing and compiling. It must not call JAX, for whose workers it might wait for ever.

    Args:
        fn: the function; methods too. It may capture NumPy arrays, but no traced values.
        like: the name of the argument that the result is like, in structure, shapes and dtypes.
        out: in its place, a tree of `jax.ShapeDtypeStruct`s for the result, or a function of the
            arguments, structs in the place of arrays, that gives one.
        derivative: differences to take where there is no rule, as in
            [`dini.numeric`][dini.numeric.finite_difference_jvp]: "forward", "central",
            "five_point", "ridders", or "complex_step" where the function takes complex numbers for
            real ones and is analytic. A tangent costs their 1, 2, 4, about 50, or 1 calls, and
            reverse mode as many for each number in the arguments that are differentiated. They have
            no second derivative.
        vmap_method: "sequential" (the default) calls the function for one lane of a batch after
            another. For a function that takes batches itself there is one call with a leading axis,
            in arguments, in the result, and one more for each `vmap`: "expand_dims", where that of
            an argument without a batch has length 1; or "broadcast_all", where all are broadcast.
        throw: what follows if the function raises. True: its own exception outside compiled code,
            and there a `RuntimeError` (a `ValueError` from some calls under `jax.jit`) with its
            message. False: NaN in that call's result, so in one lane of a sequential batch; 0 in
            leaves that are integers.

    Returns:
        The function, with `defjvp`, `defvjp`, `defpartials`, and `host`, the function itself.

    Raises:
        TypeError: for a result of another structure or shape, or of numbers that would lose more
            than precision (complex for real, float for integer), naming the leaf, inside compiled
            code as with `throw`; for a PRNG key; for a captured tracer; and when differentiated
            with neither a rule nor `derivative`.
        ValueError: for an option that is none.
    """
    if fn is None:
        return functools.partial(
            external,
            like=like,
            out=out,
            derivative=derivative,
            vmap_method=vmap_method,
            throw=throw,
        )
    name = title("external", fn)
    if (like is None) == (out is None):
        raise TypeError(
            f"{name}: give like=, the name of the argument that its result is like, or out=, the "
            "shapes and dtypes of its result or a function of the arguments that gives them."
        )
    if like is not None and like not in (parameters := _parameters(fn)):
        raise TypeError(
            f"{name}: like={like!r} is none of its parameters ({', '.join(parameters)})."
        )
    for option, value, allowed in (
        ("derivative", derivative, (None, *get_args(Method))),
        ("vmap_method", vmap_method, get_args(VmapMethod)),
    ):
        if value not in allowed:
            raise ValueError(f"{name}: {option} must be one of {allowed}, got {value!r}.")
    host = HostFunction(fn, like, out, vmap_method, throw, Failures(name))
    return External(host, derivative)


def _parameters(fn: Callable) -> list[str]:
    """Those that hold one argument; none for a function that does not tell its signature."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except ValueError:
        return []
    return [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
