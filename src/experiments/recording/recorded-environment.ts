import { canonicalJson } from '../../core/canonical-json.js';
import { isGroup } from '../../core/key-path.js';

/** What a recorded data set says of its simulator, for a comparison with the one in which a policy is evaluated. */

/** The settings of an environment that decide what its transitions mean. */
export interface RecordedEnvironment {
  readonly simulator?: string;
  readonly actionRepeat: number;
  readonly createSettings: Readonly<Record<string, unknown>>;
}

/** The facts of an environment's settings that a data set keeps. */
export function recordedEnvironment({
  simulator,
  actionRepeat,
  createSettings,
}: RecordedEnvironment): RecordedEnvironment {
  return { ...(simulator === undefined ? {} : { simulator }), actionRepeat, createSettings };
}

const said = (value: unknown) => (value === undefined ? 'none' : canonicalJson(value));

/**
 * How the environment of a configuration differs from the one in which data was recorded, as one sentence.
 * @param recorded what the data set says; anything but facts of `recordedEnvironment` says nothing.
 * @returns undefined if they agree, or nothing is known.
 */
export function environmentDifference(recorded: unknown, own: RecordedEnvironment): string | undefined {
  if (!isGroup(recorded)) return undefined;
  const facts: Readonly<Record<string, unknown>> = { ...recordedEnvironment(own) };
  const differences = ['simulator', 'actionRepeat', 'createSettings'].flatMap((key) =>
    said(recorded[key]) === said(facts[key])
      ? []
      : [`environment.${key} ${said(recorded[key])}, here ${said(facts[key])}`],
  );
  return differences.length === 0
    ? undefined
    : `The data was recorded with ${differences.join('; ')}: returns of evaluations are those of another task than the data's`;
}
