import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../core/errors.js';
import { parseStudy, readStudy } from './schema.js';

const good = `server: dm-control
base: {}
variants: { one: {}, two: {} }
figures: { curves: { title: Curves, lines: { One: one } } }
scales:
  small:
    tasks: { walk: { simulator: suite/walker-walk, seeds: 2 } }
    figures: { curves: [walk] }
`;

describe('parseStudy', () => {
  it('reads a study', () => {
    const study = parseStudy('s.yaml', good);
    expect(study.scales.small.tasks.walk).toEqual({
      simulator: 'suite/walker-walk',
      seeds: 2,
      config: {},
    });
  });

  it.each([
    ['an unknown variant', 'One: one', 'One: onee', /figures\.curves: unknown name 'onee'.*'one'\?/],
    ['an unknown task', '[walk]', '[wakl]', /scales\.small\.figures\.curves: .*'wakl'.*'walk'\?/],
    ['an unknown figure', 'curves: [', 'curve: [', /scales\.small\.figures: .*'curve'/],
    ['an unknown kind of server', 'dm-control', 'mujoco', /s\.yaml: server: /],
    ['no seeds', 'seeds: 2', 'seeds: 0', /scales\.small\.tasks\.walk\.seeds/],
    ['neither lines nor panels', 'lines: { One: one }', '', /either `lines` or `panels`/],
    [
      'arguments for a server that takes none',
      'small:\n',
      'small:\n    server: embedded\n    serverArguments: [--port, 1]\n',
      /small\.serverArguments: the server 'embedded' takes none/,
    ],
    ['an unknown key', 'base: {}', 'bases: {}', /bases/],
    ['a name that would leave the folder', 'one: {}', '../one: {}', /variants/],
    ['text that is not YAML', 'base: {}', 'base: {', /s\.yaml:\d+: /],
  ])('refuses %s', (_what, from, to, message) => {
    const text = good.replace(from, to);
    expect(text).not.toBe(good);
    expect(() => parseStudy('s.yaml', text)).toThrow(ConfigError);
    expect(() => parseStudy('s.yaml', text)).toThrow(message);
  });
});

describe('readStudy', () => {
  it('explains what to give if the file does not exist', async () => {
    await expect(readStudy('/nowhere/s.yaml')).rejects.toThrow(
      /\/nowhere\/s\.yaml: there is no such file.*control/,
    );
  });
});
