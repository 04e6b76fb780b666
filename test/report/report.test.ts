import { execFile, spawnSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EpisodeRecording } from '../../src/environments/episode-recording.js';
import { renderCurveSvg, renderReport } from '../../src/report/report.js';
import { outcomeOf, type RunData, readRun } from '../../src/report/run-data.js';
import { numberEpisode, writeEpisodes } from './synthetic-episodes.js';
import { writeSyntheticComparison, writeSyntheticRun } from './synthetic-run.js';

let folder: string;
let single: RunData;
let comparison: RunData[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pmpo-report-'));
  single = await readRun(
    await writeSyntheticRun(folder, { operator: 'mpo', seed: 1, plateau: 800, halfway: 30_000 }),
  );
  const paths = await writeSyntheticComparison(join(folder, 'compare'));
  comparison = await Promise.all(paths.map((path) => readRun(path)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length;
}

/** Every address from which a page would load something. */
function loads(html: string): string[] {
  return [...html.matchAll(/(?:\bsrc|\bhref|xlink:href)="([^"]*)"|url\(([^)]*)\)|@import\s+(\S+)/g)]
    .map((match) => match[1] ?? match[2] ?? match[3]!)
    .filter((address) => !address.startsWith('data:') && !address.startsWith('#'));
}

describe('readRun', () => {
  it('reads the files of a run', () => {
    expect(single).toMatchObject({
      operator: 'mpo',
      label: 'mpo',
      feedback: 'top-k',
      environment: 'cartpole_swingup',
      seed: 1,
      status: 'finished',
    });
    expect(single.evaluations).toHaveLength(20);
    expect(single.metrics).toHaveLength(200);
    expect(single.notices).toMatchObject([{ message: expect.stringContaining('reconnected') }]);
    expect(outcomeOf(single)).toMatchObject({ steps: 100_000, updates: 50_000, scoreCount: 10 });
  });

  it('reads a run of an earlier version, in which completions were environment steps and rewards returns', async () => {
    const former = await readRun('results/language/gemma/PMPO-AR');
    expect(former).toMatchObject({ kind: 'language', status: 'finished' });
    expect(outcomeOf(former)).toMatchObject({ steps: 640, updates: 20, scoreCount: 64 });
    expect(outcomeOf(former).meanScore).toBeCloseTo(0.838, 3);
    expect(former.evaluations.map(({ steps }) => steps)).toEqual([0, 160, 320, 480, 640]);
    expect(former.evaluations[0]).toMatchObject({ stepUnit: 'completions', scoreName: 'reward' });
    expect(former.evaluations[0]?.scores).toHaveLength(64);
    const html = await renderReport([former], { command: 'pmpo train' });
    const shows = (text: string) => html.includes(text);
    expect(shows('<dt>Final reward</dt>')).toBe(true);
    expect(shows('the standard deviation over 64 completions')).toBe(true);
    expect(shows('Training reward')).toBe(true);
    expect(shows('<h1>Language model (trainer) on questions.jsonl, rewarded by brief-answers.ts</h1>')).toBe(
      true,
    );
    // The first prompt's completions, from before and after.
    expect(shows('In a hanging pot.')).toBe(true);
    expect(shows('on a horizon somewhere.')).toBe(true);
    for (const title of ['Diversity and repetition', 'Length', 'Rewards'])
      expect(shows(`>${title}</text>`)).toBe(true);
    expect(html).toMatch(/Distinct pairs of words \(distinct-2\)<\/th><td>0\.863<\/td><td>0\.9<\/td>/);
  });

  it('distinguishes finished, unfinished and diverged runs', async () => {
    const plan = { operator: 'pmpo', seed: 5, plateau: 500, halfway: 20_000 };
    const unfinished = await readRun(await writeSyntheticRun(folder, { ...plan, finished: false }));
    expect(unfinished.status).toBe('unfinished');
    expect(outcomeOf(unfinished).meanScore).toBeGreaterThan(400);
    const diverged = await readRun(await writeSyntheticRun(folder, { ...plan, divergesAt: 60_000 }));
    expect(diverged.status).toBe('diverged');
    expect(outcomeOf(diverged).meanScore).toBeNaN();
  });

  it('ignores a line that is still being written, and says which lines are broken', async () => {
    const plan = { operator: 'pmpo', seed: 6, plateau: 500, halfway: 20_000 };
    const path = await writeSyntheticRun(folder, plan);
    const metrics = join(path, 'metrics.jsonl');
    await appendFile(metrics, '{"kind":"metr');
    expect((await readRun(path)).metrics).toHaveLength(200);
    await writeFile(metrics, `{}\n{"kind"\n${await readFile(metrics, 'utf8')}`);
    const run = await readRun(path);
    expect(run.metrics).toHaveLength(200);
    expect(run.notices.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        'Line 1 of metrics.jsonl is damaged and left out',
        'Line 2 of metrics.jsonl is damaged and left out',
      ]),
    );
  });
});

