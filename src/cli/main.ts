import { runProgram } from './program.js';

// What gRPC has to say comes back as errors; its own log lines would stand between them.
process.env.GRPC_VERBOSITY ??= 'NONE';
// What libraries tell their developers is not for those who use the program.
process.noDeprecation = true;
// Whoever reads may have seen enough (`pmpo … | head`): the work goes on, and nobody is told.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
// The exit code is set, not forced: output that is still on its way to a pipe gets there.
process.exitCode = await runProgram(process.argv.slice(2));
