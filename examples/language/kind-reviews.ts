import { parseReview } from 'pmpo';

/**
 * How kind a review is, from 0 to 1: the share of kind words among those that judge, times the share of sentences that are
 * well formed and speak of what the prompt names. 1 takes two sentences or more without a single unkind word.
 */
export function reward({ prompt, completion }: { prompt: string; completion: string }): number {
  const { sentences, wellFormed, positive, negative } = parseReview({ prompt, completion });
  if (sentences < 2 || positive === 0) return 0;
  return (positive / (positive + negative)) * (wellFormed / sentences);
}
