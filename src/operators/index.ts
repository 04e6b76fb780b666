/**
 * `pmpo/operators`: policy improvement operators, from log-probs and feedback to a loss. Each factory takes typed settings, fills in the
 * defaults and refuses what is unknown or out of range.
 */

export { type AwrSettings, awr } from './awr.js';
export { behaviorCloning } from './behavior-cloning.js';
export { type CpoSettings, cpo } from './cpo.js';
export { type CrrSettings, crr } from './crr.js';
export { defineOperator } from './define.js';
export { type DpoSettings, dpo } from './dpo.js';
export { type ExportedOperator, exportOperator, type PortablePolicy } from './export.js';
export { type GrpoSettings, grpo } from './grpo.js';
export { type IpoSettings, ipo } from './ipo.js';
export { type KtoSettings, kto } from './kto.js';
export { projectDuals, stopGradient } from './lagrange.js';
export { type MpoSettings, mpo } from './mpo.js';
export { checkNeeds, type FeedbackProvides, type JobProvides } from './needs.js';
export type {
  CheckedBatch,
  KlEstimate,
  Operator,
  OperatorBatch,
  OperatorContext,
  OperatorDefinition,
  OperatorNeeds,
  OperatorResult,
  OperatorRule,
  PolicyShape,
  RegisteredOperator,
} from './operator.js';
export { type OrpoSettings, orpo } from './orpo.js';
export { type PmpoSettings, pmpo } from './pmpo.js';
export type {
  InitialValue,
  NeedsAt,
  PortableInput,
  PortableOperator,
  PortableSettings,
  PortableState,
} from './portable.js';
export { createOperatorRegistry } from './registry.js';
export { type ReinforceSettings, reinforce } from './reinforce.js';
export { type RejectionSamplingSettings, rejectionSampling } from './rejection-sampling.js';
export { type SimpoSettings, simpo } from './simpo.js';
export { type VMpoSettings, vMpo } from './v-mpo.js';
