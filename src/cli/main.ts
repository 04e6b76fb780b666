import nodeModule from 'node:module';

// Node 22 and later keep what they compile from here on, in the folder for temporary files, and need not compile it the next time.
(nodeModule as { enableCompileCache?: () => unknown }).enableCompileCache?.();
// gRPC reports problems as errors, too; its log lines would only repeat them.
process.env.GRPC_VERBOSITY ??= 'NONE';
// Deprecation warnings address the developers of a library, not the users of this program.
process.noDeprecation = true;
// A reader may close the pipe early (`pmpo … | head`), and a terminal may be closed (EIO): the work continues without it.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}
// process.exit would cut off output that has not reached a pipe yet, so only the exit code is set.
const { runProgram } = await import('./program.js');
process.exitCode = await runProgram(process.argv.slice(2));
