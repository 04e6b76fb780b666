import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const site = join(root, 'docs/site/public');
const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  existsSync,
);

beforeAll(async () => {
  // TypeDoc treats a link that leads nowhere as an error.
  await promisify(execFile)(process.execPath, [join(root, 'scripts/docs.mjs')]).catch(
    (error: { stdout: string; stderr: string }) => {
      throw new Error(`${error.stdout}${error.stderr}`);
    },
  );
}, 400_000);

describe('the documentation site', () => {
  it('begins with the README, and has a page for each of the three uses', async () => {
    const index = await readFile(join(site, 'index.html'), 'utf8');
    expect(index).toContain('Improve a policy from accepted samples, rejected samples, or both');
    for (const page of ['Connecting_to_simulators', 'Swapping_the_optimizer', 'Feedback_from_anywhere']) {
      expect(existsSync(join(site, 'documents', `${page}.html`)), page).toBe(true);
    }
  });

  it('has every page of docs/', async () => {
    const { projectDocuments } = JSON.parse(await readFile(join(root, 'docs/site/typedoc.json'), 'utf8')) as {
      projectDocuments: string[];
    };
    const pages = readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md'));
    expect(pages.filter((page) => !projectDocuments.includes(`../${page}`))).toEqual([]);
    expect(new Set(projectDocuments).size).toBe(projectDocuments.length);
  });

  it('has the docstrings of the public modules', async () => {
    const page = await readFile(join(site, 'functions/operators.pmpo.html'), 'utf8');
    expect(page).toContain('arXiv 2410.04166, equation 10');
  });
});

describe.skipIf(browserPath === undefined)('in a browser (skipped without Chromium)', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
  });
  afterAll(() => browser.close());

  const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
  const looks = [
    { colorScheme: 'light', viewport: { width: 1280, height: 900 } },
    { colorScheme: 'dark', viewport: { width: 1280, height: 900 } },
    { colorScheme: 'light', viewport: { width: 390, height: 800 } },
  ] as const;

  for (const look of looks) {
    it(`asks nobody for anything, and has no serious fault of accessibility: ${JSON.stringify(look)}`, async () => {
      const context = await browser.newContext(look);
      for (const page of ['index.html', 'documents/Troubleshooting.html', 'functions/operators.pmpo.html']) {
        const tab = await context.newPage();
        const requests: string[] = [];
        tab.on('request', (request) => {
          if (!request.url().startsWith('file:')) requests.push(request.url());
        });
        await tab.goto(pathToFileURL(join(site, page)).href);
        await tab.addScriptTag({ path: axe });
        const faults = await tab.evaluate(async () => {
          const { axe } = globalThis as unknown as { axe: typeof import('axe-core') };
          // TypeDoc's own sidebar has links in the headings of its folds.
          const { violations } = await axe.run({ exclude: ['.tsd-navigation'] });
          return violations
            .filter(({ impact }) => impact === 'serious' || impact === 'critical')
            .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
        });
        expect({ page, requests, faults }).toEqual({ page, requests: [], faults: [] });
        await tab.close();
      }
      await context.close();
    });
  }
});
