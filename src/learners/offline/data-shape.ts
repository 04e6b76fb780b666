import { PmpoError } from '../../core/errors.js';
import { type RecordedEpisode, sizeOf, type TransitionSource } from '../../datasets/transitions/source.js';
import type { DType, NamedTensorValues, TensorSpec } from '../../environments/environment.js';
import { hasUsableBounds, scaleActions } from '../../environments/flatten.js';
import { flattenObservations } from '../../environments/observation-layout.js';
import { type EnvironmentShape, requireSameKind } from '../control/policy-fit.js';

/**
 * The data set as a policy sees it: observations as one vector, actions from −1 to 1. Shapes: T steps of an episode, O observation size, A
 * action dimensions.
 */

/** An episode as the networks see it. */
export interface EncodedEpisode {
  /** T */
  readonly length: number;
  /** [T + 1, O] */
  readonly observations: Float32Array;
  /** Canonical actions, [T, A]. */
  readonly actions: Float32Array;
  readonly rewards: ArrayLike<number>;
  readonly terminated: boolean;
  /** Steps whose action lay outside of the bounds, and counts as the nearest one. */
  readonly clipped: number;
}

/** The shape of a data set, and how its episodes are encoded. */
export interface DataShape {
  readonly shape: EnvironmentShape;
  /** What was inferred, in sentences. */
  readonly notes: readonly string[];
  /** @throws PmpoError naming the step of a value that cannot be encoded. */
  encode(episode: RecordedEpisode): EncodedEpisode;
}

/** Settings for what the file does not tell. */
export interface DataShapeOptions {
  /** The environment in which the policy is evaluated; its bounds and names are those of the data. */
  readonly environment?: EnvironmentShape;
  /** The bounds of actions that have none in the file. */
  readonly actionBounds?: readonly [number, number];
  /** The number of values of each action, which are whole numbers from 0. */
  readonly actionValues?: number;
  readonly oneHot?: boolean;
}

const misfitRemedy = 'Name the environment in which the data was recorded, or remove environment';

/** Whether the data's observation is one vector that means the environment's, whatever its parts are called. */
function isVector(
  { vectorParts, observationSpecs }: TransitionSource,
  environment?: EnvironmentShape,
): boolean {
  if (vectorParts !== undefined) return true;
  if (environment === undefined) return false;
  const specs = Object.values(observationSpecs);
  const parts = environment.layout?.observations ?? [];
  const isSame = parts.length === 1 && parts[0]!.name === specs[0]?.name;
  return (
    specs.length === 1 &&
    specs[0]!.dtype.startsWith('float') &&
    specs[0]!.shape.length === 1 &&
    !isSame &&
    sizeOf(specs[0]!) === environment.observationSize
  );
}

/** The specs of the actions with the number of their values, if the configuration gives it. */
function actionSpecsOf(
  { actionSpecs }: TransitionSource,
  values: number | undefined,
): Record<string, TensorSpec> {
  if (values === undefined) return actionSpecs;
  return Object.fromEntries(
    Object.entries(actionSpecs).map(([name, spec]) => [
      name,
      { ...spec, dtype: 'int64' as const, minimum: 0, maximum: values - 1 },
    ]),
  );
}

/** Whether the file itself bounds all of its actions, as a policy can use it. */
export const areBounded = (specs: Readonly<Record<string, TensorSpec>>) =>
  Object.values(specs).every(hasUsableBounds);

const boundsRemedy =
  'Set dataset.actionBounds, such as [-1, 1], or dataset.actionValues for whole numbers from 0, or name the environment';

/** What is said of settings that are not used, or that take the place of what the file says. */
function settingNotes(
  { actionSpecs }: TransitionSource,
  { environment, actionBounds, actionValues }: DataShapeOptions,
): string[] {
  const isBounded = areBounded(actionSpecs);
  return [
    ...(actionBounds !== undefined && isBounded
      ? ['dataset.actionBounds is not used: the file itself bounds its actions']
      : []),
    ...(actionBounds !== undefined && !isBounded && environment !== undefined
      ? ["dataset.actionBounds is not used: the environment's bounds are"]
      : []),
    ...(actionValues !== undefined && isBounded
      ? ['dataset.actionValues takes the place of the bounds that the file has']
      : []),
  ];
}

/**
 * Finds how a data set enters a policy.
 * @throws PmpoError if it does not fit the environment, or does not bound its actions where nothing else does.
 */
