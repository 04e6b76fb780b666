// The entry of the thread of a user's code when the program runs from its TypeScript sources (tests, tsx): Node 20 offers a
// worker no other way to load TypeScript. Built programs start plugin-worker.js itself.
import { register } from 'tsx/esm/api';

register();
await import('./plugin-worker.ts');
