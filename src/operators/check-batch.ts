import { PmpoError } from '../core/errors.js';
import { sameShape } from '../core/shape.js';
import type { HostTensor, NamedTensors, Tensor, Tensor1D, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import { where0 } from './masking.js';
import type {
  CheckedBatch,
  KlEstimate,
  OperatorBatch,
  OperatorNeeds,
  OperatorResult,
  OperatorRule,
} from './operator.js';

/**
 * The checks of `Operator.loss`. They read shapes only, never values: in a compiled function they run while it is traced, and
 * add nothing to the graph. TensorFlow.js itself would silently broadcast a log-prob [B] against planes [N, B].
 *
 * Shapes: N samples per context, B contexts, D the size of one part of a KL.
 */

function fault(name: string, field: string, what: string, remedy?: string): PmpoError {
  return new PmpoError({ where: `operator ${name}, ${field}`, what, remedy });
}

const isPlane = (tensor: Tensor): tensor is Tensor2D => tensor.rank === 2;
const isVector = (tensor: Tensor): tensor is Tensor1D => tensor.rank === 1;

const shapeOf = ({ shape }: Tensor) => `[${shape.join(', ')}]`;

function checkTensor(name: string, field: string, value: unknown): Tensor {
  if (value instanceof tf.Tensor) return value;
  throw fault(name, field, 'must be a TensorFlow.js tensor', 'Make one with `tf` of pmpo/engine');
}

/** @throws PmpoError unless `value` is a tensor [N, B], of the same N and B as `logProb` if that is given. */
function checkPlane(name: string, field: string, value: unknown, logProb?: Tensor2D): Tensor2D {
  const tensor = checkTensor(name, field, value);
  if (logProb === undefined) {
    if (isPlane(tensor)) return tensor;
    const remedy = 'It must be [N, B]: N samples of each of B contexts, [1, B] if there is one sample each';
    throw fault(name, field, `has the shape ${shapeOf(tensor)}`, remedy);
  }
  if (isPlane(tensor) && sameShape(tensor.shape, logProb.shape)) return tensor;
  const remedy = `It must be [N, B], ${shapeOf(logProb)} like batch.logProb`;
  throw fault(name, field, `has the shape ${shapeOf(tensor)}`, remedy);
}

/** @throws PmpoError unless every part is [B, D]. */
function checkKl(name: string, field: string, estimate: KlEstimate, contexts: number): KlEstimate {
  const form = '{exact, parts: {name: [B, D]}}';
  const kind = field === 'batch.reverseKl' ? 'policy ‖ reference' : 'reference ‖ policy';
  if (typeof estimate?.parts !== 'object') throw fault(name, field, `must be KL(${kind}) as ${form}`);
  for (const [part, values] of Object.entries(estimate.parts)) {
    const place = `${field}.parts.${part}`;
    const tensor = checkTensor(name, place, values);
    if (tensor.rank === 2 && tensor.shape[0] === contexts) continue;
    const remedy = `It must be [B, D], here [${contexts}, D], where D = 1 if the KL does not divide into dimensions`;
    throw fault(name, place, `has the shape ${shapeOf(tensor)}`, remedy);
  }
  return estimate;
}

/** A function that runs once and then returns the same result. */
function once<T>(compute: () => T): () => T {
  let result: { readonly value: T } | undefined;
  return () => {
    result ??= { value: compute() };
    return result.value;
  };
}

const feedbackSides: Readonly<Record<OperatorNeeds['feedback'], readonly ('accept' | 'reject')[]>> = {
  none: [],
  accepts: ['accept'],
  rejects: ['reject'],
  either: ['accept', 'reject'],
  both: ['accept', 'reject'],
  pairs: ['accept', 'reject'],
};

/**
 * Checks a batch against what the operator needs, fills in what may be left out, and sets the feedback to 0 outside the mask.
 *
 * @returns the batch, and a function that gives the size of each part of the KL; undefined before the KL has been computed.
 * @throws PmpoError naming the field, its shape and what would be right.
 */
export function checkBatch(
  name: string,
  { needs, independentContexts = false }: Pick<OperatorRule, 'needs' | 'independentContexts'>,
  given: OperatorBatch,
): { readonly batch: CheckedBatch; readonly klParts: () => Record<string, number> | undefined } {
  const required = new Set<keyof OperatorBatch>(['logProb', ...feedbackSides[needs.feedback]]);
  if (needs.referenceLogProb !== false) required.add('referenceLogProb');
  if (needs.evaluation) required.add('evaluation');
  if (needs.length === true) required.add('length');
  if (needs.mismatched === true) required.add('mismatchedLogRatio');
  const klNeed = needs.kl ?? 'any';
  if (klNeed !== 'none') required.add('kl');
  if (needs.reverseKl === true) required.add('reverseKl');
  for (const field of required) {
    if (given[field] === undefined) {
      throw fault(name, `batch.${field}`, `is missing, and ${name} needs it`, remedies[field]);
    }
  }

  const logProb = checkPlane(name, 'batch.logProb', given.logProb);
  const problems = checkProblems(name, independentContexts, given.problems ?? 1, logProb.shape[1]);
  const plane = (
    field:
      | 'referenceLogProb'
      | 'evaluation'
      | 'accept'
      | 'reject'
      | 'mask'
      | 'length'
      | 'mismatchedLogRatio'
      | 'boundViolation',
  ) => (given[field] === undefined ? undefined : checkPlane(name, `batch.${field}`, given[field], logProb));
  // Not `onesLike`: a mask that depends on `logProb` would be on the path of the gradient.
  const mask: Tensor2D = plane('mask') ?? tf.ones(logProb.shape);
  const masked = (weights: Tensor2D): Tensor2D => tf.mul(where0(weights, mask), mask);
  const absent = (): Tensor2D => tf.zeros(logProb.shape);
  const [accept, reject] = [plane('accept'), plane('reject')];

  const computed: Record<string, KlEstimate> = {};
  const kl = (field: 'kl' | 'reverseKl' | 'decoupledKl', estimate: KlEstimate | (() => KlEstimate)) =>
    once(() => {
      const value = typeof estimate === 'function' ? estimate() : estimate;
      computed[field] = checkKl(name, `batch.${field}`, value, logProb.shape[1]);
      if ((klNeed === 'exact' || field === 'reverseKl') && !value.exact) {
        const remedy = field === 'reverseKl' ? remedies.reverseKl : remedies.kl;
        throw fault(name, `batch.${field}`, `is an estimate, and ${name} needs the exact KL`, remedy);
      }
      return value;
    });
  const { decoupledLogProb } = given;
  return {
    batch: {
      logProb,
      referenceLogProb: plane('referenceLogProb') ?? absent(),
      evaluation: plane('evaluation') ?? absent(),
      baseline: checkBaseline(name, given.baseline, logProb.shape[1]),
      accept: accept === undefined ? absent() : masked(accept),
      reject: reject === undefined ? absent() : masked(reject),
      mask,
      length: plane('length') ?? tf.ones(logProb.shape),
      mismatchedLogRatio: plane('mismatchedLogRatio') ?? absent(),
      kl: kl('kl', given.kl ?? { exact: true, parts: {} }),
      reverseKl: kl('reverseKl', given.reverseKl ?? { exact: true, parts: {} }),
      decoupledKl: given.decoupledKl && kl('decoupledKl', given.decoupledKl),
      decoupledLogProb:
        decoupledLogProb &&
        (() => {
          const parts = decoupledLogProb();
          for (const [part, values] of Object.entries(parts)) {
            checkPlane(name, `batch.decoupledLogProb.${part}`, values, logProb);
          }
          return parts;
        }),
      boundViolation: plane('boundViolation'),
      problems,
    },
    klParts: () => {
      const estimates = Object.values(computed);
      if (estimates.length === 0 && (klNeed !== 'none' || needs.reverseKl === true)) return undefined;
      return Object.fromEntries(
        estimates.flatMap(({ parts }) =>
          Object.entries(parts).map(([part, values]) => [part, values.shape[1]]),
        ),
      );
    },
  };
}

/** @throws PmpoError unless the baseline, if there is one, is [B]. */
function checkBaseline(name: string, given: unknown, contexts: number): Tensor1D | undefined {
  if (given === undefined) return undefined;
  const tensor = checkTensor(name, 'batch.baseline', given);
  if (isVector(tensor) && tensor.shape[0] === contexts) return tensor;
  const remedy = `It must be [B], here [${contexts}]: one value V(x) for each context`;
  throw fault(name, 'batch.baseline', `has the shape ${shapeOf(tensor)}`, remedy);
}

/** @throws PmpoError unless the contexts divide into `problems` equal parts, and the operator keeps contexts apart if there are several. */
function checkProblems(name: string, independent: boolean, problems: number, contexts: number): number {
  if (problems === 1) return problems;
  if (!independent) {
    const what = `is ${problems}, but ${name} treats the contexts of a batch together`;
    throw fault(name, 'batch.problems', what, 'Give each problem to a call of its own');
  }
  if (Number.isInteger(problems) && problems > 0 && contexts % problems === 0) return problems;
  const remedy = `It must be a whole number that divides the ${contexts} contexts`;
  throw fault(name, 'batch.problems', `is ${problems}`, remedy);
}

/** What to do about a missing field. */
const remedies: Partial<Record<keyof OperatorBatch, string>> = {
  logProb: 'Give log π_θ(y|x) of each sample, [N, B]',
  referenceLogProb: 'Give log π_ref(y|x) of each sample, [N, B]',
  evaluation: 'Give f(x, y) of each sample, [N, B]',
  accept: 'Give the accept weights, [N, B] in [0, 1]; zeros if no sample was accepted',
  reject: 'Give the reject weights, [N, B] in [0, 1]; zeros if no sample was rejected',
  length: 'Give the number of tokens of each sample, [N, B]; only sequences have one',
  kl: 'Give KL(reference ‖ policy) as {exact, parts: {name: [B, D]}}, or a function that returns it',
  mismatchedLogRatio: 'Give log π_θ − log π_ref of a sample of another context in each place, [N, B]',
  reverseKl: 'Give KL(policy ‖ reference) as {exact, parts: {name: [B, D]}}, or a function that returns it',
};

/** Wraps the state: reading a missing name throws an error that says how to make the state. */
export function withRequiredNames(name: string, state: NamedTensors): NamedTensors {
  return new Proxy(state, {
    get(target, key) {
      if (typeof key !== 'string' || key in target) return Reflect.get(target, key);
      throw fault(
        name,
        'state',
        `'${key}' is missing`,
        'Make the state from operator.initialState({klParts}), one variable for each name, and give it to each call of loss',
      );
    },
  });
}

/** @throws PmpoError if `state` has a name or a shape that the initial state lacks. `withRequiredNames` finds missing names. */
export function checkState(
  name: string,
  state: NamedTensors,
  initial: Readonly<Record<string, HostTensor>>,
): void {
  for (const [key, value] of Object.entries(state)) {
    const expected = initial[key];
    if (expected === undefined) {
      const names = Object.keys(initial);
      const remedy = names.length === 0 ? `${name} has none, as set` : `Known: ${names.join(', ')}`;
      throw fault(name, 'state', `unknown name '${key}'`, remedy);
    }
    const { shape } = checkTensor(name, `state '${key}'`, value);
    if (sameShape(shape, expected.shape)) continue;
    throw fault(name, `state '${key}'`, `has the shape [${shape}]`, `It must be [${expected.shape}]`);
  }
}

/** @throws PmpoError unless the loss is a scalar, and each metric a single number of any rank. */
export function checkResult(name: string, result: OperatorResult): OperatorResult {
  for (const [field, value] of [['loss', result.loss] as const, ...Object.entries(result.metrics ?? {})]) {
    const { rank, size, shape } = checkTensor(name, `result ${field}`, value);
    if (rank === 0 || (field !== 'loss' && size === 1)) continue;
    throw fault(name, `result ${field}`, `has the shape [${shape}]`, 'It must be a scalar');
  }
  return result;
}
