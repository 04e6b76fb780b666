import { z } from 'zod';

/**
 * What ONNX Runtime's profiler writes about one session: a JSON list with an event on each line. Times are microseconds on a clock of its
 * own. The list of a few thousand updates is longer than a string can be.
 */

const eventSchema = z.object({
  cat: z.string(),
  name: z.string(),
  ts: z.number(),
  dur: z.number(),
  args: z.object({ op_name: z.string().optional(), node_index: z.string().optional() }).optional(),
});

/** A run of a session, or a kernel in it. */
export interface SessionEvent {
  readonly name: string;
  /** Microseconds since the session was made. */
  readonly start: number;
  readonly duration: number;
}

export interface SessionProfile {
  /** How many calls of the function there were: one run may make several. */
  readonly calls: number;
  readonly runs: readonly SessionEvent[];
  /** By the name of their operator, such as Gemm. */
  readonly kernels: readonly SessionEvent[];
}

/** Operators that run a graph of their own, whose kernels are in the profile themselves. */
const containers: ReadonlySet<string> = new Set(['Scan', 'Loop', 'If']);

/** Reads a profile line by line. @throws Error if a line is not an event. */
export async function readSessionProfile(
  lines: AsyncIterable<string> | Iterable<string>,
): Promise<SessionProfile> {
  const runs: SessionEvent[] = [];
  const kernels: SessionEvent[] = [];
  // A call runs each node of its graph once.
  const runsOfNodes = new Map<string, number>();
  for await (const line of lines) {
    const text = line.trim().replace(/,$/, '');
    if (text === '' || text === '[' || text === ']') continue;
    const { cat, name, ts: start, dur: duration, args } = eventSchema.parse(JSON.parse(text));
    if (name === 'model_run') runs.push({ name: 'run', start, duration });
    const operator = args?.op_name;
    const isKernel = cat === 'Node' && name.endsWith('_kernel_time');
    if (!isKernel || operator === undefined || containers.has(operator)) continue;
    kernels.push({ name: operator, start, duration });
    // ONNX Runtime may give one name to several nodes that it makes of others.
    const node = `${name} ${args?.node_index}`;
    runsOfNodes.set(node, (runsOfNodes.get(node) ?? 0) + 1);
  }
  const mostRuns = [...runsOfNodes.values()].reduce((most, count) => Math.max(most, count), 0);
  return { calls: Math.max(runs.length, mostRuns), runs, kernels };
}
