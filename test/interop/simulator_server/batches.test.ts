import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { connectOverSharedStreams } from '../../../src/dm-env-rpc/client/shared-streams.js';
import { DmEnvRpcError } from '../../../src/dm-env-rpc/errors.js';
import {
  createVectorEnvironment,
  type VectorEnvironmentOptions,
} from '../../../src/environments/create-vector-environment.js';
import type { VectorEnvironment } from '../../../src/environments/vector-environment.js';
import {
  parameters,
  projectRoot,
  run,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from '../../end-to-end/program.js';

// Several environments on one stream of plugins/simulator-server give the same experience as one on each stream.

const { PMPO_PYTHON_SIMULATOR_SERVER: python, PMPO_BIN: program } = process.env;
if (python === undefined || program === undefined) {
  throw new Error('run this with `npm run test:interop simulator_server`');
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Served {
  readonly process: ChildProcess;
  readonly address: string;
  readonly port: string;
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>;
}

async function serve(port = '0'): Promise<Served> {
  const here = dirname(fileURLToPath(import.meta.url));
  const child = spawn(
    python!,
    [
      ...['-m', 'pmpo_simulator_server', 'any', '--port', port, '--processes', '2'],
      ...['--allow-import', 'catch_world'],
    ],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        PYTHONPATH: `${join(projectRoot, 'plugins/simulator-server')}:${here}`,
        PYTHONDONTWRITEBYTECODE: '1',
      },
    },
  );
  const ended = new Promise((resolve) => child.on('exit', resolve));
  cleanups.push(() => {
    child.kill();
    return ended;
  });
  const address = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const found = / on (\S+:\d+) /.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
  return { process: child, address, port: address.split(':').at(-1)!, ended };
}

async function vectorOf(
  address: string,
  createSettings: Readonly<Record<string, string | number>>,
  envsPerStream: number,
  more: Partial<VectorEnvironmentOptions> = {},
): Promise<VectorEnvironment> {
  const size = more.numEnvs ?? 5;
  const worlds = await createVectorEnvironment({
    connect: connectOverSharedStreams({
      numEnvs: size,
      envsPerStream,
      optionsOf: () => ({ address, deadlineSeconds: 60, reuseArrays: true, createSettings }),
    }),
    numEnvs: size,
    episodeSeed: (world, episode) => 1000 * world + episode,
    reconnect: { attempts: 100, initialDelaySeconds: 0.05, maxDelaySeconds: 0.5 },
    notice: () => {},
    ...more,
  });
  cleanups.push(() => worlds.close());
  return worlds;
}

const actionsAt = (t: number, { numEnvs, actionSize }: VectorEnvironment) =>
  Float32Array.from({ length: numEnvs * actionSize }, (_, i) => Math.sin(1.7 * t + i));

describe('experience', () => {
  test.each<Readonly<Record<string, string | number>>>([
    { simulator: 'gymnasium/CartPole-v1' },
    { simulator: 'gymnasium/Pendulum-v1', maxEpisodeSteps: 9 },
    { simulator: 'suite/walker-walk', timeLimit: 0.3 },
    { simulator: 'suite/cartpole-swingup', timeLimit: 0.2 },
  ])('of $simulator is the same, bit for bit, also after an open episode is restored', async (settings) => {
    const { address } = await serve();
    const [alone, batched] = [await vectorOf(address, settings, 1), await vectorOf(address, settings, 4)];
    expect(await batched.reset()).toEqual(await alone.reset());
    let ends = 0;
    for (let t = 0; t < 70; t++) {
      const [expected, step] = [
        await alone.step(actionsAt(t, alone)),
        await batched.step(actionsAt(t, batched)),
      ];
      expect(step).toEqual(expected);
      for (const k of step.ready.keys()) ends += step.terminated[k] + step.truncated[k];
    }
    expect(ends).toBeGreaterThan(5);
    const again = await vectorOf(address, settings, 4);
    await again.restore(batched.state());
    const actions = actionsAt(70, alone);
    expect(await again.step(actions)).toEqual(await alone.step(actions));
  });
});

