"""A derivative given once, and available in every mode and order."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
from jaxtyping import PyTree

from dini._tree import asarrays
from dini.rules._apply_rule import Function, Rules, value
from dini.rules._captured import captured
from dini.rules._decorated import DecoratedFunction
from dini.rules._positions import Positions, bind


class CustomRule(DecoratedFunction):
    """A function with a derivative of its own; usable as a method.

    Attributes:
        fn: the function that was decorated.
    """

    _kind: ClassVar[str] = "custom_rule"
    _remedy: ClassVar[str] = "give it one by defjvp, defvjp or defpartials."

    def __init__(self, fn: Callable, has_residuals: bool) -> None:
        super().__init__(self._kind, fn)
        self._has_residuals = has_residuals
        self._rules: dict[str, Callable] = {}
        self._symbolic_zeros = False

    def defjvp(
        self, rule: Callable[[tuple, tuple], tuple], *, symbolic_zeros: bool = False
    ) -> Callable:
        """`rule(primals, tangents)` gives (out, tangent of out); linear in the tangents.

        With `symbolic_zeros` the tangent of a leaf that stands still is None.
        """
        self._rules["jvp"] = rule
        self._symbolic_zeros = symbolic_zeros
        return rule

    def defvjp(self, rule: Callable[[PyTree, tuple, PyTree], tuple]) -> Callable:
        """`rule(out, primals, cotangent)` gives one cotangent an argument; linear in the last."""
        self._rules["vjp"] = rule
        return rule

    def _defpair(
        self,
        tangent: Callable[[PyTree, tuple, tuple], PyTree],
        vjp: Callable[[PyTree, tuple, PyTree, tuple], tuple],
        *,
        symbolic_zeros: bool = False,
    ) -> None:
        """`tangent(out, primals, tangents)`, and `vjp(out, primals, cotangent, moving)` beside it.

        Linear maps for sure; `moving` has True for the leaves whose cotangents are used. With
        `symbolic_zeros` the tangent of a leaf that stands still is None.
        """
        self._rules |= {"tangent": tangent, "vjp": vjp}
        self._symbolic_zeros = symbolic_zeros

    def defpartials(self, rule: Callable[..., tuple]) -> Callable:
        """`rule(out, *primals)` gives the elementwise partials, an array an argument."""
        self._rules["partials"] = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> PyTree:
        """The function's value, differentiable by its rule."""
        values, positions = bind(self.fn, (*self._bound, *args), kwargs)
        values = asarrays(values)
        fn = Function(self.fn, positions, self._has_residuals, self._name)
        given = self._rules_at(positions)
        rules = Rules(
            given.get("jvp"),
            given.get("vjp"),
            given.get("partials"),
            given.get("tangent"),
            positions,
            self._has_residuals,
            self._symbolic_zeros,
            self._name,
            self._remedy,
        )
        if captured((self.fn, values)):
            fn = eqx.filter_closure_convert(fn, values)
        if moving := captured((given, values)):
            rules = rules.lifted(moving)
        return value(fn, rules, values)

    def _rules_at(self, positions: Positions) -> Mapping[str, Callable]:
        """The rules, for a call with arguments at these positions."""
        del positions
        return self._rules

    def copied_by(self, copy: Any) -> Self:
        """The same with copies of its functions; one that its rules capture is this copy too."""
        twin = self._copy()
        copy.copies[id(self)] = twin
        twin.fn, twin._rules, twin._bound = (copy(x) for x in (self.fn, self._rules, self._bound))
        return twin


def custom_rule(fn: Callable | None = None, *, has_residuals: bool = False) -> Any:
    """Gives a function a derivative of its own, in every mode and order.

    The rule is given once, by one of

        f.defjvp(rule)       rule(primals, tangents) → (out, tangent of out); with
                             symbolic_zeros=True the tangent of what stands still is None
        f.defvjp(rule)       rule(out, primals, cotangent) → a cotangent for each argument
        f.defpartials(rule)  rule(out, *primals) → elementwise partials, one array an argument

    and jvp, vjp, Hessians, vmap and jit follow: a VJP rule is linear in the cotangent, and its
    transpose is the JVP. With both a JVP and a VJP rule each serves its mode. A second derivative
    is the derivative of the rule, in which f may occur again.

    Keyword arguments reach the rules by position, in the order of the signature, and defaults with
    them. Arrays and floats are differentiated; the tangent, cotangent and partial of every other
    leaf is None. Arrays that f captures are differentiated as JAX does, beside the rule.

    Args:
        fn: the function. It is called with concrete values outside transformations. For a host
            function there is [`external`][dini.external].
        has_residuals: whether fn returns (out, residuals): the call returns out, and VJP and
            partials rules get (out, residuals) in its place. A second derivative takes that of the
            residuals from JAX, and is NaN where JAX has none.

    Returns:
        The function, with `defjvp`, `defvjp`, `defpartials`, and `fn`, the function itself.

    Raises:
        TypeError: naming the argument, when a rule returns a wrong number of trees, another
            structure, shape or kind of number, when a VJP rule is seen not to be linear (it is
            tried at zero on concrete calls), when it cannot be transposed and forward mode is asked
            for, or when the function is differentiated without a rule. A cotangent of another
            precision is cast to its argument's dtype.

    Reference: Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
    """
    if fn is None:
        return functools.partial(custom_rule, has_residuals=has_residuals)
    return CustomRule(fn, has_residuals)
