import type { Compiled, Engine } from '../../engine/engine.js';
import { copyVariables, moveTowards } from '../../engine/variables.js';
import { type CopyRule, copyIsDue } from '../schedule.js';
import type { AgentParameters } from './parameters.js';

/** The rules by which the reference policy and the target critics follow what is trained. */
export interface LagRules {
  readonly reference: CopyRule | 'initial';
  readonly critic: { readonly target: CopyRule };
}

/** The reference policy and the target critics, which follow policy and critics by their rules. */
export class LaggedCopies {
  readonly #rules: LagRules;
  readonly #copyReference: Compiled;
  readonly #copyTargets: Compiled;

  constructor(
    engine: Engine,
    rules: LagRules,
    { policy, reference, critics, targetCritics }: AgentParameters,
  ) {
    this.#rules = rules;
    const { reference: rule } = rules;
    const { target } = rules.critic;
    this.#copyReference = engine.jit('copyReference', () => {
      if (typeof rule === 'object' && 'rate' in rule) moveTowards(policy, reference, rule.rate);
      else copyVariables(policy, reference);
      return {};
    });
    this.#copyTargets = engine.jit('copyTargetCritics', () => {
      critics.forEach((tree, i) => {
        if ('rate' in target) moveTowards(tree, targetCritics[i]!, target.rate);
        else copyVariables(tree, targetCritics[i]!);
      });
      return {};
    });
  }

  /** Submits the copies that are due once `updates` updates are done. */
  async follow(updates: number): Promise<void> {
    const { reference, critic } = this.#rules;
    await Promise.all([
      ...(reference !== 'initial' && copyIsDue(reference, updates) ? [this.#copyReference.run({})] : []),
      ...(copyIsDue(critic.target, updates) ? [this.#copyTargets.run({})] : []),
    ]);
  }
}
