import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { type LoadedConfig, resolveConfig } from '../../src/config/load.js';
import { createEngine } from '../../src/engine/create.js';
import type { VectorEnvironment } from '../../src/environments/vector-environment.js';
import { openTrainingEnvironments } from '../../src/experiments/environments.js';
import { trainControl } from '../../src/learners/control/train.js';
import type { Checkpoint } from '../../src/run/checkpoints.js';
import { ensureBuilt, projectRoot } from '../end-to-end/program.js';

/** Training runs on servers that are killed, restarted and stopped; afterwards, every transition is checked. */

/** labeling-server.mjs in a separate process, on the same port after each start. */
class Server {
  port = 0;
  starts = 0;
  readonly #number: number;
  #child: ChildProcess | undefined;

  constructor(number: number) {
    this.#number = number;
  }

  async start(): Promise<void> {
    this.starts += 1;
    const script = join(projectRoot, 'test/environments/labeling-server.mjs');
    const args = [script, `${this.port}`, `${100 * this.#number + this.starts}`];
    const child = spawn(process.execPath, args, { cwd: projectRoot, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      this.port = Number(line);
      return;
    }
    throw new Error('the server did not start');
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Resolves once the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

beforeAll(ensureBuilt);
// Processes start slowly on a busy machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.kill();
});

async function serve(): Promise<Server> {
  const server = new Server(servers.length);
  servers.push(server);
  await server.start();
  return server;
}

const numEnvs = 8;
const discount = 0.5;
const nSteps = 3;

function configure(on: readonly Server[], environment: Record<string, unknown>): Promise<LoadedConfig> {
  return resolveConfig(
    'chaos.yaml',
    stringify({
      environment: {
        address: on.map(({ port }) => `127.0.0.1:${port}`),
        numEnvs,
        deadlineSeconds: 10,
        reconnect: { attempts: 400, initialDelaySeconds: 0.02, maxDelaySeconds: 0.1 },
        ...environment,
      },
      policy: { hidden: [8] },
      critic: { hidden: [8] },
      learner: { environmentSteps: 1200, warmupSteps: 100, batchSize: 16, stepsPerUpdate: 20, discount },
      replay: { capacity: 10_000, nStep: nSteps },
      // Only at the end, because an evaluation waits for all of its environments.
      evaluation: { every: 1200, episodes: 2 },
      checkpoint: { every: 1200 },
    }),
  );
}

/** Counts of a run, taken from outside. */
interface Witness {
  /** Results of steps, all of which must be in the replay. */
  sent: number;
  lost: number;
  /** Answered steps of each environment. */
  readonly answered: number[];
}

/**
 * Trains.
 * @param disturb called during each step; the run waits for the returned promise.
 */
async function train(
  loaded: LoadedConfig,
  disturb: (witness: Witness) => Promise<void> | undefined,
  notice: (message: string) => void = () => {},
) {
  const witness: Witness = { sent: 0, lost: 0, answered: Array(numEnvs).fill(0) };
  const { config, operator, classifier } = loaded;
  const opened = await openTrainingEnvironments(config, { notice });
  const inner = opened.environment!;
  const environment: VectorEnvironment = Object.create(inner, {
    step: {
      value: async (actions: Float32Array) => {
        const stepping = inner.step(actions);
        await disturb(witness);
        const step = await stepping;
        for (let k = 0; k < numEnvs; k++) {
          if (step.ready[k] === 0) continue;
          witness.answered[k] += 1;
          if (step.lost[k] === 1) witness.lost += 1;
          else witness.sent += 1;
        }
        return step;
      },
    },
  });
  for (const name of ['reset', 'verifySteps', 'state', 'restore', 'close'] as const) {
    Object.defineProperty(environment, name, { value: inner[name].bind(inner) });
  }
  let checkpoint: Checkpoint | undefined;
  const engine = await createEngine('onnx', { threads: 1 });
  try {
    const result = await trainControl({
      config,
      engine,
      environment,
      evaluationEnvironment: opened.evaluationEnvironment,
      operator,
      classifier,
      observer: {
        progress() {},
        metrics() {},
        evaluation() {},
        notice,
        async checkpoint(_steps, saved) {
          checkpoint = saved;
        },
      },
      clock: () => 0,
    });
    return { result, witness, checkpoint: checkpoint! };
  } finally {
    await opened.close();
    await engine.dispose();
  }
}

interface Label {
  readonly start: number;
  readonly episode: number;
  readonly step: number;
  readonly sum: number;
}

/** Checks every transition in the replay of a checkpoint; returns their number, open windows included. */
function expectWholeEpisodes({ tensors }: Checkpoint): number {
  const column = (name: string) => tensors[`replay/${name}`].data as Float32Array;
  const count = tensors['replay/returns'].data.length;
  const label = (name: string, i: number): Label => {
    const [start, episode, step, sum] = column(name).subarray(4 * i, 4 * i + 4);
    return { start, episode, step, sum };
  };
  const seen = new Map<string, number[]>();
  for (let i = 0; i < count; i++) {
    const [from, to] = [label('observations', i), label('nextObservations', i)];
    expect({ ...to, step: 0, sum: 0 }).toEqual({ ...from, step: 0, sum: 0 });
    const length = to.step - from.step;
    expect(length).toBeGreaterThan(0);
    expect(length).toBeLessThanOrEqual(nSteps);
    if (length === 1) expect(to.sum).toBeCloseTo(from.sum + column('actions')[i], 4);
    let nStepReturn = 0;
    for (let t = to.step; t > from.step; t--) nStepReturn = t + discount * nStepReturn;
    expect(column('returns')[i]).toBeCloseTo(nStepReturn, 4);
    // Episodes with an even number end in a terminal state, whose value is 0.
    const ended = to.step === 17 && to.episode % 2 === 0;
    expect(column('discounts')[i]).toBe(ended ? 0 : discount ** length);
    const key = `${from.start}/${from.episode}`;
    seen.set(key, [...(seen.get(key) ?? []), from.step]);
  }
  // Each step of each episode, from the first on, appears once.
  for (const steps of seen.values()) expect(steps.toSorted((a, b) => a - b)).toEqual([...steps.keys()]);
  const open = tensors['windows/lengths'].data as Int32Array;
  return count + open.reduce((a, b) => a + b, 0);
}

describe('a server that is killed and restarted five times in a run of eight environments', () => {
  it('costs only the steps in progress, and no transition joins two episodes', async () => {
    const server = await serve();
    const { result, witness, checkpoint } = await train(await configure([server], {}), ({ sent }) => {
      if (server.starts > 5 || sent < 200 * server.starts) return;
      return server.kill().then(() => server.start());
    });
    expect(server.starts).toBe(6);
    expect(result).toMatchObject({ environmentSteps: 1200, interrupted: false });
    expect(result.evaluation.scores).toHaveLength(2);
    expect(witness.sent + witness.lost).toBe(1200);
    expect(witness.lost).toBe(5 * numEnvs);
    expect(expectWholeEpisodes(checkpoint)).toBe(witness.sent);
  });

  it('does not hold back the environments of another server, without lockstep', async () => {
    const [dying, living] = [await serve(), await serve()];
    const loaded = await configure([dying, living], { lockstep: false });
    let back: number | undefined;
    const { result, witness, checkpoint } = await train(loaded, ({ sent, answered }) => {
      if (back !== undefined) {
        // It stays away while the environments of the other server continue.
        if (answered[1] < back) return;
        back = undefined;
        return dying.start();
      }
      if (dying.starts > 5 || sent < 170 * dying.starts) return;
      back = answered[1] + 20;
      return dying.kill();
    });
    expect(dying.starts).toBe(6);
    expect(result.interrupted).toBe(false);
    expect(witness.sent + witness.lost).toBe(result.environmentSteps);
    expect(witness.lost).toBeGreaterThan(0);
    expect(expectWholeEpisodes(checkpoint)).toBe(witness.sent);
  });
});

describe('a server that is stopped during a step (SIGSTOP)', () => {
  it('is reconnected to when it continues', async () => {
    const server = await serve();
    let stopped = false;
    const notices: string[] = [];
    const loaded = await configure([server], { deadlineSeconds: 2 });
    const { result, witness, checkpoint } = await train(
      loaded,
      ({ sent }) => {
        if (stopped || sent < 300) return undefined;
        stopped = true;
        server.signal('SIGSTOP');
        return undefined;
      },
      (message) => {
        notices.push(message);
        server.signal('SIGCONT');
      },
    );
    expect(notices.join('\n')).toMatch(
      /acting: environments? [\d, ]+: .*no answer to Step within 2 s.*Reconnecting/,
    );
    expect(result).toMatchObject({ environmentSteps: 1200, interrupted: false });
    expect(witness.lost).toBeGreaterThan(0);
    expect(expectWholeEpisodes(checkpoint)).toBe(witness.sent);
  });
});
