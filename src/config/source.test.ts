import { describe, expect, test } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { parseOverride, readSource } from './source.js';

const read = (text: string, ...sets: string[]) => readSource('run.yaml', text, sets.map(parseOverride));

describe('parseOverride', () => {
  test('reads the value as YAML', () => {
    expect(parseOverride('policy.hidden=[64, 32]')).toMatchObject({
      path: ['policy', 'hidden'],
      value: [64, 32],
    });
    expect(parseOverride('operator.alpha=1e-3').value).toBe(1e-3);
    expect(parseOverride('reference={rate: 0.01}').value).toEqual({ rate: 0.01 });
    expect(parseOverride('name=a=b').value).toBe('a=b');
  });

  test.each(['alpha', '=1', 'a..b=1', '.a=1'])('refuses %s', (argument) => {
    expect(() => parseOverride(argument)).toThrow(ConfigError);
  });

  test('refuses a value that is not YAML', () => {
    expect(() => parseOverride('policy.hidden=[64')).toThrow(/--set policy\.hidden: the value is not YAML/);
  });
});

describe('readSource', () => {
  test('gives the line of each key, and of the group around a missing key', () => {
    const source = read('seed: 1\noperator:\n  name: pmpo\n  alpha: 2\nplugins:\n  - ./a.ts\n  - ./b.ts\n');
    expect(source.where(['operator', 'alpha'])).toBe('run.yaml: operator.alpha (line 4)');
    expect(source.where(['operator', 'beta'])).toBe('run.yaml: operator.beta (line 2)');
    expect(source.where(['plugins', 1])).toBe('run.yaml: plugins[1] (line 7)');
    expect(source.where(['learner', 'discount'])).toBe('run.yaml: learner.discount');
  });

  test('applies settings to the file in order and names them as the place', () => {
    const source = read(
      'operator: {name: pmpo, alpha: 0.5}',
      'operator.alpha=0',
      'operator.alpha=1',
      'seed=3',
    );
    expect(source.values).toEqual({ operator: { name: 'pmpo', alpha: 1 }, seed: 3 });
    expect(source.where(['operator', 'alpha'])).toBe('--set operator.alpha');
    expect(source.where(['operator', 'name'])).toBe('run.yaml: operator.name (line 1)');
    expect(source.where(['operator'])).toBe('run.yaml: operator (line 1, with --set operator.alpha)');
  });

  test('names the setting that created a group which is not in the file', () => {
    const source = read('seed: 1', 'lerner.batchSize=3');
    expect(source.where(['lerner'])).toBe('--set lerner.batchSize: lerner');
    expect(source.where(['seed'])).toBe('run.yaml: seed (line 1)');
  });

  test('drops the settings of an operator if another one is chosen, and keeps them if it is the same', () => {
    const text = 'operator: {name: pmpo, alpha: 0.25}';
    expect(read(text, 'operator.name=mpo').values).toEqual({ operator: { name: 'mpo' } });
    expect(read(text, 'operator.name=pmpo').values).toEqual({ operator: { name: 'pmpo', alpha: 0.25 } });
    expect(read(text, 'operator.name=mpo', 'operator.x=1').values).toEqual({
      operator: { name: 'mpo', x: 1 },
    });
  });

  test.each([
    ['seed: [1', /run\.yaml: line \d+: /],
    ['seed: 1\nseed: 2', /^run\.yaml: line 2: 'seed' is given twice, first in line 1$/],
    [
      'feedback:\n  name: a\noperator: {}\nfeedback:\n  name: b',
      /^run\.yaml: line 4: 'feedback' is given twice, first in line 1$/,
    ],
    ['- a\n- b', /run\.yaml: this is not a configuration/],
    ['just words', /run\.yaml: this is not a configuration/],
  ])('refuses %j', (text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  test('refuses to set a key of a value that has no keys', () => {
    expect(() => read('seed: 1', 'seed.x=2')).toThrow(/--set seed\.x: 'seed' is 1 and has no keys/);
    expect(() => read('plugins: [a]', 'plugins.first=2')).toThrow(/'plugins' is a list of 1/);
    expect(() => read('seed: 1', '__proto__.x=2')).toThrow(/unknown key '__proto__'/);
  });

  test('reads an empty file as an empty configuration', () => {
    expect(read('').values).toEqual({});
    expect(read('# nothing yet').values).toEqual({});
  });
});

describe('a text that is made to cost much', () => {
  const refusal = (text: string): string => {
    try {
      readSource('run.yaml', text, []);
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError);
      return (error as Error).message;
    }
    return 'accepted';
  };

  test('is refused in one line: aliases that multiply', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`,
    );
    const message = refusal(`a0: &a0 [x]\n${levels.join('\n')}\n`);
    expect(message).toMatch(/^run\.yaml: Excessive alias count/);
    expect(message.split('\n')).toHaveLength(1);
  });

  test('is refused in one line: a value that contains itself', () => {
    const message = refusal('seed: &a [1, *a]\n');
    expect(message).toMatch(/^run\.yaml: /);
    expect(message.split('\n')).toHaveLength(1);
    expect(() => parseOverride('seed=&a [1, *a]')).toThrow(ConfigError);
  });

  test('is refused in one line: values that are nested deeply', () => {
    for (const depth of [200, 20_000]) {
      const message = refusal(`seed: ${'['.repeat(depth)}${']'.repeat(depth)}\n`);
      expect(message).toMatch(/^run\.yaml: (line 1: )?values are nested more than 100 deep/);
      expect(message.split('\n')).toHaveLength(1);
    }
  });

  test('is refused in one line: a file of another kind', () => {
    const keys = Array.from({ length: 300_000 }, (_, i) => `key${i}: 1`).join('\n');
    expect(refusal(keys)).toMatch(/^run\.yaml: this is not a configuration: it has 3\d+ characters/);
  });

  test('has only its first syntax errors listed', () => {
    const lines = refusal(Array.from({ length: 1000 }, () => 'a: 1').join('\n')).split('\n');
    expect(lines).toHaveLength(21);
    expect(lines.at(-1)).toBe('and 979 more problems');
  });
});
