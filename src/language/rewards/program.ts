import { z } from 'zod';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { defaultDeadlineSeconds } from '../../core/in-time.js';
import { callUser, importUserModule, type PublicModules } from '../../system/user-module.js';
import type { Reward, RewardDefinition, RewardInput } from './reward.js';
import { openUserReward } from './user-reward.js';

const programSettings = z.strictObject({
  file: z
    .string()
    .describe(
      'A module (.ts, .js, .mjs) that exports `reward({prompt, conversation, completion, finishReason, row}, signal)`, which returns a number',
    ),
  deadlineSeconds: z
    .number()
    .positive()
    .default(defaultDeadlineSeconds)
    .describe('Maximum duration of one batch of completions'),
});
type ProgramSettings = z.infer<typeof programSettings>;

/** @param signal aborted when the run is stopped, a second before the thread is ended. */
type Program = (input: RewardInput, signal?: AbortSignal) => number | Promise<number>;

/**
 * The reward `program`: a user's function from a prompt and a completion to a number, in a thread of its own.
 * @param modules what the user's file may import from this package.
 */
export function programDefinition(modules: PublicModules): RewardDefinition<ProgramSettings> {
  return {
    name: 'program',
    description: 'A function in your own file',
    settings: programSettings,
    fileSettings: ['file'],
    open(settings, context) {
      const ownModules = Object.keys(modules).length > 0;
      const { where } = context;
      return openUserReward(
        settings.file,
        { kind: 'reward', name: 'program', settings, where, ownModules },
        context,
      );
    },
  };
}

/** Opens the program in this thread. */
export async function openProgram(
  { file, deadlineSeconds }: ProgramSettings,
  where: string,
  modules: PublicModules,
): Promise<Reward> {
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
    const value = await callUser({ file, where: place, name: 'reward' }, () =>
      (reward as Program)(input, signal),
    );
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw new PmpoError({
      where: place,
      what: `reward returned ${String(value)} for ${JSON.stringify(input.completion.slice(0, 60))}`,
      remedy: 'It must return a finite number',
    });
  };
  return {
    deadlineSeconds,
    evaluate: (completions, signal) => Promise.all(completions.map((input) => evaluateOne(input, signal))),
    close: async () => {},
  };
}
