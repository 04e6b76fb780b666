import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inBrowser, launchBrowser, noBrowser, openPage, seriousFaults } from '../support/browser.js';
import { ensureBuilt, start } from './program.js';

let folder: string;
let browser: Browser;
beforeAll(async () => {
  await ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'pmpo-live-'));
  if (noBrowser === undefined) browser = await launchBrowser();
}, 300_000);
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});

const config = (steps: number) => `
environment: {simulator: cartpole_swingup, numEnvs: 4, createSettings: {episodeSteps: 200}}
policy: {hidden: [16]}
critic: {hidden: [16]}
learner: {environmentSteps: ${steps}, warmupSteps: 200, batchSize: 16, stepsPerUpdate: 8}
evaluation: {every: 2000, episodes: 2}
checkpoint: {every: 1000000}
`;

const status = (page: Page) => page.locator('.live [role=status]').textContent();

describe.skipIf(noBrowser !== undefined)(`the live page ${inBrowser}`, () => {
  it('is watched, asked for a checkpoint, stopped, and resumed to its end', async () => {
    const file = join(folder, 'run.yaml');
    await writeFile(file, config(5_000_000));
    const run = join(folder, 'runs', 'live');
    const first = start(['train', file, '--ui', '--output', join(folder, 'runs'), '--name', 'live'], {
      timeoutSeconds: 380,
    });
    const said = await first.until(/Live page: (\S+)/, 'stderr');
    const url = /Live page: (\S+)/.exec(said)![1]!;
    const { page, errors } = await openPage(browser, url, { reducedMotion: 'reduce' });
    await expect.poll(() => status(page)).toContain('The run goes on.');

    // Watched: the first evaluation appears without reloading the page, and then a later one.
    await page.waitForSelector('.episodes .stage[data-drawn]', { timeout: 60_000 });
    await page.locator('summary', { hasText: 'Every evaluation' }).click();
    const evaluations = () => page.locator('details[open] tbody tr').count();
    const before = await evaluations();
    await expect.poll(evaluations, { timeout: 60_000 }).toBeGreaterThan(before);
    expect(await seriousFaults(page).catch(String)).toEqual([]);

    await page.getByRole('button', { name: 'Save a checkpoint' }).click();
    await expect.poll(() => status(page), { timeout: 30_000 }).toMatch(/Last checkpoint: [\d,]+ steps/);
    expect((await readdir(join(run, 'checkpoints'))).length).toBeGreaterThan(0);

    page.on('dialog', (dialog) => void dialog.accept());
    await page.getByRole('button', { name: 'Stop' }).click();
    const { code, stderr } = await first.ended;
    expect(code).toBe(1);
    expect(stderr).toContain('Stopped from the live page');
    expect(stderr).toContain('Stopped. Resume with: npx pmpo train --resume');
    await expect.poll(() => status(page)).toContain(`Resume it with: npx pmpo train --resume ${run}`);
    // The last report is on the page, too.
    const recorded = async () =>
      (await readFile(join(run, 'metrics.jsonl'), 'utf8'))
        .split('\n')
        .filter((x) => x.includes('"evaluation"'));
    await expect.poll(evaluations).toBe((await recorded()).length);
    expect(await page.getByRole('button', { name: 'Stop' }).isDisabled()).toBe(true);
    expect(errors.filter((message) => !message.includes('ERR_'))).toEqual([]);
    await page.close();

    const total =
      Number(/step-(\d+)/.exec((await readdir(join(run, 'checkpoints'))).sort().at(-1)!)![1]) + 3000;
    const resumed = start(['train', '--resume', run, '--set', `learner.environmentSteps=${total}`, '--ui'], {
      timeoutSeconds: 280,
    });
    const again = await resumed.until(/Live page: (\S+)/, 'stderr');
    const second = await openPage(browser, /Live page: (\S+)/.exec(again)![1]!);
    await expect.poll(() => status(second.page)).toMatch(/The run goes on|ended/);
    expect((await resumed.ended).code).toBe(0);
    await expect.poll(() => status(second.page)).toContain('The run has ended.');
    await second.page.locator('summary', { hasText: 'Every evaluation' }).click();
    await expect
      .poll(() => second.page.locator('details[open] tbody tr').count())
      .toBe((await recorded()).length);
    await second.page.close();
  }, 400_000);
});
