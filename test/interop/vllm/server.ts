import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { callUnary } from '../../../src/grpc/call.js';
import { openChannel } from '../../../src/grpc/channel.js';
import { vllmService } from '../../../src/language/services.js';
import { freePort } from '../../support/free-port.js';

/** Starts vLLM's gRPC server on the CPU. */

export interface VllmServer {
  readonly address: string;
  /** Its output so far. */
  log(): string;
  /** Kills it and its engine with SIGKILL. */
  kill(): Promise<void>;
}

const peer = { configKey: 'test', protocol: 'gRPC', server: 'a vLLM server' };

/** Whether the server answers. */
async function isUp(address: string): Promise<boolean> {
  try {
    const channel = await openChannel({ address, deadlineSeconds: 2 }, peer);
    try {
      await callUnary(channel, vllmService().GetModelInfo, {}, peer, { deadlineSeconds: 2 });
      return true;
    } finally {
      channel.client.close();
    }
  } catch {
    return false;
  }
}

/** Arguments that serve a tiny model in single precision and without compilation. */
export const vllmArguments = (model: string, port: string): string[] => [
  ...['-m', 'vllm.entrypoints.launchers.grpc_server', '--model', model, '--host', '127.0.0.1'],
  ...['--port', port, '--dtype', 'float32', '--enforce-eager', '--enable-log-requests'],
  ...['--kv-events-config', '{"enable_kv_cache_events": false}'],
];

export const vllmEnvironment = {
  TORCH_COMPILE_DISABLE: '1',
  SMG_VLLM_SERVICER_WARMUP: 'off',
  VLLM_CPU_KVCACHE_SPACE: '1',
  // One thread: a tiny model does not benefit from more, which would wait for each other on a busy machine.
  VLLM_CPU_OMP_THREADS_BIND: '0',
  VLLM_NO_USAGE_STATS: '1',
  HF_HUB_OFFLINE: '1',
};

const running = new Set<VllmServer['kill']>();

/** Kills all servers that were started here, including those that do not answer yet. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((kill) => kill()));
}

/** Starts a server and resolves when it answers. @param port default: a free port. */
export async function startVllm(python: string, model: string, port?: number): Promise<VllmServer> {
  const actual = port ?? (await freePort());
  const address = `127.0.0.1:${actual}`;
  const child: ChildProcess = spawn(python, vllmArguments(model, String(actual)), {
    // In its own process group, so that its engine, which is another process, is killed with it.
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
  const deadline = Date.now() + 500_000;
  while (!(await isUp(address))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await kill();
      throw new Error(`vLLM did not start:\n${text.slice(-4000)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return { address, log: () => text, kill };
}
