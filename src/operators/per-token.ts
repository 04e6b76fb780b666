import { z } from 'zod';

/** The schema of `perToken`, whose default depends on the kind of policy. @param what what is divided. */
export function perTokenSetting(what: string) {
  return z
    .boolean()
    .optional()
    .describe(
      `Divide each ${what} by the sample's number of tokens; default: true for a language model, false for a policy of actions`,
    );
}

/** `perToken` with its default: sequences are divided, and actions have no tokens. */
export function completePerToken(given: boolean | undefined, klParts: readonly string[]): boolean {
  return given ?? klParts.includes('sequence');
}
