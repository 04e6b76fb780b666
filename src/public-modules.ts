import type { PublicModules } from './system/user-module.js';

/**
 * What a plugin, a reward program or a judge gets when it imports this package: the modules of this process, one entry for each
 * subpath in package.json's `exports`. The command line passes this table down; nothing below src/index.ts imports it.
 */
export const publicModules: PublicModules = {
  pmpo: () => import('./index.js'),
  'pmpo/distributions': () => import('./distributions/index.js'),
  'pmpo/dm-env-rpc': () => import('./dm-env-rpc/index.js'),
  'pmpo/engine': () => import('./engine/index.js'),
  'pmpo/environments': () => import('./environments/index.js'),
  'pmpo/feedback': () => import('./feedback/index.js'),
  'pmpo/language': () => import('./language/index.js'),
  'pmpo/learners': () => import('./learners/index.js'),
  'pmpo/operators': () => import('./operators/index.js'),
};
