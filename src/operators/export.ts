import { z } from 'zod';
import { PmpoError } from '../core/errors.js';
import { fillUniform, randomKey } from '../core/random-keys.js';
import { sizeOf } from '../core/shape.js';
import { packageVersion } from '../core/version.js';
import type { OpenCase, OpenExport, OpenFunction } from '../engine/onnx/open-export.js';
import type { OpenNumber } from '../engine/onnx/open-model.js';
import { chooseBackend } from '../engine/scope.js';
import type { HostTensor, NamedTensors, Tensor, Tensor2D } from '../engine/tensors.js';
import * as tf from '../engine/tf.js';
import {
  batchPlanes,
  type KlEstimate,
  type Operator,
  type OperatorBatch,
  type OperatorNeeds,
  type PolicyShape,
  type RegisteredOperator,
} from './operator.js';
import {
  type InitialValue,
  type NeedsAt,
  type PortableInput,
  type PortableNeeds,
  type PortableOperator,
  type PortableState,
  portableFormat,
  portableKey,
} from './portable.js';

/**
 * Operators for other people's pipelines: the loss of an operator, its gradients and its metrics as one ONNX graph, traced once and
 * open in the numbers of samples and contexts, the sizes of the KL's parts, and numeric settings. The Python package `pmpo` runs such
 * a file by ordinary PyTorch, JAX or NumPy operations.
 */

/** What the policy gives to the operator, which decides the inputs of the graph. */
export interface PortablePolicy {
  /** The parts of the policy's KL. Default: `sequence`, a language model's. */
  readonly klParts?: readonly string[];
  /** Whether log-probs and the KL are also given with the other parts held at the reference: MPO's decoupled M-step. */
  readonly decoupled?: boolean;
  /** Whether the distance of the samples from the action bounds is given. */
  readonly boundViolation?: boolean;
}

export interface ExportedOperator {
  /** The bytes of the ONNX file. */
  readonly model: Uint8Array;
  readonly metadata: PortableOperator;
}

type Settings = Readonly<Record<string, unknown>>;
type Numbers = Readonly<Record<string, number>>;

/**
 * Exports an operator.
 *
 * The graph is compared with the operator itself at several lengths and settings before it is returned.
 *
 * @param settings of the operator, whose defaults are those of a run with a policy of these KL parts. Numbers among them stay open if
 *   the graph can follow them.
 * @throws ConfigError naming each setting that is unknown or out of range.
 * @throws PmpoError when the operator reads a traced value, or depends on a length or a number in a way that the graph cannot follow.
 */
export async function exportOperator(
  definition: RegisteredOperator,
  settings: Settings = {},
  policy: PortablePolicy = {},
): Promise<ExportedOperator> {
  const { checkOpen, exportOpen } = await import('../engine/onnx/open-export.js');
  await chooseBackend();
  const { klParts = ['sequence'] } = policy;
  const values = definition.complete(settings, klParts);
  const given = definition.create(values);
  const numbers = openableNumbers(definition, values);
  const fn: OpenFunction = {
    name: definition.name,
    inputs: inputAxes(given, policy),
    numbers,
    mayVanish: (output) => output.startsWith('gradient/'),
    build: (at, lengths) =>
      lossAndGradients(definition.create(withNumbers(values, at)), shapeOfPolicy(klParts, lengths), policy),
  };
  const opened = exportOpen(fn);
  const metadata = describe(definition, values, numbers, policy, fn, opened);
  const model = opened.encode({ [portableKey]: JSON.stringify(metadata) });
  for (const one of checkCases(definition, values, numbers, metadata, fn)) {
    await checkOpen(fn, opened, model, one);
  }
  return { model, metadata };
}

const shapeOfPolicy = (klParts: readonly string[], lengths: Numbers): PolicyShape => ({
  klParts: Object.fromEntries(klParts.map((part) => [part, lengths[`D/${part}`]!])),
});

