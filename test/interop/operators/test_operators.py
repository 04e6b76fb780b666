"""The Python package against operators written by hand, PyTorch's compiler, JAX and rlax."""

import copy
import inspect
import pathlib
import pickle
import subprocess
import sys
import tempfile
import unittest

import installed

installed.folder()

import by_hand  # noqa: E402
import draws  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch._dynamo  # noqa: E402

import pmpo  # noqa: E402
from pmpo._batch import Checker, Given  # noqa: E402
from pmpo._torch import call_of, torch_arrays  # noqa: E402

jax.config.update("jax_enable_x64", True)
CASES = 50
torch.set_num_threads(1)
GAUSSIAN = ("mean", "covariance")


def arrays(tree):
    """The tensors of a batch or a state as NumPy arrays."""
    return {k: arrays(v) if isinstance(v, dict) else v.detach().numpy() for k, v in tree.items()}


def weight_or_bound(d):
    """A weight or a bound of a part of the KL, by chance."""
    return d.uniform(0.1, 5) if d.uniform(0, 1) < 0.5 else {"epsilon": d.uniform(0.001, 0.1), "initial_weight": d.uniform(0.5, 20)}


def state_of(operator, batch, d, bounds=False):
    """A state of the operator for a batch, moved from its start."""
    sizes = {part: values.shape[1] for part, values in (batch.get("decoupled_kl") or batch["kl"]).items()}
    module = operator.torch_state(sizes, bound_violation=bounds, dtype=d.dtype)
    return {name: (x.detach() + 0.3 * d.normal(*x.shape)).requires_grad_() for name, x in module.tensors().items()}


def pmpo_case(d):
    parts = (("sequence",), ("categorical",), GAUSSIAN)[d.integer(0, 2)]
    batch, alpha = d.batch(parts), (0.0, 1.0, d.uniform(0, 1))[d.integer(0, 2)]
    beta, kl = d.uniform(0, 4), {part: weight_or_bound(d) for part in parts if d.uniform(0, 1) < 0.6}
    operator = pmpo.operators.pmpo(alpha=alpha, beta=beta, kl=kl)
    state = state_of(operator, batch, d)
    weights = {part: kl.get(part, beta) for part in parts}
    return operator, batch, state, by_hand.pmpo(batch, alpha, weights, state)


def pmpo_variant_case(d):
    parts = (("sequence",), ("categorical",), GAUSSIAN)[d.integer(0, 2)]
    batch, alpha, beta, reverse = d.batch(parts), d.uniform(0, 1), d.uniform(0, 4), d.uniform(0, 1) < 0.5
    normalise = ("context", "batch")[d.integer(0, 1)]
    per_token = parts == ("sequence",) and d.uniform(0, 1) < 0.5
    scale = None if per_token or d.uniform(0, 1) < 0.4 else d.uniform(0.2, 3)
    operator = pmpo.operators.pmpo(
        alpha=alpha, beta=beta, reverse_kl=reverse, normalise=normalise, per_token=per_token, advantage_scale=scale
    )
    weights = {part: beta for part in parts}
    return operator, batch, {}, by_hand.pmpo(batch, alpha, weights, {}, normalise, per_token, scale, reverse)


def mpo_case(d):
    parts = (("sequence",), ("categorical",), GAUSSIAN)[d.integer(0, 2)]
    decoupled, bounds = parts == GAUSSIAN and d.integer(0, 1) == 1, parts == GAUSSIAN and d.integer(0, 1) == 1
    batch, epsilon, penalty = d.batch(parts, decoupled, bounds), d.uniform(0.01, 0.5), d.uniform(1e-4, 1e-2)
    kl = {part: {"epsilon": d.uniform(1e-4, 0.1), "initial_weight": d.uniform(0.5, 20)} for part in parts}
    off = d.uniform(0, 1) < 0.3
    operator = pmpo.operators.mpo(epsilon=epsilon, kl=kl, action_penalty=None if off else {"epsilon": penalty})
    state = state_of(operator, batch, d, bounds)
    used = penalty if bounds and not off else None
    return operator, batch, state, by_hand.mpo(batch, epsilon, used, kl, state)


