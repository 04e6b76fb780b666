import { existsSync } from 'node:fs';
import { createJiti } from 'jiti';
import { ConfigError } from '../core/errors.js';

/** Modules of the user's: plugins, reward programs, judges. */

function messageOf(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!.trim();
}

/** Where in a module of the user's an error comes from: `line:column`, as far as it says. */
export function placeIn(file: string, cause: unknown): string | undefined {
  const stack = cause instanceof Error ? (cause.stack ?? '') : '';
  const after = stack.split(file)[1];
  return after === undefined ? undefined : /^:(\d+:\d+)/.exec(after)?.[1];
}

/**
 * Loads a module (.ts, .js, .mjs; TypeScript needs no build step). It may `import … from 'pmpo'`: it gets this very package.
 * @param file absolute.
 * @param where for messages.
 * @throws ConfigError when it is missing or does not load.
 */
export async function importUserModule(
  file: string,
  where: string,
): Promise<Readonly<Record<string, unknown>>> {
  if (!existsSync(file)) {
    throw new ConfigError({
      where,
      what: `there is no file ${file}`,
      remedy: 'Paths are relative to the configuration file, those of --set to the working directory',
    });
  }
  // The modules loaded already, not their files: a second copy would have other classes and another TensorFlow.js.
  const virtualModules = { pmpo: await import('../index.js') };
  const jiti = createJiti(import.meta.url, { virtualModules, moduleCache: false, fsCache: false });
  try {
    return (await jiti.import(file)) as Record<string, unknown>;
  } catch (cause) {
    throw new ConfigError({ where, what: `it does not load: ${messageOf(cause)}`, cause });
  }
}
