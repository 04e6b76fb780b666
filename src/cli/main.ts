import { runProgram } from './program.js';

// What gRPC has to say comes back as errors; its own log lines would stand between them.
process.env.GRPC_VERBOSITY ??= 'NONE';
// What libraries tell their developers is not for those who use the program.
process.noDeprecation = true;
// The exit code is set, not forced: output that is still on its way to a pipe gets there.
process.exitCode = await runProgram(process.argv.slice(2));
