import { connect, createServer, type Server, type Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { environmentService, environmentStates } from '../../src/dm-env-rpc/codec/messages.js';
import type * as wire from '../../src/generated/dm-env-rpc.js';

/** Servers that misbehave. Each function returns the address, and `close` to stop the server. */

export interface TestServer {
  readonly address: string;
  close(): void;
}

type Call = grpc.ServerDuplexStream<wire.EnvironmentRequest, wire.EnvironmentResponse>;

/** A gRPC server with any service. */
export async function grpcServer(
  service: grpc.ServiceDefinition,
  handlers: grpc.UntypedServiceImplementation,
  { listenOn = '127.0.0.1:0' }: { readonly listenOn?: string } = {},
): Promise<TestServer> {
  const server = new grpc.Server({ 'grpc.max_send_message_length': -1 });
  server.addService(service, handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(listenOn, grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const address = listenOn.replace(/:0$/, `:${port}`);
  return { address, close: () => server.forceShutdown() };
}

/** A stream's response to a request; undefined: no response. */
type Answer = (request: wire.EnvironmentRequest) => wire.EnvironmentResponse | undefined;

/** A dm_env_rpc server with scripted responses; `open` is called for each stream. */
export function scriptedServer(
  open: () => Answer,
  where?: Parameters<typeof grpcServer>[2],
): Promise<TestServer> {
  const handlers = {
    Process(call: Call) {
      const answer = open();
      call.on('data', (request: wire.EnvironmentRequest) => {
        const response = answer(request);
        if (response !== undefined) call.write(response);
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  };
  return grpcServer(environmentService, handlers, where);
}

/** A dm_env_rpc server that ends every stream with a status. */
export function refusingServer(code: grpc.status, details: string): Promise<TestServer> {
  return grpcServer(environmentService, {
    Process(call: Call) {
      call.emit('error', { code, details });
    },
  });
}

/** A TCP server; `greet` is called with each connection. */
export async function socketServer(greet: (socket: Socket) => void): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    greet(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    address: `127.0.0.1:${port}`,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A proxy that can be cut, so that nothing arrives and neither side notices. */
export async function cuttableWay(to: string): Promise<TestServer & { cut(): void }> {
  const pairs: [Socket, Socket][] = [];
  const [host, port] = to.split(':');
  const way = await socketServer((socket) => {
    const onward = connect(Number(port), host);
    onward.on('error', () => {});
    socket.pipe(onward).pipe(socket);
    pairs.push([socket, onward]);
  });
  return {
    address: way.address,
    cut() {
      for (const [socket, onward] of pairs) {
        socket.unpipe();
        onward.unpipe();
        socket.resume();
        onward.resume();
      }
    },
    close() {
      for (const [, onward] of pairs) onward.destroy();
      way.close();
    },
  };
}

export interface ScriptedWorld {
  /** Specs and values, by name. */
  readonly observations?: Readonly<Record<string, readonly [wire.TensorSpec, wire.Tensor]>>;
  readonly action?: wire.TensorSpec;
  /** False: a Reset with settings is refused. */
  readonly takesSeeds?: boolean;
  /** Changes the response to step request number `t` of a stream (the first observation counts). */
  readonly step?: (t: number, usual: wire.EnvironmentResponse) => wire.EnvironmentResponse | undefined;
}

const float = 1;
const double = 2;

const lengthOfEpisode = 10;

/** A dm_env_rpc server with one world, by default with the observation `state` and the action `push`. */
export function scriptedWorld({
  observations = {
    state: [
      { shape: [1], dtype: float },
      { floats: { array: [0.5] }, shape: [1] },
    ],
  },
  action = { shape: [1], dtype: float, min: { floats: { array: [-1] } }, max: { floats: { array: [1] } } },
  takesSeeds = true,
  step = (_t, usual) => usual,
}: ScriptedWorld = {}): Promise<TestServer> {
  const all = { ...observations, reward: [{ dtype: double }, { doubles: { array: [1] } }] as const };
  const numbered = Object.entries(all).map(([name, [spec, value]], i) => ({
    uid: String(i + 1),
    name,
    spec,
    value,
  }));
  const specs = {
    actions: { '1': { name: 'push', ...action } },
    observations: Object.fromEntries(numbered.map(({ uid, name, spec }) => [uid, { ...spec, name }])),
  };
  return scriptedServer(() => {
    let t = 0;
    return (request) => {
      if (request.createWorld) return { createWorld: { worldName: 'w' } };
      if (request.joinWorld) return { joinWorld: { specs } };
      if (request.reset && !takesSeeds && Object.keys(request.reset.settings ?? {}).length > 0) {
        return { error: { code: 3, message: "unknown setting 'seed'" } };
      }
      if (request.reset) return { reset: { specs } };
      if (request.leaveWorld) return { leaveWorld: {} };
      if (request.destroyWorld) return { destroyWorld: {} };
      const asked = new Set((request.step?.requestedObservations ?? []).map(String));
      const given = numbered
        .filter(({ uid }) => asked.has(uid))
        .map(({ uid, value }) => [uid, value] as const);
      const isLast = t % (lengthOfEpisode + 1) === lengthOfEpisode;
      const state = isLast ? environmentStates.interrupted : environmentStates.running;
      return step(t++, { step: { state, observations: Object.fromEntries(given) } });
    };
  });
}
