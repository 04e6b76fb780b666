import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createCatalogue } from '../src/config/catalogue.js';
import { jsonSchema } from '../src/config/job-kinds.js';

const examples = fileURLToPath(new URL('../examples', import.meta.url));
const schemaFile = join(examples, 'pmpo.schema.json');
const schema = jsonSchema(createCatalogue());
const validate = new Ajv2020({ strict: false }).compile(schema);

// Studies and recipes have schemas of their own.
const configurations = readdirSync(examples, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml') && !/^(reproduce|bandit)|recipe\.yaml$/.test(file))
  .map((file) => join(examples, file));

describe('examples/pmpo.schema.json', () => {
  it('is what the configuration schema says (if not: npm run generate)', () => {
    expect(JSON.parse(readFileSync(schemaFile, 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema)));
  });

  it.each(configurations)('is named by %s, and accepts it', (file) => {
    const text = readFileSync(file, 'utf8');
    const named = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text)?.[1];
    expect(named && resolve(dirname(file), named)).toBe(schemaFile);
    expect(validate(parse(text)), JSON.stringify(validate.errors)).toBe(true);
  });

  it.each([
    { environment: { simulator: 'reacher' }, operatr: { name: 'pmpo' } },
    { environment: { simulator: 'reacher' }, operator: { name: 'ppo' } },
    { environment: { simulator: 'reacher' }, operator: { name: 'pmpo', alpha: 7 } },
  ])('refuses %j', (config) => {
    expect(validate(config)).toBe(false);
  });
});
