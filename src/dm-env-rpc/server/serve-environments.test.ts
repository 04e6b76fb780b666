import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countingEnvironment } from '../../../test/support/counting-environment.js';
import { ConfigError } from '../../core/errors.js';
import { type StatusName, statusNames } from '../../grpc/status.js';
import { DmEnvRpcConnection } from '../client/connection.js';
import { packPropertyRequest } from '../codec/messages.js';
import { packSetting } from '../codec/settings.js';
import { DmEnvRpcError } from '../errors.js';
import { type EnvironmentServer, serveEnvironments } from './serve-environments.js';

let server: EnvironmentServer;
let connection: DmEnvRpcConnection;
let closed: number;

beforeEach(async () => {
  closed = 0;
  server = await serveEnvironments({
    createEnvironment: async (settings) => {
      if (settings.bad !== undefined) throw new ConfigError({ where: 'settings', what: 'bad is not good' });
      return countingEnvironment({ onClose: () => closed++ });
    },
  });
  connection = await open();
});

afterEach(async () => {
  connection.close();
  await server.close();
});

const open = () => DmEnvRpcConnection.open({ address: server.address, deadlineSeconds: 5 });

/** The status and message of a refusal. */
async function refusal(request: Promise<unknown>): Promise<[StatusName, string]> {
  const error = await request.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(DmEnvRpcError);
  const { code, serverMessage } = error as DmEnvRpcError;
  return [statusNames[code], serverMessage];
}

async function inWorld(): Promise<string> {
  const { worldName = '' } = await connection.send('createWorld', {});
  await connection.send('joinWorld', { worldName });
  return worldName;
}

const push = (value: number, shape = [1]) => ({ '1': { floats: { array: [value] }, shape } });

describe('an invalid request', () => {
  it('is refused without ending the stream', async () => {
    expect(await refusal(connection.send('step', {}))).toEqual([
      'FAILED_PRECONDITION',
      'cannot step: this stream has not joined a world',
    ]);
    expect((await refusal(connection.send('reset', {})))[0]).toBe('FAILED_PRECONDITION');
    expect((await refusal(connection.send('joinWorld', { worldName: 'x' })))[0]).toBe('NOT_FOUND');
    expect((await refusal(connection.send('destroyWorld', { worldName: 'x' })))[0]).toBe('NOT_FOUND');
    expect((await refusal(connection.send('resetWorld', { worldName: 'x' })))[0]).toBe('NOT_FOUND');
    await connection.send('leaveWorld', {});
    const worldName = await inWorld();
    expect((await refusal(connection.send('joinWorld', { worldName })))[0]).toBe('FAILED_PRECONDITION');
    expect((await refusal(connection.send('destroyWorld', { worldName })))[0]).toBe('FAILED_PRECONDITION');
    await connection.send('leaveWorld', {});
    await connection.send('destroyWorld', { worldName });
    expect(closed).toBe(1);
  });

  it('is refused for a wrong payload', async () => {
    expect(await refusal(connection.send('createWorld', { settings: { bad: packSetting(1) } }))).toEqual([
      'INVALID_ARGUMENT',
      'settings: bad is not good',
    ]);
    const worldName = await inWorld();
    await connection.send('step', {});
    const step = (actions: object) => refusal(connection.send('step', { actions } as never));
    expect(await step({ '9': { floats: { array: [1] } } })).toEqual(['INVALID_ARGUMENT', 'unknown action 9']);
    expect((await step(push(2)))[1]).toMatch(/above its maximum 1/);
    expect((await step(push(Number.NaN)))[1]).toMatch(/NaN/);
    expect((await step(push(0, [1, 1])))[1]).toMatch(/it is float32 \[1,1\], but its spec is float32 \[1\]/);
    expect((await step({ '1': { doubles: { array: [0] }, shape: [1] } }))[1]).toMatch(
      /it is float64 \[1\], but its spec is float32 \[1\]/,
    );
    expect((await refusal(connection.send('step', { requestedObservations: [42] })))[1]).toMatch(
      /observation 42/,
    );
    expect((await refusal(connection.send('reset', { settings: { color: packSetting(1) } })))[1]).toMatch(
      /unknown setting 'color'/,
    );
    expect((await refusal(connection.send('reset', { settings: { seed: packSetting(-1) } })))[1]).toMatch(
      /seed/,
    );
    const unknown = connection.send('extension', { type_url: 'x/y', value: new Uint8Array() });
    expect((await refusal(unknown))[0]).toBe('UNIMPLEMENTED');
    const property = connection.send('extension', packPropertyRequest({ readProperty: { key: 'a.b' } }));
    expect(await refusal(property)).toEqual(['NOT_FOUND', "unknown property 'a.b'"]);
    // None of these requests has changed the world.
    const { observations } = await connection.send('step', { actions: push(1), requestedObservations: [1] });
    expect(observations?.['1'].floats?.array).toEqual([-1, 1, 1]);
    expect(worldName).toMatch(/^world-[0-9a-f]{16}$/);
  });
});

