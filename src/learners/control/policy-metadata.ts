import type { ObservationFlattener } from '../../environments/observation-layout.js';
import type { VectorEnvironment } from '../../environments/vector-environment.js';
import type { ActionUnits } from './action-units.js';

/** The named observations and actions of a policy, in the order of its vectors. */
export interface PolicyLayout {
  readonly observations: ObservationFlattener['parts'];
  readonly actions: NonNullable<VectorEnvironment['actionLayout']>;
}

/** The layout for an environment; undefined if it does not tell. */
export function layoutOf({
  observationLayout,
  actionLayout,
}: Pick<VectorEnvironment, 'actionLayout'> & {
  readonly observationLayout: Pick<ObservationFlattener, 'parts'>;
}): PolicyLayout | undefined {
  return actionLayout && { observations: observationLayout.parts, actions: actionLayout };
}

/**
 * The metadata of an exported policy. `pmpo.observations` and `pmpo.actions` are JSON lists in the order of the model's flat
 * input and output. An entry has the tensor's `name`, its `shape`, the `offset` and the `size` of its part in the flat vector,
 * which is in row-major order. The numbers of an observation are divided by `divisor` before they enter the model; one with `categories`
 * enters as the one-hot code of each element, which takes `values` whole numbers from `minimum`. An action has `minimum` and `maximum` in the units of the simulator, and, where it takes whole numbers only, how many `values` it takes
 * (0: continuous), each a list of `size`.
 */
export function policyMetadata(
  { observations, actions }: PolicyLayout,
  { actionMinimum, actionMaximum, actionValues }: ActionUnits,
): Record<string, string> {
  const parts = withOffsets(actions).map((part) => {
    const own = (all: ArrayLike<number>) => Array.from(all).slice(part.offset, part.offset + part.size);
    return { ...part, minimum: own(actionMinimum), maximum: own(actionMaximum), values: own(actionValues) };
  });
  return {
    'pmpo.observations': JSON.stringify(withOffsets(observations)),
    'pmpo.actions': JSON.stringify(parts),
    'pmpo.units':
      "observations and `action` in the simulator's units; `canonicalAction` from -1 (minimum) to 1 (maximum)",
  };
}

function withOffsets<Part extends { readonly size: number }>(
  parts: readonly Part[],
): (Part & { readonly offset: number })[] {
  let end = 0;
  return parts.map((part) => {
    const offset = end;
    end += part.size;
    return { ...part, offset };
  });
}
