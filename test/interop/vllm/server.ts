import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { callUnary } from '../../../src/grpc/call.js';
import { openChannel } from '../../../src/grpc/channel.js';
import { vllmService } from '../../../src/language/services.js';

/** vLLM's own gRPC server, on the CPU. */

export interface VllmServer {
  readonly address: string;
  /** What it has written so far. */
  log(): string;
  /** Kills it at once (SIGKILL), its engine too. */
  kill(): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const peer = { configKey: 'test', protocol: 'gRPC', server: 'a vLLM server' };

/** Whether it answers. */
async function isUp(address: string): Promise<boolean> {
  try {
    const channel = await openChannel({ address, deadlineSeconds: 2 }, peer);
    try {
      await callUnary(channel, vllmService.GetModelInfo, {}, peer, { deadlineSeconds: 2 });
      return true;
    } finally {
      channel.client.close();
    }
  } catch {
    return false;
  }
}

/** How a tiny model is served exactly: in single precision, and without compiling. */
export const vllmArguments = (model: string, port: string): string[] => [
  ...['-m', 'vllm.entrypoints.launchers.grpc_server', '--model', model, '--host', '127.0.0.1'],
  ...['--port', port, '--dtype', 'float32', '--enforce-eager', '--enable-log-requests'],
  ...['--kv-events-config', '{"enable_kv_cache_events": false}'],
];

export const vllmEnvironment = {
  TORCH_COMPILE_DISABLE: '1',
  SMG_VLLM_SERVICER_WARMUP: 'off',
  VLLM_CPU_KVCACHE_SPACE: '1',
  // One thread: a tiny model gains nothing by more, which wait for each other on a busy machine.
  VLLM_CPU_OMP_THREADS_BIND: '0',
  VLLM_NO_USAGE_STATS: '1',
  HF_HUB_OFFLINE: '1',
};

const running = new Set<VllmServer['kill']>();

/** Kills every server that was started here, those that do not answer yet too. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((kill) => kill()));
}

/** Starts a server; resolves when it answers. `port`: one of its own, to come back to. */
export async function startVllm(python: string, model: string, port?: number): Promise<VllmServer> {
  const actual = port ?? (await freePort());
  const address = `127.0.0.1:${actual}`;
  const child: ChildProcess = spawn(python, vllmArguments(model, String(actual)), {
    // A group of its own, so that the engine, a process beside the server's, goes with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...vllmEnvironment },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
  }
  const ended = once(child, 'exit');
  const kill = async () => {
    running.delete(kill);
    if (child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-child.pid!, 'SIGKILL');
    await ended;
  };
  running.add(kill);
  const patience = Date.now() + 500_000;
  while (!(await isUp(address))) {
    if (child.exitCode !== null || Date.now() > patience) {
      await kill();
      throw new Error(`vLLM did not start:\n${text.slice(-4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return { address, log: () => text, kill };
}
