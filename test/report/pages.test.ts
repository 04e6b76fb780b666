import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderReport } from '../../src/report/report.js';
import { readRun } from '../../src/report/run-data.js';
import { inBrowser, launchBrowser, noBrowser, openPage, seriousFaults } from '../support/browser.js';
import { writeSyntheticComparison } from './synthetic-run.js';

describe.skipIf(noBrowser !== undefined)(`reports without episodes ${inBrowser}`, () => {
  let folder: string;
  let browser: Browser;
  const urls: Record<string, string> = {};
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-pages-'));
    browser = await launchBrowser();
    const paths = await writeSyntheticComparison(join(folder, 'compare'));
    const pages = { comparison: paths, language: ['results/language/gemma/PMPO-AR'] };
    for (const [name, runs] of Object.entries(pages)) {
      const file = join(folder, `${name}.html`);
      const read = await Promise.all(runs.map((run) => readRun(run)));
      await writeFile(file, await renderReport(read, { command: 'pmpo' }));
      urls[name] = pathToFileURL(file).href;
    }
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  describe.each(['comparison', 'language'])('%s', (name) => {
    it.each([
      ['light', 1200],
      ['dark', 390],
    ] as const)(
      'makes no request and has no serious fault: %s, %i pixels wide',
      async (colorScheme, width) => {
        const options = { colorScheme, viewport: { width, height: 900 } };
        const { page, requests, errors } = await openPage(browser, urls[name]!, options);
        for (const summary of await page.locator('summary').all()) await summary.click().catch(() => {});
        expect(await seriousFaults(page)).toEqual([]);
        const overflow = await page
          .locator('html')
          .evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
        expect(overflow).toBe(0);
        expect([...requests, ...errors]).toEqual([]);
        await page.close();
      },
    );

    it('has full rows of charts at every width', async () => {
      const { page } = await openPage(browser, urls[name]!);
      for (const width of [1200, 800, 390]) {
        await page.setViewportSize({ width, height: 900 });
        const gaps = await page.locator('main > .grid').evaluateAll((grids) =>
          grids
            .map((grid) => {
              const { right } = grid.getBoundingClientRect();
              return Math.round(right - (grid.lastElementChild?.getBoundingClientRect().right ?? right));
            })
            .filter((gap, i) => gap > 1 && (grids[i]?.getBoundingClientRect().width ?? 0) > 0),
        );
        expect(gaps, `${width} pixels`).toEqual([]);
      }
      await page.close();
    });
  });
});
