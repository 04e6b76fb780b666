import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lives } from '../../test/support/processes.js';
import { findInterpreter } from './interpreter.js';
import { type PythonProgramOptions, startPythonProgram } from './program.js';

const python = await findInterpreter().then(
  ({ command }) => command,
  () => '',
);

// A package for these tests; its argument selects what it does.
const source = `
import signal, subprocess, sys, time

helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
how = sys.argv[1]
if how == "complains":
    print("some log line", file=sys.stderr)
    print("fake: the port is taken", file=sys.stderr)
    sys.exit(3)
if how == "silent":
    time.sleep(60)
if how == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("warming up", file=sys.stderr, flush=True)
print("hello", flush=True)
print(f"Ready with {helper.pid}", flush=True)
if how == "dies":
    print("out of", file=sys.stderr)
    print("memory", file=sys.stderr, flush=True)
    sys.exit(1)
while how == "logs":
    print("a world came", file=sys.stderr, flush=True)
    time.sleep(0.05)
time.sleep(60)
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-test-'));
  await mkdir(join(folder, 'fake_program'));
  await writeFile(join(folder, 'fake_program', '__init__.py'), '');
  await writeFile(join(folder, 'fake_program', '__main__.py'), source);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function startFake(how: string, options: Partial<PythonProgramOptions> = {}) {
  return startPythonProgram({
    name: 'the fake',
    python,
    args: ['-m', 'fake_program', how],
    env: { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' },
    readyLine: /^Ready with (\d+)$/m,
    complaint: 'fake: ',
    ...options,
  });
}

const untilGone = (pid: number) => expect.poll(() => lives(pid)).toBe(false);

describe.skipIf(python === '')('a Python program', () => {
  test('reports when it is ready, and ends together with its children', async () => {
    const program = await startFake('serves');
    const helper = Number(program.ready);
    expect(lives(helper)).toBe(true);
    await program.close();
    expect(await program.ended).toBeUndefined();
    await untilGone(helper);
  });

  test('is killed if it does not end in time', async () => {
    const program = await startFake('stubborn', { endSeconds: 0.3 });
    await program.close();
    await untilGone(Number(program.ready));
  });

  test('that ends before it is ready gives its own reason in the error', async () => {
    await expect(startFake('complains')).rejects.toThrow(/^the fake: the port is taken$/);
  });

  test('that dies later is reported with its last lines, and its children end', async () => {
    const program = await startFake('dies');
    expect((await program.ended)?.message).toBe('the fake: warming up | out of | memory');
    await untilGone(Number(program.ready));
    await program.close();
  });

  test('that is killed is reported', async () => {
    const program = await startFake('serves', { env: { ...process.env, PYTHONPATH: folder } });
    const parent = execFileSync('ps', ['-o', 'ppid=', '-p', program.ready], { encoding: 'utf8' });
    process.kill(Number(parent), 'SIGKILL');
    expect((await program.ended)?.message).toBe('the fake: warming up');
  });

  test('that is not ready in time is ended', async () => {
    await expect(startFake('silent', { startSeconds: 0.5 })).rejects.toThrow(
      /^the fake: it was not ready after 0\.5 s$/,
    );
  });

  test('can be stopped before it is ready', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    await expect(startFake('silent', { signal: stop.signal })).rejects.toThrow(/stopped before it was ready/);
    await expect(startFake('silent', { signal: AbortSignal.abort() })).rejects.toThrow(/stopped before/);
  });

  test('whose interpreter does not exist gives an error that names it', async () => {
    await expect(startFake('serves', { python: '/no/such/python' })).rejects.toThrow(
      /^the fake: it could not be started: .*\/no\/such\/python/,
    );
  });

  test('passes on the lines that it logs, including those from its start', async () => {
    const heard: string[] = [];
    let hear = () => {};
    const enough = new Promise<void>((resolve) => {
      hear = resolve;
    });
    const program = await startFake('logs', {
      log: (line) => {
        heard.push(line);
        if (heard.length === 3) hear();
      },
    });
    await enough;
    // More than three lines may have arrived at once.
    expect(heard.slice(0, 3)).toEqual(['warming up', 'a world came', 'a world came']);
    await program.close();
  });
});
