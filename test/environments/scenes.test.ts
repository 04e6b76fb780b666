import { afterEach, describe, expect, it } from 'vitest';
import { connectOverSharedStreams } from '../../src/dm-env-rpc/client/shared-streams.js';
import { serveEnvironments } from '../../src/dm-env-rpc/server/serve-environments.js';
import type { Environment } from '../../src/environments/environment.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';
import { serveSimulators } from '../../src/simulators/serve.js';
import { countingEnvironment } from '../support/counting-environment.js';
import { scriptedServer } from '../support/scripted-server.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Environment 1 of two, on one stream with the other or on one of its own. */
async function connect(address: string, envsPerStream: number, simulator?: string): Promise<Environment> {
  const open = connectOverSharedStreams({
    numEnvs: 2,
    envsPerStream,
    optionsOf: () => ({
      address,
      deadlineSeconds: 10,
      createSettings: { ...(simulator && { simulator }) },
    }),
  });
  const environments = await Promise.all([open(0), open(1)]);
  cleanups.push(...environments.map((environment) => () => environment.close()));
  return environments[1]!;
}

const reset = async (environment: Environment) => (await environment.reset({ seed: 5 })).observation;

describe.each([1, 2])('what a simulator looks like, with %i simulators on a stream', (envsPerStream) => {
  it('is told by our server, with the poses of every state', async () => {
    const server = await serveSimulators();
    cleanups.push(() => server.close());
    const environment = await connect(server.address, envsPerStream, 'cartpole_swingup');
    const scene = (await environment.scene!())!;
    expect(scene.bodies).toBe(2);
    expect(scene.secondsPerStep).toBeCloseTo(0.01);
    const moving = scene.geoms.filter(({ body }) => body >= 0);
    expect(moving.map(({ shape }) => shape)).toEqual(['box', 'capsule']);
    const position = ({ position: of }: Awaited<ReturnType<typeof reset>>) => Number(of!.data[0]);
    const atReset = position(await reset(environment));
    expect((await environment.poses!())[0]).toBeCloseTo(atReset, 6);
    const action = { action: { dtype: 'float32' as const, shape: [1], data: Float32Array.of(1) } };
    let last = atReset;
    for (let i = 0; i < 20; i++) {
      const step = environment.step(action);
      last = position((await step).observation);
    }
    // Asked for without waiting for the answer before the next step.
    const poses = environment.poses!();
    const next = await environment.step(action);
    expect((await poses)[0]).toBeCloseTo(last, 6);
    expect(position(next.observation)).not.toBe(last);
  });

  it('is not told by a simulator that does not know it', async () => {
    const server = await serveEnvironments({ createEnvironment: async () => countingEnvironment() });
    cleanups.push(() => server.close());
    const environment = await connect(server.address, envsPerStream);
    expect(await environment.scene!()).toBeUndefined();
    await expect(environment.poses!()).rejects.toThrow(/unknown property/);
    await reset(environment);
  });
});

describe('a server that does not say that it has scenes', () => {
  it('is not asked for any', async () => {
    const requests: string[] = [];
    const specs: wire.ActionObservationSpecs = {
      actions: { '5': { name: 'push', shape: [1], dtype: 1 } },
      observations: { '9': { name: 'reward', dtype: 2 }, '7': { name: 'state', shape: [1], dtype: 1 } },
    };
    const server = await scriptedServer((request) => {
      requests.push(...Object.keys(request));
      if (request.createWorld) return { createWorld: { worldName: 'w' } };
      if (request.joinWorld) return { joinWorld: { specs } };
      return { error: { code: 12, message: 'no' } };
    });
    cleanups.push(() => server.close());
    const environment = await connect(server.address, 1);
    expect(await environment.scene!()).toBeUndefined();
    expect(requests).not.toContain('extension');
  });

  it('has its scene refused if it is malformed', async () => {
    const broken = { bodies: 1, geoms: [{ shape: 'sphere', size: [1, 1, 1], body: 7 }], meshes: [] };
    const server = await serveEnvironments({
      createEnvironment: async () => ({ ...countingEnvironment(), scene: async () => broken as never }),
    });
    cleanups.push(() => server.close());
    const environment = await connect(server.address, 1);
    await expect(environment.scene!()).rejects.toThrow(/the scene is not of pmpo's form/);
  });
});
