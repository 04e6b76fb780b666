import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { numberEpisode } from '../../test/report/synthetic-episodes.js';
import { createRunObserver } from './observer.js';
import type { Progress } from './progress.js';
import { createRunDirectory } from './run-directory.js';

it('goes on without its pictures when they cannot be written, and says so once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pmpo-observer-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const directory = await createRunDirectory(folder, 'run');
  await writeFile(directory.files.episodes, 'a file where the folder should be');
  const records = directory.openRecords();
  onTestFinished(() => records.close());
  const notices: string[] = [];
  const progress = { notice: (message: string) => notices.push(message) } as Partial<Progress> as Progress;
  const observer = createRunObserver({ directory, records, progress, keep: 1 });
  const at = { steps: 1, stepUnit: 'environment steps', updates: 1, wallSeconds: 1 } as const;
  const evaluation = { ...at, kind: 'evaluation', scoreName: 'return', scores: [1] } as const;
  const episode = await numberEpisode();
  await observer.episode!(evaluation, episode, true);
  await observer.episode!(evaluation, episode, true);
  expect(notices).toEqual([expect.stringMatching(/^an episode is not kept: .*episodes/)]);
});
