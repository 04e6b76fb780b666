/** What the page of `pmpo watch` is told: the runs, how their simulators are set, and where their policies are. */

/** A policy of a run. */
export interface WatchedPolicy {
  readonly name: 'last' | 'best';
  /** Environment steps (offline: updates) for which it was trained, in words. */
  readonly about: string;
}

/** A run whose policy acts on the page. */
export interface WatchedRun {
  /** The name of its folder. */
  readonly name: string;
  /** Its operator, and what else tells it from others. */
  readonly about: string;
  /** The name of an embedded simulator. */
  readonly simulator: string;
  /** The control steps of an episode, and those for which the simulator holds an action. */
  readonly episodeSteps: number;
  readonly simulatorRepeat: number;
  /** Steps for which the run holds an action on top of that. */
  readonly actionRepeat: number;
  /** The names of the observations that the policy sees; undefined: all. */
  readonly observations: readonly string[] | undefined;
  readonly oneHotObservations: boolean;
  /** The simulator's steps after which an evaluation cuts an episode; undefined: never. */
  readonly maxEpisodeSteps: number | undefined;
  readonly policies: readonly WatchedPolicy[];
}

/** The data of the page. */
export interface WatchData {
  readonly runs: readonly WatchedRun[];
  /** The seeds of the episodes, which are played in turn. */
  readonly seeds: readonly number[];
}

/** The path of a policy's ONNX model on the server. */
export const policyPath = (run: number, name: WatchedPolicy['name']) => `/policies/${run}/${name}.onnx`;

/** The files that hold nothing of a run: the page's script, and the WebAssembly of the libraries that it uses. */
export const publicFiles = ['/page.js', '/mujoco.wasm', '/onnxruntime.wasm'] as const;