/** The axes of everything that the operator may read, by the names of the graph's inputs. */
function inputAxes(
  operator: Operator,
  { klParts = ['sequence'], decoupled = false, boundViolation = false }: PortablePolicy,
): Record<string, readonly (number | string)[]> {
  const plane = ['N', 'B'];
  const inputs: Record<string, readonly (number | string)[]> = {};
  for (const name of batchPlanes) inputs[name] = plane;
  if (boundViolation) inputs.boundViolation = plane;
  for (const part of klParts) {
    inputs[`kl/${part}`] = ['B', `D/${part}`];
    inputs[`reverseKl/${part}`] = ['B', `D/${part}`];
    if (!decoupled) continue;
    inputs[`decoupledKl/${part}`] = ['B', `D/${part}`];
    inputs[`decoupledLogProb/${part}`] = plane;
  }
  for (const { name, axes } of stateAxes(operator, klParts)) inputs[`state/${name}`] = axes;
  return inputs;
}

/** The axes of each part of the state, found by making it for parts of different sizes. */
function stateAxes(operator: Operator, klParts: readonly string[]) {
  const sizes = Object.fromEntries(klParts.map((part, i) => [part, 101 + i]));
  return Object.entries(operator.initialState({ klParts: sizes })).map(([name, { shape }]) => ({
    name,
    axes: shape.map((length) => {
      const part = klParts.find((candidate) => sizes[candidate] === length);
      return part === undefined ? length : `D/${part}`;
    }),
  }));
}

/** The inputs that the loss may be differentiable in. */
const isDifferentiable = (name: string) =>
  name === 'logProb' ||
  ['kl', 'reverseKl', 'decoupledKl', 'decoupledLogProb', 'state'].includes(name.split('/')[0]!);

/** The operator as one function of tensors by name, to its loss, gradients, metrics and projected state. */
function lossAndGradients(
  operator: Operator,
  shape: PolicyShape,
  { decoupled, boundViolation }: PortablePolicy,
) {
  const parts = Object.keys(shape.klParts);
  const stateNames = Object.keys(operator.initialState(shape));
  return (inputs: NamedTensors): NamedTensors => {
    const differentiable = Object.keys(inputs).filter(isDifferentiable);
    const metrics: Record<string, Tensor> = {};
    const loss = (...given: Tensor[]) => {
      const at = (name: string) => given[differentiable.indexOf(name)] ?? inputs[name]!;
      const partsOf = (group: string) =>
        Object.fromEntries(parts.map((part) => [part, at(`${group}/${part}`) as Tensor2D]));
      const kl = (group: string) => (): KlEstimate => ({ exact: true, parts: partsOf(group) });
      const batch: OperatorBatch = {
        logProb: at('logProb') as Tensor2D,
        referenceLogProb: at('referenceLogProb') as Tensor2D,
        evaluation: at('evaluation') as Tensor2D,
        accept: at('accept') as Tensor2D,
        reject: at('reject') as Tensor2D,
        mask: at('mask') as Tensor2D,
        length: at('length') as Tensor2D,
        mismatchedLogRatio: at('mismatchedLogRatio') as Tensor2D,
        kl: kl('kl'),
        reverseKl: kl('reverseKl'),
        ...(decoupled
          ? { decoupledKl: kl('decoupledKl'), decoupledLogProb: () => partsOf('decoupledLogProb') }
          : {}),
        ...(boundViolation ? { boundViolation: at('boundViolation') as Tensor2D } : {}),
      };
      const state = Object.fromEntries(stateNames.map((name) => [name, at(`state/${name}`)]));
      const result = operator.loss(batch, state);
      for (const [name, value] of Object.entries(result.metrics)) {
        metrics[`metric/${name}`] = tf.keep(tf.reshape(value, []));
      }
      // TensorFlow.js refuses the gradient in a tensor on which the loss does not depend; these terms vanish in the graph.
      return tf.addN([result.loss, ...given.map((tensor) => tf.mul(tf.sum(tensor), 0))]);
    };
    const { value, grads } = tf.valueAndGrads(loss)(differentiable.map((name) => inputs[name]!));
    const gradients = differentiable.map((name, i): [string, Tensor] => [`gradient/${name}`, grads[i]!]);
    const state = Object.fromEntries(stateNames.map((name) => [name, inputs[`state/${name}`]!]));
    const projected = Object.entries(operator.projectState?.(state) ?? {}).map(
      ([name, tensor]): [string, Tensor] => [`projected/${name}`, tensor],
    );
    return { loss: value, ...Object.fromEntries(gradients), ...metrics, ...Object.fromEntries(projected) };
  };
}

