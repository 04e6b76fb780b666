import { InvalidArgumentError } from 'commander';
import { describe, expect, test } from 'vitest';
import { ConfigError } from '../core/errors.js';
import { commandLine, nameList, overridesOf, portNumber, wholeNumber } from './options.js';

describe('overridesOf', () => {
  test('applies the operator first, so that --set can change its settings', async () => {
    const overrides = await overridesOf({ set: ['operator.alpha=1', 'seed=2'], operator: 'pmpo', seed: 3 });
    expect(overrides.map(({ label, path, value }) => [label, path.join('.'), value])).toEqual([
      ['--operator', 'operator.name', 'pmpo'],
      ['--set operator.alpha', 'operator.alpha', 1],
      ['--set seed', 'seed', 2],
      ['--seed', 'seed', 3],
    ]);
  });

  test('is empty without options, and refuses arguments without the form key=value', async () => {
    expect(await overridesOf({})).toEqual([]);
    await expect(overridesOf({ set: ['alpha'] })).rejects.toThrow(ConfigError);
  });
});

test('wholeNumber', () => {
  expect(wholeNumber(0)('12')).toBe(12);
  for (const text of ['', 'x', '1.5', '-1', '1e400']) {
    expect(() => wholeNumber(0)(text)).toThrow(InvalidArgumentError);
  }
  expect(() => wholeNumber(1)('0')).toThrow('at least 1');
});

test('portNumber', () => {
  expect(['0', '80', '65535'].map(portNumber)).toEqual([0, 80, 65_535]);
  for (const text of ['-1', '65536', '70000', 'x'])
    expect(() => portNumber(text)).toThrow(InvalidArgumentError);
});

test('nameList', () => {
  expect(nameList('pmpo, mpo')).toEqual(['pmpo', 'mpo']);
  for (const text of ['', 'pmpo,', 'mpo,mpo']) expect(() => nameList(text)).toThrow(InvalidArgumentError);
});

test('commandLine quotes arguments that a shell would split', () => {
  expect(commandLine(['train', 'a.yaml', '--set', 'policy.hidden=[64, 64]', "it's"])).toBe(
    String.raw`npx pmpo train a.yaml --set 'policy.hidden=[64, 64]' 'it'\''s'`,
  );
});

test('commandLine repeats no secrets', () => {
  expect(
    commandLine(['train', '--set', 'environment.token=abc', '--set', 'replay.redis=redis://u:p@h:1']),
  ).toBe("npx pmpo train --set 'environment.token=…' --set 'replay.redis=redis://…@h:1'");
});
