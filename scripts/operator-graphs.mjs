// The graphs of the built-in operators in the Python package: one for each kind of policy, and for each choice of weights or bounds,
// which are different graphs. `node scripts/operator-graphs.mjs` writes them to plugins/python/pmpo/graphs (a part of `npm run generate`).

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

export const graphFolder = join(root, 'plugins/python/pmpo/graphs');

const gaussian = ['mean', 'covariance'];
const policies = [['sequence'], ['categorical'], gaussian];

/** Every choice of a weight or a bound for each of these parts. */
function weightsOrBounds(parts) {
  return parts.reduce(
    (choices, part) =>
      choices.flatMap((choice) => [
        { ...choice, [part]: 1 },
        { ...choice, [part]: { epsilon: 0.01, initialWeight: 1 } },
      ]),
    [{}],
  );
}

/**
 * The graphs of an operator that reads no KL, which are those of every policy. In Python the KL of `kl` is added by the caller.
 * @param choices the values of a setting of which each is another graph
 */
function withoutKl(operator, settings = {}, choices = {}) {
  const [choice] = Object.entries(choices);
  const policy = { klParts: [] };
  if (choice === undefined) return [{ name: `${operator}_any`, operator, settings, policy }];
  const [key, values] = choice;
  return values.map((value) => ({
    name: `${operator}_any_${key}-${value}`,
    operator,
    settings: { ...settings, [key]: value },
    policy,
  }));
}

/** The name of each file without its end, and the arguments of `exportOperator`. */
export const graphs = [
  ...policies.flatMap((klParts) =>
    weightsOrBounds(klParts).map((kl) => ({
      name: `pmpo_${klParts.map((part) => `${part}-${typeof kl[part] === 'number' ? 'weight' : 'bound'}`).join('_')}`,
      operator: 'pmpo',
      settings: { beta: 1, kl },
      policy: { klParts },
    })),
  ),
  // The variants of PMPO have graphs for fixed weights alone. The direction of the KL needs none: it is what the caller gives.
  ...policies.flatMap((klParts) =>
    [
      { normalise: 'batch' },
      { advantageScale: 1 },
      { normalise: 'batch', advantageScale: 1 },
      ...(klParts.includes('sequence') ? [{ perToken: true }, { perToken: true, normalise: 'batch' }] : []),
    ].map((variant) => ({
      name: `pmpo_${[...klParts, ...Object.keys(variant)].join('_')}`,
      operator: 'pmpo',
      settings: { beta: 1, kl: Object.fromEntries(klParts.map((part) => [part, 1])), ...variant },
      policy: { klParts },
    })),
  ),
  ...policies.map((klParts) => ({
    name: `mpo_${klParts.join('_')}`,
    operator: 'mpo',
    settings: { actionPenalty: null },
    policy: { klParts },
  })),
  {
    name: 'mpo_mean_covariance_penalty',
    operator: 'mpo',
    settings: {},
    policy: { klParts: gaussian, boundViolation: true },
  },
  {
    name: 'mpo_mean_covariance_decoupled',
    operator: 'mpo',
    settings: { actionPenalty: null },
    policy: { klParts: gaussian, decoupled: true },
  },
  {
    name: 'mpo_mean_covariance_decoupled_penalty',
    operator: 'mpo',
    settings: {},
    policy: { klParts: gaussian, decoupled: true, boundViolation: true },
  },
  ...policies.map((klParts) => ({
    name: `v-mpo_${klParts.join('_')}`,
    operator: 'v-mpo',
    settings: {},
    policy: { klParts },
  })),
  {
    name: 'v-mpo_mean_covariance_decoupled',
    operator: 'v-mpo',
    settings: {},
    policy: { klParts: gaussian, decoupled: true },
  },
  ...policies.map((klParts) => ({
    name: `kto_${klParts.join('_')}`,
    operator: 'kto',
    // The KL is read for the reference point alone.
    settings: { beta: 0.1, kl: Object.fromEntries(klParts.map((part) => [part, 0])) },
    policy: { klParts },
  })),
  ...withoutKl('kto', { beta: 0.1, referencePoint: 'mismatched' }),
  ...withoutKl('dpo', { beta: 1 }, { pairs: ['best-worst', 'all'] }),
  ...withoutKl('ipo', { beta: 0.1 }, { perToken: [false, true] }),
  ...withoutKl('cpo', { beta: 0.1 }, { perToken: [false, true] }),
  ...withoutKl('simpo'),
  ...withoutKl('orpo'),
  ...withoutKl('grpo', {}, { perToken: [false, true] }),
  ...withoutKl('reinforce'),
  ...withoutKl('awr'),
  ...withoutKl('crr', {}, { filter: ['binary', 'exponential'] }),
  ...withoutKl('rejection-sampling'),
  ...withoutKl('behavior-cloning'),
];

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { ensureBuilt } = await import('./bootstrap.mjs');
  ensureBuilt();
  const { createOperatorRegistry, exportOperator } = await import('../dist/operators/index.js');
  const registry = createOperatorRegistry();
  mkdirSync(graphFolder, { recursive: true });
  for (const file of readdirSync(graphFolder)) rmSync(join(graphFolder, file));
  for (const { name, operator, settings, policy } of graphs) {
    const { model } = await exportOperator(registry.get(operator), settings, policy);
    writeFileSync(join(graphFolder, `${name}.onnx`), model);
  }
}
