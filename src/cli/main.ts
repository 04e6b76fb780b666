#!/usr/bin/env node
import { runProgram } from './program.js';

// The exit code is set, not forced: output that is still on its way to a pipe gets there.
process.exitCode = await runProgram(process.argv.slice(2));
