import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EpisodeRecording } from '../../src/environments/episode-recording.js';
import { renderReport } from '../../src/report/report.js';
import { readRun } from '../../src/report/run-data.js';
import { inBrowser, launchBrowser, noBrowser, openPage, seriousFaults } from '../support/browser.js';
import { numberEpisode, pixelEpisode, simulatedEpisode, writeEpisodes } from './synthetic-episodes.js';
import { writeSyntheticRun } from './synthetic-run.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-episodes-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The report of a run with these episodes of its first and its last evaluation. */
async function report(name: string, episodes: readonly [EpisodeRecording, EpisodeRecording]) {
  const plan = { operator: 'pmpo', seed: 1, plateau: 800, halfway: 30_000 };
  const run = await writeSyntheticRun(join(folder, name), plan);
  await writeEpisodes(run, episodes, [5000, 100_000]);
  const html = await renderReport([await readRun(run)], { command: 'pmpo train' });
  const file = join(run, 'report.html');
  await writeFile(file, html);
  return { html, url: pathToFileURL(file).href };
}

const simulated = async (simulator: string) =>
  report(simulator, [await simulatedEpisode(simulator, 0), await simulatedEpisode(simulator, 1)]);

describe('a report with episodes', () => {
  it.each(['cartpole_swingup', 'humanoid_stand'])(
    'of %s has less than 3 MB and a still picture',
    async (simulator) => {
      const { html } = await simulated(simulator);
      expect(Buffer.byteLength(html)).toBeLessThan(3e6);
      // Both episodes have one scene.
      expect(html.split('"geoms":').length - 1).toBe(1);
      for (const title of ['First evaluation', 'Best and last evaluation'])
        expect(html.includes(`<h3>${title}</h3>`)).toBe(true);
      const stages = html.split('<div class="stage" data-kind="scene"><svg').length - 1;
      expect(stages).toBe(2);
      // The robot is an outline in the color of the page.
      const picture = html.slice(html.indexOf('First evaluation: the simulated bodies'));
      expect(picture.slice(0, 20_000).includes('Z" fill="var(--robot)"/>')).toBe(true);
      expect(html.slice(0, html.indexOf('episode-data')).includes('NaN')).toBe(false);
    },
  );

  it('leaves out the episodes of evaluations that the run no longer has', async () => {
    const path = await writeSyntheticRun(join(folder, 'stale'), {
      operator: 'mpo',
      seed: 2,
      plateau: 1,
      halfway: 1,
    });
    const episode = await numberEpisode();
    await writeEpisodes(path, [episode, episode], [4321, 100_000]);
    expect((await readRun(path)).episodes).toMatchObject([{ steps: 100_000, names: ['best', 'last'] }]);
  });
});

const status = (page: Page) => page.locator('.controls output').textContent();
/** The part of HTMLCanvasElement that a test uses: Node's types have no DOM. */
interface Canvas {
  getContext(kind: '2d'): {
    getImageData(x: number, y: number, width: number, height: number): { data: Uint8ClampedArray };
  };
}
const drawn = (page: Page) => page.locator('.stage').first().getAttribute('data-drawn');