def kto_case(d):
    batch = d.batch((("sequence",), ("categorical",), GAUSSIAN)[d.integer(0, 2)])
    settings = d.uniform(0.01, 3), d.uniform(0, 2), d.uniform(0, 2)
    operator = pmpo.operators.kto(beta=settings[0], desirable_weight=settings[1], undesirable_weight=settings[2])
    return operator, batch, {}, by_hand.kto(batch, *settings)


def kto_mismatched_case(d):
    batch, beta = d.batch(), d.uniform(0.01, 3)
    operator = pmpo.operators.kto(beta=beta, reference_point="mismatched")
    return operator, batch, {}, by_hand.kto(batch, beta, 1, 1, mismatched=True)


def dpo_case(d):
    batch, beta, pairs = d.batch(), d.uniform(0.01, 3), ("best-worst", "all")[d.integer(0, 1)]
    return pmpo.operators.dpo(beta=beta, pairs=pairs), batch, {}, by_hand.dpo(batch, beta, pairs == "all")


def ipo_case(d):
    batch, beta, per_token = d.batch(), d.uniform(0.05, 3), d.uniform(0, 1) < 0.5
    return pmpo.operators.ipo(beta=beta, per_token=per_token), batch, {}, by_hand.ipo(batch, beta, per_token)


def cpo_case(d):
    batch, settings = d.batch(), (d.uniform(0.05, 3), d.uniform(0, 2), d.uniform(0, 1) < 0.5)
    operator = pmpo.operators.cpo(beta=settings[0], likelihood_weight=settings[1], per_token=settings[2])
    return operator, batch, {}, by_hand.cpo(batch, *settings)


def simpo_case(d):
    batch, beta, gamma = d.batch(), d.uniform(0.1, 5), d.uniform(0, 2)
    return pmpo.operators.simpo(beta=beta, gamma=gamma), batch, {}, by_hand.simpo(batch, beta, gamma)


def orpo_case(d):
    batch, weight = d.batch(), d.uniform(0, 2)
    # Sequences have probabilities, so their log-probs are below 0.
    batch["log_prob"] = (-batch["log_prob"].detach().abs() - 0.01).requires_grad_()
    return pmpo.operators.orpo(odds_weight=weight), batch, {}, by_hand.orpo(batch, weight)


def grpo_case(d):
    batch, per_token = d.batch(), d.uniform(0, 1) < 0.5
    epsilon, beta = d.uniform(0.05, 0.5), (0.0, d.uniform(0, 0.2))[d.integer(0, 1)]
    operator = pmpo.operators.grpo(epsilon=epsilon, beta=beta, per_token=per_token)
    return operator, batch, {}, by_hand.grpo(batch, epsilon, beta, per_token)


def reinforce_case(d):
    batch = d.batch()
    return pmpo.operators.reinforce(), batch, {}, by_hand.reinforce(batch)


def awr_case(d):
    batch, beta, largest = d.batch(), d.uniform(0.2, 3), d.uniform(1, 20)
    return pmpo.operators.awr(beta=beta, max_weight=largest), batch, {}, by_hand.awr(batch, beta, largest)


def crr_case(d):
    batch, beta, largest = d.batch(), d.uniform(0.2, 3), d.uniform(1, 20)
    filter = ("binary", "exponential")[d.integer(0, 1)]
    return pmpo.operators.crr(filter=filter, beta=beta, max_weight=largest), batch, {}, by_hand.crr(batch, filter, beta, largest)


def rejection_sampling_case(d):
    batch = d.batch()
    return pmpo.operators.rejection_sampling(), batch, {}, by_hand.rejection_sampling(batch)


def v_mpo_case(d):
    parts = (("sequence",), ("categorical",), GAUSSIAN)[d.integer(0, 2)]
    batch = d.batch(parts, decoupled=parts == GAUSSIAN and d.integer(0, 1) == 1)
    epsilon, fraction = d.uniform(0.01, 0.5), (1.0, d.uniform(0.1, 1))[d.integer(0, 1)]
    kl = {part: {"epsilon": d.uniform(1e-4, 0.1), "initial_weight": d.uniform(0.5, 20)} for part in parts}
    operator = pmpo.operators.v_mpo(epsilon=epsilon, top_fraction=fraction, kl=kl)
    state = state_of(operator, batch, d)
    return operator, batch, state, by_hand.v_mpo(batch, epsilon, fraction, kl, state)


