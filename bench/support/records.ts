import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RecordLine } from '../../src/run/records.js';

/** The records of a kind in the folder of a run, which may still be going on: a last line without its end is left out. */
export function recordsOf<K extends RecordLine['kind']>(run: string, kind: K) {
  return readFileSync(join(run, 'metrics.jsonl'), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as RecordLine)
    .filter((record): record is Extract<RecordLine, { kind: K }> => record.kind === kind);
}
