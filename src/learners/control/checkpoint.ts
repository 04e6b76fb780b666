import { PmpoError } from '../../core/errors.js';
import type { Engine } from '../../engine/engine.js';
import { type HostTensor, hostTensor } from '../../engine/tensors.js';
import type { TransitionStore } from '../../replay/transition-store.js';
import type { Checkpoint } from '../../run/checkpoints.js';
import type { ActionUnits } from './action-units.js';
import type { Experience } from './experience.js';
import type { WatchState } from './learning-watch.js';
import { type AgentParameters, allVariables } from './parameters.js';

/** A control job as a checkpoint, and back. Random keys are not saved, because each follows from the seed and a counter. */

/** The counters of a control job. */
export interface Counters {
  environmentSteps: number;
  updates: number;
  wallSeconds: number;
  /** Whether an evaluation was due that has not been completed. */
  evaluationDue?: boolean;
  /** What the run's watch has said. */
  watch?: WatchState;
}

/** The parts of a control job that a checkpoint holds. */
export interface JobParts {
  readonly engine: Engine;
  readonly parameters: AgentParameters;
  readonly store: TransitionStore;
  readonly experience: Experience;
}

/** Adds `prefix/` to every name. */
export const prefixed = <T>(prefix: string, tensors: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${prefix}/${name}`, tensor]));

/** The tensors whose names begin with `prefix/`, without it. */
export const under = <T>(prefix: string, tensors: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(`${prefix}/`))
      .map(([name, tensor]) => [name.slice(prefix.length + 1), tensor]),
  );

/** The agent's variables, by their names in a checkpoint. */
export async function savedVariables(
  engine: Engine,
  parameters: AgentParameters,
): Promise<Record<string, HostTensor>> {
  const variables = allVariables(parameters);
  const values = await engine.read(Object.values(variables));
  return Object.fromEntries(Object.keys(variables).map((name, i) => [name, values[i]]));
}

/** The actions' units as a checkpoint has them, which `shapeInCheckpoint` reads. */
export function actionTensors({
  actionMinimum,
  actionMaximum,
  actionValues,
}: ActionUnits & { readonly actionValues: Int32Array }): Record<string, HostTensor> {
  const shape = [actionMinimum.length];
  return {
    'acting/actionMinimum': { shape, data: actionMinimum.slice() },
    'acting/actionMaximum': { shape, data: actionMaximum.slice() },
    'acting/actionValues': { shape, data: actionValues.slice() },
  };
}

/** Everything that the job needs to continue as if it had never stopped. Call it between iterations. */
export async function saveJob(
  { engine, parameters, store, experience }: JobParts,
  { environmentSteps, updates, wallSeconds, evaluationDue = false, watch }: Counters,
): Promise<Checkpoint> {
  const variables = await savedVariables(engine, parameters);
  const { tensors, counters, metadata } = experience.snapshot();
  return {
    tensors: {
      ...variables,
      ...prefixed('replay', store.snapshot()),
      ...tensors,
      ...actionTensors(experience.shape),
    },
    metadata: {
      job: 'control',
      counters: {
        environmentSteps,
        updates,
        wallSeconds,
        ...(evaluationDue ? { evaluationDue } : {}),
        ...(watch === undefined ? {} : { watch }),
        ...counters,
      },
      ...metadata,
    },
  };
}

/** A checkpoint's tensor. @throws PmpoError when it is missing or of another shape. */
export function requiredTensor(checkpoint: Checkpoint, name: string, shape: readonly number[]): HostTensor {
  const tensor = checkpoint.tensors[name];
  const fits = tensor !== undefined && tensor.shape.join() === shape.join();
  if (fits) return hostTensor(tensor);
  throw new PmpoError({
    where: `checkpoint, ${name}`,
    what:
      tensor === undefined
        ? 'it is missing'
        : `the shape is [${tensor.shape}], this configuration needs [${shape}]`,
    remedy: 'Resume with the configuration and the version of pmpo that the run was started with',
  });
}

/**
 * A checkpoint's tensors `prefix/NAME`, by NAME, for every name in `expected` and of its shape.
 * @throws PmpoError naming a tensor that is missing or has another shape.
 */
export function requiredUnder(
  prefix: string,
  checkpoint: Checkpoint,
  expected: Readonly<Record<string, HostTensor>>,
): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(expected).map(([name, { shape }]) => [
      name,
      requiredTensor(checkpoint, `${prefix}/${name}`, shape),
    ]),
  );
}

/** Sets the agent's variables from a checkpoint. @throws PmpoError naming a variable that is missing or has another shape. */
export async function restoreParameters(
  engine: Engine,
  parameters: AgentParameters,
  checkpoint: Checkpoint,
): Promise<void> {
  for (const [name, variable] of Object.entries(allVariables(parameters))) {
    await engine.write(variable, requiredTensor(checkpoint, name, variable.shape));
  }
}

/** Remembers the agent's variables, and returns a function that sets them back. */
export async function rememberParameters(
  engine: Engine,
  parameters: AgentParameters,
): Promise<() => Promise<void>> {
  const variables = Object.values(allVariables(parameters));
  const values = await engine.read(variables);
  return async () => {
    for (const [i, variable] of variables.entries()) await engine.write(variable, values[i]);
  };
}

/** Restores all parts from a checkpoint, the experience last, and returns the counters. */
export async function restoreJob(
  checkpoint: Checkpoint,
  { engine, parameters, store, experience }: JobParts,
): Promise<Counters> {
  const metadata = checkpoint.metadata as { job?: string; counters: Counters };
  if (metadata.job !== 'control') {
    throw new PmpoError({
      where: 'checkpoint',
      what: `it belongs to a '${metadata.job}' job, not to a control job`,
    });
  }
  await restoreParameters(engine, parameters, checkpoint);
  store.restore(under('replay', checkpoint.tensors));
  await experience.begin(checkpoint);
  const { environmentSteps, updates, wallSeconds, evaluationDue, watch } = metadata.counters;
  return { environmentSteps, updates, wallSeconds, evaluationDue, watch };
}
