import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, PmpoError } from '../core/errors.js';
import { publicModules } from '../public-modules.js';
import { createCatalogue } from './catalogue.js';
import { loadPlugins } from './plugins.js';

let folder: string;
beforeAll(async () => {
  // Outside the repository: no node_modules above it.
  folder = await mkdtemp(join(tmpdir(), 'pmpo-plugins-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Writes plugins, loads them and returns the registries. */
async function load(files: Record<string, string>) {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const registries = createCatalogue();
  await loadPlugins(
    Object.keys(files).map((name) => `./${name}`),
    registries,
    folder,
    publicModules,
  );
  return registries;
}

/** The text of a plugin whose `register` has this body. */
const registering = (body: string): string => `export function register(registry) { ${body} }`;

const classifier = (name: string): string => `{
  name: '${name}',
  description: 'accepts all',
  settings: registry.z.strictObject({ value: registry.z.number().default(1) }),
  create: () => ({
    provides: { accepts: true, rejects: false },
    classify: ({ mask }) => ({ accept: mask, reject: registry.tf.zerosLike(mask) }),
  }),
}`;

describe('a plugin', () => {
  it('may be TypeScript in any folder, without imports', async () => {
    const { feedback } = await load({
      'typed.ts': `
        interface Api { z: any; tf: any; feedback: { register(definition: unknown): void } }
        export function register(registry: Api): void { registry.feedback.register(${classifier('typed')}); }
      `,
    });
    const definition = feedback.get('typed');
    expect(definition.plugin).toBe('./typed.ts');
    expect(definition.settings.parse({})).toEqual({ value: 1 });
    expect(definition.settings.safeParse({ valeu: 1 }).success).toBe(false);
    expect(definition.create({}, 4).provides).toEqual({ accepts: true, rejects: false });
  });

  it("that imports 'pmpo' gets the running package", async () => {
    await expect(
      load({
        'imports.ts': `
          import { ConfigError, type PluginApi } from 'pmpo';
          import { tf } from 'pmpo/engine';
          export function register(registry: PluginApi): void {
            throw new ConfigError({ where: 'imports.ts', what: 'one TensorFlow.js: ' + (tf.Tensor === registry.tf.Tensor) });
          }
        `,
      }),
      // An error of another copy of the class would have been wrapped as an unknown error.
    ).rejects.toThrow(/^imports\.ts: one TensorFlow\.js: true$/);
  });

  it.each(['js', 'mjs'])('may be JavaScript: .%s', async (extension) => {
    const { feedback } = await load({
      [`plain.${extension}`]: registering(`registry.feedback.register(${classifier('plain')})`),
    });
    expect(feedback.get('plain').description).toBe('accepts all');
  });

  it('may register asynchronously, several definitions, and without descriptions', async () => {
    const { feedback, operators } = await load({
      'several.ts': `export async function register(registry: any) {
        await Promise.resolve();
        const settings = registry.z.strictObject({});
        registry.feedback.register({ name: 'one', settings, create: () => ({}) });
        registry.operators.register({ name: 'two', settings, create: () => ({}) });
      }`,
    });
    expect(feedback.get('one').description).toBe('from ./several.ts');
    expect(operators.get('two')).toMatchObject({ plugin: './several.ts', defaultSamples: 4 });
  });
});

describe('a plugin is named in the error if it', () => {
  it.each<[string, string, string, string | RegExp]>([
    ['exports nothing', 'empty.ts', 'export const other = 1;', 'it exports no function `register`'],
    ['exports no function', 'value.ts', 'export const register = 1;', 'it exports no function `register`'],
    ['does not parse', 'broken.ts', 'export function register( {', /it does not load: .*broken\.ts:1:\d+\)/],
    [
      'throws at import',
      'early.ts',
      'throw new Error("too early");',
      /it does not load: too early \(.*early\.ts:1:\d+\)/,
    ],
    [
      'imports what is not there',
      'missing.ts',
      'import "no-such-package-anywhere"; export function register() {}',
      'it does not load: ',
    ],
    [
      'throws',
      'late.ts',
      registering('throw new Error("out of paper")').replace('registry', 'registry: unknown'),
      'register threw: out of paper',
    ],
    [
      'rejects its promise',
      'later.js',
      'export async function register() { throw new Error("much later"); }',
      /register threw: much later \(.*later\.js:1:\d+\)/,
    ],
    [
      'registers without a name',
      'nameless.js',
      registering('registry.feedback.register({})'),
      'a feedback without a name was registered',
    ],
    [
      'registers nothing',
      'nothing.js',
      registering('registry.operators.register(undefined)'),
      'an operator without a name was registered',
    ],
    [
      'has no create function',
      'inert.js',
      registering("registry.feedback.register({ name: 'inert' })"),
      "the feedback 'inert' has no create function",
    ],
    [
      'has no schema',
      'loose.js',
      registering("registry.feedback.register({ name: 'loose', create() {}, settings: { value: 1 } })"),
      "the settings of the feedback 'loose' must be a zod object. Use registry.z.strictObject({…})",
    ],
  ])('%s', async (_, file, text, message) => {
    const outcome = load({ [file]: text });
    await expect(outcome).rejects.toBeInstanceOf(ConfigError);
    const source =
      message instanceof RegExp ? message.source : message.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
    await expect(outcome).rejects.toThrow(new RegExp(`plugin \\./${file}: ${source}`));
  });

  it('does not exist', async () => {
    const registries = createCatalogue();
    const outcome = loadPlugins(['./absent.ts'], registries, folder);
    await expect(outcome).rejects.toBeInstanceOf(PmpoError);
    await expect(outcome).rejects.toThrow(
      `plugin ./absent.ts: there is no file ${join(folder, 'absent.ts')}. Paths are relative to the configuration file`,
    );
  });

  it('registers a name that exists already', async () => {
    const text = registering(`registry.feedback.register(${classifier('median')})`);
    await expect(load({ 'taken.js': text })).rejects.toThrow(
      "./taken.js: the feedback 'median' is already registered by pmpo itself",
    );
    const mine = registering(`registry.feedback.register(${classifier('mine')})`);
    await expect(load({ 'first.js': mine, 'second.js': mine })).rejects.toThrow(
      "./second.js: the feedback 'mine' is already registered by ./first.js",
    );
  });
});
