// The entry module of the worker thread when the program runs from its TypeScript sources (tests, tsx), because Node 20 has no
// other way for a worker to load TypeScript. Built programs start worker.js itself.
import { register } from 'tsx/esm/api';

register();
await import('./worker.ts');
