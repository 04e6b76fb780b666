import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PmpoError } from '../core/errors.js';
import { classifyOnHostChecked, openChecked } from '../feedback/checked-host.js';
import type { HostClassifier, HostFeedbackInput } from '../feedback/classifier.js';
import { publicModules } from '../public-modules.js';
import type { PublicModules } from '../system/user-module.js';
import { loadConfig } from './load.js';
import { pluginFile } from './plugins.js';

let folder: string;
beforeAll(async () => {
  // Outside the repository: no node_modules above it.
  folder = await mkdtemp(join(tmpdir(), 'pmpo-plugin-classifier-'));
});
afterAll(() => rm(folder, { recursive: true }));

const opened: HostClassifier[] = [];
afterEach(async () => {
  for (const classifier of opened.splice(0)) await classifier.close?.();
});

/** The text of a plugin with the classifier `mine`, whose `classifyOnHost` has this body. */
const plugin = (body: string, more = '') => `
  ${more}
  export function register(registry: any) {
    registry.feedback.register({
      name: 'mine',
      settings: registry.z.strictObject({ limit: registry.z.number().default(0) }),
      create: ({ limit }: any) => ({
        provides: { accepts: true, rejects: true },
        deadlineSeconds: 60,
        async classifyOnHost({ evaluation }: any) {
          ${body}
        },
      }),
    });
  }
`;

/** The classifier of a configuration that names the plugin. */
async function load(
  name: string,
  text: string,
  { limit = 0, modules = {} }: { readonly limit?: number; readonly modules?: PublicModules } = {},
): Promise<HostClassifier> {
  await writeFile(join(folder, `${name}.ts`), text);
  const config = join(folder, `${name}.yaml`);
  await writeFile(
    config,
    `environment: {simulator: cartpole_swingup}\nplugins: [./${name}.ts]\nfeedback: {name: mine, limit: ${limit}}\n`,
  );
  const { classifier } = await loadConfig(config, [], { modules });
  opened.push(classifier as HostClassifier);
  await openChecked('mine', classifier as HostClassifier, { notice: () => {} });
  return classifier as HostClassifier;
}

const input: HostFeedbackInput = {
  samplesPerContext: 2,
  contexts: 1,
  evaluation: Float32Array.of(1, 3),
  mask: Float32Array.of(1, 1),
  baseline: Float32Array.of(2),
  sampleValues: Float32Array.of(0, 0),
  sampleShape: [2, 1, 1],
  contextValues: Float32Array.of(0),
  contextShape: [1, 1],
};
const classify = (classifier: HostClassifier, signal?: AbortSignal) =>
  classifyOnHostChecked('mine', classifier, input, { signal });

const above =
  'const accept = evaluation.map((f: number) => Number(f > limit)); return { accept, reject: accept.map((a: number) => 1 - a) };';

