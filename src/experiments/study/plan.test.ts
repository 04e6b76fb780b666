import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../core/errors.js';
import { layered, planStudy } from './plan.js';
import { parseStudy, readStudy } from './schema.js';

const text = `
server: embedded
base:
  operator: { name: pmpo, beta: 2 }
  learner: { batchSize: 32, environmentSteps: 900, warmupSteps: 100 }
variants:
  both: { operator: { alpha: 0.5 } }
  pairs: { operator: { name: dpo } }
figures:
  curves: { title: Curves, lines: { PMPO: both, DPO: pairs } }
  weights: { title: Weights, panels: { One: { a: both }, Two: { b: pairs } } }
scales:
  small:
    base: { learner: { environmentSteps: 500 } }
    tasks:
      swingup: { simulator: cartpole_swingup, seeds: 2, config: { learner: { environmentSteps: 300 } } }
      walk: { simulator: walker_walk, seeds: 1 }
    figures: { curves: [swingup, walk], weights: [swingup] }
`;
const place = { file: 'study.yaml', folder: '/studies/s' };
const plan = (scale = 'small', more = {}) =>
  planStudy(parseStudy('study.yaml', text), scale, { ...place, ...more });

/** Plans a study of examples/reproduce/ with a server. */
async function planPackaged(name: string, scale: string) {
  const file = fileURLToPath(new URL(`../../../examples/reproduce/${name}.yaml`, import.meta.url));
  return planStudy(parseStudy(file, await readStudy(file)), scale, {
    ...place,
    file,
    address: '10.0.0.1:1',
  });
}

describe('layered', () => {
  it('merges groups key by key, and replaces groups with a name', () => {
    const base = { operator: { name: 'pmpo', beta: 2 }, learner: { batchSize: 1, samples: 4 }, seed: 1 };
    expect(layered(base, { operator: { alpha: 1 }, learner: { samples: 8 } })).toEqual({
      operator: { name: 'pmpo', beta: 2, alpha: 1 },
      learner: { batchSize: 1, samples: 8 },
      seed: 1,
    });
    expect(layered(base, { operator: { name: 'dpo' } }).operator).toEqual({ name: 'dpo' });
    expect(base.operator).toEqual({ name: 'pmpo', beta: 2 });
  });
});