it('leaves out damaged files of episodes and starts, and says so', async () => {
  const plan = { operator: 'pmpo', seed: 8, plateau: 500, halfway: 20_000 };
  const path = await writeSyntheticRun(folder, plan);
  const episode = await numberEpisode();
  await writeEpisodes(path, [episode, episode], [5000, 100_000]);
  const file = (name: string) => join(path, 'episodes', `${name}.json`);
  const last = JSON.parse(await readFile(file('last'), 'utf8')) as { episode: EpisodeRecording };
  last.episode = { ...last.episode, rewards: { ...episode.rewards, data: 'AAAA' } };
  await writeFile(file('last'), JSON.stringify(last));
  await writeFile(file('first'), '{"steps": 5000, "upd');
  await writeFile(join(path, 'provenance.json'), '[{"time": 3}]');
  const run = await readRun(path);
  expect(run.episodes).toMatchObject([{ names: ['best'], steps: 100_000 }]);
  expect(run.starts).toEqual([]);
  const html = await renderReport([run], { command: 'pmpo' });
  for (const name of ['episodes/first.json', 'episodes/last.json', 'provenance.json'])
    expect(html.includes(`${name} is damaged and left out: `), name).toBe(true);
});

describe('renderReport', () => {
  it('shows one run: outcome, curve, the command, every metric and the configuration', async () => {
    const html = await renderReport([single], { command: 'pmpo train a.yaml --set name="<b>"' });
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).toMatch(
      /<dt>Final return<\/dt><dd>\d+<span class="muted of"> of 1,000<\/span> <small>± [\d.]+, the standard deviation over 10 episodes</,
    );
    expect(html).toContain('<dt>Operator</dt><dd>mpo: α = 0.5</dd>');
    expect(html).toContain('mean: weight 1; covariance: weight 50');
    expect(html).toContain('Never changed: Weight of the KL: covariance 50, mean 1.');
    expect(html).toContain('pmpo train a.yaml --set name=&#34;&#60;b&#62;&#34;');
    expect(html).toContain('reconnected after 0.5 s');
    expect(html).toContain('    covariance: 50');
    const titles = [
      'Training return',
      'Policy loss',
      'Critic loss',
      'KL(reference ‖ policy)',
      'Temperature',
      'Entropy',
      'Standard deviation',
      'Environment steps per second',
      'Value estimates',
      'critic/gradientNorm',
    ];
    expect(titles.filter((title) => !html.includes(`>${title}</text>`))).toEqual([]);
    expect(html).toContain('2 more metrics');
    expect(count(html, /<path class="hover"[^>]*><title>mpo at [\d,]+ steps: mean return/g)).toBe(40);
  });

  it('is self-contained', async () => {
    for (const runs of [[single], comparison]) {
      const html = await renderReport(runs, { command: 'pmpo' });
      expect(loads(html)).toEqual([]);
      expect(html.includes('<script')).toBe(false);
    }
  });

  it('compares operators over seeds, and shows which runs diverged', async () => {
    const html = await renderReport(comparison, { title: 'Three operators', command: 'pmpo compare' });
    expect(html).toContain('<h1>Three operators</h1>');
    expect(html).toContain('Comparison of 3 operators, 9 runs');
    for (const label of ['pmpo', 'mpo', 'dpo']) {
      expect(html).toContain(`<title>${label} at 50,000 steps: median`);
    }
    // The median of dpo ends at 70,000, where one of its seeds diverges.
    expect(html).not.toContain('<title>dpo at 75,000 steps');
    expect(html).toContain('<title>mpo at 75,000 steps');
    expect(html).toContain('>diverged</text>');
    // In the curve for wide pages, and in that for narrow ones.
    expect(count(html, /aria-roledescription="point"/g)).toBe(2);
    expect(html).toContain('A seed that diverged counts as worse than any other');
    expect(count(html, /<span class="state diverged">diverged<\/span><\/td><\/tr>/g)).toBe(1);
    expect(html).toContain('cartpole_swingup-dpo-seed2/config.yaml');
    // Three seeds are shown one by one, and no interval is made of them.
    expect(html).toContain('>Each seed<');
    expect(html).toMatch(/<td>834, 817, 811<\/td>/);
    expect(html).not.toContain('Middle half');
    expect(html).not.toContain('P(better than');
    expect(html).toContain('Dashed lines: each seed');
    expect(html).toMatch(
      /<code>operator\.name<\/code><\/th><td class="text">pmpo<\/td><td class="text">mpo<\/td>/,
    );
  });

  it('works before the first evaluation and after a single one', async () => {
    const plan = { operator: 'pmpo', seed: 7, plateau: 500, halfway: 20, finished: false };
    const empty = await readRun(await writeSyntheticRun(folder, { ...plan, environmentSteps: 20 }));
    expect(await renderReport([empty], { command: 'pmpo' })).toContain(
      'No evaluation has been recorded yet.',
    );
    const once = {
      ...single,
      evaluations: single.evaluations.slice(0, 1),
      metrics: single.metrics.slice(0, 1),
    };
    const html = await renderReport([once], { command: 'pmpo' });
    expect(html).not.toContain('NaN');
    expect(count(html, /<path class="hover"/g)).toBe(2);
    await expect(renderReport([], { command: 'pmpo' })).rejects.toThrow(RangeError);
  });

  it('escapes names and messages of a run', async () => {
    const html = await renderReport([{ ...single, label: '<img src=x>', environment: '<script>' }], {
      command: 'pmpo',
    });
    expect(html).not.toMatch(/<img|<script/);
  });
});

