import { Registry } from '../core/registry.js';
import { awrDefinition } from './awr.js';
import { behaviorCloningDefinition } from './behavior-cloning.js';
import { cpoDefinition } from './cpo.js';
import { crrDefinition } from './crr.js';
import { dpoDefinition } from './dpo.js';
import { grpoDefinition } from './grpo.js';
import { ipoDefinition } from './ipo.js';
import { ktoDefinition } from './kto.js';
import { mpoDefinition } from './mpo.js';
import type { RegisteredOperator } from './operator.js';
import { orpoDefinition } from './orpo.js';
import { pmpoDefinition } from './pmpo.js';
import { reinforceDefinition } from './reinforce.js';
import { rejectionSamplingDefinition } from './rejection-sampling.js';
import { simpoDefinition } from './simpo.js';
import { vMpoDefinition } from './v-mpo.js';

/** A registry of the built-in operators, to which plugins add theirs. */
export function createOperatorRegistry(): Registry<RegisteredOperator> {
  const registry = new Registry<RegisteredOperator>('operator');
  for (const definition of [
    pmpoDefinition,
    mpoDefinition,
    vMpoDefinition,
    dpoDefinition,
    ipoDefinition,
    cpoDefinition,
    simpoDefinition,
    orpoDefinition,
    ktoDefinition,
    grpoDefinition,
    reinforceDefinition,
    awrDefinition,
    crrDefinition,
    rejectionSamplingDefinition,
    behaviorCloningDefinition,
  ]) {
    registry.register(definition);
  }
  return registry;
}