def behavior_cloning_case(d):
    batch = d.batch()
    return pmpo.operators.behavior_cloning(), batch, {}, by_hand.behavior_cloning(batch)


CASES_BY_NAME = {
    "awr": awr_case,
    "behavior_cloning": behavior_cloning_case,
    "cpo": cpo_case,
    "crr": crr_case,
    "dpo": dpo_case,
    "grpo": grpo_case,
    "ipo": ipo_case,
    "kto": kto_case,
    "mpo": mpo_case,
    "orpo": orpo_case,
    "pmpo": pmpo_case,
    "reinforce": reinforce_case,
    "rejection_sampling": rejection_sampling_case,
    "simpo": simpo_case,
    "v_mpo": v_mpo_case,
}


class AgainstTorchByHand(unittest.TestCase):
    """Loss and every gradient at 50 random shapes and settings, half of them in float32 and half in float64."""

    def check(self, case):
        for seed in range(CASES):
            d = draws.Draws(seed, torch.float32 if seed % 2 == 0 else torch.float64)
            operator, batch, state, expected = case(d)
            named = draws.leaves(batch, state)
            loss, metrics = operator.torch(**batch, state=state)
            with self.subTest(seed=seed, operator=operator):
                tolerance = 1e-6 if d.dtype == torch.float32 else 1e-9
                self.assertLessEqual(abs(loss - expected).item(), tolerance * max(1, abs(expected.item())))
                ours, theirs = draws.gradients(loss, named), draws.gradients(expected, named)
                for name in named:
                    self.assertTrue(ours[name].isfinite().all(), name)
                    scale = max(1, theirs[name].abs().max().item())
                    self.assertLessEqual((ours[name] - theirs[name]).abs().max().item(), tolerance * scale, name)
                self.assertFalse(any(value.requires_grad for value in metrics.values()))
                self.in_numpy(operator, batch, state, loss.detach(), ours)
                # XLA compiles anew for each shape, which takes most of the time of this suite.
                if seed < 4:
                    self.in_jax(operator, batch, state, loss.detach(), ours)

    def in_numpy(self, operator, batch, state, loss, gradients):
        found = operator.numpy(**arrays(batch), state=arrays(state))
        tolerance = 2e-6 if loss.dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(found.loss, loss, rtol=tolerance, atol=tolerance)
        for name, gradient in found.gradients.items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=tolerance, atol=tolerance, err_msg=name)

    def in_jax(self, operator, batch, state, loss, gradients):
        plain = arrays(batch)
        differentiable = {k: plain.pop(k) for k in ("log_prob", "kl", "reverse_kl", "decoupled_kl", "decoupled_log_prob") if k in plain}
        of = lambda x, s: operator.jax(**x, **plain, state=s).loss  # noqa: E731
        value, (in_batch, in_state) = jax.jit(jax.value_and_grad(of, argnums=(0, 1)))(differentiable, arrays(state))
        tolerance = 2e-6 if loss.dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(value, loss, rtol=tolerance, atol=tolerance)
        for name, gradient in draws.leaves(in_batch, in_state).items():
            np.testing.assert_allclose(gradient, gradients[name], rtol=tolerance, atol=tolerance, err_msg=name)

    def test_every_operator_has_a_case(self):
        self.assertEqual(sorted(CASES_BY_NAME), sorted(pmpo.operators.__all__))


for _name, _case in {**CASES_BY_NAME, "variants_of_pmpo": pmpo_variant_case, "kto_mismatched": kto_mismatched_case}.items():
    setattr(AgainstTorchByHand, f"test_{_name}", lambda self, case=_case: self.check(case))


