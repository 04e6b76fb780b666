/** Where the parts of one run stand in Redis. The braces keep them together on one node of a cluster. */
export interface RunKeys {
  /** Hash: the run's token and contract, and the counters that actors and learner steer by. */
  readonly run: string;
  /** Stream: chunks of transitions, from the oldest that a checkpoint may still need. */
  readonly transitions: string;
  /** Hash: of each actor the number of its last stored chunk. */
  readonly actors: string;
  /** Hash: the newest policy. */
  readonly policy: string;
  /** String that runs out: who the learner is. */
  readonly learner: string;
}

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
