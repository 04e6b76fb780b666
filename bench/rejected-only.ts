import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRun } from '../src/report/run-data.js';
import { program, root } from './support/peers.js';

/**
 * `npm run bench rejected-only [-- SEEDS]`: what learning from rejected completions alone does to a language model. Trains the embedded
 * model on the rejected rows of examples/language/labels.jsonl with seeds 0 to SEEDS − 1 (3). Measures, before and after, the log-prob
 * of rejected completions of held-out prompts and the perplexity of unlabelled text: with the default floor, with a floor of a half, and
 * without a floor at β = 2. Writes results/rejected-only/.
 */

const seeds = Array.from({ length: Number(process.argv[2] ?? 3) }, (_, seed) => seed);
const variants = {
  'defaults (floor 0.1, β = 1.25)': [],
  'floor 0.5': ['language.dataset.rejectedFloor=0.5'],
  'no floor, β = 2': ['operator.beta=2', 'language.dataset.rejectedFloor=0'],
};

const folder = mkdtempSync(join(tmpdir(), 'pmpo-rejected-'));
const language = join(root, 'examples/language');
const rejected = readFileSync(join(language, 'labels.jsonl'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && JSON.parse(line).label === false);
writeFileSync(join(folder, 'rejected.jsonl'), `${rejected.join('\n')}\n`);
const updates = 80;
const learningRate = 3e-4;
writeFileSync(
  join(folder, 'job.yaml'),
  `language:
  model: { name: embedded }
  dataset: { file: rejected.jsonl, heldOut: 0.2 }
operator: { name: pmpo, alpha: 0 }
reference: initial
learner: { updates: ${updates}, batchSize: 16, learningRate: ${learningRate} }
evaluation: { every: ${updates / 4}, text: ${JSON.stringify(join(language, 'reviews.jsonl'))} }
output: runs
`,
);

const rows = [];
for (const [variant, settings] of Object.entries(variants)) {
  for (const seed of seeds) {
    const name = `run-${rows.length}`;
    console.error(`${variant}, seed ${seed} …`);
    const sets = [`seed=${seed}`, `name=${name}`, `output=${join(folder, 'runs')}`, ...settings];
    const { status } = spawnSync(
      process.execPath,
      [program, 'train', join(folder, 'job.yaml'), ...sets.flatMap((set) => ['--set', set])],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    if (status !== 0) throw new Error(`the run ended with ${status}`);
    const { metrics } = await readRun(join(folder, 'runs', name));
    const series = (key: string) => metrics.flatMap(({ values }) => values[key] ?? []);
    const ends = (key: string) => [series(key)[0]!, series(key).at(-1)!] as const;
    rows.push({
      variant,
      seed,
      rejectedLogProb: ends('heldOut/logProb/rejected'),
      perplexity: ends('heldOut/perplexity'),
      kl: series('policy/kl').at(-1)!,
    });
  }
}
rmSync(folder, { recursive: true });

const lines = rows.map(
  ({ variant, seed, rejectedLogProb: [before, after], perplexity: [first, last], kl }) => {
    const cells = [
      variant,
      seed,
      `${before.toFixed(2)} → ${after.toFixed(2)}`,
      `× ${Math.exp(after - before).toPrecision(2)}`,
      `${first.toFixed(2)} → ${last.toFixed(2)}`,
      `${last < first ? '−' : '+'}${Math.abs(100 * (last / first - 1)).toFixed(1)} %`,
      kl.toPrecision(2),
    ];
    return `| ${cells.join(' | ')} |`;
  },
);
const output = join(root, 'results/rejected-only');
mkdirSync(output, { recursive: true });
writeFileSync(join(output, 'rows.json'), `${JSON.stringify(rows, null, 1)}\n`);
writeFileSync(
  join(output, 'README.md'),
  `# Rejected completions alone

The embedded model learns from the ${rejected.length} rejected completions of examples/language/labels.jsonl, ${updates} updates with the learning rate ${learningRate}, and from nothing else. The
log-prob is the mean over rejected completions of held-out prompts, in nats; the factor is what that makes of their probability. The
perplexity is of unlabelled reviews, examples/language/reviews.jsonl. Made by \`npm run bench rejected-only\` ([rows.json](rows.json));
[The mathematics](../../docs/mathematics.md#which-β-is-safe) says what the floor is for.

| Variant | Seed | Held-out rejected log-prob | Factor | Perplexity of unlabelled text | Change | KL of the last batch |
| --- | --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`,
);
console.log(JSON.stringify(rows));