class AgainstRlax(unittest.TestCase):
    def test_mpo(self):
        import rlax

        rng = np.random.default_rng(0)
        for seed in range(4):
            n, b, d = rng.integers(2, 9), rng.integers(1, 8), rng.integers(1, 4)
            epsilon, bound = rng.uniform(0.05, 0.5), rng.uniform(0.001, 0.1)
            log_prob, values = rng.normal(size=(n, b)), rng.normal(size=(n, b))
            kl, operator = np.abs(rng.normal(size=(b, d))), pmpo.operators.mpo(epsilon=epsilon, kl={"categorical": {"epsilon": bound, "initial_weight": 2}})
            state = jax.tree.map(jnp.asarray, operator.numpy_state({"categorical": int(d)}, dtype=np.float64))

            def by_rlax(log_prob, kl, state):
                positive = lambda x: jnp.clip(x, 1e-10)  # noqa: E731
                losses, _ = rlax.mpo_loss(
                    log_prob,
                    values,
                    rlax.LagrangePenalty(jnp.exp(state["logTemperature"])[0], epsilon),
                    [(kl, rlax.LagrangePenalty(jnp.exp(state["logKlWeight/categorical"]), bound, True))],
                    projection_operator=positive,
                )
                return jnp.mean(losses)

            def by_pmpo(log_prob, kl, state):
                return operator.jax(log_prob, evaluation=values, kl={"categorical": kl}, state=state).loss

            with self.subTest(seed=seed):
                theirs = jax.jit(jax.value_and_grad(by_rlax, argnums=(0, 1, 2)))(log_prob, kl, state)
                ours = jax.jit(jax.value_and_grad(by_pmpo, argnums=(0, 1, 2)))(log_prob, kl, state)
                jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), ours, theirs)


class Compilers(unittest.TestCase):
    @torch._dynamo.config.patch(error_on_recompile=True)
    def test_torch_compile_without_breaks_and_with_dynamic_shapes(self):
        operator = pmpo.operators.pmpo(alpha=0.3, beta=2.0)

        @torch.compile(fullgraph=True, dynamic=True, backend="aot_eager")
        def compiled(log_prob, accept, reject, mask, kl):
            return operator.torch(log_prob, accept=accept, reject=reject, mask=mask, kl=kl).loss

        for seed, (n, b) in enumerate(((4, 6), (3, 5), (7, 2))):
            torch.manual_seed(seed)
            log_prob, mask, accept = torch.randn(n, b), torch.rand(n, b) < 0.8, torch.rand(n, b) < 0.5
            log_prob[~mask] = torch.nan
            log_prob, kl = log_prob.requires_grad_(), torch.rand(b, 1).requires_grad_()
            arguments = log_prob, accept, ~accept, mask, kl
            eager = operator.torch(log_prob, accept=accept, reject=~accept, mask=mask, kl=kl).loss
            loss = compiled(*arguments)
            self.assertAlmostEqual(loss.item(), eager.item(), places=6)
            for ours, theirs in zip(torch.autograd.grad(loss, (log_prob, kl)), torch.autograd.grad(eager, (log_prob, kl))):
                self.assertTrue(ours.isfinite().all())
                torch.testing.assert_close(ours, theirs)

    def test_torch_compile_of_every_operator(self):
        d = draws.Draws(3, torch.float32)
        for case in CASES_BY_NAME.values():
            torch._dynamo.reset()
            operator, batch, state, _ = case(d)
            compiled = torch.compile(lambda x, s: operator.torch(**x, state=s).loss, fullgraph=True, backend="eager")  # noqa: B023
            with self.subTest(operator=operator.name):
                torch.testing.assert_close(compiled(batch, state), operator.torch(**batch, state=state).loss)

    def test_torch_vmap_and_grad(self):
        operator = pmpo.operators.kto(beta=0.5)
        log_prob, reference, accept = torch.randn(3, 4, 6), torch.randn(4, 6), torch.rand(4, 6) < 0.5
        of = lambda x: operator.torch(x, reference, accept=accept, reject=~accept, kl=torch.ones(6)).loss  # noqa: E731
        found = torch.func.vmap(torch.func.grad(of))(log_prob)
        for x, gradient in zip(log_prob, found):
            torch.testing.assert_close(gradient, torch.func.grad(of)(x))

    def test_jax_jit_and_vmap(self):
        operator = pmpo.operators.pmpo(alpha=0.3)
        log_prob, accept = np.random.default_rng(0).normal(size=(3, 4, 6)), np.arange(24).reshape(4, 6) % 2
        mask = np.ones((4, 6))
        mask[0, 0], log_prob[:, 0, 0] = 0, np.nan
        of = lambda x: operator.jax(x, accept=accept, reject=1 - accept, mask=mask, kl=jnp.ones(6)).loss  # noqa: E731
        gradient = jax.grad(of)
        found = jax.jit(jax.vmap(gradient))(log_prob)
        self.assertTrue(np.isfinite(found).all())
        for x, one in zip(log_prob, found):
            np.testing.assert_allclose(one, gradient(x), rtol=1e-6)


