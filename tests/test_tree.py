"""Trees seen as vectors of real numbers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini._tree import RealView, all_finite, asarrays, describe, is_numeric, max_abs, stop_gradient

TREE = {
    "half": jnp.ones((2, 2), jnp.bfloat16),
    "single": jnp.arange(3, dtype=jnp.float32),
    "complex": jnp.array([1.0 + 2.0j, -3.0j]),
    "whole": jnp.arange(2),
    "nothing": None,
}


def test_ravel_and_unravel_are_inverse_and_keep_dtypes():
    view = RealView(TREE)
    vector = view.ravel(TREE)
    assert vector.shape == (view.size,) == (4 + 3 + 4,)
    assert vector.dtype == view.dtype == jnp.float64
    back = view.unravel(vector)
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_tree_and_untree_are_inverse_and_real():
    view = RealView(TREE)
    real = view.tree(TREE)
    assert {x.dtype for x in jax.tree.leaves(real)} == {jnp.dtype(jnp.float64)}
    back = view.untree(real)
    for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(TREE), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_uniform_real_tree_is_left_as_it_is():
    tree = {"a": jnp.ones(2), "b": jnp.zeros(())}
    assert jax.tree.structure(RealView(tree).tree(tree)) == jax.tree.structure(tree)


def test_precision_is_that_of_the_least_precise_leaf():
    assert RealView(TREE).eps == float(jnp.finfo(jnp.bfloat16).eps)
    assert RealView(jnp.ones(2)).eps == np.finfo(float).eps
    assert RealView({"n": jnp.arange(3)}).size == 0


def test_both_directions_are_linear_over_the_reals():
    view = RealView(TREE)
    v = jnp.arange(float(view.size))
    jacobian = jax.jacfwd(lambda v: view.ravel(view.unravel(v)))(v)
    np.testing.assert_array_equal(jacobian, np.eye(view.size))


@pytest.mark.parametrize(
    "leaf", [1.0, 1j, np.float32(1), np.arange(2), jnp.ones(2), np.bool_(True)]
)
def test_numbers_become_arrays(leaf):
    assert is_numeric(leaf)
    assert eqx.is_array(asarrays(leaf))


@pytest.mark.parametrize("leaf", [1, True, "x", np.sin, np.array(["a"]), slice(None)])
def test_configuration_is_left_alone(leaf):
    assert not is_numeric(leaf)
    assert asarrays([leaf])[0] is leaf


def test_floats_become_weakly_typed():
    assert asarrays(1.0).weak_type
    assert not jnp.asarray(asarrays(np.float64(1.0))).weak_type


def test_keys_are_numeric():
    key = jax.random.key(0)
    assert asarrays(key).dtype == key.dtype


def test_stop_gradient_leaves_other_leaves_alone():
    tree = (jnp.ones(2), 3, "x", None, jnp.arange(2))
    stopped = stop_gradient(tree)
    assert stopped[1:4] == tree[1:4]
    slope = jax.grad(lambda x: jnp.sum(x * stop_gradient((x, 1))[0]))(jnp.ones(2))
    np.testing.assert_array_equal(slope, [1.0, 1.0])


def test_description_names_shapes_and_dtypes():
    assert describe(jnp.ones((2, 3))) == "float64[2,3]"
    text = describe({"a": jnp.ones(3), "b": jnp.int32(1)})
    assert "float64[3]" in text
    assert "int32[]" in text
    assert describe(3) == "3"


def test_norms_of_empty_vectors():
    assert max_abs(jnp.zeros(0)) == 0
    assert max_abs(jnp.array([1.0, -3.0])) == 3
    assert np.isnan(max_abs(jnp.array([1.0, jnp.nan])))
    assert all_finite(jnp.zeros(0))
    assert not all_finite(jnp.array([1.0, jnp.inf]))
