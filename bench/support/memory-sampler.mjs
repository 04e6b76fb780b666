// bench/memory.ts has `node --import` load this file into a program. It writes the memory of its process, a line for each sample, to the
// pipe that the benchmark opens for it beside the standard streams, whose number is 3.

import { writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

function sample() {
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  writeSync(3, `${JSON.stringify({ resident: rss, heap: heapUsed, arrayBuffers })}\n`);
}

if (isMainThread) setInterval(sample, Number(process.env.PMPO_BENCH_MEMORY_MS)).unref();
