"""Each part of the rule is needed: with the part broken, the test that guards it fails."""

import shutil

import pytest

from tests.support.processes import ROOT, python

pytestmark = pytest.mark.slow

IMPLICIT = "tests/implicit/test_"
LINEAR = "tests/linear/test_system.py"
DEGENERATE = "tests/conditions/test_degenerate.py"

# The kind of trap: the file broken, old text, new text, and the test that must notice.
TRAPS = {
    "unconverged": (
        "implicit/_accept.py",
        "ours = optx.RESULTS.where(near,",
        "ours = optx.RESULTS.where(near | True,",
        f"{IMPLICIT}known.py::test_known_root_that_is_none_gives_nan_without_throw",
    ),
    "singular": (
        "linear/_system.py",
        "jnp.where(idle, 0, x * size), finite, solved",
        "jnp.where(idle, 0, x * size), finite, jnp.asarray(True)",
        f"{LINEAR}::test_singular_matrix_gives_nan",
    ),
    "nearly singular": (
        "implicit/_accept.py",
        "bends = solved & (bend > noise)",
        "bends = solved & (bend < 0)",
        f"{IMPLICIT}traps_conditioning.py::test_double_root_is_refused[1.0]",
    ),
    "ill-conditioned": (
        "linear/_system.py",
        "idle | solved & (correction <= self.accepted * max_abs(x))",
        "idle | solved",
        f"{LINEAR}::test_singular_matrix_gives_nan",
    ),
    "stagnating Krylov": (
        "linear/_method.py",
        "return share * max_abs(b)",
        "return jnp.inf + share * max_abs(b)",
        f"{IMPLICIT}traps_conditioning.py::test_stagnating_krylov_method_is_loud",
    ),
    "saddle": (
        "implicit/_accept.py",
        "near = near & _is_concave(system, factors)",
        "pass",
        f"{IMPLICIT}traps_conditioning.py::test_saddle_maximum_and_flat_minimum_are_refused",
    ),
    "tiny and huge cotangents": (
        "linear/_system.py",
        "size = max_abs(b)\n",
        "size = jnp.where(max_abs(b) > 0, 1 + 0 * max_abs(b), 0)\n",
        f"{LINEAR}::test_solution_scales_with_its_right_hand_side",
    ),
    "NaN and infinite data": (
        "linear/_system.py",
        "bad = failed | ~finite | ~solved",
        "bad = failed | ~solved",
        f"{IMPLICIT}throw.py::test_nan_cotangent_stays_nan",
    ),
    "rescaled residuals": (
        "implicit/_problem.py",
        "return jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)",
        "return jnp.ones_like(scale)",
        f"{IMPLICIT}traps_conditioning.py::test_root_does_not_depend_on_the_scale_of_the_residual",
    ),
    "rows of different scales": (
        "linear/_system.py",
        "weight=jnp.exp2(power)",
        "weight=jnp.exp2(0 * power)",
        f"{IMPLICIT}traps_conditioning.py::test_rows_scaled_differently_give_the_same_answer",
    ),
    "runaway iterates": (
        "implicit/_accept.py",
        "bends = solved & (bend > noise)",
        "bends = solved & (bend < 0)",
        f"{IMPLICIT}traps_runaway.py::test_residual_that_vanishes_at_infinity_has_no_root",
    ),
    "runaway fixed points": (
        "implicit/_accept.py",
        "gap_there < (1 - _BEND) * gap",
        "gap_there < 0 * gap",
        f"{IMPLICIT}traps_runaway.py::test_displacement_that_vanishes_at_infinity_has_no_fixed_point",
    ),
    "failing lanes": (
        "implicit/_solve.py",
        'failed = extra["result"] != optx.RESULTS.successful',
        'failed = extra["result"] != extra["result"]',
        f"{IMPLICIT}throw.py::test_failed_lane_is_nan_and_the_others_are_exact",
    ),
    "derivatives of a failure": (
        "implicit/_theorem.py",
        "_marked(-pushforward(inputs_dot), inputs_dot, failed)",
        "-pushforward(inputs_dot)",
        f"{IMPLICIT}throw.py::test_derivative_at_a_failure_is_never_zero",
    ),
    "mixed dtypes": (
        "_tree.py",
        "return take().astype(struct.dtype)",
        "return take()",
        f"{IMPLICIT}arguments.py::test_mixed_dtypes_are_kept",
    ),
    "complex": (
        "_tree.py",
        "return jax.lax.complex(real, take().astype(part))",
        "return jax.lax.complex(take().astype(part), real)",
        f"{IMPLICIT}arguments.py::test_complex_root_by_a_residual_that_is_not_holomorphic",
    ),
    "closures": (
        "_tree.py",
        "self.fn = eqx.filter_closure_convert(fn, *args)",
        "self.fn = fn",
        f"{IMPLICIT}arguments.py::test_captured_tracers_are_differentiated",
    ),
    "integer leaves": (
        "_tree.py",
        "return isinstance(leaf, float | complex)",
        "return isinstance(leaf, int | float | complex)",
        f"{IMPLICIT}arguments.py::test_leaves_that_are_not_differentiated_arrive_unchanged",
    ),
    "one-directional residuals": (
        "rules/_linearise.py",
        "if forward and backward:",
        "if True:",
        f"{IMPLICIT}arguments.py::test_reverse_only_residual_has_both_modes",
    ),
}

