import { mean, quantile } from '../../core/statistics.js';
import { slicesOf, totalsOf } from './cpu-profile.js';
import type { RunProfile } from './profile-run.js';
import type { Span } from './spans.js';

/** A profile for people: a table for each question. */

const milliseconds = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`;
const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;

/** Lines with their columns aligned, the first to the left and the others to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')}`.trimEnd(),
  );
}

function byTrack(spans: readonly Span[]): Map<string, Span[]> {
  const found = new Map<string, Span[]>();
  for (const span of spans) {
    const calls = found.get(span.track);
    if (calls === undefined) found.set(span.track, [span]);
    else calls.push(span);
  }
  return found;
}

/** The length of the union of spans, in milliseconds. */
function covered(spans: readonly Span[]): number {
  let [total, until] = [0, Number.NEGATIVE_INFINITY];
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    total += Math.max(0, end - Math.max(start, until));
    until = Math.max(until, end);
  }
  return total;
}

/** The kernels of a session that take most of its time, and all others together. */
const shownKernels = 8;

/** The text that `pmpo profile` prints. */
export function profileText(profile: RunProfile): string {
  const { steps, updates, seconds, spans, cpu, sessions } = profile;
  const tracks = byTrack(spans);
  const lines = [
    `${steps.toLocaleString('en-US')} environment steps and ${updates.toLocaleString('en-US')} updates in ${seconds.toFixed(1)} s: ${Math.round(steps / seconds)} steps/s, ${Math.round(updates / seconds)} updates/s. Measuring itself takes some of it.`,
    '',
    'Calls, from request to answer. Those to the environments hold the wire, the server and the simulators; they overlap with updates.',
    ...table([
      ['', 'calls', 'mean', '95 % within', 'share of the time'],
      ...[...tracks]
        .map(([track, calls]) => ({ track, calls, share: covered(calls) / (1000 * seconds) }))
        .sort((a, b) => b.share - a.share)
        .map(({ track, calls, share }) => {
          const times = calls.map(({ start, end }) => end - start);
          return [
            track,
            String(calls.length),
            milliseconds(mean(times)),
            milliseconds(quantile(times, 0.95)),
            percent(share),
          ];
        }),
    ]),
    '',
    'The main thread, which acts, talks to the servers, and prepares batches and noise:',
    ...table(cpuRows(cpu)),
  ];
  for (const [name, { calls, runs, kernels }] of sessions) {
    const whole = runs.reduce((sum, { duration }) => sum + duration, 0);
    if (whole < 0.01 * 1e6 * seconds) continue;
    const totals = new Map<string, number>();
    for (const kernel of kernels) totals.set(kernel.name, (totals.get(kernel.name) ?? 0) + kernel.duration);
    const sorted = [...totals].sort(([, a], [, b]) => b - a);
    const rest = sorted.slice(shownKernels).reduce((sum, [, time]) => sum + time, 0);
    lines.push(
      '',
      `The graph '${name}', ${calls} calls in ${runs.length} runs, ${milliseconds(whole / calls / 1000)} for each call (those before the profile included), by kernel:`,
      ...table([
        ...sorted.slice(0, shownKernels).map(([kernel, time]) => [kernel, percent(time / whole)]),
        ...(rest > 0 ? [['others', percent(rest / whole)]] : []),
        [
          'between the kernels',
          percent(Math.max(0, 1 - [...totals.values()].reduce((a, b) => a + b, 0) / whole)),
        ],
      ]),
    );
  }
  return lines.join('\n');
}

function cpuRows(cpu: RunProfile['cpu']): string[][] {
  const whole = Math.max(1, cpu.endTime - cpu.startTime);
  return totalsOf(slicesOf(cpu)).map(([what, time]) => [what, percent(time / whole)]);
}
