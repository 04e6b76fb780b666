import { z } from 'zod';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { importUserModule, type PublicModules, placeIn } from '../../system/user-module.js';
import type { RewardDefinition, RewardInput } from './reward.js';

const programSettings = z.strictObject({
  file: z
    .string()
    .describe(
      'A module (.ts, .js, .mjs) that exports `reward({prompt, conversation, completion, finishReason, row}, signal)`, which returns a number',
    ),
});

/** @param signal aborted when the run is stopped, so that a slow reward can end early. */
type Program = (input: RewardInput, signal?: AbortSignal) => number | Promise<number>;

/**
 * The reward `program`: a user's function from a prompt and a completion to a number.
 * @param modules what the user's file may import from this package.
 */
export function programDefinition(modules: PublicModules): RewardDefinition<z.infer<typeof programSettings>> {
  return {
    name: 'program',
    description: 'A function in your own file',
    settings: programSettings,
    fileSettings: ['file'],
    async open({ file }, { where }) {
      const place = `${where}: ${file}`;
      const { reward } = await importUserModule(file, place, modules);
      if (typeof reward !== 'function') {
        throw new ConfigError({
          where: place,
          what: 'it does not export a function `reward`',
          remedy: 'Add: export function reward({ prompt, completion }) { return … }',
        });
      }
      const evaluateOne = async (input: RewardInput, signal?: AbortSignal): Promise<number> => {
        let value: number;
        try {
          value = await (reward as Program)(input, signal);
        } catch (cause) {
          const message = cause instanceof Error ? cause.message : String(cause);
          const at = placeIn(file, cause);
          throw new PmpoError({
            where: at === undefined ? place : `${place}:${at}`,
            what: `reward threw: ${message}`,
            cause,
          });
        }
        if (typeof value === 'number' && Number.isFinite(value)) return value;
        throw new PmpoError({
          where: place,
          what: `reward returned ${String(value)} for ${JSON.stringify(input.completion.slice(0, 60))}`,
          remedy: 'It must return a finite number',
        });
      };
      return {
        evaluate: (completions, signal) =>
          Promise.all(completions.map((input) => evaluateOne(input, signal))),
        close: async () => {},
      };
    },
  };
}
