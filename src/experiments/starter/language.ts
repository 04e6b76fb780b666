import { resolveJob } from '../../config/load.js';
import { PmpoError } from '../../core/errors.js';
import { type PreferenceData, readAsLine, readPreferences } from '../../datasets/preferences.js';
import { readRows } from '../../datasets/rows.js';
import { inline, pathFrom, type StarterOptions } from './shared.js';

/** A first configuration for completions that are judged. */

/** The setting that a data set needs besides its file, with a comment. */
function feedbackLines(source: string, { contexts, evaluations }: PreferenceData): string[] {
  if (evaluations === 'scores') {
    const several = contexts.some(({ completions }) => completions.length > 1);
    return several
      ? [
          '# A score is not a label: the best completion of each prompt is accepted, and the worst rejected.',
          'feedback: { name: top-k, accept: 1, reject: 1 }',
        ]
      : [
          '# A score is not a label: completions of at least this score are accepted, and the others rejected. Set it to what you mean.',
          `feedback: { name: threshold, value: ${dividingScore(source, contexts)} }`,
        ];
  }
  return ['# Labels say what is accepted and what is rejected.', 'feedback: { name: label }'];
}

/** A score that divides the completions about in half: at least one is below it. @throws PmpoError if all scores are the same. */
function dividingScore(source: string, contexts: PreferenceData['contexts']): number {
  const scores = contexts
    .flatMap(({ completions }) => completions.map(({ evaluation }) => evaluation))
    .sort((a, b) => a - b);
  const middle = scores.slice(Math.floor(scores.length / 2)).find((score) => score > scores[0]!);
  const found = middle ?? scores.find((score) => score > scores[0]!);
  if (found !== undefined) return found;
  throw new PmpoError({
    where: source,
    what: `every completion has the score ${scores[0]}, so that no threshold divides them`,
    remedy: 'Give scores that differ, or labels',
  });
}

/** The operator for the sides that a data set has. */
function operatorLines({ contexts, evaluations }: PreferenceData): string[] {
  const all = contexts.flatMap(({ completions }) => completions.map(({ evaluation }) => evaluation));
  const [accepts, rejects] = [all.some((one) => one > 0), all.some((one) => one < 0)];
  if (evaluations === 'labels' && !accepts)
    return [
      '# It learns from rejected completions alone: α = 0 (docs/aligning.md).',
      'operator: { name: pmpo, alpha: 0 }',
    ];
  if (evaluations === 'labels' && !rejects)
    return ['# It learns from accepted completions alone: α = 1.', 'operator: { name: pmpo, alpha: 1 }'];
  return [
    '# α is the share of accepted completions in the loss, β the weight of the KL; dpo, kto, … replace it (npx pmpo operators).',
    'operator: { name: pmpo, alpha: 0.5, beta: 1 }',
  ];
}

/**
 * The text of a configuration that learns from judged completions, of whose data set it says what it was read as.
 * @throws PmpoError if the data set cannot be read, or its scores are all the same.
 */
export async function languageStarter(
  dataset: string,
  { file, modules, notice }: StarterOptions,
): Promise<string> {
  const data = readPreferences(await readRows(dataset), dataset);
  const found = readAsLine(dataset, data);
  notice(found);
  const text = `# ${found}
language:
  # The policy: a Hugging Face model in a process of its own, which this starts:
  #   npx pmpo serve trainer --model FOLDER --lora-rank 16 --port 50052
  # model: { name: embedded } is a small model of short texts that needs no server, to look at how training goes.
  model: { name: trainer, address: 127.0.0.1:50052 }
  dataset:
    file: ${inline(pathFrom(file, dataset))}
    heldOut: 0.1 # the share of prompts that is evaluated and not learned

${operatorLines(data).join('\n')}
${feedbackLines(dataset, data).join('\n')}
reference: initial # the policy stays near the model that it starts as

learner:
  updates: 100
  batchSize: 16 # prompts
  learningRate: 1.0e-4 # with --lora-rank; without it, and for a large model, 1.0e-6 to 1.0e-5

evaluation: { every: 20 }
`;
  await resolveJob(file, text, [], { modules });
  return text;
}
