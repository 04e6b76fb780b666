// `node scripts/collect-results.mjs RUN_FOLDER…`: prints one line of CSV for each finished run, read from the files in its
// folder. The tables directly under results/ are made with it. Folders written by earlier versions are read as well.

import { ensureBuilt, ensureInstalled } from './bootstrap.mjs';

await ensureInstalled();
ensureBuilt();
const { parse } = await import('yaml');
const { readRun } = await import('../dist/report/run-data.js');

const columns = [
  'operator',
  'alpha',
  'beta',
  'head',
  'seed',
  'steps',
  'stepUnit',
  'updates',
  'wallSeconds',
  'scoreName',
  'scoreCount',
  'meanScore',
  'stdScore',
]; // prettier-ignore

const round = (value) => (typeof value === 'number' ? Number(value.toFixed(2)) : (value ?? ''));

console.log(columns.join(','));
for (const folder of process.argv.slice(2)) {
  const { summary, config } = await readRun(folder);
  if (summary === undefined) {
    console.error(`${folder}: skipped, because the run has not ended`);
    continue;
  }
  const { operator, policy } = parse(config);
  const row = { ...summary, ...summary.evaluation, ...operator, head: policy?.head, operator: operator.name };
  console.log(columns.map((column) => round(row[column])).join(','));
}
