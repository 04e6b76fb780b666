import { playButton, speedChoice } from '../report/episode-panels.js';
import { escapeHtml, htmlPage } from '../report/html.js';
import { strip } from '../report/strip.js';
import type { WatchData, WatchedPolicy, WatchedRun } from './watch-data.js';

/** The page of `pmpo watch`, before its script has brought it to life. */

const css = `
.watch .stage{cursor:grab;touch-action:pan-y}
.watch .stage[data-pulled]{cursor:grabbing}
.watch .stage[data-drawn=svg]{cursor:default}
.watch .pick{display:flex;justify-content:space-between;gap:12px;align-items:center;flex-wrap:wrap;min-height:36px}
.watch .pick p{margin:0;font-size:13px}
.watch select{font:inherit;color:var(--ink);background:var(--ground);border:1px solid var(--line);border-radius:8px;height:36px;padding:0 10px}
.watch .controls label{display:inline-flex;gap:8px;align-items:center}
.watch .controls input{flex:0 1 130px}
.watch .controls input[type=checkbox]{flex:none;min-width:0;width:16px;height:16px}
.watch .views>:only-child .stage{aspect-ratio:16/9}
.watch .strip{height:64px}
.watch .strip *{vector-effect:non-scaling-stroke}
.watch .status{margin:12px 0 0;min-height:1.6em}
`;

const policyNames: Readonly<Record<WatchedPolicy['name'], string>> = {
  last: 'Last policy',
  best: 'Best policy',
};

function panel({ name, about, policies }: WatchedRun): string {
  const options = policies.map(
    ({ name: policy, about: trained }) =>
      `<option value="${policy}">${policyNames[policy]}, ${escapeHtml(trained)}</option>`,
  );
  const choice = `<select name="policy" aria-label="Policy of ${escapeHtml(name)}">${options.join('')}</select>`;
  return `<div class="view"><h3>${escapeHtml(name)}</h3><div class="pick"><p class="muted">${escapeHtml(about)}</p>${choice}</div>
<div class="stage" data-kind="scene"></div>
<svg class="strip" preserveAspectRatio="none" viewBox="0 0 ${strip.width} ${strip.height}" role="img" aria-label="${escapeHtml(name)}: reward per step so far"></svg>
<p class="so-far muted"></p></div>`;
}

/** Whether the runs have the same bodies, which can be pushed alike. */
const areAlike = (runs: readonly WatchedRun[]) =>
  runs.length > 1 && runs.every(({ simulator }) => simulator === runs[0]!.simulator);

function controls(runs: readonly WatchedRun[]): string {
  const alike = areAlike(runs)
    ? '<label class="muted"><input type="checkbox" name="alike" checked> Push all runs alike</label>'
    : '';
  return `<div class="controls" hidden>
${playButton}
<button type="button" data-act="restart" title="The same episode again">Restart</button>
<button type="button" data-act="next" title="The next episode of the run's evaluations">Next episode</button>
${speedChoice}
<button type="button" data-act="left">Push left</button>
<button type="button" data-act="right">Push right</button>
<label class="muted">Strength <input type="range" name="strength" min="0.25" max="3" step="0.25" value="1"></label>
${alike}
</div>`;
}

/** The whole page. @param password the nonce of its scripts */
export function watchPage(data: WatchData, password: string): string {
  const { runs } = data;
  const simulators = [...new Set(runs.map(({ simulator }) => simulator))];
  const title = simulators.join(' and ');
  const text = JSON.stringify(data).replaceAll('<', '\\u003c');
  const who = runs.length === 1 ? 'The policy acts' : 'The policies act';
  return htmlPage(
    `${title}: pmpo watch`,
    `<header><p class="eyebrow">pmpo watch</p><h1>${escapeHtml(title)}</h1>
<p class="lead">${who} in this browser, where MuJoCo simulates the bodies. Drag a body to push it, or use the buttons. Episodes start as in the evaluations of the run${runs.length === 1 ? '' : `s; all start as those of ${escapeHtml(runs[0]!.name)}`}.</p></header>
<section class="card episodes watch" aria-label="${escapeHtml(title)}"><div class="views">${runs.map(panel).join('\n')}</div>
<p class="status" role="status">Loading MuJoCo and the policies …</p>${controls(runs)}
<noscript><p>This page needs JavaScript.</p></noscript></section>
<script type="application/json" class="watch-data">${text}</script>
<script type="module" nonce="${password}" src="/page.js"></script>`,
    css,
  );
}
