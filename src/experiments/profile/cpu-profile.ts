import type { Profiler } from 'node:inspector';

/** Where the time of the main thread went, from the samples of V8's profiler. */

/** What the main thread does, by the folder of the code that runs. The first pattern that the path fits decides. */
const places: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['gRPC and HTTP/2', /@grpc\/|node:(internal\/)?(http2|net|stream|tls)|protobufjs/],
  ['codec of dm_env_rpc', /\/dm-env-rpc\/|\/grpc\//],
  ['ONNX Runtime in this thread, copies to and from it', /\/engine\/|onnxruntime/],
  ['replay: batches and n-step returns', /\/replay\//],
  ['noise', /\/core\/random-keys|\/control\/noise/],
  ['environments: observations and actions', /\/environments\//],
  ['learner', /\/learners\//],
];

const special: Readonly<Record<string, string>> = {
  '(idle)': 'idle',
  '(garbage collector)': 'garbage collection',
  '(program)': 'native code and the kernel',
};

/** A piece of the main thread's time. Times are microseconds on the profiler's clock. */
export interface Slice {
  readonly what: string;
  readonly start: number;
  readonly duration: number;
}

/**
 * What a call is part of. Functions of Node and of libraries that fit no place count as their caller.
 * @param stack the functions of a sample, innermost first.
 */
function placeOf(stack: readonly Profiler.ProfileNode[]): string {
  const [inner] = stack;
  const known = inner === undefined ? undefined : special[inner.callFrame.functionName];
  if (known !== undefined) return known;
  for (const { callFrame } of stack) {
    const found = places.find(([, pattern]) => pattern.test(callFrame.url));
    if (found !== undefined) return found[0];
  }
  return 'other JavaScript';
}

/** The samples of a profile as slices in the order of time; neighbours of one kind are one. */
export function slicesOf({ nodes, samples = [], timeDeltas = [], startTime }: Profiler.Profile): Slice[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const names = new Map<number, string>();
  const nameOf = (id: number): string => {
    let name = names.get(id);
    if (name === undefined) {
      const stack: Profiler.ProfileNode[] = [];
      for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) stack.push(byId.get(at)!);
      name = placeOf(stack);
      names.set(id, name);
    }
    return name;
  };
  const slices: { what: string; start: number; duration: number }[] = [];
  let now = startTime;
  for (const [i, id] of samples.entries()) {
    const start = now + timeDeltas[i]!;
    // A sample lasts until the next one.
    const duration = Math.max(0, timeDeltas[i + 1] ?? 0);
    now = start;
    const last = slices.at(-1);
    const what = nameOf(id);
    if (last?.what === what) last.duration += duration;
    else slices.push({ what, start, duration });
  }
  return slices;
}

/** The total time of each kind, in microseconds, the longest first. */
export function totalsOf(slices: readonly Slice[]): (readonly [what: string, microseconds: number])[] {
  const totals = new Map<string, number>();
  for (const { what, duration } of slices) totals.set(what, (totals.get(what) ?? 0) + duration);
  return [...totals].sort(([, a], [, b]) => b - a);
}
