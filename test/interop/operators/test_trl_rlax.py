"""The Python package against the losses of TRL and rlax, where they have them."""

import types
import unittest

import installed

installed.folder()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import pmpo  # noqa: E402

jax.config.update("jax_enable_x64", True)


class AgainstRlax(unittest.TestCase):
    def test_v_mpo(self):
        import rlax

        rng = np.random.default_rng(1)
        for seed in range(4):
            n, b, d = rng.integers(2, 7), rng.integers(1, 8), rng.integers(1, 4)
            epsilon, bound, fraction = rng.uniform(0.05, 0.5), rng.uniform(0.001, 0.1), (0.5, 1.0, 0.3, 0.8)[seed]
            if fraction * n * b < 1:
                continue
            log_prob, values = rng.normal(size=(n, b)), rng.normal(size=(n, b))
            kl = np.abs(rng.normal(size=(b, d)))
            operator = pmpo.operators.v_mpo(
                epsilon=epsilon, top_fraction=fraction, kl={"categorical": {"epsilon": bound, "initial_weight": 2}}
            )
            state = jax.tree.map(jnp.asarray, operator.numpy_state({"categorical": int(d)}, dtype=np.float64))

            def by_rlax(log_prob, kl, state):
                losses, _ = rlax.vmpo_loss(
                    log_prob,
                    jnp.asarray(values - values.mean(0)),
                    rlax.LagrangePenalty(jnp.exp(state["logTemperature"])[0], jnp.asarray(epsilon)),
                    [
                        (
                            jnp.broadcast_to(kl, (n, b, d)),
                            rlax.LagrangePenalty(jnp.exp(state["logKlWeight/categorical"]), jnp.asarray(bound), True),
                        )
                    ],
                    projection_operator=lambda x: jnp.clip(x, 1e-10),
                    top_k_fraction=fraction,
                )
                return jnp.mean(losses)

            def by_pmpo(log_prob, kl, state):
                return operator.jax(log_prob, evaluation=values, kl={"categorical": kl}, state=state).loss

            with self.subTest(seed=seed):
                theirs = jax.value_and_grad(by_rlax, argnums=(0, 1, 2))(log_prob, kl, state)
                ours = jax.value_and_grad(by_pmpo, argnums=(0, 1, 2))(log_prob, kl, state)
                jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), ours, theirs)


class AgainstTrl(unittest.TestCase):
    """The methods of TRL's trainers that compute a loss from log-probs, called without a model."""

    def setUp(self):
        torch.manual_seed(0)
        self.lengths = torch.randint(2, 30, (2, 6)).double()
        # Row 0 is accepted and row 1 rejected.
        self.log_prob = (-self.lengths * (0.1 + torch.rand(2, 6, dtype=torch.float64))).requires_grad_()
        self.reference = -self.lengths * (0.1 + torch.rand(2, 6, dtype=torch.float64))
        self.sides = {"accept": torch.tensor([[1.0], [0.0]]).expand(2, 6), "reject": torch.tensor([[0.0], [1.0]]).expand(2, 6)}

    def agree(self, operator, theirs, **given):
        ours = operator.torch(self.log_prob, **self.sides, **given).loss
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        gradients = (torch.autograd.grad(loss, self.log_prob, retain_graph=True)[0] for loss in (ours, theirs))
        torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)

    def cpo_trainer_loss(self, values, **settings):
        from trl.experimental.cpo import CPOTrainer

        device = types.SimpleNamespace(device="cpu")
        trainer = types.SimpleNamespace(alpha=0.0, label_smoothing=0.0, accelerator=device, **settings)
        return CPOTrainer.cpo_loss(trainer, values[0], values[1])[0].mean()

    def test_cpo(self):
        theirs = self.cpo_trainer_loss(self.log_prob, loss_type="sigmoid", beta=0.3)
        self.agree(pmpo.operators.cpo(beta=0.3, likelihood_weight=0), theirs)
        self.agree(pmpo.operators.cpo(beta=0.3), theirs - self.log_prob[0].mean())

    def test_simpo(self):
        theirs = self.cpo_trainer_loss(self.log_prob / self.lengths, loss_type="simpo", beta=2.5, simpo_gamma=0.7)
        self.agree(pmpo.operators.simpo(beta=2.5, gamma=0.7), theirs, length=self.lengths)

    def test_ipo(self):
        ratios = (self.log_prob - self.reference) / self.lengths
        theirs = self.cpo_trainer_loss(ratios, loss_type="ipo", beta=0.4)
        self.agree(
            pmpo.operators.ipo(beta=0.4, per_token=True), theirs, reference_log_prob=self.reference, length=self.lengths
        )

    def test_orpo(self):
        from trl.experimental.orpo import ORPOTrainer

        trainer = types.SimpleNamespace(beta=0.2, accelerator=types.SimpleNamespace(device="cpu"))
        mean = self.log_prob / self.lengths
        losses = ORPOTrainer.odds_ratio_loss(trainer, mean[0], mean[1])[0]
        # TRL computes odds in float32, and adds the mean log-prob of a token, here of each sequence.
        self.agree(pmpo.operators.orpo(odds_weight=0.2), (-mean[0] - losses).mean(), length=self.lengths)


if __name__ == "__main__":
    unittest.main()
