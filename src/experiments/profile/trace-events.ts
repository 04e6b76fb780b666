import { slicesOf } from './cpu-profile.js';
import type { RunProfile } from './profile-run.js';

/**
 * A profile in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open. Times are microseconds. The graphs of ONNX
 * Runtime have a clock of their own, which nothing ties to ours: their rows begin where the first of their runs does.
 */

interface TraceEvent {
  readonly name: string;
  readonly ph: 'X' | 'M' | 'b' | 'e';
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly id?: number;
  readonly cat?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** The last runs of a graph whose kernels are kept: a trace of all would be tens of megabytes. */
const keptRuns = 200;

const processes = { run: 1, graphs: 2 } as const;

/** The text of the trace file. */
export function traceText(profile: RunProfile): string {
  const { spans, cpu, cpuStart, sessions } = profile;
  const events: TraceEvent[] = [
    named('process_name', processes.run, 0, 'the run'),
    named('process_name', processes.graphs, 0, 'ONNX Runtime, on its own clock'),
    named('thread_name', processes.run, 1, 'main thread'),
  ];
  const origin = cpuStart;
  for (const { what, start, duration } of slicesOf(cpu)) {
    if (what === 'idle') continue;
    events.push({
      name: what,
      ph: 'X',
      pid: processes.run,
      tid: 1,
      ts: start - cpu.startTime,
      dur: duration,
    });
  }
  // Calls may queue, so each is an event of its own and not a slice of a thread.
  for (const [id, { track, start, end }] of spans.entries()) {
    const common = { name: track, cat: track, pid: processes.run, tid: 2, id };
    events.push(
      { ...common, ph: 'b', ts: 1000 * (start - origin) },
      { ...common, ph: 'e', ts: 1000 * (end - origin) },
    );
  }
  let thread = 0;
  for (const [name, { runs, kernels }] of sessions) {
    thread += 1;
    events.push(named('thread_name', processes.graphs, thread, name));
    const kept = runs.slice(-keptRuns);
    const from = kept[0]?.start ?? 0;
    for (const event of [...kept, ...kernels.filter(({ start }) => start >= from)]) {
      events.push({
        name: event.name,
        ph: 'X',
        pid: processes.graphs,
        tid: thread,
        ts: event.start - from,
        dur: event.duration,
      });
    }
  }
  return JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' });
}

function named(name: 'process_name' | 'thread_name', pid: number, tid: number, text: string): TraceEvent {
  return { name, ph: 'M', pid, tid, args: { name: text } };
}
