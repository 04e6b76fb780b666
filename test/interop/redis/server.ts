import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RedisAddress } from '../../../src/replay/redis/connection.js';
import { freePort } from '../../support/free-port.js';

/** A real Redis server for one test, with its own folder, that can be killed and started again. */

const { PMPO_REDIS } = process.env;
if (PMPO_REDIS === undefined) throw new Error('run this with `npm run test:interop redis`');
const { command, env } = JSON.parse(PMPO_REDIS) as { command: string; env: Record<string, string> };

/** Resolves when the server accepts connections. */
async function listening(port: number, child: ChildProcess, output: () => string): Promise<void> {
  const end = Date.now() + 20_000;
  for (;;) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      }).once('error', () => resolve(false));
    });
    if (open) return;
    if (child.exitCode !== null || Date.now() > end) throw new Error(`Redis did not start: ${output()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export interface RedisOptions {
  readonly password?: string;
  /** Whether to use TLS, with a certificate of a new authority. */
  readonly tls?: boolean;
}

export class RedisServer {
  #child: ChildProcess | undefined;

  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly options: RedisOptions,
  ) {}

  static async start(options: RedisOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await mkdtemp(join(tmpdir(), 'pmpo-redis-')), await freePort(), options);
    if (options.tls === true) makeCertificates(server.folder);
    await server.start();
    return server;
  }

  get url(): string {
    return `${this.options.tls === true ? 'rediss' : 'redis'}://127.0.0.1:${this.port}`;
  }

  get address(): RedisAddress {
    return { url: this.url, password: this.options.password };
  }

  /** A file in this server's folder. */
  file(name: string): string {
    return join(this.folder, name);
  }

  /** Starts the server with the data in its folder. */
  async start(): Promise<void> {
    const { password, tls } = this.options;
    const ports = tls === true ? ['--port', '0', '--tls-port', `${this.port}`] : ['--port', `${this.port}`];
    const certificates = ['ca.pem', 'certificate.pem', 'key.pem'].map((name) => this.file(name));
    const security =
      tls === true
        ? [
            ...['--tls-ca-cert-file', certificates[0], '--tls-cert-file', certificates[1]],
            ...['--tls-key-file', certificates[2], '--tls-auth-clients', 'no'],
          ]
        : [];
    const args = [
      ...ports,
      ...security,
      ...['--bind', '127.0.0.1', '--dir', this.folder, '--save', '', '--appendonly', 'yes'],
      ...(password === undefined ? [] : ['--requirepass', password]),
    ];
    let text = '';
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
    }
    await listening(this.port, this.#child, () => text);
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Kills the server without a chance to clean up. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Creates an authority and its certificate for 127.0.0.1. */
function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const key = ['-newkey', 'rsa:2048', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...key, '-keyout', 'ca-key.pem', '-out', 'ca.pem', '-subj', '/CN=test authority');
  openssl(
    ...['req', '-x509', ...key, '-keyout', 'key.pem', '-out', 'certificate.pem', '-subj', '/CN=127.0.0.1'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-CA', 'ca.pem', '-CAkey', 'ca-key.pem'],
  );
}
