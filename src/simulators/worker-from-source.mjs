// The entry of the worker thread when the program runs from its TypeScript sources (tests, tsx): Node 20 offers a worker no
// other way to load TypeScript. Built programs start worker.js itself.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
