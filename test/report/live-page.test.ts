import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startLiveServer } from '../../src/report/live/server.js';
import { inBrowser, launchBrowser, noBrowser, openPage } from '../support/browser.js';
import { numberEpisode, writeEpisodes } from './synthetic-episodes.js';
import { writeSyntheticRun } from './synthetic-run.js';

/** A report is drawn in a fifth of the time at most, so that a busy machine may take long to draw the next. */
const longer = { timeout: 90_000 };

describe.skipIf(noBrowser !== undefined)(`the live page ${inBrowser}`, () => {
  let folder: string;
  let browser: Browser;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pmpo-live page-'));
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('shows a newer report, and leaves focus, scroll position and the player where they are', async () => {
    const plan = { operator: 'pmpo', seed: 3, plateau: 500, halfway: 20_000, finished: false };
    const run = await writeSyntheticRun(folder, plan);
    const episode = await numberEpisode();
    await writeEpisodes(run, [episode, episode], [5000, 95_000]);
    const server = await startLiveServer({ folder: run, onCommand: () => {}, pollMilliseconds: 50 });
    try {
      const { page, errors } = await openPage(browser, server.url, { reducedMotion: 'reduce' });
      await page.waitForSelector('.controls:not([hidden])');
      await page.locator('.controls input').fill('7');
      await page.locator('.controls select').selectOption('2');
      const summary = page.locator('summary', { hasText: 'Every evaluation' });
      await summary.click();
      const table = page.locator('details[open] .scroll');
      await table.evaluate((element) => {
        element.scrollTop = 60;
      });
      const rows = page.locator('details[open] tbody tr');
      const before = await rows.count();
      const lines = (await readFile(join(run, 'metrics.jsonl'), 'utf8')).split('\n');
      const evaluation = JSON.parse(lines.findLast((x) => x.includes('"kind":"evaluation"'))!) as object;
      const next = JSON.stringify({ ...evaluation, steps: 100_500 });
      // The focus is in the part that changes, and then in the episodes.
      await appendFile(join(run, 'metrics.jsonl'), `${next}\n`);
      await expect.poll(() => rows.count(), longer).toBe(before + 1);
      expect(await page.locator(':focus').textContent()).toBe('Every evaluation');
      expect(await table.evaluate(({ scrollTop }) => scrollTop)).toBe(60);

      const at = () => page.locator('.controls output').textContent();
      expect(await at()).toBe('Step 7 of 40');
      await page.locator('.controls input').focus();
      await writeEpisodes(run, [episode, episode], [5000, 100_500]);
      const title = page.locator('.episodes .view').nth(1).locator('> p').first();
      await appendFile(join(run, 'metrics.jsonl'), `${next.replace('100500', '101000')}\n`);
      await expect.poll(() => rows.count(), longer).toBe(before + 2);
      expect(await page.locator(':focus').getAttribute('type')).toBe('range');
      expect(await title.textContent()).toContain('After 95,000');
      // It is shown when the focus leaves.
      await summary.focus();
      await expect.poll(() => title.textContent(), longer).toContain('After 100,500');
      expect(await at()).toBe('Step 7 of 40');
      expect(await page.locator('.controls select').inputValue()).toBe('2');

      await server.end();
      const quoted = `npx pmpo train --resume '${run}'`;
      await expect
        .poll(() => page.locator('.live [role=status]').textContent())
        .toBe(`The run has stopped. Resume it with: ${quoted}`);
      expect(errors.filter((message) => !message.includes('ERR_'))).toEqual([]);
      await page.close();
    } finally {
      await server.close();
    }
  }, 300_000);
});
