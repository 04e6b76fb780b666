import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ConfigError, PmpoError } from '../core/errors.js';

/** Loads modules that users write: plugins, reward programs, judges. */

/**
 * What a user's module gets when it imports one of these names (`pmpo`, `pmpo/operators`, …). Each entry is called when a user's
 * module is loaded. A name that is not listed is resolved from the folder of the user's module, as in any other program.
 */
export type PublicModules = Readonly<Record<string, () => Promise<object>>>;

/** The loader, which most runs do not need. */
function loader(): typeof import('jiti') {
  return createRequire(import.meta.url)('jiti') as typeof import('jiti');
}

/** The first line of what a user's module threw. */
export function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!.trim();
}

/** The place in a user's module that an error comes from, as `line:column`; undefined if its stack does not name the module. */
export function placeIn(file: string, cause: unknown): string | undefined {
  const stack = cause instanceof Error ? (cause.stack ?? '') : '';
  const after = stack.split(file)[1];
  return after === undefined ? undefined : /^:(\d+:\d+)/.exec(after)?.[1];
}

/** The first line of what a user's module threw while it was loaded, with the file and the line that it comes from, as far as known. */
export function locatedMessage(file: string, cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  // The loader writes the place of a syntax error below it.
  const written = message
    .split('\n')
    .slice(1)
    .join('\n')
    .match(/^\s*(\S.*:\d+:\d+)\s*$/m)?.[1];
  const place = placeIn(file, cause);
  const at = written ?? (place && `${file}:${place}`);
  return `${messageOf(cause)}${at === undefined ? '' : ` (${at})`}`;
}

/**
 * What a user's function returns.
 * @param name the function's name, and `where` that of its module, for messages.
 * @throws PmpoError with the place in the user's file if the function throws.
 */
export async function callUser<T>(
  { file, where, name }: { readonly file: string; readonly where: string; readonly name: string },
  call: () => T | Promise<T>,
): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const at = placeIn(file, cause);
    throw new PmpoError({
      where: at === undefined ? where : `${where}:${at}`,
      what: `${name} threw: ${message}`,
      cause,
    });
  }
}

/**
 * The module `name`, in which reading a name that another of the modules exports is an error: an import of a name that is not
 * there would otherwise be undefined until it is used.
 */
function guarded(name: string, modules: ReadonlyMap<string, object>): object {
  const homeOf = (key: PropertyKey) => [...modules].find(([, module]) => key in module)?.[0];
  return new Proxy(modules.get(name)!, {
    // Loaders ask before they read.
    has: (target, key) => key in target || homeOf(key) !== undefined,
    get(target, key) {
      if (key in target) return Reflect.get(target, key);
      const home = homeOf(key);
      if (home === undefined) return undefined;
      throw new ConfigError({
        where: `import from '${name}'`,
        what: `it does not export '${String(key)}'`,
        remedy: `Import it from '${home}'`,
      });
    },
  });
}

/** The file that a package's name leads to from a module in `folder`; undefined if no such package is installed. */
export function resolvePackage(name: string, folder: string): string | undefined {
  const from = pathToFileURL(join(folder, 'module.js')).href;
  const found = loader().createJiti(from).esmResolve(name, { try: true });
  return found?.startsWith('file:') ? fileURLToPath(found) : undefined;
}

/**
 * Loads a user's module (.ts, .js or .mjs; TypeScript needs no build step).
 *
 * @param file its absolute path.
 * @param where names the setting that asks for it, for error messages.
 * @param modules what it may import from this package.
 * @throws ConfigError if the file is missing or does not load.
 */
export async function importUserModule(
  file: string,
  where: string,
  modules: PublicModules,
): Promise<Readonly<Record<string, unknown>>> {
  if (!existsSync(file)) {
    throw new ConfigError({
      where,
      what: `there is no file ${file}`,
      remedy: 'Paths are relative to the configuration file, and paths in --set to the working directory',
    });
  }
  // Module objects of this process rather than files: a second copy would have other classes and another TensorFlow.js.
  const entries = Object.entries(modules).map(async ([name, load]) => [name, await load()] as const);
  const loaded = new Map(await Promise.all(entries));
  const virtualModules = Object.fromEntries([...loaded.keys()].map((name) => [name, guarded(name, loaded)]));
  const jiti = loader().createJiti(import.meta.url, { virtualModules, moduleCache: false, fsCache: false });
  try {
    return (await jiti.import(file)) as Record<string, unknown>;
  } catch (cause) {
    throw new ConfigError({ where, what: `it does not load: ${locatedMessage(file, cause)}`, cause });
  }
}
