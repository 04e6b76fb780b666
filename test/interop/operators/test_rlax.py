"""pmpo.rlax against rlax's own MPO loss, and against PMPO written by hand with rlax's constraints."""

import unittest

import installed

installed.folder()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import rlax  # noqa: E402

import pmpo  # noqa: E402
import pmpo.rlax  # noqa: E402

jax.config.update("jax_enable_x64", True)


class RlaxTest(unittest.TestCase):
    def setUp(self):
        rng = np.random.default_rng(1)
        # E* is [3, 2], with 4 samples on axis 1.
        self.log_probs, self.q = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2))
        self.kl, self.whole = np.abs(rng.normal(size=(2, 3, 2, 5))), np.abs(rng.normal(size=(3, 2)))
        self.duals = {"temperature": jnp.asarray(2.0), "kl": jnp.asarray([3.0, 0.7])}

    def check(self, theirs, ours):
        arguments = (self.log_probs, self.kl, self.duals)
        per_example = jax.jit(theirs)(*arguments)
        found = jax.jit(lambda *x: ours(*x)[0])(*arguments)
        self.assertEqual(found.shape, (3, 2))
        np.testing.assert_allclose(found, per_example, rtol=1e-5, atol=1e-6)
        total = lambda f: jax.jit(jax.grad(lambda *x: jnp.mean(f(*x)), argnums=(0, 1, 2)))(*arguments)  # noqa: E731
        expected = total(theirs)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), total(lambda *x: ours(*x)[0]), expected)

    def constraints(self, kl, duals):
        return [(kl[i], rlax.LagrangePenalty(duals["kl"][i], epsilon, True)) for i, epsilon in enumerate((0.1, 0.01))]

    def test_mpo_is_rlaxs(self):
        def by(loss):
            def of(log_probs, kl, duals):
                temperature = rlax.LagrangePenalty(duals["temperature"], 0.2)
                return loss(log_probs, self.q, temperature, self.constraints(kl, duals), sample_axis=1)

            return of

        self.check(lambda *x: by(rlax.mpo_loss)(*x)[0], by(pmpo.rlax.mpo_loss))

    def test_one_constraint_for_the_whole_kl(self):
        penalty = rlax.LagrangePenalty(jnp.asarray(1.5), 0.05)
        temperature = rlax.LagrangePenalty(jnp.asarray(2.0), 0.2)
        arguments = (self.log_probs, self.q, temperature, [(self.whole, penalty)])
        np.testing.assert_allclose(pmpo.rlax.mpo_loss(*arguments, sample_axis=1)[0], rlax.mpo_loss(*arguments, sample_axis=1)[0], rtol=1e-5)

    def test_pmpo_by_hand(self):
        value = self.q.mean(1, keepdims=True)
        accept, reject = self.q > value, self.q < value

        def by_hand(log_probs, kl, duals):
            loss = 0.0
            for i, epsilon in enumerate((0.1, 0.01)):
                dual = duals["kl"][i]
                penalty = jax.lax.stop_gradient(dual) * kl[i] + dual * (epsilon - jax.lax.stop_gradient(kl[i]))
                loss += penalty.sum(-1)
            mean = lambda side: (side * log_probs).sum(1) / side.sum(1)  # noqa: E731
            return loss - 0.3 * mean(accept) + 0.7 * mean(reject)

        self.check(by_hand, lambda x, kl, d: pmpo.rlax.pmpo_loss(x, self.q, None, self.constraints(kl, d), sample_axis=1, alpha=0.3))

    def test_three_constraints_are_refused(self):
        constraints = self.constraints(self.kl, self.duals)
        with self.assertRaisesRegex(pmpo.PmpoError, "kl_constraints has 3 entries"):
            pmpo.rlax.pmpo_loss(self.log_probs, self.q, None, [*constraints, constraints[0]], sample_axis=1)


if __name__ == "__main__":
    unittest.main()
