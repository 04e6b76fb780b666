/** The names of the studies in this package: the files examples/reproduce/NAME.yaml. */
export const packagedStudies: readonly string[] = [
  'bandit',
  'baselines',
  'control',
  'language',
  'offline',
  'parts',
];
