import type { ResolvedConfig, ResolvedLanguageConfig } from '../config/load.js';

/** The name of a run whose configuration gives none: simulator or model, operator and seed. */
export function defaultRunName(config: ResolvedConfig | ResolvedLanguageConfig): string {
  const subject =
    'language' in config ? config.language.model.name : (config.environment.simulator ?? 'remote');
  return `${subject}-${config.operator.name}-seed${config.seed}`.replaceAll(/[^A-Za-z0-9._-]/g, '-');
}
