import type { TaskDefinition } from './task.js';
import { acrobotSwingup } from './tasks/acrobot.js';
import { cartpoleBalance, cartpoleSwingup } from './tasks/cartpole.js';
import { cheetahRun } from './tasks/cheetah.js';
import { humanoidStand } from './tasks/humanoid.js';
import { quadrupedRun } from './tasks/quadruped.js';
import { reacher } from './tasks/reacher.js';
import { walkerRun, walkerStand, walkerWalk } from './tasks/walker.js';

/** The embedded tasks, in the order of `pmpo simulators`. */
export const builtInTasks: readonly TaskDefinition[] = [
  cartpoleSwingup,
  cartpoleBalance,
  acrobotSwingup,
  reacher,
  walkerStand,
  walkerWalk,
  walkerRun,
  cheetahRun,
  quadrupedRun,
  humanoidStand,
];
