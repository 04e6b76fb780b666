/** What a live page and its server tell each other. */

/** What a person may ask of a run from its page. */
export type LiveCommand = 'stop' | 'checkpoint';

/** The state of the run. */
export interface LiveState {
  /** `stopped`: no process works on it, and it can be resumed. */
  readonly state: 'running' | 'stopping' | 'stopped' | 'ended';
  /** Steps of the newest checkpoint. */
  readonly checkpoint?: number;
  /** Why the run's files could not be looked at. */
  readonly problem?: string;
}

/** An event of the server. */
export interface LiveEvent extends LiveState {
  /** Rises whenever the report would be another one. The page has the one that it was drawn for as `data-version`. */
  readonly version: number;
  /** True if no other event follows: the page asks for this report, and then hangs up. */
  readonly isLast: boolean;
}
