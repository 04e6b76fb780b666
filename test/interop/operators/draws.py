"""Random batches and settings."""

import torch


class Draws:
    """Batches of PyTorch tensors from a seed."""

    def __init__(self, seed, dtype):
        self._generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype

    def normal(self, *shape):
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64).to(self.dtype)

    def uniform(self, low, high):
        return low + (high - low) * torch.rand((), generator=self._generator, dtype=torch.float64).item()

    def integer(self, low, high):
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def share(self, probability, *shape):
        return (torch.rand(*shape, generator=self._generator) < probability).to(self.dtype)

    def batch(self, parts=("sequence",), decoupled=False, bounds=False):
        """A batch of a random size. What the mask hides is NaN; a side may be empty, in a context or altogether."""
        n, b = self.integer(1, 7), self.integer(1, 9)
        mask = self.share(0.8, n, b)
        accept = self.share(self.uniform(0, 1), n, b)
        reject = (1 - accept) * self.share(0.9, n, b) * (0 if self.uniform(0, 1) < 0.1 else 1)
        # Soft weights.
        accept = accept * (1 if self.uniform(0, 1) < 0.5 else 0.7)
        nan = torch.full((n, b), torch.nan, dtype=self.dtype)
        plane = lambda: torch.where(mask > 0, self.normal(n, b), nan)  # noqa: E731
        batch = {
            "log_prob": (plane() - 2).requires_grad_(),
            "reference_log_prob": plane() - 2,
            "evaluation": plane(),
            "accept": accept,
            "reject": reject,
            "mask": mask,
            "length": torch.where(mask > 0, 1 + (20 * torch.rand(n, b, generator=self._generator)).floor().to(self.dtype), nan),
            "kl": self.kl(b, parts),
        }
        batch["reverse_kl"] = {part: (x.detach() + 0.2).requires_grad_() for part, x in batch["kl"].items()}
        batch["mismatched_log_ratio"] = plane()
        if decoupled:
            batch["decoupled_kl"] = {part: (x.detach() + 0.1).requires_grad_() for part, x in batch["kl"].items()}
            batch["decoupled_log_prob"] = {part: plane().requires_grad_() for part in parts}
        if bounds:
            batch["bound_violation"] = plane().abs()
        return batch

    def kl(self, b, parts):
        size = self.integer(1, 4)
        return {part: (self.normal(b, size).abs() * 0.3).requires_grad_() for part in parts}


def leaves(batch, state=None):
    """The tensors of a batch and a state that gradients are taken in, by name."""
    found = {"log_prob": batch["log_prob"]}
    for group in ("kl", "reverse_kl", "decoupled_kl", "decoupled_log_prob"):
        found |= {f"{group}/{part}": values for part, values in batch.get(group, {}).items()}
    found |= {f"state/{name}": values for name, values in (state or {}).items()}
    return found


def gradients(loss, named):
    """The gradients of a loss by name, zeros where it does not depend on the tensor."""
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(named.items(), found)}
