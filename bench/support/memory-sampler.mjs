// Loaded into a program by `node --import`, by bench/memory.ts: writes the memory of its process to the file descriptor 3, line by line.

import { writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

function sample() {
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  writeSync(3, `${JSON.stringify({ resident: rss, heap: heapUsed, arrayBuffers })}\n`);
}

if (isMainThread) setInterval(sample, Number(process.env.PMPO_BENCH_MEMORY_MS)).unref();
