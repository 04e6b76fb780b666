import type { Definition } from '../../core/registry.js';
import type { FinishReason } from '../language-model.js';

/** What evaluates completions: a program, a reward model, a judge. */

export interface Judged {
  /** As the prompts' file has it: a chat's last user message where it is a chat. */
  readonly prompt: string;
  /** The whole prompt: all turns of a chat, each with who said it. */
  readonly conversation: string;
  readonly completion: string;
  readonly finishReason: FinishReason;
  /** The whole row of the prompts' file. */
  readonly row: Readonly<Record<string, unknown>>;
}

export interface Reward {
  /**
   * f(x, y) of each completion, in order.
   * @returns undefined where there is none: a judge that gave no number, say. Such a completion is left out of the update.
   * @throws PmpoError when none can be had at all.
   */
  evaluate(completions: readonly Judged[], signal?: AbortSignal): Promise<readonly (number | undefined)[]>;
  close(): Promise<void>;
}

/** What a reward is opened with. */
export interface RewardContext {
  /** For messages: the configuration's key. */
  readonly where: string;
  /** Takes what a person should read and the run goes on after: an answer that cannot be used, say. */
  readonly notice: (message: string) => void;
}

export interface RewardDefinition<S = Record<string, unknown>> extends Definition {
  /** Settings that name files, which are meant from where the configuration is: `file`, `template`. */
  readonly fileSettings?: readonly string[];
  /** @throws PmpoError when a file is missing or a server does not answer as it should. */
  open(settings: S, context: RewardContext): Promise<Reward>;
}
