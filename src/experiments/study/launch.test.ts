import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { launcher } from './launch.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-launch-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A Node.js script that takes the place of pmpo and finds its arguments in `args`. */
const program = (script: string) => ({
  command: process.execPath,
  args: ['-e', `const args = process.argv.slice(1);${script}`, '--'],
});
const launch = (
  script: string,
  { extra = [] as string[], signal = undefined as AbortSignal | undefined } = {},
) => launcher(program(script), extra)({ config: 'run.yaml' }, signal);

describe('launcher', () => {
  it('trains from a configuration, or resumes a run with the current address of the simulators', async () => {
    const file = join(folder, 'args.json');
    const script = `require('fs').writeFileSync(${JSON.stringify(file)}, JSON.stringify(args))`;
    const start = launcher(program(script), ['--set', 'environment.address=h:1']);
    expect(await start({ config: 'run.yaml' }, undefined)).toEqual({ state: 'done' });
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(['train', 'run.yaml', '--quiet']);
    await start({ resume: 'runs/r' }, undefined);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual([
      'train',
      '--resume',
      'runs/r',
      '--set',
      'environment.address=h:1',
      '--quiet',
    ]);
  });

  it('distinguishes runs that diverged from runs that failed, and keeps their messages', async () => {
    const end = (message: string) =>
      launch(`console.error('noise'); console.error(${JSON.stringify(message)}); process.exit(1)`);
    expect(await end('pmpo: update 7: critic/loss is NaN: the parameters have diverged')).toEqual({
      state: 'diverged',
      message: 'update 7: critic/loss is NaN: the parameters have diverged',
    });
    expect(await end('pmpo: h:1: no answer')).toEqual({
      state: 'failed',
      message: 'h:1: no answer',
    });
  });

  it('reports how a run without a message ended', async () => {
    expect(await launch('process.exit(9)')).toEqual({
      state: 'failed',
      message: 'it ended with exit code 9',
    });
    expect(await launch(`process.kill(process.pid, 'SIGKILL')`)).toEqual({
      state: 'failed',
      message: 'it ended with SIGKILL',
    });
  });

  it('asks a run to stop, and waits for its end', async () => {
    const abort = new AbortController();
    const file = join(folder, 'saved');
    const script = `process.on('SIGINT', () => { require('fs').writeFileSync(${JSON.stringify(file)}, 'x'); process.exit(1); });
      setTimeout(() => {}, 60000); require('fs').writeFileSync(${JSON.stringify(`${file}.ready`)}, '');`;
    const ended = launch(script, { signal: abort.signal });
    while (!(await readFile(`${file}.ready`).catch(() => undefined)))
      await new Promise((go) => setTimeout(go, 20));
    abort.abort();
    expect(await ended).toEqual({ state: 'stopped' });
    expect(await readFile(file, 'utf8')).toBe('x');
  });

  it('reports that the program cannot be started', async () => {
    const start = launcher({ command: join(folder, 'nothing'), args: [] }, []);
    expect(await start({ config: 'run.yaml' }, undefined)).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('ENOENT'),
    });
  });
});
