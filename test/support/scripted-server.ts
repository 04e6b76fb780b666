import * as grpc from '@grpc/grpc-js';
import {
  environmentService,
  type WireRequest,
  type WireResponse,
} from '../../src/dm-env-rpc/codec/messages.js';

/** A dm_env_rpc server that answers as it is told, or not at all: what others' servers may do. */
export async function scriptedServer(
  answer: (request: WireRequest) => WireResponse | undefined,
): Promise<{ readonly address: string; close(): void }> {
  const server = new grpc.Server();
  server.addService(environmentService, {
    Process(call: grpc.ServerDuplexStream<WireRequest, WireResponse>) {
      call.on('data', (request: WireRequest) => {
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
