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
import type { WatchedRun } from '../../src/watch/watch-data.js';
import {
  inBrowser,
  launchBrowser,
  noBrowser,
  type OpenedPage,
  openPage,
  seriousFaults,
} from '../support/browser.js';

const episodeSteps = 60;
const starts = 3;

let folder: string;
const runs: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-watch-'));
  for (const alpha of [0.5, 0]) {
    const config = join(folder, `alpha-${alpha}.yaml`);
    await writeFile(
      config,
      `environment: {simulator: walker_walk, numEnvs: 2, actionRepeat: 2, observations: [orientations, velocity]}
operator: {name: pmpo, alpha: ${alpha}}
policy: {hidden: [16]}
critic: {hidden: [16]}
learner: {environmentSteps: 200, warmupSteps: 64, batchSize: 32}
evaluation: {every: 100, episodes: ${starts}, maxEpisodeSteps: ${episodeSteps}}
output: ${folder}
`,
    );
    const loaded = await loadConfig(config);
    const { directory } = await trainRun({ loaded, progressMode: 'quiet', command: 'pmpo train' });
    runs.push(directory.path);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the page says at the end of each episode of an evaluation of a run, played by Node through the simulator's server. */
async function endsInNode(run: string): Promise<string[]> {
  const directory = await openRunDirectory(run);
  const loaded = await loadConfig(directory.files.config);
  const { returns } = await evaluateRun(directory, loaded, starts, { notice: () => {} });
  return returns.map((value) => `Return ${formatNumber(value)} after ${episodeSteps / 2} steps, the end.`);
}

/** Runs of one simulator as `watchRuns` shows them, with any policies. */
async function serveTwo(
  policies: (run: number, name: 'last' | 'best') => Uint8Array,
): Promise<LoopbackServer> {
  const shown = (name: string): WatchedRun => ({
    name,
    about: '',
    simulator: 'walker_walk',
    episodeSteps,
    simulatorRepeat: 1,
    actionRepeat: 2,
    observations: ['orientations', 'velocity'],
    oneHotObservations: true,
    maxEpisodeSteps: undefined,
    policies: [
      { name: 'last', about: 'after 2 steps' },
      { name: 'best', about: 'after 1 step' },
    ],
  });
  return startWatchServer({
    port: 0,
    seeds: [1, 2],
    runs: [shown('left'), shown('right')],
    policy: policies,
  });
}

const soFar = (page: Page) => page.locator('.so-far').allTextContents();
const start = Array(2).fill('Return so far 0 after 0 steps.');
const statusOf = (page: Page) => page.locator('.status').textContent();

/** A page for a reader who wants little motion, on which nothing plays that was not asked for. */
async function openStill(browser: Browser, server: LoopbackServer): Promise<OpenedPage> {
  const still = { reducedMotion: 'reduce', viewport: { width: 390, height: 800 } } as const;
  const opened = await openPage(browser, server.url, still);
  await opened.page.waitForSelector('.controls:not([hidden])', { timeout: 90_000 });
  return opened;
}

/** Plays the episode to its end. @param how what begins it; default: the button */
async function play(page: Page, how = () => page.locator('[data-act=play]').click()): Promise<string[]> {
  await how();
  await page.waitForSelector('.watch[data-playing=true]');
  await page.waitForSelector('.watch[data-playing=false]', { timeout: 60_000 });
  const texts = await soFar(page);
  for (const text of texts) expect(text).toContain('the end.');
  return texts;
}

/** The same episode again. */
async function restart(page: Page): Promise<void> {
  await page.locator('[data-act=restart]').click();
  await expect.poll(() => soFar(page)).toEqual(start);
}

/** What is seen of the first run, as a PNG file. */
const picture = (page: Page) => page.locator('.stage').first().screenshot();

describe.skipIf(noBrowser !== undefined)(`pmpo watch ${inBrowser}`, () => {
  let browser: Browser;
  let policies: readonly Uint8Array[];
  beforeAll(async () => {
    browser = await launchBrowser();
    policies = await Promise.all(
      runs.map(async (run) => readFile((await openRunDirectory(run)).files.policy)),
    );
  });
  afterAll(() => browser?.close());

  it('plays the episodes of an evaluation, and asks nobody but its server', async () => {
    const server = await watchRuns({ folders: runs, port: 0 });
    const { page, requests, errors } = await openStill(browser, server);
    try {
      expect(await soFar(page)).toEqual(start);
      expect(await page.locator('.pick > p').allTextContents()).toEqual([
        'pmpo, alpha=0.5, seed 0',
        'pmpo, alpha=0, seed 0',
      ]);
      const played: string[][] = [];
      for (let i = 0; i < starts; i++) {
        played.push(await play(page));
        expect(await statusOf(page)).toBe(`Episode ${i + 1} of the ${starts} of an evaluation.`);
      }
      // An evaluation's returns are in the order in which its episodes end.
      for (const [i, run] of runs.entries())
        expect(played.map((texts) => texts[i]).sort()).toEqual((await endsInNode(run)).sort());
      await page.locator('[data-act=next]').click();
      await expect.poll(() => statusOf(page)).toBe(`Episode 1 of the ${starts} of an evaluation.`);
      const own = new URL(server.url).origin;
      expect(new Set(requests.map((url) => new URL(url).origin))).toEqual(new Set([own]));
      expect(errors).toEqual([]);
    } finally {
      await page.close();
      await server.close();
    }
  });

  it('pushes all runs alike, or one of them, by buttons and by dragging', async () => {
    const server = await serveTwo(() => policies[0]!);
    const { page } = await openStill(browser, server);
    try {
      const before = await picture(page);
      const alone = await play(page);
      expect(alone[0]).toBe(alone[1]);
      expect((await picture(page)).equals(before)).toBe(false);
      await page.locator('[name=strength]').fill('3');
      const pushed: string[] = [];
      for (const side of ['left', 'right']) {
        await restart(page);
        const [own, other] = await play(page, () => page.locator(`[data-act=${side}]`).click());
        expect(own).toBe(other);
        pushed.push(own!);
      }
      expect(new Set([alone[0], ...pushed]).size).toBe(3);

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
            if ((await stage.getAttribute('data-pulled')) !== null) return;
            await page.mouse.up();
          }
        throw new Error('no body was found');
      };
      const [dragged, other] = await play(page, grab);
      expect(dragged).not.toBe(alone[0]);
      expect(other).toBe(alone[1]);
      await page.mouse.up();
      expect(await stage.getAttribute('data-pulled')).toBe(null);
    } finally {
      await page.close();
      await server.close();
    }
  });

  it('lets another policy act, and leaves out nothing that was asked for meanwhile', async () => {
    const server = await serveTwo((_, name) => policies[name === 'last' ? 0 : 1]!);
    const { page } = await openStill(browser, server);
    try {
      const choice = page.locator('[name=policy]').first();
      expect(await choice.locator('option').allTextContents()).toEqual([
        'Last policy, after 2 steps',
        'Best policy, after 1 step',
      ]);
      const [last] = await play(page);
      await choice.selectOption('best');
      await restart(page);
      const [best, other] = await play(page);
      expect(best).not.toBe(last);
      expect(other).toBe(last);
    } finally {
      await page.close();
      await server.close();
    }
  });

  it('has no serious fault of accessibility, and a picture before it plays', async () => {
    const server = await serveTwo(() => policies[0]!);
    const { page } = await openStill(browser, server);
    try {
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
        expect(await seriousFaults(page)).toEqual([]);
        // A picture of nothing compresses to less than a twentieth of this one.
        await expect.poll(async () => (await picture(page)).length).toBeGreaterThan(4000);
      }
      const widths = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect(await page.evaluate(widths)).toBe(0);
    } finally {
      await page.close();
      await server.close();
    }
  });

  it('draws without WebGL, and says how to push then', async () => {
    const plain = await launchBrowser({ webgl: false });
    const server = await serveTwo(() => policies[0]!);
    try {
      const { page } = await openStill(plain, server);
      await page.waitForSelector('.stage[data-drawn=svg] svg path');
      expect(await statusOf(page)).toContain('no WebGL');
      const alone = await play(page);
      await restart(page);
      expect(await play(page, () => page.locator('[data-act=left]').click())).not.toEqual(alone);
    } finally {
      await plain.close();
      await server.close();
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