describe('planStudy', () => {
  it('plans each run once, with the first seed of every variant before any second seed', async () => {
    const { runs } = await plan();
    expect(runs.map(({ path }) => path)).toEqual([
      'swingup/both/seed0',
      'swingup/pairs/seed0',
      'walk/both/seed0',
      'walk/pairs/seed0',
      'swingup/both/seed1',
      'swingup/pairs/seed1',
    ]);
  });

  it('merges scale, task, variant and seed into the base, in this order', async () => {
    const { runs } = await plan('small', { address: '10.0.0.1:1' });
    const [both, pairs, walk] = runs.map(({ loaded }) => loaded.config);
    expect(both).toMatchObject({
      name: 'seed0',
      output: '/studies/s/runs/swingup/both',
      environment: { simulator: 'cartpole_swingup', address: '10.0.0.1:1' },
      operator: { name: 'pmpo', alpha: 0.5, beta: 2 },
      learner: { batchSize: 32, environmentSteps: 300 },
    });
    expect(pairs.operator.name).toBe('dpo');
    expect(walk).toMatchObject({ learner: { environmentSteps: 500 } });
    expect(runs.at(-1)!.loaded.config.seed).toBe(1);
  });

  it('gives a figure with lines a panel for each task and one for all, and a figure with panels those', async () => {
    const { figures } = await plan();
    expect(figures.map(({ name, panels }) => [name, panels.map(({ title }) => title)])).toEqual([
      ['curves', ['swingup', 'walk', 'All tasks']],
      ['weights', ['One', 'Two']],
    ]);
    expect(figures[0].panels[2].tasks).toEqual(['swingup', 'walk']);
    expect(figures[1].panels[1].lines).toEqual({ b: 'pairs' });
  });

  it('names an unknown scale and the nearest known one', async () => {
    await expect(plan('smal')).rejects.toThrow(/--scale: unknown scale 'smal'.*Did you mean 'small'\?/);
  });

  it('names the run with a wrong configuration', async () => {
    const wrong = parseStudy('study.yaml', text.replace('alpha: 0.5', 'alpha: 7'));
    const refused = planStudy(wrong, 'small', place);
    await expect(refused).rejects.toBeInstanceOf(ConfigError);
    await expect(refused).rejects.toThrow(/study\.yaml \(swingup both seed0\).*alpha/);
  });

  it.each(['smoke', 'laptop', 'paper'])(
    'plans the control study of the package at the scale %s',
    async (scale) => {
      const { runs, figures } = await planPackaged('control', scale);
      expect(figures.map(({ name }) => name).slice(0, 2)).toEqual(['figure-2', 'figure-3']);
      const of = (variant: string) => runs.find((run) => run.variant === variant)!.loaded.config.operator;
      expect(of('PMPO-R')).toMatchObject({ name: 'pmpo', alpha: 0, beta: 2 });
      // Figure 3 of the paper: five values of β for each of three kinds of feedback. One value is shared with Figure 2.
      const further = { smoke: 0, laptop: 1, paper: 1 + 3 * 4 }[scale]!;
      expect(new Set(runs.map(({ variant }) => variant)).size).toBe(5 + 3 * 4 + further);
      for (const [kind, alpha] of Object.entries({ A: 1, R: 0, AR: 0.5 })) {
        for (const beta of [0, 0.5, 1, 1.5]) expect(of(`${kind}-${beta}`)).toMatchObject({ alpha, beta });
      }
    },
  );

  it('plans Figure 3 on three tasks, with the weights of results/ and with the equal ones of the paper', async () => {
    const { runs } = await planPackaged('control', 'weights');
    expect(new Set(runs.map(({ task }) => task)).size).toBe(3);
    expect(new Set(runs.map(({ variant }) => variant)).size).toBe(3 * 5 + 3 * 4);
    for (const { variant, loaded } of runs.filter((run) => run.variant.endsWith('-equal'))) {
      const { beta, kl } = loaded.config.operator as { beta?: number; kl?: object };
      expect([variant.split('-')[1], kl]).toEqual([String(beta), {}]);
    }
  });

  it('plans Figure 2 on bodies of many joints', async () => {
    const { runs } = await planPackaged('control', 'bodies');
    expect(runs).toHaveLength(5 * 4 * 3);
    expect([...new Set(runs.map(({ task }) => task.split('-')[0]))]).toEqual([
      'humanoid',
      'dog',
      'quadruped',
    ]);
  });

  it.each([
    ['smoke', 1],
    ['tuning', 2],
    ['laptop', 5],
  ])('plans the study of baselines at the scale %s: all operators at equal KL', async (scale, seeds) => {
    const file = fileURLToPath(new URL('../../../examples/reproduce/baselines.yaml', import.meta.url));
    const { runs } = await planStudy(parseStudy(file, await readStudy(file)), scale, { ...place, file });
    // Every operator gets as many runs as every other.
    const counts = new Map<string, number>();
    for (const { variant } of runs) {
      const [method] = /^(MPO-20|MPO-4|DPO-all|DPO|PMPO)/.exec(variant)!;
      counts.set(method, (counts.get(method) ?? 0) + 1);
    }
    const each = seeds * { smoke: 1, tuning: 4, laptop: 3 }[scale]!;
    expect(Object.fromEntries(counts)).toEqual({
      PMPO: each,
      'MPO-20': each,
      'MPO-4': each,
      DPO: each,
      'DPO-all': each,
    });
    for (const { variant, loaded } of runs) {
      if (loaded.kind !== 'control') throw new Error(loaded.kind);
      expect(loaded.config.operator).toMatchObject({
        kl: { mean: { epsilon: 0.01 }, covariance: { epsilon: 1e-5 } },
      });
      expect(loaded.config.learner.samples).toBe(/^MPO-20/.test(variant) ? 20 : 4);
    }
  });

  it('plans the study of parts: each is taken out of all of them, and added to none', async () => {
    const { runs } = await planPackaged('parts', 'ablations');
    const first = runs.filter(({ task, loaded }) => task === 'walker-walk' && loaded.config.seed === 0);
    const settingsOf = new Map(
      first.map(({ variant, loaded }) => {
        if (loaded.kind !== 'control') throw new Error(loaded.kind);
        const { environment, policy, critic, learner, replay } = loaded.config;
        const settings = { environment, policy, critic, learner, replay };
        const flat = Object.entries(settings).flatMap(([section, values]) =>
          Object.entries(values).map(([key, value]) => [`${section}.${key}`, JSON.stringify(value)] as const),
        );
        return [variant, new Map(flat)] as const;
      }),
    );
    const [all, none] = [settingsOf.get('all')!, settingsOf.get('none')!];
    const changed = (variant: string, from: ReadonlyMap<string, string>) =>
      [...settingsOf.get(variant)!].filter(([key, value]) => from.get(key) !== value).map(([key]) => key);
    const parts = ['normalization', 'blocks', 'repeat', 'histogram', 'samples', 'short-returns'];
    const kinds = parts.flatMap((part) => [`without-${part}`, `only-${part}`]);
    expect(new Set(settingsOf.keys())).toEqual(new Set(['all', 'none', ...kinds]));
    for (const part of parts) {
      const removed = changed(`without-${part}`, all);
      expect(removed.length, part).toBeGreaterThan(0);
      expect(changed(`only-${part}`, none), part).toEqual(removed);
      for (const key of removed) {
        expect(settingsOf.get(`without-${part}`)!.get(key), key).toBe(none.get(key));
        expect(settingsOf.get(`only-${part}`)!.get(key), key).toBe(all.get(key));
      }
    }
    // Together the parts are everything in which `all` and `none` differ.
    const together = parts.flatMap((part) => changed(`without-${part}`, all));
    expect(new Set(together)).toEqual(new Set(changed('all', none)));
  });

  it.each(['smoke', 'laptop'])('plans the offline study of the package at the scale %s', async (scale) => {
    const file = fileURLToPath(new URL('../../../examples/reproduce/offline.yaml', import.meta.url));
    const study = parseStudy('offline.yaml', await readStudy(file));
    const { runs } = await planStudy(study, scale, { file: 'offline.yaml', folder: 'studies/offline' });
    const variants = ['bc', 'accept-bc', 'accept', 'reject-bc', 'accept-reject-bc', 'crr', 'awr'];
    expect([...new Set(runs.map(({ variant }) => variant))]).toEqual(variants);
    expect(runs).toHaveLength(scale === 'smoke' ? 7 : 7 * 3 * 5);
    for (const { loaded, task } of runs) {
      if (loaded.kind !== 'offline') throw new Error(loaded.kind);
      expect(loaded.config.dataset.file).toMatch(new RegExp(`studies/offline/data/${task}/data$`));
    }
  });

  it.each([
    ['smoke', ['figure-4-left', 'figure-4-right']],
    ['quick', ['figure-4-left', 'figure-4-right']],
    ['tiny', ['figure-4-left', 'figure-4-right']],
    ['weights', ['figure-5', 'equal-steps']],
    ['gemma', ['figure-4-left', 'win-rate-by-reward']],
  ])('plans the language study of the package at the scale %s', async (scale, first) => {
    const { runs, figures } = await planPackaged('language', scale);
    expect(figures.map(({ name }) => name).slice(0, 2)).toEqual(first);
    const model = scale === 'gemma' ? { name: 'trainer', address: '10.0.0.1:1' } : { name: 'embedded' };
    for (const { loaded } of runs) expect(loaded.config).toMatchObject({ language: { model } });
  });
});