class ElementTypesAndLayouts(unittest.TestCase):
    def test_bfloat16_is_computed_in_float32(self):
        operator = pmpo.operators.pmpo()
        log_prob = torch.randn(4, 6).to(torch.bfloat16).requires_grad_()
        kl, accept = torch.rand(6, dtype=torch.bfloat16).requires_grad_(), torch.rand(4, 6) < 0.5
        loss, _ = operator.torch(log_prob, accept=accept, reject=~accept, kl=kl)
        exact, _ = operator.torch(log_prob.detach().float(), accept=accept, reject=~accept, kl=kl.detach().float())
        self.assertEqual((loss.dtype, loss.item()), (torch.float32, exact.item()))
        loss.backward()
        self.assertEqual((log_prob.grad.dtype, kl.grad.dtype), (torch.bfloat16, torch.bfloat16))
        self.assertEqual(operator.jax(jnp.ones((2, 3), jnp.bfloat16), accept=np.ones((2, 3)), reject=np.zeros((2, 3)), kl=np.ones(3)).loss.dtype, jnp.float32)

    def test_contexts_first(self):
        operator = pmpo.operators.dpo()
        d = draws.Draws(5, torch.float64)
        batch = d.batch()
        turned = {key: value.detach().T if torch.is_tensor(value) else value for key, value in batch.items()}
        turned["log_prob"] = turned["log_prob"].clone().requires_grad_()
        one, two = operator.torch(**batch).loss, operator.torch(**turned, layout="BN").loss
        self.assertEqual(one.item(), two.item())
        one.backward()
        two.backward()
        self.assertTrue(torch.equal(batch["log_prob"].grad, turned["log_prob"].grad.T))
        found = operator.numpy(**arrays(turned), layout="BN")
        self.assertEqual(found.gradients["log_prob"].shape, tuple(turned["log_prob"].shape))


class Metrics(unittest.TestCase):
    def test_may_be_left_out(self):
        d = draws.Draws(9, torch.float32)
        for case in CASES_BY_NAME.values():
            operator, batch, state, _ = case(d)
            whole, alone = operator.torch(**batch, state=state), operator.torch(**batch, state=state, metrics=False)
            with self.subTest(operator=operator.name):
                self.assertTrue(torch.equal(whole.loss, alone.loss))
                self.assertEqual(alone.metrics, {})
                self.assertIn("policy/loss" if "policy/loss" in whole.metrics else "policy/kl", whole.metrics)

    def test_of_a_compiled_call_have_their_names(self):
        operator, x = pmpo.operators.pmpo(), torch.rand(3, 4)
        call = lambda x: operator.torch(-x, accept=(x > 0.5), reject=(x <= 0.5), kl=x[0])  # noqa: E731
        eager, compiled = call(x).metrics, torch.compile(call, backend="eager", fullgraph=True)(x).metrics
        self.assertEqual(list(compiled), list(eager))
        for name, value in eager.items():
            torch.testing.assert_close(compiled[name], value)


