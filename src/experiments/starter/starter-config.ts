import { ConfigError } from '../../core/errors.js';
import { holdsTransitions } from '../../datasets/transitions/open.js';
import { controlStarter } from './control.js';
import { languageStarter } from './language.js';
import { type OfflineSubject, offlineStarter } from './offline.js';
import { requireKnown, type SimulatorSubject, type StarterOptions } from './shared.js';

/** A first configuration, with comments, for someone's simulator or data set: what `pmpo init` writes. */

/** What a configuration is written for: a simulator, or a data set. */
export type StarterSubject = SimulatorSubject | OfflineSubject;

/** A first configuration. */
export interface Starter {
  readonly text: string;
  /** The next steps, to follow "Next: ". */
  readonly next: string;
}

/**
 * A configuration for a simulator or a data set. The simulator is connected to, and the data set is read, so that the text says what
 * is there.
 * @throws PmpoError if the server does not answer or refuses, or the data set cannot be read; ConfigError if nothing is chosen.
 */
export async function starterConfig(subject: StarterSubject, options: StarterOptions): Promise<Starter> {
  const { file } = options;
  const train = `npx pmpo train ${file}`;
  const withHead = (text: string) =>
    `# Made by \`pmpo init\`. \`${train}\` trains it; \`npx pmpo schema\` says what else can be set.\n${text}`;
  requireKnown(subject);
  if (!('dataset' in subject)) {
    if (subject.address === undefined && subject.simulator === undefined)
      throw new ConfigError({
        what: 'neither a simulator nor a data set is chosen',
        remedy: 'Give --simulator NAME, --address HOST:PORT or --dataset FILE',
      });
    return { text: withHead(await controlStarter(subject, options)), next: train };
  }
  if (await holdsTransitions(subject.dataset))
    return {
      text: withHead(await offlineStarter(subject, options)),
      next: `\`npx pmpo data ${file}\` describes the transitions, \`${train}\` learns from them`,
    };
  if (subject.address !== undefined || subject.simulator !== undefined)
    throw new ConfigError({
      where: '--dataset',
      what: `${subject.dataset} has completions of a language model, which no simulator evaluates`,
      remedy: 'Leave out --address and --simulator, or --dataset',
    });
  return {
    text: withHead(await languageStarter(subject.dataset, options)),
    next: `start the model's server, as the file says; \`npx pmpo data ${file}\` shows what is learned, \`${train}\` learns it`,
  };
}
