import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { formatNumber } from '../../src/core/format.js';
import { trainRun } from '../../src/experiments/train-run.js';
import { evaluateRun } from '../../src/experiments/trained-policy.js';
import { watchRuns } from '../../src/experiments/watch-runs.js';
import { openRunDirectory } from '../../src/run/run-directory.js';
import type { LoopbackServer } from '../../src/system/loopback-server.js';
import { startWatchServer } from '../../src/watch/server.js';
import {
  inBrowser,
  launchBrowser,
  noBrowser,
  type OpenedPage,
  openPage,
  seriousFaults,
} from '../support/browser.js';

const episodeSteps = 60;

let folder: string;
const runs: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-watch-'));
  for (const operator of ['pmpo', 'mpo']) {
    const config = join(folder, `${operator}.yaml`);
    await writeFile(
      config,
      `environment: {simulator: walker_walk, numEnvs: 2, createSettings: {episodeSteps: ${episodeSteps}}}
operator: {name: ${operator}}
policy: {hidden: [16]}
critic: {hidden: [16]}
learner: {environmentSteps: 200, warmupSteps: 64, batchSize: 32}
evaluation: {every: 100, episodes: 1}
output: ${folder}
`,
    );
    const loaded = await loadConfig(config);
    const { directory } = await trainRun({ loaded, progressMode: 'quiet', command: 'pmpo train' });
    runs.push(directory.path);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The return of the first episode of a run's evaluations, played by Node through the simulator's server. */
async function returnInNode(run: string): Promise<number> {
  const directory = await openRunDirectory(run);
  const loaded = await loadConfig(directory.files.config);
  const { returns } = await evaluateRun(directory, loaded, 1, { notice: () => {} });
  return returns[0]!;
}

const soFar = (page: Page) => page.locator('.so-far').allTextContents();
const start = Array(2).fill('Return so far 0 after 0 steps.');

/** Plays the episode to its end, where a page stops for readers who want little motion. */
async function play(page: Page): Promise<string[]> {
  await page.locator('.watch:not([data-playing=true]) [data-act=play]').click();
  return untilTheEnd(page);
}

async function untilTheEnd(page: Page): Promise<string[]> {
  await page.waitForSelector('.watch[data-playing=false]', { timeout: 60_000 });
  const texts = await soFar(page);
  for (const text of texts) expect(text).toContain('the end.');
  return texts;
}

/** The same start again. */
async function restart(page: Page): Promise<void> {
  await page.locator('[data-act=restart]').click();
  await expect.poll(() => soFar(page)).toEqual(start);
}

describe.skipIf(noBrowser !== undefined)(`pmpo watch ${inBrowser}`, () => {
  let browser: Browser;
  let server: LoopbackServer;
  let opened: OpenedPage;
  let page: Page;
  const still = { reducedMotion: 'reduce', viewport: { width: 390, height: 800 } } as const;
  beforeAll(async () => {
    browser = await launchBrowser();
    server = await watchRuns({ folders: runs, port: 0 });
    opened = await openPage(browser, server.url, still);
    page = opened.page;
    await page.waitForSelector('.controls:not([hidden])', { timeout: 90_000 });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  let alone: readonly string[];
  it('plays the episodes that Node plays, and asks nobody but its server', async () => {
    expect(await soFar(page)).toEqual(start);
    alone = await play(page);
    const expected = await Promise.all(runs.map((run) => returnInNode(run)));
    expect(alone).toEqual(
      expected.map((value) => `Return ${formatNumber(value)} after ${episodeSteps} steps, the end.`),
    );
    const own = new URL(server.url).origin;
    expect(new Set(opened.requests.map((url) => new URL(url).origin))).toEqual(new Set([own]));
    expect(opened.errors).toEqual([]);
  });

  it('goes on with the next start', async () => {
    const next = await play(page);
    expect(await page.locator('.status').textContent()).toBe('Start 2 of the evaluation.');
    expect(next).not.toEqual(alone);
    await page.locator('[data-act=next]').click();
    await expect.poll(() => page.locator('.status').textContent()).toBe('Start 3 of the evaluation.');
  });

  it('pushes all runs alike, or one of them', async () => {
    await page.reload();
    await page.waitForSelector('.controls:not([hidden])', { timeout: 90_000 });
    await page.locator('[name=strength]').fill('3');
    // A push starts the episode.
    await page.locator('[data-act=right]').click();
    const pushed = await untilTheEnd(page);
    for (const [i, text] of pushed.entries()) expect(text).not.toBe(alone[i]);

    await restart(page);
    await page.locator('[name=alike]').uncheck();
    const stage = page.locator('.stage').first();
    await stage.scrollIntoViewIfNeeded();
    const { x, y, width, height } = (await stage.boundingBox())!;
    // Somewhere in the middle there is the robot.
    const grab = async () => {
      for (let down = 0.3; down < 0.9; down += 0.05)
        for (let across = 0.35; across < 0.65; across += 0.05) {
          await page.mouse.move(x + across * width, y + down * height);
          await page.mouse.down();
          await page.mouse.move(x + across * width + 40, y + down * height - 30);
          if ((await stage.getAttribute('data-pulled')) !== null) return true;
          await page.mouse.up();
        }
      return false;
    };
    expect(await grab()).toBe(true);
    const [dragged, other] = await untilTheEnd(page);
    expect(dragged).not.toBe(alone[0]);
    expect(other).toBe(alone[1]);
    await page.mouse.up();
    expect(await stage.getAttribute('data-pulled')).toBe(null);
  });

  it('lets another policy act', async () => {
    const [own, another] = await Promise.all(runs.map(openRunDirectory));
    const two = await startWatchServer({
      port: 0,
      seed: 0,
      runs: [
        {
          name: 'two policies',
          about: '',
          simulator: 'walker_walk',
          episodeSteps,
          simulatorRepeat: 1,
          actionRepeat: 1,
          observations: undefined,
          oneHotObservations: true,
          policies: [
            { name: 'last', about: 'after 2 steps' },
            { name: 'best', about: 'after 1 step' },
          ],
        },
      ],
      policy: (_, name) => readFile((name === 'last' ? own! : another!).files.policy),
    });
    const { page: other } = await openPage(browser, two.url, still);
    try {
      await other.waitForSelector('.controls:not([hidden])', { timeout: 90_000 });
      const choice = other.locator('[name=policy]');
      expect(await choice.locator('option').allTextContents()).toEqual([
        'Last policy, after 2 steps',
        'Best policy, after 1 step',
      ]);
      expect(await play(other)).toEqual([alone[0]]);
      await choice.selectOption('best');
      const status = () => other.locator('.status').textContent();
      await expect.poll(status).toBe('two policies: the best policy acts.');
      await other.locator('[data-act=restart]').click();
      await expect.poll(status).toBe('Start 1 of the evaluation.');
      expect(await play(other)).toEqual([alone[1]]);
    } finally {
      await other.close();
      await two.close();
    }
  });

  it.each(['light', 'dark'] as const)('has no serious fault of accessibility, %s', async (colorScheme) => {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    expect(await seriousFaults(page)).toEqual([]);
    const widths = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
    expect(await page.evaluate(widths)).toBe(0);
  });

  it('draws without WebGL, and says how to push then', async () => {
    const plain = await launchBrowser({ webgl: false });
    try {
      const { page: drawn } = await openPage(plain, server.url, still);
      await drawn.waitForSelector('.stage[data-drawn=svg] svg path', { timeout: 90_000 });
      await expect.poll(() => drawn.locator('.status').textContent()).toContain('no WebGL');
      await drawn.locator('[data-act=left]').click();
      await expect.poll(() => soFar(drawn)).not.toEqual(start);
    } finally {
      await plain.close();
    }
  });
});

describe('watchRuns', () => {
  it.each([
    [
      'at an address',
      'environment: {address: "127.0.0.1:9"}',
      /its simulator is at 127\.0\.0\.1:9, and a browser cannot simulate it/,
    ],
    [
      'a job without one',
      'dataset: {file: data.parquet}',
      /its simulator is not known, and a browser cannot simulate it/,
    ],
  ])('refuses a simulator %s', async (name, text, message) => {
    const run = join(folder, name.replaceAll(' ', '-'));
    await mkdir(run);
    await writeFile(join(run, 'config.yaml'), text);
    await expect(watchRuns({ folders: [run], port: 0 })).rejects.toThrow(message);
  });
});
