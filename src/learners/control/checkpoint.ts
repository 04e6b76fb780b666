import type { Engine } from '../../engine/engine.js';
import type { HostTensor, NamedHostTensors } from '../../engine/tensors.js';
import type { OpenEpisode, VectorEnvironment } from '../../environments/vector-environment.js';
import { PmpoError } from '../../errors.js';
import type { NStepWindows } from '../../replay/n-step.js';
import type { TransitionStore } from '../../replay/transition-store.js';
import type { Checkpoint } from '../../run/contracts.js';
import type { ActingNoise } from './noise.js';
import type { AgentParameters } from './parameters.js';
import { allVariables } from './parameters.js';

/**
 * A control job as a checkpoint and back. Random keys need no room: each is made from the seed and a counter.
 */

export interface Counters {
  environmentSteps: number;
  updates: number;
  wallSeconds: number;
  /** Of each world's open episode. */
  episodeSteps: number[];
  episodeReturns: number[];
}

export interface JobParts {
  readonly engine: Engine;
  readonly parameters: AgentParameters;
  readonly store: TransitionStore;
  readonly windows: NStepWindows;
  readonly noise: ActingNoise;
  readonly environment: VectorEnvironment;
}

const prefixed = (prefix: string, tensors: NamedHostTensors): NamedHostTensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [`${prefix}/${name}`, tensor]));

const under = (prefix: string, tensors: NamedHostTensors): NamedHostTensors =>
  Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(`${prefix}/`))
      .map(([name, tensor]) => [name.slice(prefix.length + 1), tensor]),
  );

/** Everything that the job needs to go on as if it had never stopped. Call between iterations. */
export async function saveJob(
  { engine, parameters, store, windows, noise, environment }: JobParts,
  counters: Counters,
  observations: Float32Array,
): Promise<Checkpoint> {
  const variables = allVariables(parameters);
  const values = await engine.read(Object.values(variables));
  const open = environment.state().map((episode, k) => ({
    ...episode,
    // After a failed step a world may be one action ahead of what was learned from.
    actions: episode.actions.slice(0, counters.episodeSteps[k] * environment.actionSize),
  }));
  const openActions = open.map(({ actions }, k): [string, HostTensor] => [
    `openEpisode${k}/actions`,
    { shape: [counters.episodeSteps[k], environment.actionSize], data: actions },
  ]);
  return {
    tensors: {
      ...Object.fromEntries(Object.keys(variables).map((name, i) => [name, values[i]])),
      ...prefixed('replay', store.snapshot()),
      ...prefixed('windows', windows.snapshot()),
      'acting/noise': noise.snapshot(),
      'acting/observations': {
        shape: [environment.size, environment.observationSize],
        data: observations.slice(),
      },
      'acting/actionMinimum': { shape: [environment.actionSize], data: environment.actionMinimum.slice() },
      'acting/actionMaximum': { shape: [environment.actionSize], data: environment.actionMaximum.slice() },
      ...Object.fromEntries(openActions),
    },
    metadata: {
      job: 'control',
      // A copy: the job goes on counting in its own.
      counters: structuredClone(counters),
      openEpisodes: open.map(({ episode, seed }) => ({ episode, seed })),
    },
  };
}

function required(checkpoint: Checkpoint, name: string, shape: readonly number[]): HostTensor {
  const tensor = checkpoint.tensors[name];
  const fits = tensor !== undefined && tensor.shape.join() === shape.join();
  if (fits) return tensor;
  throw new PmpoError({
    where: `checkpoint, ${name}`,
    what:
      tensor === undefined
        ? 'it is missing'
        : `the shape is [${tensor.shape}], this configuration needs [${shape}]`,
    remedy: 'Resume with the configuration that the run was started with',
  });
}

/** Sets the agent's variables from a checkpoint. @throws PmpoError naming what is missing or of another shape. */
export async function restoreParameters(
  engine: Engine,
  parameters: AgentParameters,
  checkpoint: Checkpoint,
): Promise<void> {
  for (const [name, variable] of Object.entries(allVariables(parameters))) {
    await engine.write(variable, required(checkpoint, name, variable.shape));
  }
}

/** Brings all parts back to a checkpoint, but for the worlds, whose open episodes are returned. */
export async function restoreJob(
  checkpoint: Checkpoint,
  { engine, parameters, store, windows, noise, environment }: JobParts,
): Promise<{ counters: Counters; openEpisodes: OpenEpisode[]; observations: Float32Array }> {
  const { size, observationSize, actionSize } = environment;
  const metadata = checkpoint.metadata as {
    job?: string;
    counters: Counters;
    openEpisodes: { episode: number; seed: number }[];
  };
  if (metadata.job !== 'control') {
    throw new PmpoError({
      where: 'checkpoint',
      what: `it is of a '${metadata.job}' job, not of a control job`,
    });
  }
  // Checked first: the number of worlds shapes everything else.
  const observations = required(checkpoint, 'acting/observations', [size, observationSize]);
  await restoreParameters(engine, parameters, checkpoint);
  for (const [name, tensor] of Object.entries(windows.snapshot())) {
    required(checkpoint, `windows/${name}`, tensor.shape);
  }
  windows.restore(under('windows', checkpoint.tensors));
  store.restore(under('replay', checkpoint.tensors));
  noise.restore(required(checkpoint, 'acting/noise', noise.snapshot().shape));
  const counters = structuredClone(metadata.counters);
  const openEpisodes = metadata.openEpisodes.map((episode, k) => ({
    ...episode,
    actions: required(checkpoint, `openEpisode${k}/actions`, [counters.episodeSteps[k], actionSize])
      .data as Float32Array,
  }));
  return { counters, openEpisodes, observations: observations.data as Float32Array };
}
