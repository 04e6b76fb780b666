import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigError } from './errors.js';
import { nearest } from './nearest.js';
import { type Definition, Registry } from './registry.js';

const definition = (name: string, plugin?: string): Definition => ({
  name,
  description: `the ${name}`,
  settings: z.strictObject({}),
  plugin,
});

function colors(): Registry<Definition> {
  const registry = new Registry<Definition>('color');
  for (const name of ['crimson', 'teal', 'olive']) registry.register(definition(name));
  return registry;
}

describe('a registry', () => {
  it('returns what was registered, in order', () => {
    const registry = colors();
    expect(registry.get('teal').description).toBe('the teal');
    expect(registry.names()).toEqual(['crimson', 'teal', 'olive']);
    expect(registry.definitions().map(({ name }) => name)).toEqual(registry.names());
  });

  it('suggests the nearest name for an unknown one', () => {
    const get = () => colors().get('crimsom');
    expect(get).toThrow(ConfigError);
    expect(get).toThrow(
      "color: unknown color 'crimsom'. Did you mean 'crimson'? Known: crimson, teal, olive",
    );
    expect(() => colors().get('ultraviolet')).toThrow(/ultraviolet'\. Known: crimson, teal, olive$/);
  });

  it('does not find properties that every object has', () => {
    for (const name of ['constructor', 'toString', '__proto__']) {
      expect(() => colors().get(name), name).toThrow(ConfigError);
    }
  });

  it('refuses a name that is taken, and says by which plugin', () => {
    const registry = colors();
    expect(() => registry.register(definition('teal', './mine.ts'))).toThrow(
      "./mine.ts: the color 'teal' is already registered by pmpo itself. Choose another name",
    );
    registry.register(definition('amber', './first.ts'));
    expect(() => registry.register(definition('amber', './second.ts'))).toThrow(
      'already registered by ./first.ts',
    );
    expect(registry.get('teal').plugin).toBeUndefined();
  });
});

describe('the nearest name', () => {
  it.each([
    ['alhpa', ['alpha', 'beta'], 'alpha'],
    ['Beta', ['alpha', 'beta'], 'beta'],
    ['batchsize', ['batchSize', 'stepSize'], 'batchSize'],
    ['learningrat', ['learningRate', 'samples'], 'learningRate'],
    ['environmentSteps', ['environmentStep', 'steps'], 'environmentStep'],
  ])('to %s of %j is %s', (name, candidates, expected) => {
    expect(nearest(name, candidates)).toBe(expected);
  });

  it('is undefined when no candidate is close', () => {
    expect(nearest('zebra', ['alpha', 'beta'])).toBeUndefined();
    expect(nearest('anything', [])).toBeUndefined();
  });

  it('is the first of several that are equally near', () => {
    expect(nearest('cat', ['car', 'can'])).toBe('car');
  });
});