class ArgMax(unittest.TestCase):
    """Every library gives NumPy's answer: the first of equal ones, or the first NaN."""

    def test_of_ties_and_nan(self):
        from pmpo._libraries import jax_library, torch_library, traced_torch_library

        nan = float("nan")
        planes = [
            np.array([[1, nan, 3, nan, 2], [2, 5, nan, 1, 2], [2, 6, 3, nan, 1]], np.float32),
            np.array([[1, 2], [3, 2], [3, 1]], np.int32),
            np.full((1, 2), -np.inf, np.float32),
        ]
        for x in planes:
            for axis in (0, 1, -1):
                for keepdims in (False, True):
                    expected = np.argmax(x, axis, keepdims=keepdims)
                    of_jax = lambda x: jax_library().argmax(x, axis, keepdims)  # noqa: B023, E731
                    found = {
                        "jax": jax.jit(of_jax)(x),
                        "vmap": jax.vmap(of_jax)(x[None])[0],
                        "traced torch": traced_torch_library().argmax(torch.from_numpy(x), axis, keepdims),
                        "torch": torch.from_numpy(x).max(axis, keepdims)[1],
                        "torch function": torch_library().argmax(torch.from_numpy(x), axis, keepdims),
                    }
                    for library, places in found.items():
                        np.testing.assert_array_equal(np.asarray(places), expected, f"{library}, axis {axis}")


class QuickCalls(unittest.TestCase):
    """Eager PyTorch takes most calls without the full check, which must agree with it."""

    def cases(self):
        for name, case in CASES_BY_NAME.items():
            for seed in range(8):
                d = draws.Draws(seed, torch.float32 if seed % 2 == 0 else torch.float64)
                operator, batch, state, _ = case(d)
                yield f"{name} {seed}", operator, {**dict.fromkeys(Given._fields), "state": state, "layout": "NB", **batch}

    def both(self, operator, arguments):
        """What a quick call reads, and what the check makes of the same arguments; None for a refusal."""
        given = Given(**arguments)
        chosen = operator._chosen_for(given)
        reverse = operator._feeds_reverse(chosen.file)
        call = call_of(chosen, metrics=True)
        try:
            checked = Checker(chosen.file, chosen.needs, torch_arrays, given, reverse).inputs()
        except pmpo.PmpoError:
            checked = None
        return call.names, call.quick_inputs(given, reverse), checked

    def test_read_what_the_check_makes_of_the_arguments(self):
        for name, operator, arguments in self.cases():
            with self.subTest(name):
                names, quick, checked = self.both(operator, arguments)
                for key in names:
                    torch.testing.assert_close(quick[key], checked[key], rtol=0, atol=0, equal_nan=True)

    def test_leave_what_is_refused_to_the_check(self):
        refused = 0
        faults = (None, lambda x: x[:-1], lambda x: x[None], lambda x: x.to(torch.complex64), lambda x: x.tolist())
        for name, operator, arguments in self.cases():
            for field in Given._fields:
                if not torch.is_tensor(arguments[field]):
                    continue
                for i, fault in enumerate(faults):
                    wrong = None if fault is None else fault(arguments[field].detach())
                    _, quick, checked = self.both(operator, {**arguments, field: wrong})
                    if checked is None:
                        refused += 1
                        self.assertIsNone(quick, f"{name}, {field}, fault {i}")
        self.assertGreater(refused, 1000)


class Calls(unittest.TestCase):
    """Constants are kept between calls, and a call must see those of its own lengths, element type and mode."""

    def test_of_other_lengths_and_types_by_turns(self):
        operator = pmpo.operators.dpo()
        for _ in range(2):
            for dtype in (torch.float32, torch.float64):
                for n, b in ((2, 3), (4, 3), (4, 5)):
                    log_prob = torch.randn(n, b, dtype=dtype, requires_grad=True)
                    accept = torch.arange(n * b).reshape(n, b) % 2 == 0
                    arguments = {"accept": accept, "reject": ~accept, "evaluation": torch.randn(n, b)}
                    loss = operator.torch(log_prob, torch.zeros(n, b), **arguments).loss
                    loss.backward()
                    plain = {name: value.numpy() for name, value in arguments.items()}
                    found = operator.numpy(log_prob.detach().numpy(), np.zeros((n, b)), **plain)
                    np.testing.assert_allclose(loss.item(), found.loss, rtol=1e-6)
                    np.testing.assert_allclose(log_prob.grad, found.gradients["log_prob"], rtol=1e-5, atol=1e-7)

    def test_in_inference_mode_first(self):
        operator, x = pmpo.operators.awr(), torch.randn(3, 4)
        with torch.inference_mode():
            inside = operator.torch(x, evaluation=x).loss
        log_prob = x.clone().requires_grad_()
        loss = operator.torch(log_prob, evaluation=x).loss
        loss.backward()
        self.assertEqual(loss.item(), inside.item())
        self.assertTrue(log_prob.grad.abs().sum() > 0)