describe.skipIf(noBrowser !== undefined)(`a report with episodes ${inBrowser}`, () => {
  let browser: Browser;
  let url: string;
  beforeAll(async () => {
    browser = await launchBrowser();
    url = (await simulated('walker_walk')).url;
  });
  afterAll(() => browser?.close());

  it('opens without any request, and plays', async () => {
    const { page, requests, errors } = await openPage(browser, url);
    await page.locator('.episodes').scrollIntoViewIfNeeded();
    await page.waitForSelector('.stage[data-drawn=webgl] canvas');
    const before = await status(page);
    await expect.poll(() => status(page)).not.toBe(before);
    expect(await page.locator('.stage canvas').count()).toBe(2);
    expect(requests).toEqual([]);
    expect(errors).toEqual([]);
    await page.close();
  });

  it('draws something that moves', async () => {
    const { page } = await openPage(browser, url, { reducedMotion: 'reduce' });
    const stage = page.locator('.stage').first();
    await stage.scrollIntoViewIfNeeded();
    await page.waitForSelector('.stage[data-drawn=webgl]');
    const colors = async () => {
      const shot = await stage.screenshot();
      return shot.toString('base64');
    };
    // A drawing in software may take several frames, so what is seen is looked at until it is what it should be.
    const step = (to: string) => page.locator('.controls input').fill(to);
    await step('0');
    let start = '';
    await expect
      .poll(async () => {
        const before = start;
        start = await colors();
        return start === before;
      })
      .toBe(true);
    await step('500');
    await expect.poll(async () => (await colors()) !== start).toBe(true);
    await step('0');
    await expect.poll(async () => (await colors()) === start).toBe(true);
    await page.close();
  });

  it('is paused off the screen, and for those who want less motion', async () => {
    const { page } = await openPage(browser, url);
    await page.locator('.episodes').scrollIntoViewIfNeeded();
    await page.waitForSelector('.episodes[data-playing=true]');
    await page.locator('footer').scrollIntoViewIfNeeded();
    await page.waitForSelector('.episodes[data-visible=false]');
    const off = await status(page);
    await page.waitForTimeout(400);
    expect(await status(page)).toBe(off);
    await page.locator('.episodes').scrollIntoViewIfNeeded();
    await expect.poll(() => status(page)).not.toBe(off);
    await page.close();

    const still = (await openPage(browser, url, { reducedMotion: 'reduce' })).page;
    await still.locator('.episodes').scrollIntoViewIfNeeded();
    await still.waitForSelector('.episodes[data-playing=false]');
    const shown = await status(still);
    await still.waitForTimeout(400);
    expect(await status(still)).toBe(shown);
    await still.close();
  });

  it('is used with the keyboard alone', async () => {
    const { page } = await openPage(browser, url, { reducedMotion: 'reduce' });
    await page.locator('.episodes').scrollIntoViewIfNeeded();
    await page.waitForSelector('.controls:not([hidden])');
    await page.locator('[data-act=back]').focus();
    await page.keyboard.press('Tab');
    expect(await page.locator(':focus').getAttribute('aria-label')).toBe('Play');
    await page.keyboard.press('Space');
    await page.waitForSelector('.episodes[data-playing=true]');
    expect(await page.locator(':focus').getAttribute('aria-label')).toBe('Pause');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.episodes[data-playing=false]');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Home');
    expect(await status(page)).toMatch(/^Step 0 of 1000, 0\.00 s$/);
    await page.keyboard.press('ArrowRight');
    expect(await status(page)).toMatch(/^Step 1 of 1000/);
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    expect(await status(page)).toMatch(/^Step 2 of 1000/);
    await page.keyboard.press('Tab');
    await page.keyboard.press('End');
    const soFar = page.locator('.so-far').first();
    expect(await soFar.textContent()).toMatch(/^Return \S+ after 1,000 steps, the end$/);
    await page.close();
  });

  it('shows and plays drawings where there is no WebGL', async () => {
    const plain = await launchBrowser({ webgl: false });
    try {
      const { page, errors } = await openPage(plain, url, { reducedMotion: 'reduce' });
      await page.locator('.episodes').scrollIntoViewIfNeeded();
      await page.waitForSelector('.controls:not([hidden])');
      expect(await drawn(page)).toBe('svg');
      const picture = page.locator('.stage svg').first();
      const before = await picture.innerHTML();
      await page.locator('.controls input').fill('700');
      expect(await picture.innerHTML()).not.toBe(before);
      expect(errors.filter((message) => !message.includes('WebGL'))).toEqual([]);
    } finally {
      await plain.close();
    }
  });

  it('shows frames of pixels and traces of numbers', async () => {
    const [pixels, numbers] = [await pixelEpisode(), await numberEpisode()];
    const { page, errors } = await openPage(browser, (await report('frames', [pixels, pixels])).url, {
      reducedMotion: 'reduce',
    });
    await page.locator('.episodes').scrollIntoViewIfNeeded();
    await page.waitForSelector('canvas.frames');
    const color = (step: string) =>
      page
        .locator('.controls input')
        .fill(step)
        .then(() =>
          page
            .locator('canvas.frames')
            .first()
            .evaluate((canvas) => {
              const { data } = (canvas as unknown as Canvas).getContext('2d').getImageData(0, 0, 1, 1);
              return data[0];
            }),
        );
    expect(await color('0')).toBe(4);
    expect(await color('10')).toBe(44);
    await page.close();
    const traces = await openPage(browser, (await report('traces', [numbers, numbers])).url, {
      reducedMotion: 'reduce',
    });
    await traces.page.locator('.episodes').scrollIntoViewIfNeeded();
    await traces.page.waitForSelector('.controls:not([hidden])');
    expect(await traces.page.locator('.traces').first().textContent()).toContain('Observations');
    expect(await traces.page.locator('.traces svg text').first().textContent()).toMatch(/^state\[0\]:/);
    const cursor = traces.page.locator('.traces .cursor').first();
    await traces.page.locator('.controls input').fill('0');
    expect(await cursor.getAttribute('x1')).toBe('6');
    await traces.page.locator('.controls input').fill('40');
    expect(await cursor.getAttribute('x1')).toBe('394');
    expect([...errors, ...traces.errors]).toEqual([]);
    await traces.page.close();
  });

  it.each([
    ['light', 1200],
    ['dark', 1200],
    ['light', 390],
    ['dark', 390],
  ] as const)(
    'has no serious fault for people with disabilities: %s, %i pixels wide',
    async (colorScheme, width) => {
      const { page } = await openPage(browser, url, {
        colorScheme,
        viewport: { width, height: 900 },
        reducedMotion: 'reduce',
      });
      await page.locator('.episodes').scrollIntoViewIfNeeded();
      await page.waitForSelector('.stage[data-drawn=webgl]');
      expect(await seriousFaults(page)).toEqual([]);
      const root = page.locator('html');
      const overflow = await root.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth);
      expect(overflow).toBe(0);
      await page.close();
    },
  );
});
