import { PmpoError, StoppedError } from '../../core/errors.js';
import { fillNormal, fillUniform, foldIn, randomKey } from '../../core/random-keys.js';
import { type Adam, createAdam } from '../../engine/adam.js';
import type { Compiled } from '../../engine/engine.js';
import type {
  HostResults,
  HostTensor,
  Scalar,
  Tensor,
  Tensor1D,
  Tensor2D,
  Tensor3D,
  Variable,
} from '../../engine/tensors.js';
import * as tf from '../../engine/tf.js';
import type { FeedbackInput } from '../../feedback/classifier.js';
import {
  type ClassifiedSamples,
  ImprovementStep,
  lossGradients,
  TrainedOperator,
} from '../improvement-step.js';
import { learningRateFactor } from '../schedule.js';
import type { BanditResult, SearchPoint, SearchTrace, TrainBanditOptions } from './config.js';
import { atCanonical } from './functions.js';
import { type BanditPolicy, createPolicy } from './policy.js';

/**
 * Searches for the minimum of functions with policies that have no state: a bandit whose evaluation is −f, exactly.
 *
 * Each of G methods searches each of F functions with each of S seeds. These P = G·F·S problems share nothing but the graph in
 * which all of them are updated at once: each has parameters of its own, and a gradient or a step of Adam of one does not depend on
 * the others. A problem has C contexts in each update, so that a batch has B = P·C contexts. Problems are ordered by method, then
 * by function, then by seed. Other shapes: N samples, D dimensions, M parameters of a policy.
 */

type UpdateInputs = {
  /** The noise of each seed's contexts, [N, S·C, D]: the same for each method and function. */
  readonly noise: Tensor3D;
  readonly learningRateFactor: Scalar;
};

type Drawn = FeedbackInput & {
  readonly samples: Tensor3D;
  /** [B, M] */
  readonly referenceParameters: Tensor2D;
};

/** What is read after a copy of the reference. */
interface Measured {
  readonly value: Tensor1D;
  readonly mode: Tensor2D;
  readonly stddev: Tensor1D;
  readonly alive: Tensor1D;
}

/**
 * Makes all searches. The same options give the same searches, and a search is the same, up to rounding, whatever else is searched in the
 * same call.
 *
 * @throws PmpoError if a function needs more dimensions, an operator treats the contexts of a batch together (V-MPO) and would mix the
 *   problems of its method, or the classifier fails; StoppedError if `signal` is aborted.
 */
export async function trainBandit(options: TrainBanditOptions): Promise<BanditResult> {
  return new BanditJob(options).run();
}

class BanditJob {
  readonly #options: TrainBanditOptions;
  readonly #policy: BanditPolicy;
  readonly #operators: readonly TrainedOperator[];
  readonly #optimizer: Adam;
  /** Parameters of policies and references in units of each problem's learning rate, [P, M]. */
  readonly #parameters: Variable;
  readonly #reference: Variable;
  /** 1 for a problem that is still searched, 0 for one whose policy is lost, [P]. */
  readonly #alive: Variable;
  readonly #step: ImprovementStep<UpdateInputs, Drawn, Record<never, never>>;
  readonly #copy: Compiled<Record<never, never>, Measured>;
  readonly #measure: Compiled<Record<never, never>, Measured>;

