import { PmpoError } from '../../core/errors.js';
import { nameList, quotedName } from '../../core/foreign-text.js';
import type { ActionUnits } from './action-units.js';
import type { PolicyLayout } from './policy-metadata.js';

/** The sizes and the action units of the environment that a policy is for. */
export interface EnvironmentShape extends ActionUnits {
  readonly observationSize: number;
  /** Absent in checkpoints of earlier versions. */
  readonly layout?: PolicyLayout;
}

type Part = PolicyLayout['observations'][number] | PolicyLayout['actions'][number];

/** What an environment is compared with, in messages. */
export interface OtherSide {
  /** `the policy` */
  readonly name: string;
  /** What comes before its sizes: `the policy was trained with`. */
  readonly has: string;
}

const thePolicy: OtherSide = { name: 'the policy', has: 'the policy was trained with' };

/** How the named observations or actions of an environment differ from those of a policy; undefined if they do not. */
function partDifference(
  kind: string,
  own: readonly Part[],
  policys: readonly Part[],
  { name: other }: OtherSide,
): string | undefined {
  const names = (parts: readonly Part[]) => parts.map(({ name }) => name);
  if (names(own).join('\0') !== names(policys).join('\0')) {
    return `its ${kind}s are ${nameList(names(own))}, and those of ${other} are ${nameList(names(policys))}`;
  }
  for (const [i, part] of own.entries()) {
    const shapes = [part, policys[i]].map(({ shape }) => `[${shape}]`);
    const name = `${kind} ${quotedName(part.name)}`;
    if (shapes[0] !== shapes[1])
      return `its ${name} has the shape ${shapes[0]}, and that of ${other} ${shapes[1]}`;
    const [code, policysCode] = [part, policys[i]].map(codeOf);
    if (code !== policysCode) {
      return `its ${name} enters a policy as ${code}, and that of ${other} as ${policysCode}: its dtype or its bounds are others`;
    }
  }
  return undefined;
}

/** How an observation enters a policy. */
function codeOf(part: Part): string {
  if (!('divisor' in part)) return '';
  if (part.categories === undefined)
    return part.divisor === 1 ? 'numbers' : `numbers divided by ${part.divisor}`;
  const ranges = part.categories.map(({ minimum, values }) => `${minimum} to ${minimum + values - 1}`);
  const shown = [...new Set(ranges)].slice(0, 8).join(', ');
  return `categories from ${shown}`;
}

/** How the units of an environment's actions differ from those of a policy; undefined if they do not. */
function unitDifference(
  own: ActionUnits,
  policys: ActionUnits,
  { name: other }: OtherSide,
): string | undefined {
  if (own.actionValues.some((count, i) => count !== policys.actionValues[i])) {
    return `its actions take ${own.actionValues} values (0: continuous), but those of ${other} take ${policys.actionValues}`;
  }
  for (let i = 0; i < own.actionMinimum.length; i++) {
    const [range, policysRange] = [own, policys].map(
      ({ actionMinimum, actionMaximum }) => `from ${actionMinimum[i]} to ${actionMaximum[i]}`,
    );
    if (range !== policysRange) {
      return `number ${i} of its actions ranges ${range}, and that of ${other} ${policysRange}`;
    }
  }
  return undefined;
}

/**
 * Checks that an environment is of the kind that a policy was made for: the same observations, in the same form, and the same actions,
 * in the same units. Equal sizes are not enough: numbers would be read as others.
 * @param about the place for the message, and what the second shape belongs to; default: `environment`, and a policy.
 * @throws PmpoError naming the first difference, with `remedy`.
 */
export function requireSameKind(
  own: EnvironmentShape,
  policys: EnvironmentShape,
  remedy: string,
  { where = 'environment', other = thePolicy }: { readonly where?: string; readonly other?: OtherSide } = {},
): void {
  const { layout } = own;
  const before = policys.layout;
  const isOfSameSize =
    own.observationSize === policys.observationSize &&
    own.actionMinimum.length === policys.actionMinimum.length;
  const difference =
    (layout && before && partDifference('observation', layout.observations, before.observations, other)) ??
    (layout && before && partDifference('action', layout.actions, before.actions, other)) ??
    (isOfSameSize
      ? unitDifference(own, policys, other)
      : `it has ${own.observationSize} observations and ${own.actionMinimum.length} actions, but ${other.has} ${policys.observationSize} and ${policys.actionMinimum.length}`);
  if (difference !== undefined) throw new PmpoError({ where, what: difference, remedy });
}
