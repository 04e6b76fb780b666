import { mean, standardDeviation } from '../../core/statistics.js';
import type { Engine } from '../../engine/engine.js';
import { hostTensor, type NamedHostTensors, type NamedVariables } from '../../engine/tensors.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { BestEvaluation, EvaluationRecord } from '../../run/records.js';
import { prefixed, under } from './checkpoint.js';

/** The evaluation with the highest mean return so far, and the policy that had it. Both are part of a checkpoint. */
export class BestPolicy {
  #evaluation: BestEvaluation | undefined;
  /** The policy's variables, by their names in a checkpoint. */
  #values: NamedHostTensors = {};

  /** Undefined before the first evaluation. */
  get evaluation(): BestEvaluation | undefined {
    return this.#evaluation;
  }

  get values(): NamedHostTensors {
    return this.#values;
  }

  /** Keeps the policy if it is better than all before it; of equals, the first stays. @returns whether it is. */
  async offer(
    { steps, updates, scores }: EvaluationRecord,
    engine: Engine,
    variables: NamedVariables,
  ): Promise<boolean> {
    const meanScore = mean(scores);
    const best = this.#evaluation?.meanScore ?? Number.NEGATIVE_INFINITY;
    if (!(Number.isFinite(meanScore) && meanScore > best)) return false;
    const values = await engine.read(Object.values(variables));
    this.#values = Object.fromEntries(Object.keys(variables).map((name, i) => [name, values[i]]));
    const stdScore = standardDeviation(scores);
    this.#evaluation = { steps, updates, scoreCount: scores.length, meanScore, stdScore };
    return true;
  }

  snapshot(): Checkpoint {
    if (this.#evaluation === undefined) return { tensors: {}, metadata: {} };
    return { tensors: prefixed('best', this.#values), metadata: { best: this.#evaluation } };
  }

  /** Goes back to a checkpoint. Those of earlier versions have no best policy. */
  restore({ tensors, metadata }: Checkpoint): void {
    this.#evaluation = metadata.best as BestEvaluation | undefined;
    this.#values = Object.fromEntries(
      Object.entries(under('best', tensors)).map(([name, stored]) => [name, hostTensor(stored)]),
    );
  }
}

/** A checkpoint whose policy is the best one in it; undefined if it has none. */
export function withBestPolicy(checkpoint: Checkpoint): Checkpoint | undefined {
  if (checkpoint.metadata.best === undefined) return undefined;
  return { ...checkpoint, tensors: { ...checkpoint.tensors, ...under('best', checkpoint.tensors) } };
}
