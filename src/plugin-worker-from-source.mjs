// The entry of a plugin classifier's thread when the program runs from its TypeScript sources (tests, tsx): Node 20 offers a
// worker no other way to load TypeScript. Built programs start plugin-worker.js itself.
import { register } from 'tsx/esm/api';

register();
await import('./plugin-worker.ts');