class Sequences(unittest.TestCase):
    def test_rejected_ones_are_held_at_a_floor_if_the_operators_file_asks_for_it(self):
        from pmpo._sequences import held_at_floor

        log_prob = torch.tensor([-1.0, -9.0], requires_grad=True)
        rejected, reference = torch.ones(2, dtype=torch.bool), torch.zeros(2)
        for operator, expected in ((pmpo.operators.pmpo(), [1.0, 0.0]), (pmpo.operators.kto(), [1.0, 1.0])):
            held = held_at_floor(operator, log_prob, reference, rejected, 0.01)
            (gradient,) = torch.autograd.grad(held.sum(), log_prob)
            self.assertEqual(gradient.tolist(), expected)


class State(unittest.TestCase):
    def test_is_trained_and_projected(self):
        operator = pmpo.operators.pmpo(kl={"mean": {"epsilon": 0.01, "initial_weight": 2.0}})
        state = operator.torch_state({"mean": 3, "covariance": 3})
        self.assertEqual([tuple(x.shape) for x in state.parameters()], [(3,)])
        torch.testing.assert_close(state.tensors()["logKlWeight/mean"].exp(), torch.full((3,), 2.0))
        optimizer = torch.optim.SGD(state.parameters(), lr=1e4)
        ones = torch.ones(2, 4)
        kl = {"mean": torch.full((4, 3), 0.5), "covariance": torch.full((4, 3), 0.5)}
        operator.torch(ones, accept=ones, reject=ones * 0, kl=kl, state=state).loss.backward()
        optimizer.step()
        before = state.tensors()["logKlWeight/mean"].clone()
        state.project()
        self.assertTrue((before > 18).all() and (state.tensors()["logKlWeight/mean"] == 18).all())
        self.assertEqual(list(state.state_dict()), ["logKlWeight__mean"])

    def test_is_copied_and_pickled_after_use(self):
        state = pmpo.operators.pmpo(kl={"sequence": {"epsilon": 0.01}}).torch_state({"sequence": 1})
        ones = torch.ones(2, 4)
        use = lambda state: pmpo.operators.pmpo(kl={"sequence": {"epsilon": 0.01}}).torch(ones, accept=ones, reject=0 * ones, kl=ones[0], state=state)  # noqa: E731
        use(state).loss.backward()
        state.project()
        for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
            self.assertEqual(use(other).loss.item(), use(state).loss.item())
            other.project()

    def test_of_jax_is_a_pytree_with_its_projection(self):
        operator = pmpo.operators.mpo()
        state = operator.jax_state({"categorical": 5})
        self.assertEqual({name: x.shape for name, x in state.items()}, {"logTemperature": (1,), "logKlWeight/categorical": (5,)})
        projected = jax.jit(operator.project_state)(jax.tree.map(lambda x: x + 100, state))
        self.assertTrue(all((x == 18).all() for x in projected.values()))


