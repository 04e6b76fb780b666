import type { ResolvedConfig } from '../config/load.js';

/** A run's name when the configuration gives none: simulator, operator and seed. */
export function defaultRunName({ environment, operator, seed }: ResolvedConfig): string {
  const simulator = environment.simulator ?? 'remote';
  return `${simulator}-${operator.name}-seed${seed}`.replaceAll(/[^A-Za-z0-9._-]/g, '-');
}
