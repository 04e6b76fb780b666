import { Registry } from '../core/registry.js';
import { behaviorCloningDefinition } from './behavior-cloning.js';
import { dpoDefinition } from './dpo.js';
import { ktoDefinition } from './kto.js';
import { mpoDefinition } from './mpo.js';
import type { OperatorDefinition } from './operator.js';
import { pmpoDefinition } from './pmpo.js';

/** A registry with the built-in operators, to which plugins add theirs. */
export function createOperatorRegistry(): Registry<OperatorDefinition> {
  const registry = new Registry<OperatorDefinition>('operator');
  // A definition's settings are parsed by its own schema before `create` sees them.
  const builtIn = [
    pmpoDefinition,
    mpoDefinition,
    dpoDefinition,
    ktoDefinition,
    behaviorCloningDefinition,
  ] as const;
  for (const definition of builtIn) registry.register(definition as unknown as OperatorDefinition);
  return registry;
}