# The same for the parts of the rule.
RULE = {
    "sign": (
        "implicit/_theorem.py",
        "_marked(-pushforward(inputs_dot)",
        "_marked(pushforward(inputs_dot)",
        f"{IMPLICIT}arguments.py::test_captured_carry_of_a_scan_is_differentiated",
    ),
    "recursion": (
        "implicit/_theorem.py",
        "    view = RealView(z)\n    pushforward",
        "    z = jax.lax.stop_gradient(z)\n    view = RealView(z)\n    pushforward",
        f"{IMPLICIT}arguments.py::test_captured_tracers_are_differentiated",
    ),
    "transpose": (
        "linear/_system.py",
        "factors.transpose(self.solver) if transpose else factors",
        "factors",
        "tests/linear/test_system.py::test_inverse_is_linear_and_transposable[auto]",
    ),
    "transpose of the preconditioner": (
        "linear/_system.py",
        "p = p.transpose() if transpose else p",
        "pass",
        f"{IMPLICIT}adjoints.py::test_preconditioner_is_used_and_transposed_for_the_adjoint[operator]",
    ),
}
# And for the rules that a user gives.
OTHERS = {
    "value that is the same in all lanes": (
        "_tree.py",
        "jax.lax.select(either, x, x) if _chosen(x) else x",
        "x",
        "tests/rules/test_custom_rule.py::"
        "test_value_that_is_the_same_in_all_lanes_has_a_tangent_in_each[jvp-vmap of jit]",
    ),
    "transpose of a linear map": (
        "rules/_linear_map.py",
        'fun=params["transpose"],\n        transpose=params["fun"],',
        'fun=params["fun"],\n        transpose=params["fun"],',
        "tests/rules/test_linear_map.py::test_linear_map_uses_the_transpose_that_it_is_given",
    ),
    "adjoint of a matrix function": (
        "rules/_matrix_function.py",
        "derivative(a, _transposed(cotangent))",
        "derivative(a, cotangent)",
        "tests/rules/test_matrix_function.py::test_host_function_inverts_the_derivative_of_its_inverse",
    ),
    "arguments of the host's own": (
        "rules/_host.py",
        "return run([np.array(a) for a in args], lead)",
        "return run([np.asarray(a) for a in args], lead)",
        "tests/rules/test_external.py::test_arguments_belong_to_the_host",
    ),
    "failing host": (
        "rules/_host.py",
        "leaves = eqx.branched_error_if(leaves, code > 0, code, failures)",
        "pass",
        "tests/rules/test_external_calls.py::test_failure_under_custom_root_is_that_of_the_solver",
    ),
    "differences of complex numbers": (
        "rules/_host_differences.py",
        "jtu.tree_map(jnp.conj, view.unravel(product.astype(view.dtype)))",
        "view.unravel(product.astype(view.dtype))",
        "tests/rules/test_external_differences.py"
        "::test_differences_of_complex_numbers_follow_the_convention_of_jax",
    ),
    "affine rule": (
        "rules/_apply_rule.py",
        "jnp.any(jnp.isfinite(leaf) & (leaf != 0))",
        "jnp.any(jnp.isnan(leaf) & (leaf != 0))",
        "tests/rules/test_custom_rule_refusals.py",
    ),
    "recursion of a symbolic rule": (
        "rules/symbolic/_formula.py",
        "values = self._formula.joint([*self._indices, *more.values()])(*x)",
        "values = self._formula.joint([*self._indices, *more.values()]).fn(*x)",
        "tests/rules/test_symbolic_rule.py::test_symbolic_rule_composes_where_jax_has_nan",
    ),
    "digits near a removable singularity": (
        "rules/symbolic/_lower.py",
        "near, value = self._taylor(kind, h)",
        "near, value = (size(h), self._taylor(kind, h)[1])",
        "tests/rules/test_symbolic_limits.py::test_limit_is_accurate_to_third_order[Bernoulli]",
    ),
}
# And for the checks of rules.
CHECKS = {
    "adjoint identity": (
        "testing/_adjoint.py",
        "if not seen.any_wrong:",
        "if seen:",
        "tests/testing/test_planted.py::test_wrong_rule_is_refused_by_name[transpose in one mode]",
    ),
    "leaf on its own": (
        "testing/_transforms.py",
        "single = jax.jit(functools.partial(_of_input, map_, k, options.modes))",
        "single = functools.partial(_parts, map_, options.modes, map_.programs)",
        "tests/testing/test_planted.py::test_wrong_rule_is_refused_by_name[a leaf alone]",
    ),
    "ill-conditioned is not wrong": (
        "testing/_compare.py",
        "wrong[k] = ~_same(g, e, a + _NOISE * n)",
        "wrong[k] = before",
        "tests/testing/test_check_rule.py"
        "::test_what_is_left_of_a_tangent_that_cancels_need_not_be_linear",
    ),
}
# And for solvers, conditions and the bound of a gradient's error.
SOLVED = {
    "tie of a constraint": (
        "conditions/_kkt.py",
        "return row if one_sided else undifferentiable(row, tied)",
        "return row",
        f"{DEGENERATE}::test_tie_and_what_is_within_the_tolerance_of_it_has_no_derivative[multiplier]",
    ),
    "kink of a projection": (
        "conditions/_gradient_map.py",
        "undifferentiable(f_value, kink)",
        "f_value",
        f"{DEGENERATE}::test_tie_and_what_is_within_the_tolerance_of_it_has_no_derivative[simplex]",
    ),
    "side of a constraint": (
        "conditions/_kkt.py",
        "active = tied | ~(mu * g_error <= -g * mu_error)",
        "active = tied | (mu * g_error <= -g * mu_error)",
        "tests/conditions/test_optimality.py"
        "::test_optimum_agrees_with_its_closed_form[inequality programme]",
    ),
    "error of z in the bound": (
        "implicit/_gradient_error.py",
        "_ROOM * jnp.abs(changes[0]) + _ROUNDING * spread",
        "_ROUNDING * spread",
        f"{IMPLICIT}diagnose.py::test_gradient_error_bound_holds_and_is_sharp[4]",
    ),
    "rounding in the bound": (
        "implicit/_gradient_error.py",
        "_ROOM * jnp.abs(changes[0]) + _ROUNDING * spread",
        "_ROOM * jnp.abs(changes[0])",
        f"{IMPLICIT}diagnose.py::test_gradient_error_bound_knows_of_rounding",
    ),
    "sign that changes at a pole": (
        "solvers/_bracketing.py",
        "narrow & sign.is_root",
        "narrow",
        "tests/solvers/test_bracketing.py::test_bracketing_refuses_what_is_no_root",
    ),
    "correction that keeps its promise": (
        "solvers/_broyden.py",
        "done = accepted & verified | rounding | exact",
        "done = accepted & small | rounding | exact",
        "tests/solvers/test_root_finders.py::test_search_finds_the_root_or_says_that_it_did_not",
    ),
    "fold": (
        "solvers/_continuation.py",
        "stuck = ~ok & (stride < self.min_step)",
        "stuck = jnp.asarray(False)",
        "tests/solvers/test_continuation.py::test_continuation_stops_at_a_fold_and_tells_where[0.2]",
    ),
}
EQUATIONS = "tests/linalg/test_equations.py::test_"
HARD = "tests/linalg/test_matrix_functions.py::test_"
LINALG = {
    "derivatives of a root that is found": (
        "linalg/_square_roots.py",
        "(off <= eps**0.6) & (jnp.maximum(first, second) <= eps**0.9)",
        "off <= eps**0.6",
        "tests/linalg/test_logarithm.py::"
        "test_second_derivatives_at_a_matrix_that_scaling_makes_the_identity[2.0]",
    ),
    "mode that grows and costs nothing": (
        "linalg/_riccati.py",
        "(norm(more) > close * norm(h)) | (norm(e) > _DECAYED)",
        "norm(more) > close * norm(h)",
        f"{EQUATIONS}riccati_with_modes_that_grow_and_cost_nothing",
    ),
    "eigenvalues that meet": (
        "linalg/_quadratic.py",
        "_DOUBLINGS = 26",
        "_DOUBLINGS = 64",
        f"{EQUATIONS}quadratic_whose_eigenvalues_meet_has_no_minimal_solvent",
    ),
    "sign of a matrix equation's tangent": (
        "linalg/_implicit.py",
        "factors, -b)",
        "factors, b)",
        f"{EQUATIONS}derivatives_agree_with_forty_digits[sqrtm]",
    ),
    "transpose of a matrix equation": (
        "linalg/_equation.py",
        "y = self.stein.transpose().solve(g.T)",
        "y = self.stein.solve(g.T)",
        f"{EQUATIONS}derivatives_agree_with_forty_digits[sylvester]",
    ),
    "solution that does not stabilise": (
        "linalg/_implicit.py",
        "good = factors.regular & (last <= eps**0.4 * norm(x))",
        "good = last <= jnp.inf",
        f"{EQUATIONS}riccati_without_a_stabilising_solution",
    ),
    "parts in reverse": (
        "rules/_matrix_function.py",
        "tuple(map(_transposed, reversed(parts)))",
        "tuple(map(_transposed, parts))",
        f"{HARD}derivatives_are_those_of_forty_digits[expm]",
    ),
    "overscaling": (
        "linalg/_expm.py",
        "more = halvings(size,",
        "more = halvings(jnp.log2(n1),",
        f"{HARD}expm_is_not_scaled_too_far",
    ),
    "coalescing eigenvalues": (
        "linalg/_divided_differences.py",
        "closer & jnp.isfinite(rounding), True)",
        "False, True)",
        "tests/linalg/test_spectral_function.py::test_derivatives_are_right_at_hard_matrices[log]",
    ),
    "vectors of a repeated eigenvalue": (
        "linalg/_eigh.py",
        "jnp.sum(_repeated(w), 0) == 1",
        "jnp.sum(_repeated(w), 0) > 0",
        "tests/linalg/test_eigh.py::test_vectors_of_a_repeated_eigenvalue_are_loud",
    ),
    "signs of an adjugate": (
        "linalg/_det.py",
        "return -1 if swaps % 2 else 1",
        "return 1",
        "tests/linalg/test_det.py::test_derivatives_are_right_at_any_rank",
    ),
    "no logarithm": (
        "linalg/_logm.py",
        "found & enough)",
        "jnp.asarray(True))",
        "tests/linalg/test_logarithm.py::test_what_has_no_logarithm_is_nan_in_its_lane",
    ),
    "change of range": (
        "linalg/_pinv.py",
        "return x, beyond - product",
        "return x, -product",
        "tests/linalg/test_pinv.py::test_derivatives_are_right_at_deficient_rank",
    ),
}
# And for models of economics.
MODELS = "tests/economics/test_"
ECONOMICS = {
    "covariance with a negative eigenvalue": (
        "economics/_state_space.py",
        "symmetric & (lowest >= -tolerance)",
        "symmetric",
        f"{MODELS}kalman.py::test_traced_measurement_covariance_that_is_none_gives_no_likelihood",
    ),
    "sign of the impact": (
        "economics/_first_order.py",
        "-solved[:, leads.size :]",
        "solved[:, leads.size :]",
        f"{MODELS}economies.py::test_law_in_closed_form",
    ),
    "law that is not the only one": (
        "economics/_verdict.py",
        "Verdict.where(unique & stable, Verdict.determinate, found)",
        "Verdict.where(stable, Verdict.determinate, found)",
        f"{MODELS}economies.py::test_taylor_principle_decides",
    ),
    "steady state that is not isolated": (
        "economics/_first_order.py",
        "(result == Verdict.determinate) & ~found.isolated",
        "(result == Verdict.failed) & ~found.isolated",
        f"{MODELS}steady_state.py::test_double_root_is_no_steady_state",
    ),
    "part of a steady state that the rest does not go with": (
        "economics/_steady_state.py",
        "near = close(",
        "near = jnp.asarray(True) | close(",
        f"{MODELS}steady_state.py::test_values_that_the_others_do_not_go_with_are_refused",
    ),
    "covariance of an explosive law": (
        "economics/_covariance.py",
        "marked((v + v.T) / 2, _is_covariance(jax.lax.stop_gradient(own)))",
        "(v + v.T) / 2",
        f"{MODELS}kalman.py::test_explosive_law_has_no_stationary_prior",
    ),
    "missing data": (
        "economics/_update.py",
        "jnp.where(seen[:, None], inverse, 0)",
        "inverse",
        f"{MODELS}kalman.py::test_log_likelihood_is_the_density_of_all_that_is_seen",
    ),
    "singular forecast": (
        "economics/_update.py",
        "jnp.min(added, initial=1) > _ROUNDING",
        "jnp.min(added, initial=1) > -_ROUNDING",
        f"{MODELS}kalman.py::test_forecast_that_is_singular_but_for_rounding_is_none",
    ),
    "Joseph's form": (
        "economics/_update.py",
        "stop_gradient(_joseph(given, cov, gain, p, r) - short)",
        "0",
        f"{MODELS}kalman.py::test_vague_prior_leaves_covariances_positive",
    ),
    "derivative of a likelihood that does not exist": (
        "economics/_kalman.py",
        "throw) if throw else _or_never(value, good)",
        "throw) if throw else jnp.where(good, value, -jnp.inf)",
        f"{MODELS}kalman.py::test_failure_is_minus_infinity_with_nan_derivatives",
    ),
    "gain that is not yet steady": (
        "economics/_steady_gain.py",
        "good & ~near, _FAR",
        "good & near & ~near, _FAR",
        f"{MODELS}steady_gain.py::test_covariance_far_from_its_limit_is_loud",
    ),
    "errors of measurement": (
        "economics/_smoother.py",
        "whitener.T @ white - gain.T @ r",
        "whitener.T @ white + gain.T @ r",
        f"{MODELS}smoother.py::test_smoother_gives_the_conditional_moments",
    ),
    "price of risk": (
        "economics/_second_order.py",
        "-jnp.linalg.solve(g + a, pushed)",
        "-jnp.linalg.solve(g, pushed)",
        f"{MODELS}second_order.py::test_all_terms_agree_with_dense_products",
    ),
    "pruning": (
        "economics/_second_order.py",
        "of_states, first, first)",
        "of_states, first + second, first + second)",
        f"{MODELS}second_order.py::test_paths_are_pruned",
    ),
    "slope of bounded parameters": (
        "economics/_transforms.py",
        "return jnp.log(upper - lower) - _softplus(u) - _softplus(-u)",
        "return -_softplus(u) - _softplus(-u)",
        f"{MODELS}transforms.py::test_log_det_is_that_of_the_jacobian_of_the_vector",
    ),
    "moments of each lag": (
        "economics/_decompositions.py",
        "return product(x[:, s], now[s]), now",
        "return product(x[:, s], now[s]), v",
        f"{MODELS}identification.py::test_jacobian_is_that_of_the_closed_form",
    ),
}
MUTATIONS = TRAPS | RULE | OTHERS | CHECKS | SOLVED | LINALG | ECONOMICS


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_is_noticed(name, tmp_path):
    file, old, new, test = MUTATIONS[name]
    shutil.copytree(ROOT / "src" / "dini", tmp_path / "dini")
    path = tmp_path / "dini" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{file} has {text.count(old)} places for this mutation"
    path.write_text(text.replace(old, new))
    command = ["-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", test]
    done = python(*command, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout[-2000:]
    assert "1 failed" in done.stdout
