import type { z } from 'zod';
import { parseSettings } from '../core/settings.js';
import { checkBatch, checkResult, checkState, withRequiredNames } from './check-batch.js';
import type { Operator, OperatorDefinition, OperatorRule, RegisteredOperator } from './operator.js';

/**
 * Makes an operator that can be registered: its settings are checked by their schema and its batches by `check-batch.ts`,
 * so that built-in operators and those of plugins are held to the same rules.
 */
export function defineOperator<S extends z.ZodObject>(definition: OperatorDefinition<S>): RegisteredOperator {
  const { name } = definition;
  const parse = (settings: unknown = {}) => parseSettings(name, definition.settings, settings);
  return {
    defaultSamples: 4,
    ...definition,
    create: (settings) => checkedOperator(name, definition.create(parse(settings))),
    complete(settings, klParts) {
      const parsed = parse(settings);
      return definition.complete?.(parsed, klParts) ?? parsed;
    },
    klParts: (settings) => definition.klParts?.(parse(settings)) ?? [],
  };
}

/** The rule with its batch, state and result checked at each call. */
function checkedOperator(name: string, rule: OperatorRule): Operator {
  return {
    name,
    needs: rule.needs,
    independentContexts: rule.independentContexts,
    initialState: (policy) => rule.initialState(policy),
    projectState: rule.projectState && ((state) => rule.projectState!(state)),
    warnings: rule.warnings && ((context) => rule.warnings!(context)),
    explorationRemedy: rule.explorationRemedy && ((klPart) => rule.explorationRemedy!(klPart)),
    loss(batch, state = {}) {
      const checked = checkBatch(name, rule, batch);
      const result = rule.loss(checked.batch, withRequiredNames(name, state));
      const klParts = checked.klParts();
      if (klParts !== undefined)
        checkState(name, state, rule.initialState({ klParts, problems: batch.problems }));
      return checkResult(name, result);
    },
  };
}