describe('worlds', () => {
  it('take one agent, and end with the stream that created them', async () => {
    const worldName = await inWorld();
    const other = await open();
    expect((await refusal(other.send('joinWorld', { worldName })))[1]).toMatch(
      /is in use by another connection/,
    );
    connection.close();
    // The server notices some time later.
    await expect.poll(() => closed).toBe(1);
    expect((await refusal(other.send('joinWorld', { worldName })))[0]).toBe('NOT_FOUND');
    other.close();
  });

  it('outlive the stream that created them while another one uses them', async () => {
    const { worldName = '' } = await connection.send('createWorld', {});
    const other = await open();
    await other.send('joinWorld', { worldName });
    connection.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { state } = await other.send('step', {});
    expect(state).toBe(1);
    other.close();
  });

  it('answer requests that are sent together in order', async () => {
    await inWorld();
    const answers = await Promise.all(
      Array.from({ length: 6 }, () =>
        connection.send('step', { actions: push(1), requestedObservations: [1] }),
      ),
    );
    expect(answers.map(({ observations }) => observations!['1'].floats!.array![1])).toEqual([
      0, 1, 2, 3, 4, 5,
    ]);
    expect(answers.map(({ state }) => state)).toEqual([1, 1, 1, 1, 1, 3]);
  });
});

describe('a reset of a world', () => {
  const step = async () => {
    const answer = await connection.send('step', { actions: push(1), requestedObservations: [1, 2, 3] });
    const { '1': own, '2': reward, '3': discount } = answer.observations!;
    return [answer.state, own.floats!.array, reward.doubles!.array, discount.doubles!.array];
  };

  it('by another connection interrupts the episode of its agent; the step after that starts another', async () => {
    const worldName = await inWorld();
    const other = await open();
    await step();
    expect(await step()).toEqual([1, [-1, 1, 1], [1], [1]]);
    await other.send('resetWorld', { worldName, settings: { seed: packSetting(7) } });
    expect(await step()).toEqual([3, [-1, 1, 1], [0], [1]]);
    expect(await step()).toEqual([1, [7, 0, 0], [0], [1]]);
    expect(await step()).toEqual([1, [7, 1, 1], [1], [1]]);
    other.close();
  });

  it('by its agent, or without an open episode, is not reported', async () => {
    const worldName = await inWorld();
    const other = await open();
    await other.send('resetWorld', { worldName, settings: { seed: packSetting(7) } });
    expect(await step()).toEqual([1, [7, 0, 0], [0], [1]]);
    await connection.send('resetWorld', { worldName, settings: { seed: packSetting(8) } });
    expect(await step()).toEqual([1, [8, 0, 0], [0], [1]]);
    // The agent's own reset comes later, so that it already knows.
    await other.send('resetWorld', { worldName });
    await connection.send('reset', { settings: { seed: packSetting(9) } });
    expect(await step()).toEqual([1, [9, 0, 0], [0], [1]]);
    await connection.send('reset', {});
    await other.send('resetWorld', { worldName, settings: { seed: packSetting(5) } });
    expect(await step()).toEqual([1, [5, 0, 0], [0], [1]]);
    other.close();
  });
});

describe('an address in use', () => {
  it('is an error', async () => {
    const again = serveEnvironments({
      createEnvironment: async () => countingEnvironment(),
      port: server.port,
    });
    await expect(again).rejects.toThrow(/cannot listen there/);
  });
});