test('killing and restarting the server loses the step in progress, and no other', async () => {
  const first = await serve();
  const worlds = await vectorOf(first.address, { simulator: 'suite/cartpole-swingup' }, 4, { numEnvs: 4 });
  await worlds.reset();
  for (let t = 0; t < 3; t++) await worlds.step(actionsAt(t, worlds));
  first.process.kill('SIGKILL');
  await first.ended;
  const stepping = worlds.step(actionsAt(3, worlds));
  await serve(first.port);
  const lost = await stepping;
  expect([...lost.lost]).toEqual([1, 1, 1, 1]);
  expect(worlds.state().map(({ episode, seed }) => [episode, seed])).toEqual([
    [1, 1],
    [1, 1001],
    [1, 2001],
    [1, 3001],
  ]);
  expect([...(await worlds.step(actionsAt(4, worlds))).lost]).toEqual([0, 0, 0, 0]);
});

test('the error of a failed simulator names it, and the others complete their steps', async () => {
  const { address } = await serve();
  const connect = connectOverSharedStreams({
    numEnvs: 3,
    envsPerStream: 3,
    optionsOf: () => ({
      address,
      deadlineSeconds: 60,
      createSettings: { simulator: 'catch_world:breaking_leftwards' },
    }),
  });
  const worlds = await Promise.all([0, 1, 2].map((world) => connect(world)));
  await Promise.all(worlds.map((world) => world.reset({ seed: 1 })));
  const move = (to: number) => ({
    move: { dtype: 'int32' as const, shape: [], data: Int32Array.of(to) },
  });
  const [left, failed, right] = await Promise.allSettled(
    worlds.map((world, i) => world.step(move(i === 1 ? 0 : 1))),
  );
  expect(failed).toMatchObject({ status: 'rejected' });
  const { reason } = failed as PromiseRejectedResult;
  expect(reason).toBeInstanceOf(DmEnvRpcError);
  expect(reason.message).toMatch(
    /: simulator 1: w\d+-\w+, episode 1, step 1: ArithmeticError: the simulation became unstable$/,
  );
  for (const other of [left, right]) expect(other).toMatchObject({ status: 'fulfilled' });
  await worlds[1].reset({ seed: 2 });
  expect(await worlds[1].step(move(1))).toMatchObject({ terminated: false });
  await Promise.all(worlds.map((world) => world.close()));
});

test.each([1, 3])(
  'an environment that takes no seeds is used without seeds, $0 on a stream',
  async (envsPerStream) => {
    const { address } = await serve();
    const settings = { simulator: 'catch_world:seeded_once' };
    const worlds = await vectorOf(address, settings, envsPerStream, { numEnvs: 3 });
    await worlds.reset();
    let ends = 0;
    for (let t = 0; t < 9; t++) {
      for (const end of (await worlds.step(actionsAt(t, worlds))).terminated) ends += end;
    }
    // Each episode has four steps.
    expect(ends).toBe(6);
  },
);

test('a whole run learns the same from environments that share streams', { timeout: 180_000 }, async () => {
  const { address } = await serve();
  const folder = await temporaryFolder();
  cleanups.push(() => folder.remove());
  const train = async (envsPerStream: number) => {
    const config = tinyConfig(folder.path);
    config.environment = { address, simulator: 'gymnasium/CartPole-v1', numEnvs: 5, envsPerStream };
    config.evaluation = { every: 300, episodes: 3 };
    const name = `streams-of-${envsPerStream}`;
    const file = await writeConfig(folder.path, `${name}.yaml`, config);
    const ended = await run(['train', file, '--quiet', '--name', name], { timeoutSeconds: 90 });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    return parameters(join(folder.path, name, 'checkpoints', 'step-000000000600.safetensors'));
  };
  expect(await train(4)).toEqual(await train(1));
});
