import type { LearnerObserver } from '../../src/run/observer.js';

/** Ignores everything that a learner reports. A test spreads it and adds what it looks at. */
export const silentObserver: LearnerObserver = {
  progress: () => {},
  metrics: () => {},
  evaluation: () => {},
  notice: () => {},
  checkpoint: async () => {},
};