describe('renderCurveSvg', () => {
  it('is one SVG file that follows light and dark mode', async () => {
    const [first, ...others] = comparison;
    const svg = await renderCurveSvg([{ ...first!, label: 'a < b' }, ...others]);
    expect(svg).toContain('<title>Learning curves: a &#60; b, ');
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
    expect(svg).toContain('prefers-color-scheme:dark');
    expect(svg).not.toContain('NaN');
  });
});

const chromium = ['chromium', 'chromium-browser', 'google-chrome'].find(
  (name) => spawnSync(name, ['--version'], { timeout: 10_000 }).status === 0,
);

describe.skipIf(chromium === undefined)(
  'a report in headless Chromium (skipped if it is not installed)',
  () => {
    it('is drawn in light and in dark', async () => {
      const page = join(folder, 'report.html');
      await writeFile(page, await renderReport(comparison, { command: 'pmpo compare' }));
      const shots: Buffer[] = [];
      for (const scheme of [0, 1]) {
        const shot = join(folder, `shot-${scheme}.png`);
        const flags =
          '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --window-size=1200,1600';
        await promisify(execFile)(
          chromium!,
          [
            ...flags.split(' '),
            `--user-data-dir=${join(folder, `profile-${scheme}`)}`,
            `--blink-settings=preferredColorScheme=${scheme}`,
            `--screenshot=${shot}`,
            `file://${page}`,
          ],
          { timeout: 50_000 },
        );
        shots.push(await readFile(shot));
      }
      const [dark, light] = shots;
      // An empty page of this size compresses to a few thousand bytes.
      expect(dark!.length).toBeGreaterThan(50_000);
      expect(light!.length).toBeGreaterThan(50_000);
      expect(dark!.equals(light!)).toBe(false);
    });
  },
);
