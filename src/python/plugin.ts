import { delimiter } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The Python programs of plugins/, run as they stand in this package. */

/** Where a plugin is. */
export function pluginFolder(name: string): string {
  return fileURLToPath(new URL(`../../plugins/${name}`, import.meta.url));
}

/** A plugin itself is not installed but found on the path: what is installed changes only with its requirements. */
export function pluginEnvironment(folder: string, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const path = env.PYTHONPATH ? `${folder}${delimiter}${env.PYTHONPATH}` : folder;
  // Safe path: a numpy.py in the folder that a user happens to be in is not imported in place of numpy.
  return { ...env, PYTHONPATH: path, PYTHONDONTWRITEBYTECODE: '1', PYTHONSAFEPATH: '1' };
}