export function dataShape(source: TransitionSource, options: DataShapeOptions = {}): DataShape {
  const { environment, actionBounds, actionValues, oneHot } = options;
  const { where } = source;
  const notes = [...source.notes, ...settingNotes(source, options)];
  const given = actionSpecsOf(source, actionValues);
  const actionSize = Object.values(given).reduce((sum, spec) => sum + sizeOf(spec), 0);
  const isBounded = areBounded(given);
  const useEnvironments = environment !== undefined && !isBounded;
  const misfit = (what: string) => new PmpoError({ where, what, remedy: misfitRemedy });
  if (useEnvironments && environment.actionMinimum.length !== actionSize)
    throw misfit(
      `its actions have ${actionSize} numbers, and those of the environment ${environment.actionMinimum.length}`,
    );
  let units: Pick<EnvironmentShape, 'actionMinimum' | 'actionMaximum' | 'actionValues'>;
  if (useEnvironments) {
    units = environment;
  } else {
    const isFloat = Object.values(given).every(({ dtype }) => dtype.startsWith('float'));
    if (!isBounded && actionBounds === undefined && isFloat) {
      throw new PmpoError({
        where,
        what: 'the file does not bound its actions',
        remedy: boundsRemedy,
      });
    }
    const scaler = scaleActions(given, { bounds: actionBounds, boundsRemedy });
    units = { actionMinimum: scaler.minimum, actionMaximum: scaler.maximum, actionValues: scaler.values };
  }
  const vector = isVector(source, environment);
  const flattener = vector ? undefined : flattenObservations(source.observationSpecs, { oneHot });
  const observationSize = vector
    ? Object.values(source.observationSpecs).reduce((sum, spec) => sum + sizeOf(spec), 0)
    : flattener!.size;
  if (vector && environment !== undefined && observationSize !== environment.observationSize) {
    throw misfit(
      `its observations have ${observationSize} numbers, and those of the environment ${environment.observationSize}`,
    );
  }
  if (vector && source.vectorParts === undefined) {
    const names = environment!.layout?.observations.map(({ name }) => name).join(', ') ?? '';
    notes.push(`The observation is read as the environment's vector of ${names}, in this order`);
  }
  notes.push(...(flattener?.notes ?? []));
  const observations = flattener?.parts ?? source.vectorParts ?? environment?.layout?.observations ?? [];
  const parts = Object.keys(given)
    .sort()
    .map((name) => ({ name, shape: given[name]!.shape, size: sizeOf(given[name]!) }));
  // One vector without a name means the environment's, whatever its parts are called.
  const isActionVector = parts.length === 1 && parts[0]!.name === 'action';
  const actions = (isActionVector ? environment?.layout?.actions : undefined) ?? parts;
  if (isActionVector && source.vectorParts === undefined && actions.some(({ name }) => name !== 'action')) {
    const names = actions.map(({ name }) => name).join(', ');
    notes.push(`The action is read as the environment's vector of ${names}, in this order`);
  }
  const shape: EnvironmentShape = { observationSize, ...units, layout: { observations, actions } };
  if (environment !== undefined) {
    requireSameKind(environment, shape, misfitRemedy, {
      where: `${where}, environment`,
      other: { name: 'the data', has: 'the data has' },
    });
  }
  const actionNames = Object.keys(given).sort();
  const observationNames = Object.keys(source.observationSpecs).sort();
  return {
    shape,
    notes,
    encode(episode) {
      const rows = episode.length + 1;
      const observations = new Float32Array(rows * observationSize);
      for (let t = 0; t < rows; t++) {
        if (vector) {
          let at = t * observationSize;
          for (const name of observationNames) {
            const size = sizeOf(source.observationSpecs[name]!);
            const values = episode.observations[name]!;
            for (let i = 0; i < size; i++) observations[at++] = Number(values[t * size + i]);
          }
        } else
          flattener!.write(rowOf(source.observationSpecs, episode, t), observations, t * observationSize);
      }
      const bad = observations.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) {
        const row = Math.floor(bad / observationSize);
        const what =
          flattener?.describe(rowOf(source.observationSpecs, episode, row), bad % observationSize) ??
          `observation ${bad % observationSize} is beyond the range of float32`;
        throw new PmpoError({
          where: `${episode.where}, step ${row}`,
          what,
          remedy: 'Leave the episode out, or mend what recorded it',
        });
      }
      const actions = new Float32Array(episode.length * actionSize);
      let clipped = 0;
      for (let t = 0; t < episode.length; t++) {
        let d = 0;
        let outside = false;
        for (const name of actionNames) {
          const size = sizeOf(given[name]!);
          const values = episode.actions[name]!;
          for (let i = 0; i < size; i++, d++) {
            const place = { where: `${episode.where}, step ${t}`, name };
            const canonical = canonicalAction(place, units, d, Number(values[t * size + i]));
            outside ||= Math.abs(canonical) > 1 + 1e-5;
            actions[t * actionSize + d] = Math.min(1, Math.max(-1, canonical));
          }
        }
        clipped += Number(outside);
      }
      return {
        length: episode.length,
        observations,
        actions,
        rewards: episode.rewards,
        terminated: episode.terminated,
        clipped,
      };
    },
  };
}

/** A value of an action dimension, −1 … 1. @throws PmpoError for a number that is none of the values of an integer. */
function canonicalAction(
  { where, name }: { readonly where: string; readonly name: string },
  {
    actionMinimum,
    actionMaximum,
    actionValues,
  }: Pick<EnvironmentShape, 'actionMinimum' | 'actionMaximum' | 'actionValues'>,
  dimension: number,
  value: number,
): number {
  const [low, high, count] = [actionMinimum[dimension]!, actionMaximum[dimension]!, actionValues[dimension]!];
  if (count > 0 && (!Number.isInteger(value) || value < low || value > high)) {
    throw new PmpoError({
      where,
      what: `the action '${name}' is ${value}, and it takes whole numbers from ${low} to ${high}`,
      remedy: 'Mend the data, or its action space',
    });
  }
  return high === low ? 0 : (2 * (value - low)) / (high - low) - 1;
}

/** Row t of the observations, as the flattener reads it. */
function rowOf(
  specs: Readonly<Record<string, TensorSpec>>,
  { observations }: RecordedEpisode,
  t: number,
): NamedTensorValues {
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => {
      const size = sizeOf(spec);
      const data = Array.prototype.slice.call(observations[name]!, t * size, (t + 1) * size) as number[];
      // The flattener reads all dtypes but those of 64 bits as numbers.
      const dtype: DType = spec.dtype === 'int64' || spec.dtype === 'uint64' ? spec.dtype : 'float64';
      const values =
        dtype === 'float64' ? Float64Array.from(data, Number) : BigInt64Array.from(data, (v) => BigInt(v));
      return [name, { dtype, shape: spec.shape, data: values }];
    }),
  ) as NamedTensorValues;
}