  constructor(options: TrainBanditOptions) {
    const { engine, config, functions, methods, seeds, classifier, classifierName = 'custom' } = options;
    for (const { name, fewestDimensions = 1 } of functions) {
      if (config.dimensions >= fewestDimensions) continue;
      throw new PmpoError({
        where: `function ${name}`,
        what: `it needs ${fewestDimensions} dimensions, not ${config.dimensions}`,
      });
    }
    this.#options = options;
    this.#policy = createPolicy(config.policy, config.dimensions);
    this.#operators = methods.map(
      ({ operator, learningRate }, index) =>
        new TrainedOperator({
          engine,
          operator,
          policyShape: { klParts: this.#policy.klParts, problems: functions.length * seeds.length },
          learningRate,
          names: { state: `operator/${index}`, optimizer: `optimizer/operator/${index}` },
        }),
    );
    const initial = this.#initialParameters();
    this.#parameters = engine.variable('policy', initial);
    this.#reference = engine.variable('reference', initial);
    const problems = methods.length * functions.length * seeds.length;
    this.#alive = engine.variable('alive', { shape: [problems], data: new Float32Array(problems).fill(1) });
    // The unit of each parameter is its problem's learning rate, so that one step size suits all.
    this.#optimizer = createAdam(engine, 'optimizer', { policy: this.#parameters }, { learningRate: 1 });
    this.#step = new ImprovementStep({
      engine,
      classifier,
      classifierName,
      hostCalls: { signal: options.signal },
      evaluate: (inputs: UpdateInputs) => this.#drawSamples(inputs),
      improve: (batch) => {
        this.#improve(batch);
        return { metrics: {}, results: {} };
      },
    });
    this.#measure = engine.jit('measure', () => this.#measured());
    this.#copy = engine.jit('copyReference', () => {
      this.#reference.assign(tf.clone(this.#parameters));
      return this.#measured();
    });
  }

  async run(): Promise<BanditResult> {
    const { config, signal } = this.#options;
    const { period, copies } = config.reference;
    const measured = [await this.#measure.run({})];
    for (let copy = 0; copy < copies; copy++) {
      if (signal?.aborted) throw new StoppedError({ where: 'bandit', what: 'the search was stopped' });
      const running: Promise<unknown>[] = [];
      for (let i = 0; i < period; i++) {
        const step = this.#update(copy * period + i);
        // Otherwise steps are submitted without waiting: the engine runs them in order.
        if (this.#step.sequential) await step;
        running.push(step);
      }
      const copying = this.#copy.run({});
      await Promise.all([...running, copying]);
      measured.push(await copying);
    }
    const [{ data }] = await this.#options.engine.read([this.#parameters]);
    return this.#result(measured, data as Float32Array);
  }

  #update(update: number): Promise<unknown> {
    const { period, copies } = this.#options.config.reference;
    const factor = learningRateFactor(update / (period * copies), this.#options.config.learner.decayFrom);
    return this.#step.run(
      { noise: this.#noise(update), learningRateFactor: { shape: [], data: Float32Array.of(factor) } },
      update,
    );
  }

  /** The noise of an update, [N, S·C, D], from a key of each seed. */
  #noise(update: number): HostTensor {
    const { config, seeds } = this.#options;
    const { samples, contexts } = config.learner;
    const fill = this.#policy.noise === 'normal' ? fillNormal : fillUniform;
    const size = contexts * config.dimensions;
    const data = new Float32Array(samples * seeds.length * size);
    seeds.forEach((seed, s) => {
      const own = fill(foldIn(foldIn(randomKey(seed), 'noise'), update), new Float32Array(samples * size));
      for (let n = 0; n < samples; n++) {
        data.set(own.subarray(n * size, (n + 1) * size), (n * seeds.length + s) * size);
      }
    });
    return { shape: [samples, seeds.length * contexts, config.dimensions], data };
  }

  #initialParameters(): HostTensor {
    const { functions, methods, seeds } = this.#options;
    const starts = seeds.map((seed) => this.#policy.initial(randomKey(seed)));
    const data = methods.flatMap(({ learningRate }) =>
      functions.flatMap(() => starts.flatMap((start) => Array.from(start, (value) => value / learningRate))),
    );
    const problems = methods.length * functions.length * seeds.length;
    return { shape: [problems, this.#policy.size], data: Float32Array.from(data) };
  }

  /** Parameters [P, M] of policies from those in units of the learning rates. */
  #inUnits(variable: Tensor): Tensor2D {
    const { functions, methods, seeds } = this.#options;
    const rates = methods.flatMap(({ learningRate }) =>
      Array.from({ length: functions.length * seeds.length }, () => learningRate),
    );
    return tf.mul(variable, tf.tensor2d(rates, [rates.length, 1]));
  }

  /** `values` [P, ..] for each context, [B, ..]. */
  #forContexts<T extends Tensor>(values: T): T {
    const { contexts } = this.#options.config.learner;
    if (contexts === 1) return values;
    const [problems = 0, ...rest] = values.shape;
    const copies = tf.tile(tf.expandDims(values, 1), [1, contexts, ...rest.map(() => 1)]);
    return tf.reshape(copies, [problems * contexts, ...rest]) as T;
  }

  /** f of points [R, G·F·columns, D] that are ordered as problems are, [R, G·F·columns]. */
  #valuesOf(points: Tensor3D): Tensor2D {
    const { functions, methods } = this.#options;
    const [rows, count, dimensions] = points.shape;
    const columns = count / (methods.length * functions.length);
    const byFunction = tf.split(
      tf.reshape(points, [rows * methods.length, functions.length, columns, dimensions]),
      functions.length,
      1,
    );
    const values = functions.map((fn, i) => atCanonical(fn, byFunction[i]));
    return tf.reshape(values.length === 1 ? values[0] : tf.concat(values, 1), [rows, count]);
  }

  #drawSamples({ noise }: UpdateInputs): Drawn {
    const { functions, methods } = this.#options;
    const referenceParameters = this.#forContexts(this.#inUnits(this.#reference));
    const every = tf.tile(noise, [1, methods.length * functions.length, 1]);
    const samples = this.#policy.create(referenceParameters).sample(every);
    const evaluation: Tensor2D = tf.neg(this.#valuesOf(samples));
    const [count, contexts] = evaluation.shape;
    // A lost problem has no samples: its values may be anything.
    const present = this.#forContexts<Tensor1D>(tf.mul(this.#alive, 1));
    const mask: Tensor2D = tf.tile(tf.reshape(present, [1, contexts]), [count, 1]);
    return {
      referenceParameters,
      samples,
      contexts: tf.zeros([contexts, 0]),
      evaluation: tf.where(tf.greater(mask, 0), evaluation, tf.zerosLike(evaluation)),
      baseline: tf.mean<Tensor1D>(evaluation, 0),
      mask,
    };
  }

  /** One step of all policies and of the state of their operators. */
  #improve(batch: ClassifiedSamples<UpdateInputs, Drawn>): void {
    const before: Tensor2D = tf.mul(this.#parameters, 1);
    const gradient = this.#gradient(this.#inUnits(before), batch);
    this.#optimizer.apply({ policy: gradient }, batch.learningRateFactor);
    // Only policies that were sound move, and one that is not sound any more stays as it is.
    const moves = tf.greater(tf.expandDims(this.#alive, 1), 0);
    const after: Tensor2D = tf.where(moves, tf.mul(this.#parameters, 1), before);
    this.#parameters.assign(after);
    this.#alive.assign(tf.mul(this.#alive, this.#policy.sound(this.#inUnits(after))));
  }

  /**
   * The gradient of each problem's loss in its policy's parameters, [P, M]. Each operator gives the gradients in log-probs and KLs of its own
   * problems, and the chain rule through the policies is done once for all.
   */
  #gradient(parameters: Tensor2D, batch: ClassifiedSamples<UpdateInputs, Drawn>): Tensor2D {
    const { samples, evaluation, accept, reject, mask } = batch;
    const old = this.#policy.create(batch.referenceParameters);
    /** Log-probs and KLs by name: planes [N, B] and parts [B, D]. */
    const outputs = (from: Tensor2D) => {
      const current = this.#policy.create(this.#forContexts(from));
      return {
        logProb: { all: current.logProb(samples) },
        kl: old.kl(current),
        reverseKl: current.reverseKl(old),
        decoupledKl: old.decoupledKl?.(current) ?? {},
        decoupledLogProb: current.decoupledLogProb?.(samples, old) ?? {},
      };
    };
    const { functions, seeds } = this.#options;
    const problems = functions.length * seeds.length;
    const groups = this.#byMethod({
      ...flat(outputs(parameters)),
      ...{ referenceLogProb: old.logProb(samples), evaluation, accept, reject, mask },
    });
    const gradients = this.#operators.map((operator, g) => {
      const own = groups[g];
      const differentiated = Object.fromEntries(Object.entries(own).filter(([name]) => name.includes('/')));
      const kl = (field: string) => () => ({
        exact: true,
        parts: partsOf(own, field) as Record<string, Tensor2D>,
      });
      const divides = Object.keys(partsOf(own, 'decoupledKl')).length > 0;
      return operator.gradients(differentiated, () => ({
        batch: {
          logProb: own['logProb/all'] as Tensor2D,
          referenceLogProb: own.referenceLogProb as Tensor2D,
          evaluation: own.evaluation as Tensor2D,
          accept: own.accept as Tensor2D,
          reject: own.reject as Tensor2D,
          mask: own.mask as Tensor2D,
          kl: kl('kl'),
          reverseKl: kl('reverseKl'),
          problems,
          ...(divides
            ? {
                decoupledKl: kl('decoupledKl'),
                decoupledLogProb: () => partsOf(own, 'decoupledLogProb') as Record<string, Tensor2D>,
              }
            : {}),
        },
      })).gradients;
    });
    return lossGradients([parameters], () => {
      const terms = Object.entries(flat(outputs(parameters))).map(([name, values]) => {
        const coefficients = tf.concat(
          gradients.map((own) => own[name]),
          contextAxis(name),
        );
        return tf.sum(tf.mul(coefficients, values));
      });
      // The loss of a method is the mean over its problems, whose gradients must not depend on their number.
      return { loss: tf.mul(tf.addN(terms), problems) as Scalar, metrics: {} };
    }).gradients[0] as Tensor2D;
  }

  /** The part of each method in tensors that have the contexts of all of them. */
  #byMethod(tensors: Readonly<Record<string, Tensor>>): Record<string, Tensor>[] {
    const { length } = this.#options.methods;
    const parts = Object.entries(tensors).map(
      ([name, tensor]) => [name, tf.split(tensor, length, contextAxis(name))] as const,
    );
    return Array.from({ length }, (_, g) => Object.fromEntries(parts.map(([name, all]) => [name, all[g]])));
  }

  #measured(): Measured {
    const policy = this.#policy.create(this.#inUnits(this.#parameters));
    const mode = policy.mode();
    const value: Tensor1D = tf.squeeze(this.#valuesOf(tf.expandDims(mode, 0)), [0]);
    return { value, mode, stddev: policy.spread(), alive: tf.mul(this.#alive, 1) };
  }

  /** @param parameters at the end, in units of the learning rates, [P, M] */
  #result(measured: readonly HostResults<Measured>[], parameters: Float32Array): BanditResult {
    const { config, functions, methods, seeds } = this.#options;
    const { samples, contexts } = config.learner;
    const { dimensions } = config;
    const { size } = this.#policy;
    const perCopy = config.reference.period * samples * contexts;
    const alive = measured[measured.length - 1].alive.data;
    const traces = methods.flatMap(({ name: method, learningRate }, g) =>
      functions.flatMap(({ name }, f) =>
        seeds.map((seed, s): SearchTrace => {
          const p = (g * functions.length + f) * seeds.length + s;
          const points = measured.map(
            ({ value, mode, stddev }): SearchPoint => ({
              value: value.data[p],
              mode: Array.from(mode.data.subarray(p * dimensions, (p + 1) * dimensions)),
              stddev: stddev.data[p],
            }),
          );
          const own = parameters.subarray(p * size, (p + 1) * size).map((value) => value * learningRate);
          const outcome = alive[p] > 0 ? 'finished' : this.#policy.lost(own);
          return { method, function: name, seed, points, outcome };
        }),
      ),
    );
    return { evaluations: measured.map((_, i) => i * perCopy), traces };
  }
}

/** The axis of contexts: planes are [N, B], and the parts of a KL [B, D]. */
function contextAxis(name: string): number {
  return /kl\//i.test(name) ? 0 : 1;
}

/** Tensors in groups as one level: `group/name`. */
function flat(groups: Readonly<Record<string, Readonly<Record<string, Tensor>>>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(groups).flatMap(([group, parts]) =>
      Object.entries(parts).map(([name, tensor]) => [`${group}/${name}`, tensor]),
    ),
  );
}

/** The tensors of one group, by their names in it. */
function partsOf(tensors: Readonly<Record<string, Tensor>>, group: string): Record<string, Tensor> {
  const prefix = `${group}/`;
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
    ),
  );
}
