"""One call that puts a derivative through every check."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import PyTree

from dini.testing._adjoint import adjoints
from dini.testing._call import Call
from dini.testing._compare import difference
from dini.testing._host_calls import counted
from dini.testing._linear import linear
from dini.testing._map import Arrays, Map, direction, weights, wide
from dini.testing._options import MODES, Options
from dini.testing._report import Finding, Report, RuleError, Verdict, raised
from dini.testing._tangent import tangents
from dini.testing._transforms import alone, transformed
from dini.testing._types import discrete, types

_HIGHER = ("second order", "third order", "higher order")
_TRANSFORMS = ("jit", "vmap", "scan", "checkpoint")


def check_rule(  # noqa: PLR0913
    f: Callable,
    *args: PyTree,
    kwargs: Mapping[str, PyTree] | None = None,
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    transforms: Sequence[str] = ("jit", "vmap", "scan"),
    seed: int | Iterable[int] = 0,
    rtol: float = 0.0,
    analytic: bool = False,
    compiled: bool = True,
    host_calls: Callable[[], int] | None = None,
    throw: bool = True,
) -> Report:
    """Checks the derivatives of f at a point, whatever rule they come from.

    | check | what must hold |
    |---|---|
    | value | compiled, and beside a derivative in either mode, f has the value that it has alone |
    | types | tangents and cotangents have the types of their leaves, values keep theirs |
    | linear | in both modes zero gives exactly zero, a sum the sum, a multiple the multiple |
    | jvp | J v is what differences of values say, for each leaf of the arguments on its own |
    | vjp | ⟨w, J v⟩ = ⟨Jᵀ w, v⟩, for each pair of leaves |
    | second order | the same two of x ↦ J(x) v and of x ↦ J(x)ᵀ w: four nestings; and so on |
    | zeros | a leaf differentiated alone has the derivative with zeros for the others |
    | jit, vmap, scan, checkpoint | the transformed function has the numbers of the plain one |
    | host calls | a derivative calls the host no more often than the value does |

    Differences are Ridders', with an error bar for each number
    ([`ridders_jvp`][dini.numeric.ridders_jvp]), at steps that fit each leaf, and where a leaf holds
    numbers of very different size, each part of it. A number is wrong when it is outside its bar
    along two random directions. Where two results differ by more than 100 eps, what a rounding
    error in the point makes of them decides: ill-conditioned is not wrong. Differences that come to
    no conclusion (a kink, a pole, noise, a value that is not finite) make a check inconclusive.

    Args:
        f: a function of `args` and `kwargs`, pytrees, that returns a pytree. Floating-point and
            complex leaves are differentiated; all others reach f unchanged.
        *args: the point.
        kwargs: keyword arguments of f.
        order: the highest order of derivatives.
        modes: "fwd" and "rev", or one of them.
        transforms: any of "jit", "vmap", "scan" and "checkpoint"; "jit" compares eager calls with
            compiled ones.
        seed: of the random directions; or several, which share their compiled programs.
        rtol: a relative error that is none, for a function that is itself known to no more.
        analytic: whether f is made of analytic operations. Complex steps, exact to rounding, then
            take the place of differences.
        compiled: whether the checks run compiled; False for an f that reads its numbers.
        host_calls: tells how often the host has been called so far.
        throw: whether a failure raises.

    Returns:
        A [`Report`][dini.testing.Report], with `verdict` and `findings`; inconclusive findings are
        in it, and do not raise.

    Raises:
        RuleError: an AssertionError with the report for its message: the leaf and the index, got
            and expected with its error bar, the best-fit ratio and what it suggests, the mode or
            transformation, and the seed.
        TypeError: for a function that takes or returns no floating-point numbers.
        ValueError: for options that are none.
    """
    _check_options(order, modes, transforms)
    call = Call(f, args, kwargs or {})
    map_ = call.map(compiled)
    for leaves, what in ((map_.xs, "takes"), (map_.like, "returns")):
        if not any(x.size for x in leaves):
            raise TypeError(f"check_rule: `{call.name}` {what} no floating-point numbers.")
    findings: list[Finding] = []
    for one in (seed,) if isinstance(seed, int) else seed:
        options = Options(one, tuple(modes), rtol, analytic)
        findings += _at_seed(call, map_, order, transforms, options)
        if any(f.verdict is Verdict.FAIL for f in findings):
            break
    options = Options(0, tuple(modes), rtol, analytic)
    findings += discrete(call.of_arrays, [*call.moving, *call.discrete], options)
    if host_calls is not None:
        findings += counted(map_, host_calls, options)
    report = Report(call.name, tuple(findings))
    if throw and report.verdict is Verdict.FAIL:
        raise RuleError(report) from next((f.cause for f in findings if f.cause), None)
    return report


def _at_seed(
    call: Call, map_: Map, order: int, transforms: Sequence[str], options: Options
) -> list[Finding]:
    """All that random directions have a part in. What rests on a failure is left out."""
    findings = list(_value(call, map_, options))
    if any(f.verdict is not Verdict.PASS for f in findings):
        return findings
    found, sound = _derivatives(map_, order, options)
    options = dataclasses.replace(options, modes=sound)
    findings += found
    if sound:
        findings += alone(map_, options)
    findings += transformed(map_, tuple(transforms), options)
    return findings


def _value(call: Call, map_: Map, options: Options) -> Iterator[Finding]:
    """The compiled value beside that of f called as it is."""
    plain = call.map(compiled=False)
    value = plain.value(plain.xs)
    label = Finding("value", "compiled", seed=options.seed)
    if all(np.all(np.isfinite(wide(y))) for y in value):
        yield from _beside(map_, map_.value(map_.xs), value, label, options)
    else:
        reason = "the value is not finite at the point"
        yield dataclasses.replace(label, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _beside(
    map_: Map, got: Arrays, expected: Arrays, label: Finding, options: Options
) -> Iterator[Finding]:
    for k, (name, x, y) in enumerate(zip(map_.outputs, got, expected, strict=True)):
        again = lambda m, k=k: [wide(m.value(m.xs)[k])]
        found = difference(map_, x, y, again, options)
        yield label if found is None else found.finding(label, name)


def _derivatives(
    map_: Map, order: int, options: Options, inner: str = ""
) -> tuple[list[Finding], tuple[str, ...]]:
    """The derivative in each mode, then the derivatives of that; and the modes that did not fail.

    A mode that has failed judges no other, and is not differentiated again.
    """
    findings: list[Finding] = []
    sound: tuple[str, ...] = ()
    for mode in options.modes:
        some = dataclasses.replace(options, modes=(*sound, mode))
        depth = min(inner.count("over"), len(_HIGHER))
        check = _HIGHER[depth - 1] if depth else {"fwd": "jvp", "rev": "vjp"}[mode]
        label = Finding(check, f"{MODES[mode]}{inner}", seed=options.seed)
        found = []
        try:
            for finding in _mode(map_, mode, label, some):
                found.append(finding)  # which are kept if the next one raises
        except Exception as error:
            found.append(raised(label, error))
        findings += found
        if not any(f.verdict is Verdict.FAIL for f in found):
            sound = some.modes
    if order > 1:
        random = options.random(10)
        vs, ws = direction(map_.xs, random), weights(random, map_.like)
        options = dataclasses.replace(options, modes=sound)
        for mode in sound:
            of_mode = map_.forward(vs) if mode == "fwd" else map_.reverse(ws)
            found, _ = _derivatives(of_mode, order - 1, options, f" over {MODES[mode]}{inner}")
            findings += found
    return findings, sound


def _mode(map_: Map, mode: str, label: Finding, options: Options) -> Iterator[Finding]:
    """One mode at one order; at the first, also its types, its value, and that it is linear."""
    if label.check in ("jvp", "vjp"):
        named = lambda check: dataclasses.replace(label, check=check)
        random = options.random(11)
        program, along = (
            (map_.programs.jvp, direction(map_.xs, random))
            if mode == "fwd"
            else (map_.programs.vjp, weights(random, map_.like))
        )
        value, _ = program(map_.constants, map_.xs, along)
        for part in (
            [types(map_, mode, named("types"))],
            list(_beside(map_, value, map_.value(map_.xs), named("value"), options)),
            list(linear(map_, mode, named("linear"), options)),
        ):
            yield from part
            if any(f.verdict is Verdict.FAIL for f in part):
                return
    yield from (tangents if mode == "fwd" else adjoints)(map_, label, options)


def _check_options(order: int, modes: Sequence[str], transforms: Sequence[str]) -> None:
    if not (isinstance(order, int) and order >= 1):
        raise ValueError(f"check_rule: order must be a positive integer, got {order!r}.")
    for name, given, known in (("modes", modes, MODES), ("transforms", transforms, _TRANSFORMS)):
        if isinstance(given, str) or not set(given) <= set(known):
            raise ValueError(f"check_rule: {name} must be a tuple out of {tuple(known)}: {given!r}")
    if not modes:
        raise ValueError("check_rule: modes must name at least one mode.")
