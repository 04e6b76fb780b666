"""Writes offline_torch.json: one update of the offline learner in PyTorch, the reference for src/learners/offline/update.test.ts.

    $(node scripts/venv.mjs torch) test/references/offline_torch.py

The value of a state is the mean of the target critics over samples of the reference policy; the advantage of the data's own action is its
value less that. Critics learn r + d V(s') by the squared error; the policy learns by the operator's loss, plus behavior cloning.
"""

import math

import torch
from fixtures import Draws, write

torch.set_default_dtype(torch.float64)

B, O, A, N = 5, 3, 2, 3
HIDDEN = {"policy": 4, "critic": 6}
MIN_STDDEV, INITIAL_STDDEV = 0.05, 0.5


def tensors(named):
    return {name: torch.tensor(value, requires_grad=True) for name, value in named.items()}


def draw_policy(draws):
    h = HIDDEN["policy"]
    return {
        "hidden0/weight": draws.normal(O, h),
        "hidden0/bias": draws.normal(h),
        "output/weight": draws.normal(h, 2 * A, scale=0.5),
        "output/bias": draws.normal(2 * A, scale=0.5),
    }


def draw_critic(draws):
    h = HIDDEN["critic"]
    return {
        "observation/weight": draws.normal(O, h),
        "action/weight": draws.normal(A, h),
        "hidden0/bias": draws.normal(h),
        "output/weight": draws.normal(h, 1),
        "output/bias": draws.normal(1),
    }


def gaussian(p, observations):
    """Mean and standard deviation, [B, A] each."""
    hidden = torch.relu(observations @ p["hidden0/weight"] + p["hidden0/bias"])
    mean, spread = (hidden @ p["output/weight"] + p["output/bias"]).split(A, -1)
    scale = (INITIAL_STDDEV - MIN_STDDEV) / math.log(2)
    return torch.tanh(mean), torch.nn.functional.softplus(spread) * scale + MIN_STDDEV


def log_prob(p, observations, actions):
    """Of actions [M, B, A], [M, B]."""
    return torch.distributions.Normal(*gaussian(p, observations)).log_prob(actions).sum(-1)


def q(p, observations, actions):
    """Of actions [M, B, A], [M, B]."""
    hidden = observations @ p["observation/weight"] + actions.clamp(-1, 1) @ p["action/weight"] + p["hidden0/bias"]
    return (torch.relu(hidden) @ p["output/weight"] + p["output/bias"]).squeeze(-1)


def pmpo_loss(alpha, batch_mean):
    def loss(values, advantage, log_probs):
        accept, reject = (advantage > 0).double(), (advantage < 0).double()

        def side(weights):
            if batch_mean:
                return (weights * log_probs).sum() / weights.sum().clamp(min=1)
            return ((weights * log_probs).sum(0) / weights.sum(0).clamp(min=1)).mean()

        return -alpha * side(accept) + (1 - alpha) * side(reject)

    return loss


def crr_loss(values, advantage, log_probs):
    return -((advantage > 0).double() * log_probs).mean()


def awr_loss(values, advantage, log_probs):
    return -((advantage / 0.7).exp().clamp(max=3) * log_probs).mean()


def case(seed, actions, operator, loss, weight, cloning):
    draws = Draws(seed)
    policy, reference = draw_policy(draws), draw_policy(draws)
    critics, targets = [draw_critic(draws) for _ in range(2)], [draw_critic(draws) for _ in range(2)]
    inputs = {
        "observations": draws.normal(B, O),
        "actions": draws.uniform(-1, 1, B, A),
        "returns": draws.normal(B),
        "discounts": draws.uniform(0, 1, B),
        "nextObservations": draws.normal(B, O),
        "noise": draws.normal(2 * N, B, A),
    }
    x = {name: torch.tensor(value) for name, value in inputs.items()}
    p, old = tensors(policy), tensors(reference)
    own_critics, target_critics = [tensors(c) for c in critics], [tensors(c) for c in targets]
    with torch.no_grad():
        mean, stddev = gaussian(old, x["observations"])
        samples = mean + stddev * x["noise"][:N]
        next_mean, next_stddev = gaussian(old, x["nextObservations"])
        next_samples = next_mean + next_stddev * x["noise"][N:]

        def value(observations, chosen):
            return sum(q(c, observations, chosen) for c in target_critics) / 2

        baseline = value(x["observations"], samples).mean(0)
        own = x["actions"][None]
        chosen = {"data": own, "policy": samples, "both": torch.cat((own, samples))}[actions]
        values = value(x["observations"], chosen)
        goals = x["returns"] + x["discounts"] * value(x["nextObservations"], next_samples).mean(0)
        data_advantage = value(x["observations"], own)[0] - baseline
    critic_loss = sum(((q(c, x["observations"], own)[0] - goals) ** 2).mean() for c in own_critics)
    critic_loss.backward()
    total = weight * loss(values, values - baseline, log_prob(p, x["observations"], chosen))
    total = total - cloning * log_prob(p, x["observations"], own).mean()
    total.backward()

    def norm(trees):
        return torch.sqrt(sum((leaf.grad**2).sum() for tree in trees for leaf in tree.values()))

    return {
        "actions": actions,
        "operator": operator,
        "operatorWeight": weight,
        "behaviorCloning": cloning,
        "policy": policy,
        "reference": reference,
        "critics": critics,
        "targetCritics": targets,
        "inputs": inputs,
        "evaluation": values,
        "baseline": baseline,
        "metrics": {
            "critic/loss": critic_loss.item(),
            "critic/gradientNorm": norm(own_critics).item(),
            "policy/loss": total.item(),
            "policy/gradientNorm": norm([p]).item(),
            "data/advantage": data_advantage.mean().item(),
        },
    }


write(
    __file__,
    {
        "sizes": {"samples": N, "observationSize": O, "actionSize": A, **HIDDEN},
        "cases": [
            case(1, "data", {"name": "pmpo", "alpha": 1, "beta": 0}, pmpo_loss(1, False), 1, 0),
            case(2, "data", {"name": "pmpo", "alpha": 0, "beta": 0}, pmpo_loss(0, False), 1, 0.8),
            case(3, "data", {"name": "pmpo", "alpha": 0.3, "beta": 0, "normalise": "batch"}, pmpo_loss(0.3, True), 0.5, 0.4),
            case(4, "policy", {"name": "pmpo", "alpha": 0.5, "beta": 0}, pmpo_loss(0.5, False), 1, 0.5),
            case(5, "both", {"name": "pmpo", "alpha": 0.5, "beta": 0}, pmpo_loss(0.5, False), 2, 0),
            case(6, "data", {"name": "crr"}, crr_loss, 1, 0.1),
            case(7, "data", {"name": "awr", "beta": 0.7, "maxWeight": 3}, awr_loss, 1, 0),
            case(8, "data", {"name": "pmpo", "alpha": 0.5, "beta": 0}, pmpo_loss(0.5, False), 0, 1),
        ],
    },
)
