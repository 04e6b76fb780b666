import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { grpcServer } from '../../../test/environments/servers.js';
import { ConnectionLostError } from '../../core/errors.js';
import type * as wire from '../../generated/dm-env-rpc.js';
import { SecurityError } from '../../grpc/errors.js';
import { environmentService } from '../codec/messages.js';
import { RemoteWorld } from './remote-world.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Call = grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>;
const answers: Readonly<Record<string, wire.EnvironmentResponse>> = {
  createWorld: { createWorld: { worldName: 'w' } },
  joinWorld: { joinWorld: { specs: {} } },
  leaveWorld: { leaveWorld: {} },
  destroyWorld: { destroyWorld: {} },
};

/**
 * A server that refuses the first `refusals` streams that agree to be spread.
 * @returns whether each of its streams agreed.
 */
async function serve(
  refusals: number,
  { key = 'pmpo-spread', code = grpc.status.UNAVAILABLE } = {},
): Promise<{ address: string; asked: boolean[] }> {
  const asked: boolean[] = [];
  const server = await grpcServer(environmentService, {
    Process(call: Call) {
      const isWilling = call.metadata.get('pmpo-spread').length > 0;
      asked.push(isWilling);
      call.on('error', () => {});
      if (isWilling && asked.length <= refusals) {
        const metadata = new grpc.Metadata();
        metadata.set(key, '1');
        call.emit('error', { code, details: 'elsewhere', metadata });
        return;
      }
      call.on('data', (request: wire.EnvironmentRequest) => call.write(answers[Object.keys(request)[0]]));
      call.on('end', () => call.end());
    },
  });
  cleanups.push(() => server.close());
  return { address: server.address, asked };
}

async function join(address: string, worldName?: string): Promise<void> {
  const world = await RemoteWorld.join({ address, deadlineSeconds: 5, worldName });
  cleanups.push(() => world.close());
}

describe('a stream to a server of several processes', () => {
  it('connects again until a process takes it', async () => {
    const { address, asked } = await serve(3);
    await join(address);
    expect(asked).toEqual([true, true, true, true]);
  });

  it('stays where it is after 15 refusals', async () => {
    const { address, asked } = await serve(100);
    await join(address);
    expect(asked).toEqual([...Array(15).fill(true), false]);
  });

  it('does not ask to be spread to join a world that exists', async () => {
    const { address, asked } = await serve(100);
    await join(address, 'w');
    expect(asked).toEqual([false]);
  });

  it('takes the same status without the key for what it is: the server is not available', async () => {
    const { address, asked } = await serve(1, { key: 'other' });
    await expect(join(address)).rejects.toThrow(ConnectionLostError);
    expect(asked).toEqual([true]);
  });

  it('takes another status for what it is, whatever its metadata: a server may send back those of the request', async () => {
    const { address, asked } = await serve(1, { code: grpc.status.UNAUTHENTICATED });
    await expect(join(address)).rejects.toThrow(SecurityError);
    expect(asked).toEqual([true]);
  });
});