class Errors(unittest.TestCase):
    def refused(self, words, call):
        with self.assertRaises(pmpo.PmpoError) as caught:
            call()
        self.assertIn(words, str(caught.exception))

    def test_settings(self):
        o = pmpo.operators
        self.refused("operator pmpo, alpha: must be at most 1, not 2", lambda: o.pmpo(alpha=2))
        self.refused("operator pmpo, beta: must be finite, not nan", lambda: o.pmpo(beta=float("nan")))
        self.refused("unknown setting 'men'. Did you mean 'mean'?", lambda: o.pmpo(kl={"men": 1}))
        self.refused("operator pmpo, kl.mean.epsilon: must be greater than 0", lambda: o.pmpo(kl={"mean": {"epsilon": 0}}))
        self.refused("operator kto, desirable_weight: must be a number", lambda: o.kto(desirable_weight="1"))

    def test_arrays(self):
        operator, x = pmpo.operators.pmpo(), torch.ones(2, 3)
        self.refused("log_prob: is float32 [3] on cpu. It must be [N, B]", lambda: operator.torch(x[0]))
        self.refused("log_prob: is int64 [2, 3] on cpu. It must be floating-point", lambda: operator.torch(x.long()))
        self.refused("reject: is missing, and pmpo needs it", lambda: operator.torch(x, accept=x, kl=x[0]))
        self.refused("kl: is missing", lambda: operator.torch(x, accept=x, reject=x))
        reverse = pmpo.operators.pmpo(reverse_kl=True)
        self.refused("reverse_kl: is missing, and pmpo needs it", lambda: reverse.torch(x, accept=x, reject=x, kl=x[0]))
        simpo = pmpo.operators.simpo()
        self.refused("length: is missing, and simpo needs it", lambda: simpo.torch(x, accept=x, reject=x))
        self.refused("reject: is float32 [3, 2] on cpu. It must be [N, B], [2, 3] like log_prob", lambda: operator.torch(x, accept=x, reject=x.T, kl=x[0]))
        self.refused("kl['sequence']: is float32 [2] on cpu. It must be [B, D] or [B], and log_prob holds B = 3", lambda: operator.torch(x, accept=x, reject=x, kl=x[:, 0]))
        self.refused("accept: is float32 [2, 3] on meta. Move it to cpu", lambda: operator.torch(x, accept=x.to("meta"), reject=x, kl=x[0]))
        self.refused("accept: is a numpy.ndarray. Give a torch.Tensor", lambda: operator.torch(x, accept=np.ones((2, 3)), reject=x, kl=x[0]))
        self.refused("has the unknown part 'eta'", lambda: operator.torch(x, accept=x, reject=x, kl=x[0], state={"eta": x}))
        # α = 1 needs no rejected samples, and α = 0 no accepted ones.
        pmpo.operators.pmpo(alpha=1).torch(x, accept=x, kl=x[0])
        pmpo.operators.pmpo(alpha=0).torch(x, reject=x, kl=x[0])

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "broken.onnx"
            self.refused("it cannot be read: No such file", lambda: pmpo.load(file))
            graph = next((installed.SOURCE / "pmpo" / "graphs").glob("dpo_*")).read_bytes()
            for damaged in (b"", b"\xff" * 40, graph[: len(graph) // 2]):
                file.write_bytes(damaged)
                self.refused("broken.onnx: it is", lambda: pmpo.load(file))


class Package(unittest.TestCase):
    def test_works_where_there_is_no_node_and_needs_neither_torch_nor_jax(self):
        code = (
            "import shutil, sys, numpy as np, pmpo; assert shutil.which('node') is None; x = np.ones((2, 3)); "
            "print(pmpo.operators.pmpo().numpy(x, accept=x, reject=x, kl=x[0]).loss, 'torch' in sys.modules, 'jax' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], env=installed.without_node(), capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.split(), ["1.0", "False", "False"])

    def test_source_distribution_holds_the_graphs(self):
        code = "import setuptools.build_meta as b, sys; print(b.build_sdist(sys.argv[1]))"
        with tempfile.TemporaryDirectory() as folder:
            source = installed.folder().parent / "source"
            subprocess.run([sys.executable, "-c", code, folder], cwd=source, check=True, capture_output=True)
            (archive,) = pathlib.Path(folder).iterdir()
            names = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout
        self.assertIn("pmpo/graphs/dpo_any_pairs-all.onnx", names)
        self.assertIn("pmpo/py.typed", names)

    def test_types(self):
        done = subprocess.run([sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "pmpo"], cwd=installed.SOURCE, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_defaults_are_those_of_the_graphs(self):
        for name in pmpo.operators.__all__:
            factory = getattr(pmpo.operators, name)
            settings = factory().settings
            for key, parameter in inspect.signature(factory).parameters.items():
                if isinstance(parameter.default, float):
                    with self.subTest(operator=name, setting=key):
                        file = factory()._files[0]
                        default = file.schema["properties"][pmpo._settings.camel(key)].get("default")
                        self.assertEqual(parameter.default, settings[key])
                        self.assertEqual(parameter.default, default if default is not None else file.values[pmpo._settings.camel(key)])


if __name__ == "__main__":
    unittest.main()
