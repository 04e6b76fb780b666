import type { Definition } from '../../core/registry.js';
import type { FinishReason } from '../language-model.js';

/** A completion to evaluate, with its prompt. */
export interface RewardInput {
  /** The prompt's text; for a chat, its last user message. */
  readonly prompt: string;
  /** The whole prompt; for a chat, `role: content` of every message, separated by blank lines. */
  readonly conversation: string;
  readonly completion: string;
  readonly finishReason: FinishReason;
  /** The row of the prompt file, with all its columns. */
  readonly row: Readonly<Record<string, unknown>>;
}

/** Evaluates completions: f(x, y) for a prompt x and a completion y. */
export interface Reward {
  /**
   * Evaluates completions, which may belong to several prompts.
   * @returns f(x, y) of each completion, in order; undefined for a completion that could not be evaluated, for example because a
   *   judge gave no number. Such a completion is left out of the update.
   * @throws PmpoError if nothing can be evaluated, for example because the server is gone or a reward program throws.
   */
  evaluate(
    completions: readonly RewardInput[],
    signal?: AbortSignal,
  ): Promise<readonly (number | undefined)[]>;
  /** Closes its connections. */
  close(): Promise<void>;
  /** The longest time that one call of a plugin's reward may take, in seconds; default: `defaultDeadlineSeconds`. */
  readonly deadlineSeconds?: number;
}

/** The second argument of `RewardDefinition.open`. */
export interface RewardContext {
  /** The configuration key of the reward, for error messages: `language.reward`. */
  readonly where: string;
  /** Shows the user a message that does not end the run, for example that an answer could not be read. */
  readonly notice: (message: string) => void;
  /**
   * Told once a second what is waited for, and undefined when the wait is over. A plugin's reward gets none: the program that waits for
   * its thread says so.
   */
  readonly waiting?: (what: string | undefined) => void;
  /** Aborted when the run is stopped while the reward is waited for, and after its deadline. */
  readonly signal?: AbortSignal;
}

/**
 * A kind of reward that a configuration can name. A plugin registers its own with `rewards.register(…)`.
 * S: the settings, as the schema in `settings` parses them.
 */
export interface RewardDefinition<S = Record<string, unknown>> extends Definition {
  /** Names of settings that are paths, such as `file`: relative paths are resolved from the configuration's folder. */
  readonly fileSettings?: readonly string[];
  /**
   * Opens the reward for one run.
   * @throws PmpoError if a file is missing or a server cannot be reached.
   */
  open(settings: S, context: RewardContext): Promise<Reward>;
}
