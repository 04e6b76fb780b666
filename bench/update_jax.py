"""The update of bench/update.ts in JAX: the same networks, losses and optimizer in one jitted function, with random numbers.

Reads commands from standard input, one JSON object per line: {"updates": n} runs n updates and prints the milliseconds of one.

Shapes: N samples, B contexts, O observation size, A action dimensions.
"""

import functools
import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import rlax

MIN_STDDEV, INITIAL_STDDEV = 0.05, 0.5
STDDEV_SCALE = (INITIAL_STDDEV - MIN_STDDEV) / np.log(2.0)


def init_dense(key, inputs, outputs):
    limit = np.sqrt(2.0 / inputs)
    return jax.random.uniform(key, (inputs, outputs), minval=-limit, maxval=limit), jnp.zeros(outputs)


def init_mlp(key, inputs, hidden, outputs):
    keys = jax.random.split(key, 3)
    return {
        "first": init_dense(keys[0], inputs, hidden),
        "norm": (jnp.ones(hidden), jnp.zeros(hidden)),
        "hidden": init_dense(keys[1], hidden, hidden),
        "output": init_dense(keys[2], hidden, outputs),
    }


def trunk(p, sums):
    centered = sums - jnp.mean(sums, -1, keepdims=True)
    normal = centered * jax.lax.rsqrt(jnp.mean(jnp.square(centered), -1, keepdims=True) + 1e-5)
    x = jnp.tanh(normal * p["norm"][0] + p["norm"][1])
    x = jax.nn.elu(x @ p["hidden"][0] + p["hidden"][1])
    return x @ p["output"][0] + p["output"][1]


def policy(p, observations):
    raw = trunk(p, observations @ p["first"][0] + p["first"][1])
    mean, width = jnp.split(raw, 2, -1)
    return jnp.tanh(mean), jax.nn.softplus(width) * STDDEV_SCALE + MIN_STDDEV


def critic(p, observations, actions):
    """Values [N, B] of actions [N, B, A]. The samples of a context share the product of their observation [B, O]."""
    weight, bias = p["first"]
    size = observations.shape[-1]
    of_observation = observations @ weight[:size] + bias
    of_action = jnp.clip(actions, -1, 1) @ weight[size:]
    return trunk(p, of_observation + of_action)[..., 0]


def log_prob(mean, stddev, samples):
    standard = (samples - mean) / stddev
    return -0.5 * jnp.sum(jnp.square(standard), -1) - jnp.sum(jnp.log(stddev) + 0.5 * np.log(2 * np.pi), -1)


def kl_parts(p, q, mean_stddev):
    """KL(p || q) of diagonal Gaussians per dimension, split into a mean and a covariance part, [B, A] each.

    The mean part uses the standard deviation `mean_stddev`.
    """
    ratio = jnp.square(p[1] / q[1])
    return 0.5 * jnp.square((p[0] - q[0]) / mean_stddev), 0.5 * (ratio - 1 - jnp.log(ratio))


def pmpo_loss(p, state, old, contexts, samples, values, settings):
    """Equation 10 of arXiv 2410.04166. The best 2 samples are accepted and the worst 2 rejected."""
    new = policy(p, contexts)
    n = values.shape[0]
    place = jnp.arange(n)
    beats = (values[:, None] < values[None]) | (
        (values[:, None] == values[None]) & (place[None, :, None] < place[:, None, None])
    )
    rank = jnp.sum(beats, 1)
    logs = log_prob(*new, samples)
    mean_of = lambda weight: jnp.mean(jnp.sum(weight * logs, 0) / jnp.maximum(jnp.sum(weight, 0), 1))
    accepted, rejected = mean_of(rank < 2), mean_of(rank >= n - 2)
    kl_mean, kl_covariance = (jnp.mean(jnp.sum(part, -1)) for part in kl_parts(old, new, new[1]))
    loss = 0.5 * rejected - 0.5 * accepted + settings["mean"] * kl_mean + settings["covariance"] * kl_covariance
    return loss, (accepted, rejected, kl_mean, kl_covariance)


def mpo_loss(p, state, old, contexts, samples, values, settings):
    """MPO by rlax, decoupled and with action penalization, as in Acme."""
    new = policy(p, contexts)
    duals = {name: jax.nn.softplus(value) + 1e-8 for name, value in state.items()}
    positive = functools.partial(jnp.clip, min=1e-10)
    outside = samples - jnp.clip(samples, -1, 1)
    cost = -jnp.sqrt(jnp.sum(jnp.square(outside), -1) + 1e-12)
    penalty_loss, penalty_weights, _ = rlax.mpo_compute_weights_and_temperature_loss(
        cost, rlax.LagrangePenalty(duals["penalty"], 1e-3), positive, sample_axis=0
    )
    temperature_loss, weights, _ = rlax.mpo_compute_weights_and_temperature_loss(
        values, rlax.LagrangePenalty(duals["temperature"], 0.1), positive, sample_axis=0
    )
    weights = jax.lax.stop_gradient(weights + penalty_weights)
    fit = log_prob(new[0], old[1], samples) + log_prob(old[0], new[1], samples)
    parts = kl_parts(old, new, old[1])
    kl_loss, dual_loss = rlax.compute_parametric_kl_penalty_and_dual_loss(
        [
            (parts[0], rlax.LagrangePenalty(duals["mean"], 0.01, True)),
            (parts[1], rlax.LagrangePenalty(duals["covariance"], 1e-6, True)),
        ],
        positive,
        True,
    )
    policy_loss = -jnp.sum(weights * fit, 0)
    loss = jnp.mean(policy_loss + temperature_loss + penalty_loss + kl_loss + dual_loss)
    return loss, (jnp.mean(policy_loss), jnp.mean(kl_loss), *(jnp.mean(part) for part in parts))


