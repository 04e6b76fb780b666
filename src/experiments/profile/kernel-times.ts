import { z } from 'zod';

/** What ONNX Runtime's profiler writes about one session: a JSON list of events. Times are microseconds on a clock of its own. */

const events = z.array(
  z.object({
    cat: z.string(),
    name: z.string(),
    ts: z.number(),
    dur: z.number(),
    args: z.object({ op_name: z.string().optional(), node_index: z.string().optional() }).loose().optional(),
  }),
);

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

/** How often the node ran that ran most. A call runs each node of its graph once. */
function mostRunsOfNode(nodes: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const node of nodes) counts.set(node, (counts.get(node) ?? 0) + 1);
  return [...counts.values()].reduce((most, count) => Math.max(most, count), 0);
}

/** Reads a profile. @throws Error if the text is not one. */
export function readSessionProfile(text: string): SessionProfile {
  const all = events.parse(JSON.parse(text));
  const event = (name: string, { ts, dur }: { ts: number; dur: number }): SessionEvent => ({
    name,
    start: ts,
    duration: dur,
  });
  const runs = all.filter(({ name }) => name === 'model_run').map((one) => event('run', one));
  const kernels = all.flatMap((one) => {
    const operator = one.args?.op_name;
    const isKernel = one.cat === 'Node' && one.name.endsWith('_kernel_time');
    if (!isKernel || operator === undefined || containers.has(operator)) return [];
    // ONNX Runtime may give one name to several nodes that it makes of others.
    return [{ event: event(operator, one), node: `${one.name} ${one.args?.node_index}` }];
  });
  return {
    calls: Math.max(runs.length, mostRunsOfNode(kernels.map(({ node }) => node))),
    runs,
    kernels: kernels.map((kernel) => kernel.event),
  };
}
