import { readFile } from 'node:fs/promises';
import { PmpoError } from '../core/errors.js';

/** The text of a script that `npm run build` has bundled, for a script element, which no text in it can end. */
export async function pageScript(name: string): Promise<string> {
  try {
    const text = await readFile(new URL(`./${name}`, import.meta.url), 'utf8');
    return text.replaceAll('</script', '<\\/script');
  } catch (cause) {
    throw new PmpoError({
      where: `report/${name}`,
      what: 'the script of the page has not been built',
      remedy: 'Run `npm run build`',
      cause,
    });
  }
}
