import { execFileSync, spawn } from 'node:child_process';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Ended,
  exampleConfigs,
  projectRoot,
  type Running,
  run,
  start,
  temporaryFolder,
  tinyConfig,
  writeConfig,
} from '../../end-to-end/program.js';

// `pmpo serve dm-control` and `pmpo serve gymnasium` as a user starts them: creating the Python environment, serving, and
// stopping.

if (process.env.PMPO_BIN === undefined || process.env.PMPO_CACHE === undefined) {
  throw new Error('run this with `npm run test:interop serve`');
}
/** Long enough to install the packages on the first run. */
const installSeconds = 240;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
/** Appears in the arguments of every server process, which identifies the processes of this test. */
let tokenFile: string;
beforeAll(async () => {
  folder = await temporaryFolder();
  tokenFile = join(folder.path, 'token');
  await writeFile(tokenFile, 'open sesame\n');
});
afterAll(() => folder.remove());

/** Lines of `ps`, process id first, of the Python server processes. */
function serving(): string[] {
  const listed = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' });
  return listed
    .split('\n')
    .filter((line) => line.includes('-m pmpo_simulator_server') && line.includes(tokenFile));
}

async function untilNoneServes(): Promise<void> {
  for (let i = 0; i < 100 && serving().length > 0; i++) await new Promise((go) => setTimeout(go, 100));
  expect(serving()).toEqual([]);
}

interface Served {
  readonly server: Running;
  readonly address: string;
}

async function serve(kind: string, ...args: string[]): Promise<Served> {
  const options = ['--port', '0', '--processes', '2', '--token-file', tokenFile, ...args];
  const server = start(['serve', kind, ...options], { timeoutSeconds: installSeconds + 60 });
  const text = await server.until(/^Serving .* on \S+ /m, 'stdout');
  return { server, address: / on (\S+) /.exec(text)![1] };
}

async function train({ address }: Served, name: string, simulator: string, token: object): Promise<Ended> {
  const config = tinyConfig(folder.path);
  config.environment = { address, simulator, numEnvs: 3, ...token };
  return run(['train', await writeConfig(folder.path, `${name}.yaml`, config), '--quiet', '--name', name]);
}

/** The examples that use the simulators of a server. */
const examplesOf = (prefix: string) =>
  exampleConfigs().filter(({ address, simulator }) => address !== undefined && simulator?.startsWith(prefix));

describe.each([
  { kind: 'dm-control', prefix: 'suite/', simulator: 'suite/cartpole-swingup' },
  { kind: 'gymnasium', prefix: 'gymnasium/', simulator: 'gymnasium/CartPole-v1' },
])('pmpo serve $kind', ({ kind, prefix, simulator }) => {
  test('serves a training run, and stops at Ctrl-C without leaving a process behind', {
    timeout: (installSeconds + 60) * 1000,
  }, async () => {
    const served = await serve(kind);
    expect(serving()).toHaveLength(3);
    const trained = await train(served, kind, simulator, { token: { file: tokenFile } });
    expect(trained).toMatchObject({ code: 0, stderr: '' });
    const summary = JSON.parse(await readFile(join(folder.path, kind, 'summary.json'), 'utf8')) as object;
    expect(summary).toMatchObject({ environment: simulator, steps: 600 });

    const stranger = await train(served, `${kind}-stranger`, simulator, {});
    expect(stranger.code).toBe(1);
    expect(stranger.stderr).toMatch(/^pmpo: .*token.*\n$/);

    served.server.child.kill('SIGINT');
    const { code, stdout } = await served.server.ended;
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `Serving ${kind} on ${served.address} (Ctrl-C ends it)\n`,
    });
    expect(serving()).toEqual([]);
  });

  test('reuses the Python environment, serves its examples, and stops at SIGTERM', async () => {
    const { server, address } = await serve(kind);
    const examples = examplesOf(prefix);
    expect(examples.length).toBeGreaterThan(0);
    for (const { path, address: given } of examples) {
      // The default address of `pmpo serve`.
      expect(given).toBe('127.0.0.1:50051');
      const short = Object.entries({
        'environment.address': address,
        'environment.token.file': tokenFile,
        'learner.environmentSteps': 400,
        'learner.warmupSteps': 200,
        'learner.stepsPerUpdate': 20,
        'evaluation.episodes': 1,
      }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
      const file = join(projectRoot, 'examples', path);
      const trained = await run([
        'train',
        file,
        '--output',
        folder.path,
        '--name',
        `${kind}-example`,
        ...short,
      ]);
      expect(trained.stderr).toMatch(/Return .* over 1 episode/);
      expect(trained.code).toBe(0);
    }
    server.child.kill('SIGTERM');
    const { code, stderr } = await server.ended;
    expect(code).toBe(0);
    // MuJoCo itself may warn about a model.
    expect(stderr).not.toMatch(/Making|Traceback|Error/);
    expect(serving()).toEqual([]);
  });
});

