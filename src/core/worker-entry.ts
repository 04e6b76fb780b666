/**
 * The entry of a worker thread beside a module: NAME.js in a built program. From the TypeScript sources (tests, tsx) it is
 * NAME-from-source.mjs, a small module that loads TypeScript first, because Node 20 offers a worker no other way.
 *
 * @param name with its path from the module, without an extension: `./worker`
 * @param moduleUrl the `import.meta.url` of the module that starts the thread
 */
export function workerEntry(name: string, moduleUrl: string): URL {
  return new URL(moduleUrl.endsWith('.ts') ? `${name}-from-source.mjs` : `${name}.js`, moduleUrl);
}
