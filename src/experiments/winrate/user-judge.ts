import { z } from 'zod';
import { ConfigError, PmpoError } from '../../core/errors.js';
import { defaultDeadlineSeconds } from '../../core/in-time.js';
import type { FinishReason } from '../../language/language-model.js';
import { openProgram } from '../../language/rewards/program.js';
import type { Reward } from '../../language/rewards/reward.js';
import { threadReward } from '../../language/rewards/user-reward.js';
import { openUserCode, type UserCodeContext, type UserCodeTraits } from '../../system/user-code.js';
import { callUser, importUserModule, type PublicModules } from '../../system/user-module.js';
import type { ThreadObject } from '../../system/user-thread.js';

/** Two completions of a prompt, in the order in which the judge sees them. */
export interface Pair {
  /** The prompt's text; for a chat, its last user message. */
  readonly prompt: string;
  /** The whole prompt; for a chat, `role: content` of every message, separated by blank lines. */
  readonly conversation: string;
  readonly row: Readonly<Record<string, unknown>>;
  readonly first: string;
  readonly second: string;
  /** How the first and the second ended. */
  readonly finishReasons: readonly [FinishReason, FinishReason];
}

const better = z.enum(['first', 'second', 'tie']);

/** The settings with which a thread opens a judge that a user wrote. */
export interface UserJudgeSettings {
  readonly kind: 'judge';
  /** Its absolute path. */
  readonly file: string;
  readonly where: string;
  /** Whether the module imports this program's own modules, or resolves them from its folder. */
  readonly ownModules: boolean;
}

interface JudgeTraits extends UserCodeTraits {
  /** The function that the module exports. */
  readonly exports: 'compare' | 'reward';
  /** What the module exports as its identity; default: nothing. */
  readonly identity: string;
}

/** A user's judge, which exports one of the two functions. */
export interface UserJudge {
  /** What the judge depends on besides its own source; empty if it does not say. */
  readonly identity: string;
  readonly reward?: Reward;
  compare?(pair: Pair, signal?: AbortSignal): Promise<z.infer<typeof better>>;
  close(): Promise<void>;
}

/** Opens a user's judge in a thread of its own. @throws PmpoError if it does not load, or not in time. */
export async function openUserJudge(
  settings: Omit<UserJudgeSettings, 'kind'>,
  context: UserCodeContext,
): Promise<UserJudge> {
  const { where } = settings;
  const code = await openUserCode<JudgeTraits>(where, { kind: 'judge', ...settings }, context);
  const close = () => code.close();
  const { identity } = code.traits;
  if (code.traits.exports === 'compare')
    return { identity, compare: (pair, signal) => code.call(pair, signal), close };
  const reward = { evaluate: (inputs: unknown, signal?: AbortSignal) => code.call(inputs, signal), close };
  return { identity, reward: reward as Reward, close };
}

/** The judge as its thread holds it. */
export async function threadJudge(
  { file, where }: UserJudgeSettings,
  modules: PublicModules,
): Promise<ThreadObject> {
  const module = await importUserModule(file, where, modules);
  const { compare, deadlineSeconds = defaultDeadlineSeconds, identity = '' } = module;
  const seconds = z.number().positive().safeParse(deadlineSeconds);
  if (!seconds.success) throw new ConfigError({ where, what: '`deadlineSeconds` must be a positive number' });
  if (typeof identity !== 'string') throw new ConfigError({ where, what: '`identity` must be a text' });
  const traits = { deadlineSeconds: seconds.data, identity };
  if (compare === undefined) {
    const program = await openProgram({ file, deadlineSeconds: seconds.data }, where, modules);
    const object = threadReward(program);
    return { ...object, traits: { ...traits, exports: 'reward' } satisfies JudgeTraits };
  }
  if (typeof compare !== 'function') throw new ConfigError({ where, what: '`compare` must be a function' });
  return {
    traits: { ...traits, exports: 'compare' } satisfies JudgeTraits,
    async call(pair, signal) {
      const returned = await callUser({ file, where, name: 'compare' }, () =>
        (compare as (pair: Pair, signal: AbortSignal) => unknown)(pair as Pair, signal),
      );
      const decision = better.safeParse(returned);
      if (decision.success) return decision.data;
      throw new PmpoError({ where, what: "compare must return 'first', 'second' or 'tie'" });
    },
  };
}
