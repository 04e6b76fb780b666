import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

// What goes wrong is in the errors; gRPC's own log would say it again, without saying where.
setLogVerbosity(logVerbosity.NONE);
