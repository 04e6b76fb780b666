import { z } from 'zod';

/** What is recorded: how many episodes, played by which policies. */

const policySchema = z
  .strictObject({
    policy: z
      .union([z.enum(['random', 'latest', 'best']), z.int().min(0)])
      .describe(
        'What acts. random: random actions; latest, best: the last checkpoint of the run, or the policy of its best evaluation; a number: the last checkpoint up to this step',
      ),
    share: z.number().positive().default(1).describe('Its share of the episodes, relative to the others'),
    noise: z
      .number()
      .min(0)
      .default(0)
      .describe('Standard deviation of noise that is added to its actions, which range from −1 to 1'),
  })
  .describe('One of the policies that play');

/** The mixture of a data set. */
export const mixtureSchema = z.strictObject({
  episodes: z.int().min(1).default(100).describe('Number of episodes'),
  seed: z.int().min(0).default(0).describe('Determines actions, and how episodes begin'),
  policies: z.array(policySchema).min(1),
});

export type Mixture = z.infer<typeof mixtureSchema>;
export type MixedPolicy = Mixture['policies'][number];

/** A data set that is made from nothing: a control run is trained, and its checkpoints play. */
export const recipeSchema = mixtureSchema.extend({
  config: z
    .record(z.string(), z.unknown())
    .describe('The configuration of the control run whose checkpoints play; it is trained first'),
});

export type Recipe = z.infer<typeof recipeSchema>;

/** What a policy of a mixture is called. @param steps the step of its checkpoint. */
export function nameOf({ policy, noise }: MixedPolicy, steps?: number): string {
  const name = steps === undefined ? String(policy) : `checkpoint ${steps}`;
  return noise > 0 ? `${name}, noise ${noise}` : name;
}

/** The number of episodes of each policy: shares of the whole, rounded so that they add up. */
export function episodesOf({ episodes, policies }: Mixture): number[] {
  const total = policies.reduce((sum, { share }) => sum + share, 0);
  let played = 0;
  let sum = 0;
  return policies.map(({ share }) => {
    sum += share;
    const until = Math.round((episodes * sum) / total);
    const own = until - played;
    played = until;
    return own;
  });
}