/** The numbers among settings, by dotted path. */
function numbersIn(settings: unknown, path: readonly string[] = []): [string, number][] {
  if (typeof settings === 'number') return [[path.join('.'), settings]];
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) return [];
  return Object.entries(settings).flatMap(([key, value]) => numbersIn(value, [...path, key]));
}

/** The settings with other values for some numbers. */
function withNumbers(settings: Settings, numbers: Numbers, path: readonly string[] = []): Settings {
  return Object.fromEntries(
    Object.entries(settings).map(([key, value]): [string, unknown] => {
      const place = [...path, key];
      if (typeof value === 'number') return [key, numbers[place.join('.')] ?? value];
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return [key, value];
      return [key, withNumbers(value as Settings, numbers, place)];
    }),
  );
}

/** Whether the operator takes the settings with another value for one number. */
function accepts(definition: RegisteredOperator, values: Settings, path: string, value: number): boolean {
  try {
    definition.create(withNumbers(values, { [path]: value }));
    return true;
  } catch (error) {
    if (error instanceof PmpoError) return false;
    throw error;
  }
}

/** The numeric settings that may be opened, with values to trace at. A whole number such as a count takes none of these values. */
function openableNumbers(definition: RegisteredOperator, values: Settings): Record<string, OpenNumber> {
  const found: Record<string, OpenNumber> = {};
  for (const [i, [path, value]] of numbersIn(values).entries()) {
    // Two settings must not have the same value: nodes that are equal by chance are one node.
    const shift = 0.0173 * (i % 10);
    const candidates = [0.613, 1.371, 0.837, 0.297].map((factor) => (factor + shift) * value);
    const samples = [...candidates, 0.613 + shift, 0.371 + shift, 0.837 - shift]
      .filter((candidate, i, all) => candidate !== 0 && all.indexOf(candidate) === i)
      .filter((candidate) => accepts(definition, values, path, candidate));
    const [first, second, third] = samples;
    if (third !== undefined) found[path] = { value, samples: [first!, second!, third] };
  }
  return found;
}

// A graph takes no baseline, so that operators compare samples in it.
const filledIn = ({ imitatesUnranked: _, readsBaseline: __, ...needs }: OperatorNeeds): PortableNeeds => ({
  referenceLogProb: true,
  kl: 'any',
  reverseKl: false,
  mismatched: false,
  length: false,
  comparesSamples: false,
  rejectsReferenceSamples: false,
  ...needs,
});

function describe(
  definition: RegisteredOperator,
  values: Settings,
  numbers: Readonly<Record<string, OpenNumber>>,
  { klParts = ['sequence'] }: PortablePolicy,
  { inputs: axes }: OpenFunction,
  opened: OpenExport,
): PortableOperator {
  const { name, description } = definition;
  const needs = (at: Numbers) => filledIn(definition.create(withNumbers(values, at)).needs);
  const general = Object.fromEntries(
    Object.entries(numbers).map(([path, { samples }]) => [path, samples[0]]),
  );
  const usual = needs(general);
  const needsAt = opened.open.flatMap((setting) =>
    [0, 1].flatMap((value): NeedsAt[] => {
      if (!accepts(definition, values, setting, value)) return [];
      const special = needs({ ...general, [setting]: value });
      return JSON.stringify(special) === JSON.stringify(usual) ? [] : [{ setting, value, needs: special }];
    }),
  );
  const state = stateAxes(definition.create(values), klParts).map(
    ({ name: key, axes: shape }): PortableState => ({
      name: key,
      axes: shape,
      initial: initialValue(definition, values, Object.keys(numbers), klParts, key),
    }),
  );
  const ofState = state.flatMap(({ initial }) => ('setting' in initial ? [initial.setting] : []));
  const outputs = (prefix: string) =>
    opened.outputs.flatMap(({ name: output }) =>
      output.startsWith(prefix) ? [output.slice(prefix.length)] : [],
    );
  return {
    format: portableFormat,
    name,
    description,
    version: packageVersion(),
    needs: usual,
    needsAt,
    klParts,
    inputs: opened.inputs.map(({ name: input }): PortableInput => ({ name: input, axes: axes[input]! })),
    gradients: outputs('gradient/'),
    metrics: outputs('metric/'),
    state,
    projectsState: outputs('projected/').length > 0,
    settings: {
      schema: z.toJSONSchema(definition.settings, { io: 'input' }),
      values,
      open: [...opened.open, ...ofState.filter((path, i) => ofState.indexOf(path) === i)],
      unused: opened.unused.filter((path) => !ofState.includes(path)),
    },
  };
}

