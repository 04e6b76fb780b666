import { basename } from 'node:path';
import type { ResolvedConfig, ResolvedLanguageConfig, ResolvedOfflineConfig } from '../config/load.js';

/** The name of a run whose configuration gives none: simulator, data set or model, operator and seed. */
export function defaultRunName(
  config: ResolvedConfig | ResolvedLanguageConfig | ResolvedOfflineConfig,
): string {
  const subject =
    'language' in config
      ? config.language.model.name
      : 'dataset' in config
        ? basename(config.dataset.file).replace(/\.[A-Za-z0-9]+$/, '')
        : (config.environment.simulator ?? 'remote');
  return `${subject}-${config.operator.name}-seed${config.seed}`.replaceAll(/[^A-Za-z0-9._-]/g, '-');
}