test('pmpo serve gymnasium --with box2d serves LunarLander, and its pip installs into the same environment', {
  timeout: (installSeconds + 60) * 1000,
}, async () => {
  const requirements = join(folder.path, 'more.txt');
  await writeFile(requirements, 'dm-env\n');
  const served = await serve('gymnasium', '--with', 'box2d', '--requirements', requirements);
  const trained = await train(served, 'lunar', 'gymnasium/LunarLander-v3', { token: { file: tokenFile } });
  expect(trained).toMatchObject({ code: 0, stderr: '' });
  served.server.child.kill('SIGINT');
  expect((await served.server.ended).code).toBe(0);

  const environments = join(process.env.PMPO_CACHE!, 'python');
  const made = (await readdir(environments)).find((name) => name.startsWith('gymnasium+box2d+more-'))!;
  const bin = join(environments, made, 'bin');
  const say = (command: string) => execFileSync('bash', ['-c', command], { encoding: 'utf8' }).trim();
  expect(say(`"${bin}/pip" --version`)).toContain(join(environments, made));
  expect(say(`. "${bin}/activate" && command -v pip && echo "$VIRTUAL_ENV"`).split('\n')).toEqual([
    join(bin, 'pip'),
    join(environments, made),
  ]);
  // The shared cache keeps only the environments that every run of the tests uses.
  await rm(join(environments, made), { recursive: true });
});

test('passes on the warnings of the server', async () => {
  const { server } = await serve('gymnasium', '--host', '0.0.0.0');
  await server.until(/the token is sent unencrypted; use TLS with --tls-certificate and --tls-key/);
  server.child.kill('SIGINT');
  expect((await server.ended).code).toBe(0);
});

test('killing pmpo also ends its server', async () => {
  const { server } = await serve('gymnasium');
  expect(serving()).toHaveLength(3);
  server.child.kill('SIGKILL');
  await server.ended;
  await untilNoneServes();
});

test.each(['SIGTERM', 'SIGKILL'] as const)('a %s to its npx ends pmpo and its server', async (signal) => {
  const options = ['--port', '0', '--processes', '2', '--token-file', tokenFile];
  const npx = spawn('npx', ['pmpo', 'serve', 'gymnasium', ...options], {
    cwd: projectRoot,
    env: process.env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve) => {
    npx.stdout.on('data', (text: Buffer) => {
      if (text.includes('Serving')) resolve();
    });
  });
  expect(serving()).toHaveLength(3);
  npx.kill(signal);
  await untilNoneServes();
});

test('killing the server ends pmpo with a one-line error', async () => {
  const { server } = await serve('gymnasium');
  const parents = serving().map((line) => Number.parseInt(line, 10));
  process.kill(Math.min(...parents), 'SIGKILL');
  const { code, stderr } = await server.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/^pmpo: the gymnasium server: it ended by itself with SIGKILL\n$/);
  await untilNoneServes();
});

test.each([
  [
    ['--port', 'taken'],
    1,
    /^pmpo: the gymnasium server: cannot listen on 127\.0\.0\.1:\d+: .*in use\. Is another .* --port 0 takes a free one\n$/,
  ],
  [['--token-file', '/no/such'], 1, /^pmpo: the gymnasium server: --token-file: \/no\/such: No such file/],
  [['--tls-key', 'x.pem'], 2, /^pmpo: --tls-key: a certificate and its key belong together\. Give both/],
  [
    ['--tls-client-ca', 'x.pem'],
    2,
    /^pmpo: --tls-client-ca: it also requires a certificate of the server\. Give/,
  ],
  [['--processes', '0'], 2, /--processes/],
])('%s gives a one-line error', async (args, code, message) => {
  const other = args[1] === 'taken' ? await serve('gymnasium') : undefined;
  const given = other === undefined ? args : ['--port', other.address.replace(/^.*:/, '')];
  const ended = await run(['serve', 'gymnasium', '--port', '0', '--processes', '2', ...given]);
  expect(ended.code).toBe(code);
  expect(ended.stderr).toMatch(message);
  expect(ended.stderr).not.toMatch(/Traceback|^\s+at /m);
  other?.server.child.kill('SIGINT');
  await other?.server.ended;
});

test('says what to install if Python is missing', async () => {
  const env = { PYTHON: join(folder.path, 'no-python') };
  const { code, stderr } = await run(['serve', 'dm-control', '--port', '0'], { env });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^pmpo: PYTHON=.*no-python: not found\. Install Python 3\.10 or newer .*\n$/);
});

test('Ctrl-C during the creation of the Python environment leaves nothing behind', async () => {
  const env = { PMPO_CACHE: join(folder.path, 'cache') };
  const server = start(['serve', 'gymnasium', '--port', '0'], { env });
  await server.until(/Making the Python environment 'gymnasium' in .*cache\/python\/gymnasium-/);
  server.child.kill('SIGINT');
  const { code, stderr } = await server.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /\npmpo: .*stopped before it was complete\. Run the same command again to make it\n$/,
  );
  expect(await readdir(join(env.PMPO_CACHE, 'python'))).toEqual([]);
});
