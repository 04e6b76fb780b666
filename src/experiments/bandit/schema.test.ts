import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createCatalogue } from '../../config/catalogue.js';
import { ConfigError } from '../../core/errors.js';
import { planBanditStudy } from './make-bandit-study.js';
import { isBanditStudy, parseBanditStudy, searchConfig } from './schema.js';

const packaged = readFileSync(
  fileURLToPath(new URL('../../../examples/reproduce/bandit.yaml', import.meta.url)),
  'utf8',
);

const text = `
bandit:
  seeds: 2
  methods:
    both: {operator: {name: pmpo}, learningRate: 0.01}
  tuning: {function: ellipsoid, seeds: 1, copies: 1}
  searches:
    curves: {title: Curves, functions: [sphere]}
scales:
  full: {}
  small: {seeds: 1, searches: {curves: {functions: [rosenbrock]}}}
`;

describe('parseBanditStudy', () => {
  it.each(['full', 'smoke'])(
    'reads the study of the package at the scale %s, whose settings are all valid',
    (scale) => {
      expect(isBanditStudy(packaged)).toBe(true);
      for (const text of ['{bandit: {}}', '"bandit": 1']) expect(isBanditStudy(text)).toBe(true);
      for (const text of ['base: {bandit: 1}', 'bandit', '{']) expect(isBanditStudy(text)).toBe(false);
      const study = parseBanditStudy('bandit.yaml', packaged, scale);
      const plan = planBanditStudy('bandit.yaml', study, createCatalogue());
      expect(plan.map(({ name }) => name)).toEqual([
        'figure-1',
        'speed',
        'decay',
        'ten-variables',
        'discretised',
      ]);
      for (const { methods, functions } of plan) {
        expect(methods).toEqual(['PMPO-AR', 'PMPO-A', 'PMPO-R', 'DPO', 'DPO, all pairs', 'MPO', 'IPO']);
        // Settings are not tuned on what is shown.
        expect(functions).not.toContain(study.tuning!.function);
      }
      // Every method may choose from as many settings.
      const counts = plan.map(({ candidates, methods: names }) =>
        names.map((name) => candidates.filter(({ of }) => of === name).length),
      );
      for (const each of counts) expect(new Set(each).size).toBe(1);
    },
  );

  it('lays a scale over the study', () => {
    expect(parseBanditStudy('s.yaml', text, 'small')).toMatchObject({
      seeds: 1,
      searches: { curves: { title: 'Curves', functions: ['rosenbrock'] } },
    });
  });

  it.each([
    [
      'functions: [sphere]',
      'functions: [spher]',
      /s\.yaml: bandit: searches\.curves\.functions\[0\]: .*sphere/,
    ],
    ['seeds: 2', 'seeds: two', /s\.yaml: bandit: seeds: /],
    [
      'title: Curves,',
      'title: Curves, methods: [bth],',
      /searches\.curves\.methods: unknown name 'bth'\. Did you mean 'both'\?/,
    ],
    ['title: Curves,', 'title: Curves, tunedBy: figure,', /searches\.curves\.tunedBy: unknown name 'figure'/],
    ['title: Curves,', 'titel: Curves,', /titel/],
    ['bandit:', 'bandit: [', /s\.yaml: /],
  ])('refuses a mistake: %s → %s', (right, wrong, message) => {
    const mistaken = text.replace(right, wrong);
    expect(() => parseBanditStudy('s.yaml', mistaken, 'full')).toThrow(ConfigError);
    expect(() => parseBanditStudy('s.yaml', mistaken, 'full')).toThrow(message);
  });

  it('names an unknown scale and the nearest known one', () => {
    expect(() => parseBanditStudy('s.yaml', text, 'smal')).toThrow(
      /--scale: unknown scale 'smal'.*Did you mean 'small'\?/,
    );
  });
});

describe('searchConfig', () => {
  it('fills in defaults, and replaces the settings of another head', () => {
    const base = { policy: { head: 'gaussian', initialStddev: 0.5 }, reference: { copies: 7 } };
    expect(searchConfig('w', base, {})).toMatchObject({
      dimensions: 2,
      policy: { head: 'gaussian', initialStddev: 0.5 },
      reference: { period: 20, copies: 7 },
      learner: { samples: 4, contexts: 1, decayFrom: 1 },
      feedback: { name: 'top-k' },
    });
    expect(searchConfig('w', base, { policy: { head: 'categorical' } }).policy).toEqual({
      head: 'categorical',
      bins: 41,
    });
    expect(() => searchConfig('w', base, { dimension: 3 })).toThrow(/w: .*dimension/);
  });
});

describe('planBanditStudy', () => {
  const plan = (from: string, to: string) => () => {
    // The methods may be given anew in what is put in.
    const given = to.includes('methods:\n') ? text.replace(/ {2}methods:\n.*\n/, '') : text;
    planBanditStudy(
      'study.yaml',
      parseBanditStudy('study.yaml', given.replace(from, to), 'full'),
      createCatalogue(),
    );
  };
  const tuned = 'learningRate: 0.01}';
  const values = 'tune: {learningRate: [0.1, 0.2]}}';

  it.each([
    [
      'settings to choose from and no tuning',
      () => {
        const study = parseBanditStudy('study.yaml', text.replace(tuned, values), 'full');
        planBanditStudy('study.yaml', { ...study, tuning: undefined }, createCatalogue());
      },
      "study.yaml: bandit.tuning: it is missing, and methods of the search 'curves' have settings to choose from",
    ],
    [
      'a search whose methods the other does not tune',
      plan(
        '    curves: {title: Curves, functions: [sphere]}',
        '    curves: {title: Curves, functions: [sphere], methods: [both]}\n    more: {title: More, functions: [sphere], methods: [other], tunedBy: curves}\n  methods:\n    both: {operator: {name: pmpo}, learningRate: 0.01}\n    other: {operator: {name: dpo}, learningRate: 0.01}',
      ),
      "study.yaml: bandit.searches.more.tunedBy: the search 'curves' does not tune other. Add other to its methods",
    ],
    [
      'contours of a seed that is not searched',
      plan('scales:', '  contours: {search: curves, functions: [sphere], seed: 2}\nscales:'),
      'study.yaml: bandit.contours.seed: there is no seed 2. The seeds of the study are 0 to 1',
    ],
    [
      'contours of functions of three variables',
      plan('scales:', '  base: {dimensions: 3}\n  contours: {search: curves, functions: [sphere]}\nscales:'),
      "study.yaml: bandit.contours.search: the functions of 'curves' have 3 variables",
    ],
    [
      'a map of stability without a share of rejected samples',
      plan(
        'scales:',
        '  stability: {functions: [sphere], alpha: [0], beta: [1], learningRate: 0.1, seeds: 1, copies: 1, config: {feedback: {name: value-baseline}}}\nscales:',
      ),
      'study.yaml: bandit.stability.config.feedback: the share of rejected samples differs',
    ],
  ] as const)('finds, before anything is searched, %s', (_, make, message) => {
    expect(make).toThrow(ConfigError);
    expect(make).toThrow(message);
  });
});
