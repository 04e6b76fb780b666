import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RemoteEnvironment } from '../../../src/dm-env-rpc/client/remote-environment.js';
import { run, temporaryFolder, tinyConfig, writeConfig } from '../../end-to-end/program.js';

// Training on a dm_env_rpc server that is independent of pmpo; see server.py in this folder.

const { PMPO_PYTHON_DM_ENV_RPC: python, PMPO_BIN: program } = process.env;
if (python === undefined || program === undefined) {
  throw new Error('run this with `npm run test:interop foreign_server`');
}

const episodeSteps = 16;
/** Each step rewards three answers, which have five, three and two possible values. */
const bestReturn = episodeSteps * 3;
const randomReturn = episodeSteps * (1 / 5 + 1 / 3 + 1 / 2);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: ChildProcess;
let address: string;
/** The requests that the server has refused so far, without duplicates. */
const refused = new Set<string>();

beforeAll(async () => {
  folder = await temporaryFolder();
  const script = fileURLToPath(new URL('server.py', import.meta.url));
  server = spawn(python!, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  address = await new Promise<string>((resolve, reject) => {
    let text = '';
    server.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const port = /^Listening on (\d+)$/.exec(line)?.[1];
        if (port !== undefined) resolve(`127.0.0.1:${port}`);
        else refused.add(line);
      }
    });
    server.on('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
});
afterAll(async () => {
  server.kill();
  await folder.remove();
});

const connect = (observations?: string[]) =>
  RemoteEnvironment.connect({ address, deadlineSeconds: 10, createSettings: {}, observations });

test('joins the existing world, skips text observations, and can skip others', async () => {
  const environment = await connect();
  expect(environment.worldName).toBe('');
  expect(Object.keys(environment.observationSpec).sort()).toEqual(['picture', 'thermometer']);
  expect(environment.actionSpec).toMatchObject({
    column: { dtype: 'int32', shape: [], minimum: 2, maximum: 6 },
    lamps: { dtype: 'int64', shape: [2], minimum: [-1, 0], maximum: [1, 1] },
  });
  // Requesting the broken thermometer gives the server's own message.
  await expect(environment.reset({ seed: 1 })).rejects.toThrow(/the thermometer is broken/);
  await environment.close();

  const sighted = await connect(['picture']);
  const { observation } = await sighted.reset({ seed: 1 });
  expect(observation.picture).toMatchObject({ dtype: 'uint8', shape: [8, 8, 3] });
  expect(Object.keys(observation)).toEqual(['picture']);
  await expect(sighted.listProperties()).rejects.toThrow(/does not know extension/);
  const value = { dtype: 'int64', shape: [2], data: BigInt64Array.from([-1n, 1n]) } as const;
  const step = await sighted.step({
    column: { dtype: 'int32', shape: [], data: Int32Array.of(2) },
    lamps: value,
  });
  expect([0, 1, 2, 3]).toContain(step.reward);
  await sighted.close();
});

test('the program trains on the server without changes to either, and learns the task', {
  timeout: 240_000,
}, async () => {
  refused.clear();
  const tiny = tinyConfig(folder.path);
  const config = {
    ...tiny,
    environment: { address, numEnvs: 4, observations: ['picture'] },
    operator: { name: 'pmpo', kl: { categorical: 10 } },
    policy: { hidden: [64] },
    critic: { hidden: [64], learningRate: 3e-3 },
    learner: {
      environmentSteps: 10_000,
      warmupSteps: 500,
      batchSize: 64,
      learningRate: 3e-3,
      explorationCorrelation: 0,
      // Successive pictures are independent.
      discount: 0,
    },
    replay: { capacity: 10_000, nStep: 1 },
    reference: { period: 20 },
    evaluation: { every: 5000, episodes: 8 },
    checkpoint: { every: 10_000 },
  };
  const file = await writeConfig(folder.path, 'foreign.yaml', config);
  const { code, stderr } = await run(['train', file, '--quiet', '--name', 'foreign'], {
    timeoutSeconds: 200,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const summary = JSON.parse(await readFile(join(folder.path, 'foreign', 'summary.json'), 'utf8')) as {
    steps: number;
    evaluation: { meanScore: number };
  };
  expect(summary.steps).toBe(10_000);
  // A random policy gets 16.5, the best 48; training reaches about 46.
  expect(summary.evaluation.meanScore).toBeGreaterThan((randomReturn + bestReturn) / 2);
  // The only refused requests are those for optional features: creating worlds, and seeds.
  expect([...refused].sort()).toEqual([
    'refused create_world: this server does not know create_world',
    "refused reset: no settings here: ['seed']",
  ]);
});