def inverse_softplus(value, shape):
    return jnp.full(shape, np.log(np.expm1(value)) if value < 30 else value, jnp.float32)


def build(settings):
    observation_size, actions, hidden = settings["observations"], settings["actions"], settings["hidden"]
    samples_per_context, batch = settings["samples"], settings["batch"]
    is_mpo = settings["operator"] == "mpo"
    loss_of = mpo_loss if is_mpo else pmpo_loss
    adam = lambda rate: optax.chain(optax.clip_by_global_norm(40.0), optax.adam(rate))
    optimizers = {"policy": adam(3e-4), "critics": adam(3e-4), "state": optax.adam(1e-2)}

    keys = jax.random.split(jax.random.key(0), 4)
    policy_parameters = init_mlp(keys[0], observation_size, hidden, 2 * actions)
    critics = [init_mlp(key, observation_size + actions, hidden, 1) for key in keys[1:3]]
    state = {}
    if is_mpo:
        state = {
            "temperature": inverse_softplus(10.0, ()),
            "penalty": inverse_softplus(10.0, ()),
            "mean": inverse_softplus(10.0, (actions,)),
            "covariance": inverse_softplus(1000.0, (actions,)),
        }
    copy = functools.partial(jax.tree.map, jnp.array)
    learner = {
        "policy": policy_parameters,
        "reference": copy(policy_parameters),
        "critics": critics,
        "targets": copy(critics),
        "state": state,
        "slots": {
            "policy": optimizers["policy"].init(policy_parameters),
            "critics": optimizers["critics"].init(critics),
            "state": optimizers["state"].init(state),
        },
        "key": keys[3],
        "count": jnp.zeros((), jnp.int32),
    }

    def step(name, gradients, parameters, slots, factor):
        updates, slots = optimizers[name].update(gradients, slots)
        updates = jax.tree.map(lambda update: update * factor, updates)
        return optax.apply_updates(parameters, updates), slots, optax.global_norm(gradients)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(learner, inputs, factor):
        key, noise_key = jax.random.split(learner["key"])
        contexts = inputs["next_observations"]
        old = policy(learner["reference"], contexts)
        noise = jax.random.normal(noise_key, (samples_per_context, batch, actions))
        samples = old[0] + old[1] * noise
        values = sum(critic(target, contexts, samples) for target in learner["targets"]) / 2
        targets = inputs["returns"] + inputs["discounts"] * jnp.mean(values, 0)

        def critic_loss(critics):
            predictions = [critic(p, inputs["observations"], inputs["actions"][None]) for p in critics]
            return sum(jnp.mean(jnp.square(q - targets)) for q in predictions), jnp.mean(jnp.stack(predictions))

        (loss, value), gradients = jax.value_and_grad(critic_loss, has_aux=True)(learner["critics"])
        critics, critic_slots, critic_norm = step(
            "critics", gradients, learner["critics"], learner["slots"]["critics"], factor
        )
        (policy_loss, metrics), (gradients, state_gradients) = jax.value_and_grad(
            loss_of, argnums=(0, 1), has_aux=True
        )(learner["policy"], learner["state"], old, contexts, samples, values, settings)
        new_policy, policy_slots, policy_norm = step(
            "policy", gradients, learner["policy"], learner["slots"]["policy"], factor
        )
        state, state_slots = learner["state"], learner["slots"]["state"]
        if is_mpo:
            state, state_slots, _ = step("state", state_gradients, state, state_slots, 1.0)
            state = jax.tree.map(lambda dual: jnp.maximum(dual, -18.0), state)
        count = learner["count"] + 1
        due = count % 100 == 0
        renew = lambda new, old: jax.tree.map(lambda a, b: jax.lax.select(due, a, b), new, old)
        next_learner = {
            "policy": new_policy,
            "reference": renew(new_policy, learner["reference"]),
            "critics": critics,
            "targets": renew(critics, learner["targets"]),
            "state": state,
            "slots": {"policy": policy_slots, "critics": critic_slots, "state": state_slots},
            "key": key,
            "count": count,
        }
        return next_learner, jnp.stack([loss, value, critic_norm, policy_loss, policy_norm, *metrics])

    return learner, update


def main():
    settings = json.loads(sys.argv[1])
    learner, update = build(settings)
    random = np.random.default_rng(0)
    size = settings["batch"]
    normal = lambda *shape: random.standard_normal(shape).astype(np.float32)
    batches = [
        {
            "observations": normal(size, settings["observations"]),
            "actions": np.tanh(normal(size, settings["actions"])),
            "returns": normal(size),
            "discounts": np.full(size, 0.95, np.float32),
            "next_observations": normal(size, settings["observations"]),
        }
        for _ in range(8)
    ]
    for line in sys.stdin:
        updates = json.loads(line)["updates"]
        start = time.perf_counter()
        for i in range(updates):
            learner, metrics = update(learner, batches[i % len(batches)], np.float32(1))
        values = np.asarray(metrics)
        elapsed = (time.perf_counter() - start) * 1e3 / max(updates, 1)
        assert np.all(np.isfinite(values)), values
        print(json.dumps({"milliseconds": elapsed}), flush=True)


main()