/**
 * The initial value of a part of the state: constant, or in proportion to a setting or to its logarithm.
 * @throws PmpoError if its elements differ, or if it depends on settings in another way.
 */
function initialValue(
  definition: RegisteredOperator,
  values: Settings,
  paths: readonly string[],
  klParts: readonly string[],
  name: string,
): InitialValue {
  const refuse = (what: string, remedy?: string): never => {
    throw new PmpoError({ where: `export of '${definition.name}', state '${name}'`, what, remedy });
  };
  const valueAt = (at: Numbers): number => {
    const sizes = Object.fromEntries(klParts.map((part) => [part, 2]));
    const { data } = definition.create(withNumbers(values, at)).initialState({ klParts: sizes })[name]!;
    if (data.some((item) => item !== data[0])) refuse('its elements start at different values');
    return data[0]!;
  };
  const given = valueAt({});
  const settings = Object.fromEntries(numbersIn(values));
  const changed = paths.flatMap((path) =>
    [0.613, 1.371, 0.837]
      .map((factor) => ({ path, at: factor * settings[path]! }))
      .filter(({ at }) => accepts(definition, values, path, at))
      .map((point) => ({ ...point, value: valueAt({ [point.path]: point.at }) }))
      .filter(({ value }) => value !== given),
  );
  const [first] = changed;
  if (first === undefined) return { value: given };
  if (changed.some(({ path }) => path !== first.path)) refuse('it depends on several settings');
  for (const [kind, of] of [
    ['log', Math.log],
    ['identity', (x: number) => x],
  ] as const) {
    const factor = Number((first.value / of(first.at)).toPrecision(6));
    const fits = changed.every(
      ({ at, value }) => Math.abs(factor * of(at) - value) <= 1e-5 * Math.max(1, Math.abs(value)),
    );
    if (fits) return { setting: first.path, function: kind, factor };
  }
  return refuse(
    `it depends on the setting ${first.path} in a way that a file cannot describe`,
    'Make it the setting or its logarithm, times a number',
  );
}

/** Cases in which graph and operator are compared: the smallest lengths, and the settings as given and at their ends. */
function checkCases(
  definition: RegisteredOperator,
  values: Settings,
  numbers: Readonly<Record<string, OpenNumber>>,
  { settings: { open }, klParts }: PortableOperator,
  { inputs }: OpenFunction,
): OpenCase[] {
  const given = Object.fromEntries(Object.entries(numbers).map(([path, { value }]) => [path, value]));
  const ends = open
    .filter((path) => numbers[path] !== undefined)
    .flatMap((path) =>
      [0, 1]
        .filter((value) => value !== given[path] && accepts(definition, values, path, value))
        .map((value) => ({ ...given, [path]: value })),
    );
  const lengths = [
    { N: 1, B: 1 },
    { N: 2, B: 3 },
    { N: 5, B: 4 },
  ];
  return [given, given, given, ...ends].map((at, i) => {
    const sizes: Record<string, number> = { ...lengths[Math.min(i, 2)]! };
    for (const [j, part] of klParts.entries()) sizes[`D/${part}`] = 1 + ((i + j) % 3);
    const tensors = Object.entries(inputs).map(([name, axes], j): [string, HostTensor] => {
      const shape = axes.map((axis) => (typeof axis === 'number' ? axis : sizes[axis]!));
      return [name, { shape, data: numbersFor(name, sizeOf(shape), 31 * i + j) }];
    });
    return { lengths: sizes, numbers: at, values: Object.fromEntries(tensors) };
  });
}

/** Numbers that are plausible for an input: 0 or 1 for labels and the mask, else random ones in (−1, 1) or (0, 1). */
function numbersFor(name: string, size: number, seed: number): Float32Array {
  const group = name.split('/')[0]!;
  return fillUniform(randomKey(seed), new Float32Array(size)).map((fraction) => {
    if (group === 'mask') return Number(fraction < 0.8);
    if (group === 'length') return 1 + Math.floor(9 * fraction);
    if (group === 'accept' || group === 'reject') return Number(fraction < 0.5);
    return group === 'kl' || group === 'reverseKl' || group === 'decoupledKl' || group === 'boundViolation'
      ? fraction
      : 2 * fraction - 1;
  });
}
