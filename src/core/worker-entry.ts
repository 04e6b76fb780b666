/**
 * The entry of a worker thread beside a module: NAME.js in a built program. From the TypeScript sources (tsx) it is
 * NAME-from-source.mjs, a small module that loads TypeScript first, because Node 20 offers a worker no other way.
 *
 * The tests run from the sources too, and start hundreds of threads. There PMPO_BUILT_THREADS is set, and threads run what is built, as
 * in the program: to load the sources takes longer than most tests.
 *
 * @param name with its path from the module, without an extension: `./worker`
 * @param moduleUrl the `import.meta.url` of the module that starts the thread
 */
export function workerEntry(name: string, moduleUrl: string): URL {
  if (!moduleUrl.endsWith('.ts')) return new URL(`${name}.js`, moduleUrl);
  if (process.env.PMPO_BUILT_THREADS === undefined) return new URL(`${name}-from-source.mjs`, moduleUrl);
  const [sources, built] = ['..', '../../dist'].map((path) => new URL(`${path}/`, import.meta.url).href);
  return new URL(`${name}.js`, moduleUrl.replace(sources!, built!));
}
