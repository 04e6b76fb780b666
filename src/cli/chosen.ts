import type { Catalogue } from '../config/catalogue.js';
import type { Override } from '../config/source.js';
import { ConfigError } from '../core/errors.js';

/** What the command line chooses without a configuration: a name, its settings, and the registries with the plugins' definitions. */
export interface Chosen {
  readonly name: string;
  readonly settings: Record<string, unknown>;
  readonly catalogue: Catalogue;
}

/**
 * Reads an operator or a classifier from --set (and --operator or --feedback, which are short for it), and loads the plugins.
 * @throws ConfigError if none is named, or if anything else is set.
 */
export async function chooseByOverrides(
  group: 'operator' | 'feedback',
  overrides: readonly Override[],
): Promise<Chosen> {
  const { createCatalogue } = await import('../config/catalogue.js');
  const { loadPlugins } = await import('../config/plugins.js');
  const { readSource } = await import('../config/source.js');
  const { publicModules } = await import('../public-modules.js');
  const { [group]: chosen, plugins = [], ...rest } = readSource('command line', '{}', overrides).values;
  const [stray] = Object.keys(rest);
  const { name, ...settings } = (chosen ?? {}) as Record<string, unknown>;
  if (stray !== undefined || typeof name !== 'string' || !Array.isArray(plugins)) {
    throw new ConfigError({
      where: `pmpo export-${group}`,
      what:
        stray === undefined
          ? `it needs ${group === 'operator' ? 'an operator' : 'a classifier'}`
          : `without a configuration, ${stray} cannot be set`,
      remedy: `Give a configuration, or --${group} NAME with --set ${group}.KEY=VALUE and --set plugins=[FILE]`,
    });
  }
  const catalogue = createCatalogue(publicModules);
  await loadPlugins(plugins.map(String), catalogue, process.cwd(), publicModules);
  return { name, settings, catalogue };
}
