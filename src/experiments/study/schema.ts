import { readFile } from 'node:fs/promises';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { ConfigError } from '../../core/errors.js';
import { nearest } from '../../core/nearest.js';
import { recipeSchema } from '../recording/recipe.js';
import { packagedStudies } from './packaged.js';

/** A study: training runs that differ in a few settings, and the figures drawn from them. */

const configPart = z.record(z.string(), z.unknown()).describe('Part of a configuration');
const lines = z
  .record(z.string(), z.string())
  .describe('The lines of a panel: the variant that each one shows, by label');
/** A name that may be part of the name of a file. */
export const slug = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, dots, dashes and underscores');

const task = z.strictObject({
  simulator: z
    .string()
    .optional()
    .describe('The `environment.simulator` of its runs; absent in studies of language jobs'),
  seeds: z.int().min(1).describe('Number of runs of each variant; their seeds count up from 0'),
  config: configPart.prefault({}),
  data: recipeSchema
    .optional()
    .describe('How the `dataset.file` of its runs is made, once, in the folder of the study'),
});

const figure = z
  .strictObject({
    title: z.string(),
    lines: lines
      .optional()
      .describe('A panel with these lines for each task, and one for all tasks together'),
    panels: z.record(z.string(), lines).optional().describe('For each task, these panels'),
    metric: z
      .string()
      .optional()
      .describe('The metric to draw, by its name in metrics.jsonl; default: the score of the evaluations'),
  })
  .refine(({ lines, panels }) => (lines === undefined) !== (panels === undefined), {
    message: 'either `lines` or `panels`',
  });

const servers = z
  .enum(['dm-control', 'gymnasium', 'embedded', 'trainer', 'none'])
  .describe(
    'The server to start when no address is given: simulators, or a trainer of a language model; none: runs need no server',
  );

const scale = z.strictObject({
  server: servers.optional().describe("Replaces the study's server"),
  serverArguments: z
    .array(z.union([z.string(), z.number()]).transform(String))
    .default([])
    .describe('Further arguments of `pmpo serve` for the server'),
  base: configPart.prefault({}),
  tasks: z.record(slug, task),
  figures: z.record(z.string(), z.array(z.string()).min(1)).describe('The tasks that each figure shows'),
});

const studySchema = z.strictObject({
  server: servers,
  base: configPart,
  variants: z.record(slug, configPart),
  metrics: z
    .array(z.string())
    .default([])
    .describe('Metrics whose mean over each run goes to the results, by their names in metrics.jsonl'),
  lastMetrics: z
    .array(z.string())
    .default([])
    .describe(
      'Metrics whose value at the last evaluation of each run goes to the results, by their names in metrics.jsonl',
    ),
  figures: z.record(slug, figure),
  scales: z.record(slug, scale),
});

export type Study = z.infer<typeof studySchema>;
export type StudyFigure = Study['figures'][string];

/** Names that do not exist and settings without effect, one line for each. */
function mistakes(study: Study): string[] {
  const problems: string[] = [];
  const check = (where: string, name: string, known: readonly string[]) => {
    if (known.includes(name)) return;
    const guess = nearest(name, known);
    problems.push(
      `${where}: unknown name '${name}'${guess === undefined ? '' : `. Did you mean '${guess}'?`}`,
    );
  };
  const variants = Object.keys(study.variants);
  for (const [name, { lines = {}, panels = {} }] of Object.entries(study.figures)) {
    for (const shown of [lines, ...Object.values(panels)])
      for (const variant of Object.values(shown)) check(`figures.${name}`, variant, variants);
  }
  for (const [name, { server = study.server, serverArguments, tasks, figures }] of Object.entries(
    study.scales,
  )) {
    if (serverArguments.length > 0 && (server === 'embedded' || server === 'none'))
      problems.push(`scales.${name}.serverArguments: the server '${server}' takes none`);
    for (const [drawn, shown] of Object.entries(figures)) {
      check(`scales.${name}.figures`, drawn, Object.keys(study.figures));
      for (const shownTask of shown) check(`scales.${name}.figures.${drawn}`, shownTask, Object.keys(tasks));
    }
  }
  return problems;
}

/**
 * Reads the text of a study.
 * @param file the name to use in messages.
 * @throws ConfigError listing everything that is wrong with it.
 */
export function parseStudy(file: string, text: string): Study {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter });
  const [error] = document.errors;
  if (error !== undefined) {
    throw new ConfigError({
      where: `${file}:${lineCounter.linePos(error.pos[0]).line}`,
      what: error.message,
    });
  }
  const parsed = studySchema.safeParse(document.toJS());
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new ConfigError({ where: file, what: problems.join('\n') });
  }
  const problems = mistakes(parsed.data);
  if (problems.length > 0) throw new ConfigError({ where: file, what: problems.join('\n') });
  return parsed.data;
}

/** Reads the text of a study's file. @throws ConfigError if there is no such file. */
export async function readStudy(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ConfigError({
      where: file,
      what: (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(cause),
      remedy: `Give ${packagedStudies.join(', ')}, or the path of a study such as examples/reproduce/control.yaml`,
      cause,
    });
  }
}
