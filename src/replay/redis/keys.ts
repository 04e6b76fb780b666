/** The keys of one run in Redis. The braces in their names keep them together on one node of a cluster. */
export interface RunKeys {
  /** Hash: the run's token and shared settings, and the counters by which learner and actors keep pace. */
  readonly run: string;
  /** Stream: chunks of transitions, from the oldest that a checkpoint may still need. */
  readonly transitions: string;
  /** Hash: for each actor the number of its last stored chunk. */
  readonly actors: string;
  /** Hash: the newest policy. */
  readonly policy: string;
  /** String that expires: the learner that holds the run. */
  readonly learner: string;
}

/** The keys of the run called `name`. */
export function runKeys(name: string): RunKeys {
  const key = (part: string) => `pmpo:{${name}}:${part}`;
  return {
    run: key('run'),
    transitions: key('transitions'),
    actors: key('actors'),
    policy: key('policy'),
    learner: key('learner'),
  };
}
