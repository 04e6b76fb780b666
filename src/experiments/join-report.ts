import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PmpoError } from '../core/errors.js';
import { renderReport } from '../report/report.js';
import { type RunData, readRun } from '../report/run-data.js';
import { differingSettings } from '../report/settings.js';
import { writeAtomically } from '../system/atomic-file.js';

/** One report of runs that were made at different times. */

/** What `joinReport` needs. */
export interface JoinReportOptions {
  /** Folders of runs, or folders that hold such folders, as those of comparisons do. */
  readonly folders: readonly string[];
  /** The file to write; default: `report.html` in the folder of a single run. */
  readonly output: string;
  readonly title?: string;
  /** The command, printed in the report. */
  readonly command: string;
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The folders of runs in a folder, or the folder itself if it is one. @throws PmpoError if there are none. */
export async function runFolders(folder: string): Promise<string[]> {
  if (await exists(join(folder, 'config.yaml'))) return [folder];
  const names = await readdir(folder).catch(() => [] as string[]);
  const found: string[] = [];
  for (const name of names.sort())
    if (await exists(join(folder, name, 'config.yaml'))) found.push(join(folder, name));
  if (found.length > 0) return found;
  throw new PmpoError({
    where: folder,
    what: 'it is not the folder of a run, and has none in it',
    remedy: 'Give folders of runs, such as runs/NAME, or of comparisons',
  });
}

/** What a run's label is made of. */
type LabeledRun = Pick<RunData, 'name' | 'operator' | 'settings' | 'metrics' | 'label'>;

/** A setting and its value in a few characters: `alpha=1` for `operator.alpha`. */
const shortSetting = (key: string, value: string | undefined) =>
  `${key.split('.').at(-1)}=${value ?? 'none'}`;

/**
 * Labels runs so that those which differ in more than their seed have different labels: by the operator alone if that tells them apart,
 * otherwise with the settings that differ, and with the run's name if these are many.
 */
export function labelRuns<T extends LabeledRun>(runs: readonly T[]): T[] {
  const differing = differingSettings(runs);
  const kinds = runs.map((_, i) => JSON.stringify(differing.map(({ values }) => values[i])));
  const operators = new Map<string, Set<string>>();
  for (const [i, { operator }] of runs.entries())
    operators.set(operator, (operators.get(operator) ?? new Set()).add(kinds[i]!));
  return runs.map((run, i) => {
    if (operators.get(run.operator)!.size === 1) return { ...run, label: run.operator };
    // Among the runs of this operator, because others have other settings.
    const own = runs.filter(({ operator }) => operator === run.operator);
    const settings = differingSettings(own).filter(({ key }) => key !== 'operator.name');
    const at = own.indexOf(runs[i]!);
    const short = (name: string) => name.replace(/-seed\d+(-\d+)?$/, '');
    // Runs of several kinds may have the same name but for the seed.
    const isAmbiguous = runs.some(({ name }, k) => kinds[k] !== kinds[i] && short(name) === short(run.name));
    const label =
      settings.length <= 3
        ? settings.map(({ key, values }) => shortSetting(key, values[at])).join(', ')
        : isAmbiguous
          ? run.name
          : short(run.name);
    return { ...run, label: `${run.operator}, ${label}` };
  });
}

/**
 * Draws one report of all runs.
 * @returns the runs in it.
 * @throws PmpoError if a folder has no run, or the runs are of different kinds.
 */
export async function joinReport({ folders, output, title, command }: JoinReportOptions): Promise<RunData[]> {
  const paths = (await Promise.all(folders.map(runFolders))).flat();
  const real = await Promise.all(paths.map((path) => realpath(path)));
  const read = await Promise.all([...new Set(real)].map((path) => readRun(path)));
  const odd = read.find(({ kind }) => kind !== read[0]!.kind);
  if (odd !== undefined) {
    throw new PmpoError({
      where: odd.name,
      what: `it is ${odd.kind === 'offline' ? 'an' : 'a'} ${odd.kind} run, and ${read[0]!.name} is ${read[0]!.kind === 'offline' ? 'an' : 'a'} ${read[0]!.kind} run`,
      remedy: 'Make a report of each kind: their scores are not the same thing',
    });
  }
  const runs = labelRuns(read);
  // A run's own report says how the run was made, not how the report was.
  const made = runs.length === 1 ? runs[0]?.starts?.at(-1)?.command : undefined;
  await writeAtomically(output, await renderReport(runs, { title, command: made ?? command }));
  return runs;
}
