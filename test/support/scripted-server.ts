import * as grpc from '@grpc/grpc-js';
import { environmentService } from '../../src/dm-env-rpc/codec/messages.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';

/** A dm_env_rpc server with scripted responses, or none (undefined). */
export async function scriptedServer(
  answer: (request: wire.EnvironmentRequest) => wire.EnvironmentResponse | undefined,
): Promise<{ readonly address: string; close(): void }> {
  const server = new grpc.Server();
  server.addService(environmentService, {
    Process(call: grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>) {
      call.on('data', (request: wire.EnvironmentRequest) => {
        const response = answer(request);
        if (response !== undefined) call.write(response);
      });
      call.on('error', () => {});
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { address: `127.0.0.1:${port}`, close: () => server.forceShutdown() };
}
