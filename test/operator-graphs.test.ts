import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { exportOperator, type PortablePolicy } from '../src/operators/export.js';
import { createOperatorRegistry } from '../src/operators/registry.js';

interface Graph {
  readonly name: string;
  readonly operator: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly policy: PortablePolicy;
}
const script = fileURLToPath(new URL('../scripts/operator-graphs.mjs', import.meta.url));
const { graphFolder, graphs } = (await import(script)) as { graphFolder: string; graphs: readonly Graph[] };
const registry = createOperatorRegistry();

describe('the graphs in the Python package are those of the operators (if not: npm run generate)', () => {
  it('has no file too many or too few', () => {
    expect(readdirSync(graphFolder).sort()).toEqual(graphs.map(({ name }) => `${name}.onnx`).sort());
  });

  it.each(graphs)('$name', async ({ name, operator, settings, policy }) => {
    const { model } = await exportOperator(registry.get(operator), settings, policy);
    expect(Buffer.compare(model, readFileSync(join(graphFolder, `${name}.onnx`)))).toBe(0);
  });
});
