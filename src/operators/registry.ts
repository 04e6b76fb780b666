import { Registry } from '../core/registry.js';
import { behaviorCloningDefinition } from './behavior-cloning.js';
import { dpoDefinition } from './dpo.js';
import { ktoDefinition } from './kto.js';
import { mpoDefinition } from './mpo.js';
import type { RegisteredOperator } from './operator.js';
import { pmpoDefinition } from './pmpo.js';

/** A registry of the built-in operators, to which plugins add theirs. */
export function createOperatorRegistry(): Registry<RegisteredOperator> {
  const registry = new Registry<RegisteredOperator>('operator');
  for (const definition of [
    pmpoDefinition,
    mpoDefinition,
    dpoDefinition,
    ktoDefinition,
    behaviorCloningDefinition,
  ]) {
    registry.register(definition);
  }
  return registry;
}
