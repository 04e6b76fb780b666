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

function colours(): Registry<Definition> {
  const registry = new Registry<Definition>('colour');
  for (const name of ['crimson', 'teal', 'olive']) registry.register(definition(name));
  return registry;
}

describe('a registry', () => {
  it('gives back what was registered, in order', () => {
    const registry = colours();
    expect(registry.get('teal').description).toBe('the teal');
    expect(registry.names()).toEqual(['crimson', 'teal', 'olive']);
    expect(registry.definitions().map(({ name }) => name)).toEqual(registry.names());
  });

  it('names the nearest one when there is none', () => {
    const get = () => colours().get('crimsom');
    expect(get).toThrow(ConfigError);
    expect(get).toThrow(
      "colour: unknown colour 'crimsom'. Did you mean 'crimson'? Known: crimson, teal, olive",
    );
    expect(() => colours().get('ultraviolet')).toThrow(/ultraviolet'\. Known: crimson, teal, olive$/);
  });

  it('holds nothing that objects have by themselves', () => {
    for (const name of ['constructor', 'toString', '__proto__']) {
      expect(() => colours().get(name), name).toThrow(ConfigError);
    }
  });

  it('lets nobody replace what is there, and says whose it is', () => {
    const registry = colours();
    expect(() => registry.register(definition('teal', './mine.ts'))).toThrow(
      "./mine.ts: the colour 'teal' is registered already by pmpo itself. Give it another name",
    );
    registry.register(definition('amber', './first.ts'));
    expect(() => registry.register(definition('amber', './second.ts'))).toThrow('already by ./first.ts');
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

  it('is none where all are far', () => {
    expect(nearest('zebra', ['alpha', 'beta'])).toBeUndefined();
    expect(nearest('anything', [])).toBeUndefined();
  });

  it('is the first of equally near ones', () => {
    expect(nearest('cat', ['car', 'can'])).toBe('car');
  });
});
