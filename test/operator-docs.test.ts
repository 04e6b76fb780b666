import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { z } from 'zod';
import type { RegisteredOperator } from '../src/operators/operator.js';
import { createOperatorRegistry } from '../src/operators/registry.js';

interface Script {
  readonly operatorDocs: string;
  renderOperatorDocs(
    definitions: readonly RegisteredOperator[],
    toJsonSchema: (schema: z.ZodObject) => unknown,
  ): string;
}
const script = fileURLToPath(new URL('../scripts/operator-docs.mjs', import.meta.url));
const { operatorDocs, renderOperatorDocs } = (await import(script)) as Script;

it('docs/operators.md is what the operators say of themselves (if not: npm run generate)', () => {
  const text = renderOperatorDocs(createOperatorRegistry().definitions(), (schema) =>
    z.toJSONSchema(schema, { io: 'input' }),
  );
  expect(readFileSync(operatorDocs, 'utf8')).toBe(text);
});