describe("a plugin's classifier of plain code", () => {
  it('runs in a thread of its own, with its settings and what it imports from pmpo', async () => {
    const imports = `
      import { isMainThread } from 'node:worker_threads';
      import { PmpoError } from 'pmpo';
      let calls = 0;
    `;
    const check = `
      if (isMainThread) throw new Error('not as said');
      if (++calls > 3) throw new PmpoError({ where: 'table.csv', what: 'it is empty', remedy: 'Fill it' });
    `;
    const classifier = await load('thread', plugin(`${check} ${above}`, imports), {
      limit: 2,
      modules: publicModules,
    });
    for (let i = 0; i < 3; i++) {
      expect(await classify(classifier)).toEqual({
        accept: Float32Array.of(0, 1),
        reject: Float32Array.of(1, 0),
      });
    }
    // An error of another copy of the class would have been wrapped as an unknown error.
    const outcome = classify(classifier);
    await expect(outcome).rejects.toBeInstanceOf(PmpoError);
    await expect(outcome).rejects.toThrow("feedback 'mine', table.csv: it is empty. Fill it");
  });

  it('may be an object with state that it opens, and is closed at the end', async () => {
    const closed = join(folder, 'closed');
    const text = plugin('').replace(
      /create: [\s\S]*\}\),\n {4}\}\);/,
      `create: ({ limit }: any) => new Mine(limit) });`,
    );
    const mine = `
      import { writeFileSync } from 'node:fs';
      class Mine {
        #limit: number;
        #open = false;
        constructor(limit: number) { this.#limit = limit; }
        get provides() { return { accepts: true, rejects: true }; }
        async open() { this.#open = true; }
        classifyOnHost({ evaluation }: any) {
          if (!this.#open) throw new Error('it is not open');
          const accept = evaluation.map((f: number) => Number(f > this.#limit));
          return { accept, reject: accept.map((a: number) => 1 - a) };
        }
        async close() { writeFileSync(${JSON.stringify(closed)}, 'closed'); }
      }`;
    const classifier = await load('state', mine + text, { limit: 2 });
    expect((await classify(classifier)).accept).toEqual(Float32Array.of(0, 1));
    expect(existsSync(closed)).toBe(false);
    await classifier.close?.();
    expect(existsSync(closed)).toBe(true);
  });

  it('whose thread fails between two batches fails at the next one, and not the process', async () => {
    const later = `setTimeout(() => { throw new Error('a socket closed'); }, 500); ${above}`;
    const classifier = await load('between', plugin(later));
    await classify(classifier);
    await expect
      .poll(() => classify(classifier).then(() => '', String))
      .toContain("feedback 'mine': it threw: a socket closed");
  });

  it('that computes for ever ends at its deadline, or when the run is stopped', async () => {
    const text = plugin('for (;;);').replace('deadlineSeconds: 60', 'deadlineSeconds: limit');
    const late = await load('late', text, { limit: 0.5 });
    await expect(classify(late)).rejects.toThrow("feedback 'mine': it has not answered within 0.5 s");
    const stopped = await load('stopped', text, { limit: 300 });
    const stop = new AbortController();
    const outcome = classify(stopped, stop.signal);
    setTimeout(() => stop.abort(), 500);
    await expect(outcome).rejects.toThrow("feedback 'mine': the run was stopped");
  });

  it('is told by its signal that its time is over, and closed, after its deadline', async () => {
    const log = join(folder, 'log');
    const text = plugin(
      "signal.addEventListener('abort', () => note('told ')); return new Promise(() => {});",
    )
      .replace('deadlineSeconds: 60', "deadlineSeconds: 0.5, close: () => note('closed')")
      .replace('classifyOnHost({ evaluation }: any)', 'classifyOnHost(_: any, signal: AbortSignal)');
    const note = `import { appendFileSync } from 'node:fs'; const note = (text: string) => appendFileSync(${JSON.stringify(log)}, text);`;
    const classifier = await load('told', note + text);
    await expect(classify(classifier)).rejects.toThrow('it has not answered within 0.5 s');
    await classifier.close?.();
    expect(readFileSync(log, 'utf8')).toBe('told closed');
  });

  it('is named with its file and line when it throws', async () => {
    const classifier = await load('throws', plugin('\n\n throw new TypeError("no such column");'));
    await expect(classify(classifier)).rejects.toThrow(
      /^feedback 'mine': it threw: no such column \(.*throws\.ts:13:\d+\)$/,
    );
  });

  it('that ends its thread or throws outside a call ends the run in one line', async () => {
    const ended = await load('ended', plugin('process.exit(7);'));
    await expect(classify(ended)).rejects.toThrow("feedback 'mine': its thread ended with code 7");
    const outside = await load(
      'outside',
      plugin('setTimeout(() => { throw new Error("much later"); }); return new Promise(() => {});'),
    );
    await expect(classify(outside)).rejects.toThrow("feedback 'mine': it threw: much later");
  });
});

describe('the name of a plugin', () => {
  it('may be that of an npm package, found from the folder of the configuration', async () => {
    const home = join(folder, 'node_modules/@lab/judges');
    await mkdir(home, { recursive: true });
    await writeFile(
      join(home, 'package.json'),
      JSON.stringify({ name: '@lab/judges', type: 'module', exports: { import: './main.js' } }),
    );
    await writeFile(join(home, 'main.js'), plugin(above).replaceAll(': any', '').replaceAll(': number', ''));
    const config = join(folder, 'package.yaml');
    await writeFile(
      config,
      'environment: {simulator: cartpole_swingup}\nplugins: ["@lab/judges"]\nfeedback: {name: mine, limit: 2}\n',
    );
    const loaded = await loadConfig(config);
    expect(loaded.config.plugins).toEqual([join(home, 'main.js')]);
    const classifier = loaded.classifier as HostClassifier;
    opened.push(classifier);
    expect((await classify(classifier)).accept).toEqual(Float32Array.of(0, 1));
  });

  it('of no package and no file is refused with both ways on', () => {
    expect(() => pluginFile('judges', folder)).toThrow(
      `plugin judges: no npm package of this name is installed in ${folder} or above. Install it there, or write ./judges with its extension for a file`,
    );
  });
});
