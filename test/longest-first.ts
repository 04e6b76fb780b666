import { relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The test files that take longest, longest first. */
export const longest = [
  'test/learning/defaults.test.ts',
  'test/learning/collapse.test.ts',
  'test/end-to-end/train.test.ts',
  'test/end-to-end/server.test.ts',
  'test/end-to-end/resume.test.ts',
  'test/end-to-end/live.test.ts',
  'test/end-to-end/plugins.test.ts',
  'test/end-to-end/language.test.ts',
  'test/examples/offline.test.ts',
  'test/learning/every-operator.test.ts',
  'test/end-to-end/endings.test.ts',
  'src/language/rewards/program.test.ts',
  'test/report/episodes.test.ts',
  'test/environments/known-values.test.ts',
  'test/end-to-end/init.test.ts',
  'src/learners/offline/train.test.ts',
  'test/report/live-page.test.ts',
  'src/learners/control/train.test.ts',
];

/**
 * Starts the longest files first, so that no worker is left with one at the end. Vitest itself knows how long files take only
 * where they have been run before, and goes by their sizes elsewhere, which say little here.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = longest.indexOf(relative(this.ctx.config.root, moduleId).replaceAll('\\', '/'));
      return at < 0 ? longest.length : at;
    };
    // Sorting is stable: the others stay in vitest's order.
    return (await super.sort(files)).sort((a, b) => place(a) - place(b));
  }
}
