"""A call of host code as a JAX primitive: NumPy arrays in, NumPy arrays out.

`jax.pure_callback` hands its function JAX arrays. To read one is to wait for a copy by a worker
thread, and where the callback itself holds the last worker it waits for ever. This primitive is
the callback without those arrays. On concrete arguments it is a plain Python call.
"""

import itertools
import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn

import equinox as eqx
import jax
import jax.core
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array

# (arrays, leading axes of a batch) ↦ results, which have the leading axes too.
Run = Callable[[list[np.ndarray], tuple[int, ...]], list[np.ndarray]]
VmapMethod = Literal["sequential", "expand_dims", "broadcast_all"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_KEPT = 100


class Failures(Sequence[str]):
    """What went wrong on the host, by number: a compiled program hands on no more than that."""

    def __init__(self, name: str) -> None:
        """For a function that errors call `name`."""
        self.name = name
        self._numbers = itertools.count(1)
        self._texts: dict[int, str] = {}

    def note(self, error: Exception) -> int:
        """Keeps the message of an error, with the lines of host code that led to it."""
        head = str(error)
        if not head.startswith(self.name):
            head = f"{self.name}: {type(error).__name__}: {head}"
        frames = traceback.extract_tb(error.__traceback__)
        ours = [i for i, frame in enumerate(frames) if frame.filename.startswith(_PACKAGE)]
        theirs = frames[max(ours) + 1 :]
        number = next(self._numbers)
        self._texts[number] = "\n".join([head, *map(str.rstrip, traceback.format_list(theirs))])
        self._texts.pop(number - _KEPT, None)
        return number

    def __getitem__(self, index: Any) -> Any:
        return self._texts.get(index, f"{self.name} failed")

    def __len__(self) -> int:
        return len(self._texts)


def call_host(
    run: Run,
    arrays: Sequence[Array],
    out: Sequence[jax.ShapeDtypeStruct],
    failures: Failures,
    vmap_method: VmapMethod = "sequential",
) -> list[Array]:
    """Runs host code on arrays.

    Args:
        run: the host code. It owns the arrays that it gets.
        arrays: its arguments.
        out: shapes and dtypes of its results, without the axes of a batch.
        failures: where it notes what it raises in compiled code; an error of that message follows.
            On concrete arguments what it raises goes through.
        vmap_method: "sequential" for a call a lane; "expand_dims" or "broadcast_all" for one call
            with leading axes, of length 1 where an argument has none, or broadcast.
    """
    if not out:
        return []
    *leaves, code = host_p.bind(
        *arrays, run=run, out=tuple(out), failures=failures, vmap_method=vmap_method, lead=()
    )
    if isinstance(code, jax.core.Tracer):
        leaves = eqx.branched_error_if(leaves, code > 0, code, failures)
    return leaves


def nothing(struct: jax.ShapeDtypeStruct, lead: tuple[int, ...]) -> np.ndarray:
    """NaN, or 0 where there is none."""
    fill = np.nan if jnp.issubdtype(struct.dtype, np.inexact) else 0
    return np.full((*lead, *struct.shape), fill, struct.dtype)


host_p = jex.core.Primitive("host")
host_p.multiple_results = True


def _run(args: Sequence[Any], run: Run, lead: tuple[int, ...]) -> list[np.ndarray]:
    # Copies: the memory of an argument is JAX's, and is used again after the call.
    return run([np.array(a) for a in args], lead)


def _call(*args: Array, run: Run, lead: tuple[int, ...], **_: Any) -> list[Array]:
    return [*map(jnp.asarray, _run(args, run, lead)), jnp.zeros(lead, np.int32)]


def _abstract(*_: Any, out: tuple, lead: tuple[int, ...], **__: Any) -> list[Any]:
    results = [jax.core.ShapedArray((*lead, *s.shape), s.dtype) for s in out]
    return [*results, jax.core.ShapedArray(lead, np.dtype(np.int32))]


def _lower(
    ctx: mlir.LoweringRuleContext,
    *args: Any,
    run: Run,
    out: tuple,
    failures: Failures,
    lead: tuple[int, ...],
    **_: Any,
) -> Sequence[Any]:
    cpu = jax.local_devices(backend="cpu")[0]

    def callback(*arrays: np.ndarray) -> list[np.ndarray]:
        try:
            # Host code that calls JAX by accident must not wait for the device that waits for it.
            with jax.default_device(cpu):
                leaves, code = _run(arrays, run, lead), 0
        except Exception as error:
            leaves, code = [nothing(s, lead) for s in out], failures.note(error)
        return [*leaves, np.full(lead, code, np.int32)]

    avals: Any = (ctx.avals_in, ctx.avals_out)
    return mlir.emit_python_callback(
        ctx, callback, None, list(args), *avals, has_side_effect=False, returns_token=False
    )[0]


def _batch(args: Sequence[Array], dims: Sequence[Any], **params: Any) -> tuple[list, list]:
    (size,) = {a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None}
    args = [a if d is None else jnp.moveaxis(a, d, 0) for a, d in zip(args, dims, strict=True)]
    mapped = [d is not None for d in dims]
    if params["vmap_method"] != "sequential":
        rows = size if params["vmap_method"] == "broadcast_all" else 1
        whole = [
            a if m else jnp.broadcast_to(a, (rows, *a.shape))
            for a, m in zip(args, mapped, strict=True)
        ]
        out = host_p.bind(*whole, **params | {"lead": (size, *params["lead"])})
        return out, [0] * len(out)

    def lane(moving: Sequence[Array]) -> list[Array]:
        remaining = iter(moving)
        full = [next(remaining) if m else a for a, m in zip(args, mapped, strict=True)]
        return host_p.bind(*full, **params)

    moving = [a for a, m in zip(args, mapped, strict=True) if m]
    if size and not any(isinstance(a, jax.core.Tracer) for a in args):
        lanes = [lane([a[i] for a in moving]) for i in range(size)]
        out = [jnp.stack(leaves) for leaves in zip(*lanes, strict=True)]
    else:
        out = jax.lax.map(lane, moving)
    return out, [0] * len(out)


def _refuse_derivative(*_: Any, failures: Failures, **__: Any) -> NoReturn:
    raise TypeError(
        f"{failures.name} is by differences, and has no derivative in its turn: differences of "
        "differences keep too few digits. Give the function a rule by defjvp or defvjp: its "
        "second derivative is the derivative of the rule."
    )


host_p.def_impl(_call)
host_p.def_abstract_eval(_abstract)
ad.primitive_jvps[host_p] = _refuse_derivative
batching.primitive_batchers[host_p] = _batch
mlir.register_lowering(host_p, _lower, cacheable=False)
