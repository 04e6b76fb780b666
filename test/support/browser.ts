import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** The system's Chromium: tests of pages are skipped without it, because downloading a browser is not theirs to do. */
const executable = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);

/** Why tests of pages are skipped; undefined if they can run. */
export const noBrowser = executable === undefined ? 'Chromium is not installed' : undefined;

/** What the names of such tests end in. */
export const inBrowser = noBrowser === undefined ? 'in Chromium' : `in Chromium (skipped: ${noBrowser})`;

/** Starts Chromium, with WebGL in software or without any. */
export function launchBrowser({ webgl = true } = {}): Promise<Browser> {
  const graphics = webgl
    ? ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist']
    : ['--disable-gpu', '--disable-3d-apis'];
  return chromium.launch({ executablePath: executable, args: ['--no-sandbox', ...graphics] });
}

/** A page, and what it did that a page should not do. */
export interface OpenedPage {
  readonly page: Page;
  /** The addresses that it asked for, except its own. */
  readonly requests: string[];
  /** The errors that it raised or logged. */
  readonly errors: string[];
}

/** Opens a page and waits until it is loaded. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<OpenedPage> {
  const page = await browser.newPage(options);
  const requests: string[] = [];
  const errors: string[] = [];
  page.on('request', (request) => {
    if (request.url() !== url && !/^(data|blob):/.test(request.url())) requests.push(request.url());
  });
  page.on('pageerror', ({ message }) => errors.push(message));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  await page.goto(url);
  return { page, requests, errors };
}

const axeFile = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

/** What axe-core calls serious or critical on a page: a line for each. */
export async function seriousFaults(page: Page): Promise<string[]> {
  // Not as a script element: a page's policy may forbid those of others.
  await page.evaluate(await readFile(axeFile, 'utf8'));
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { impact: string; id: string; nodes: { html: string }[] }[] }> };
    };
    return (await axe.run()).violations.map(({ impact, id, nodes }) => ({
      impact,
      id,
      html: nodes[0]?.html,
    }));
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, html }) => `${id}: ${html}`);
}
