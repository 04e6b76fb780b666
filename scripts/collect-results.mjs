// `node scripts/collect-results.mjs RUN_FOLDER…`: one line of CSV for each finished run, from its summary.json and
// config.yaml: how the tables under results/ are made.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

const columns = [
  'operator',
  'alpha',
  'beta',
  'head',
  'seed',
  'environmentSteps',
  'updates',
  'wallSeconds',
  'episodes',
  'meanReturn',
  'stdReturn',
]; // prettier-ignore

const round = (value) => (typeof value === 'number' ? Number(value.toFixed(2)) : (value ?? ''));

console.log(columns.join(','));
for (const folder of process.argv.slice(2)) {
  const summary = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8'));
  const { operator, policy } = parse(readFileSync(join(folder, 'config.yaml'), 'utf8'));
  const row = { ...summary, ...summary.evaluation, ...operator, head: policy.head, operator: operator.name };
  console.log(columns.map((column) => round(row[column])).join(','));
}
