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

/** A program in place of pmpo: a script of Node, which finds what it was given in `args`. */
const program = (script: string) => ({
  command: process.execPath,
  args: ['-e', `const args = process.argv.slice(1);${script}`, '--'],
});
const launch = (
  script: string,
  { extra = [] as string[], signal = undefined as AbortSignal | undefined } = {},
) => launcher(program(script), extra)({ config: 'run.yaml' }, signal);

describe('launcher', () => {
  it('trains a configuration, or goes on with a run where the simulators are now', async () => {
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

  it('tells a run that diverged from one that failed, in its own words', async () => {
    const end = (message: string) =>
      launch(`console.error('noise'); console.error(${JSON.stringify(message)}); process.exit(1)`);
    expect(await end('pmpo: update 7: critic/loss is NaN: the parameters have diverged')).toEqual({
      state: 'diverged',
      message: 'update 7: critic/loss is NaN: the parameters have diverged',
    });
    expect(await end('pmpo: h:1: nobody answers there')).toEqual({
      state: 'failed',
      message: 'h:1: nobody answers there',
    });
  });

  it('says how a run ended that said nothing', async () => {
    expect(await launch('process.exit(9)')).toEqual({
      state: 'failed',
      message: 'it ended with exit code 9',
    });
    expect(await launch(`process.kill(process.pid, 'SIGKILL')`)).toEqual({
      state: 'failed',
      message: 'it ended with SIGKILL',
    });
  });

  it('asks a run to stop, and waits until it has', async () => {
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

  it('says what is wrong where the program cannot be started', async () => {
    const start = launcher({ command: join(folder, 'nothing'), args: [] }, []);
    expect(await start({ config: 'run.yaml' }, undefined)).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('ENOENT'),
    });
  });
});
